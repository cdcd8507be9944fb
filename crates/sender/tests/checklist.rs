//! What a webhook sender has to withstand, a test for each: targets it must not reach, endpoints that hang,
//! flood or break off, certificates that prove nothing. The endpoint is `mediahooks conformance-receiver`'s.

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use mediahooks_database::{Attempt, Delivery, DeliveryState};
use mediahooks_delivery::TargetPolicy;
use mediahooks_hostile::{Door, Event, Hostile, Mode, Received};
use mediahooks_model::webhook::{Subscriptions, WebhookTls};
use mediahooks_model::{Webhook, WebhookId};
use mediahooks_sender::{Lookup, SenderConfig};
use support::{House, SECRET, config, in_time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;

/// A server's data beside a hostile endpoint.
struct Trial {
    house: House,
    hostile: Hostile,
    events: Receiver<Event>,
}

impl Trial {
    async fn new() -> Self {
        let (hostile, events) = Hostile::start("127.0.0.1".parse().unwrap(), 0).await.unwrap();
        Self { house: House::new().await, hostile, events }
    }

    /// Adds a webhook whose endpoint is behind a door; its TLS trusts the endpoint's authority.
    async fn webhook(&self, door: Door, path: &str) -> WebhookId {
        let ca_certificate = Some(self.hostile.pems().authority.clone());
        let tls = Some(WebhookTls { ca_certificate, ..WebhookTls::default() });
        self.add(Webhook { tls, ..webhook(self.hostile.url(door, path)) }).await
    }

    async fn add(&self, webhook: Webhook) -> WebhookId {
        self.house.database.create_webhook(webhook).await.unwrap().id
    }

    /// Tells one webhook behind a door of one event, and returns what came of it.
    async fn deliver(&self, door: Door, path: &str, config: SenderConfig) -> Delivery {
        let webhook = self.webhook(door, path).await;
        self.deliver_to(webhook, config).await
    }

    /// The same with a webhook that is there, which is gone afterwards.
    async fn deliver_to(&self, webhook: WebhookId, config: SenderConfig) -> Delivery {
        let attempts = config.retry.attempts();
        self.house.emit("feed").await;
        let running = self.house.send(config);
        let came_of_it = self.came_of_it(webhook, attempts).await;
        running.stop().await;
        self.house.database.delete_webhook(webhook).await.unwrap();
        came_of_it
    }

    /// The newest delivery to a webhook, once all are delivered or attempted so often.
    async fn came_of_it(&self, webhook: WebhookId, attempts: usize) -> Delivery {
        let is_over = |delivery: &Delivery| {
            delivery.state == DeliveryState::Delivered || delivery.attempts.len() >= attempts
        };
        let are_over = |all: &[Delivery]| !all.is_empty() && all.iter().all(is_over);
        self.house.deliveries_once(webhook, are_over).await.remove(0)
    }

    /// The next request that comes.
    async fn request(&mut self) -> Received {
        loop {
            if let Event::Request(request) = in_time(self.events.recv()).await.unwrap() {
                return request;
            }
        }
    }

    /// Waits until the sender leaves a mode without end; returns what it took of it.
    async fn left(&mut self) -> u64 {
        loop {
            if let Event::Left { sent_bytes, .. } = in_time(self.events.recv()).await.unwrap() {
                return sent_bytes;
            }
        }
    }

    /// Requests that came and were not looked at.
    fn requests(&mut self) -> Vec<Received> {
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        events
            .filter_map(|event| if let Event::Request(request) = event { Some(request) } else { None })
            .collect()
    }
}

fn webhook(url: String) -> Webhook {
    let subscriptions = Subscriptions { is_feed_hooks: true, ..Subscriptions::default() };
    Webhook::new(url, SECRET, subscriptions)
}

/// Gives up on an attempt soon, but not before it has come as far as the endpoint lets it, on a busy machine too.
fn hasty(schedule: &str) -> SenderConfig {
    SenderConfig { deadline: Duration::from_secs(3), ..config(schedule) }
}

/// Answers every name with the n-th of `answers`, the last one for ever, and counts.
fn names(answers: &'static [&'static [&'static str]]) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let lookup = Lookup::new(move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let addresses = answers[number].iter().map(|answer| answer.parse::<IpAddr>().unwrap()).collect();
        async { Ok(addresses) }.boxed()
    });
    (lookup, asked)
}

fn error(attempt: &Attempt) -> &str {
    attempt.error.as_deref().unwrap_or_default()
}

fn only(delivery: &Delivery) -> &Attempt {
    assert_eq!(delivery.attempts.len(), 1, "{delivery:?}");
    &delivery.attempts[0]
}

// ---- Where requests go ----

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_mind_between_check_and_connection_gains_nothing() {
    let mut trial = Trial::new().await;
    let (lookup, asked) = names(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let url = format!("http://rebinding.example:{}/reset", trial.hostile.address(Door::Http).port());
    let webhook = trial.add(webhook(url)).await;
    let delivery = trial.deliver_to(webhook, SenderConfig { lookup, ..config("0s,1ms") }).await;
    // The first attempt resolved once and reached what it had resolved; the second resolved anew.
    assert_eq!(trial.requests().len(), 1);
    assert!(error(&delivery.attempts[0]).starts_with("the connection broke"), "{delivery:?}");
    assert!(error(&delivery.attempts[1]).contains("refused: 169.254.169.254 may never"), "{delivery:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_an_allowed_and_a_forbidden_address_is_refused_whole() {
    let mut trial = Trial::new().await;
    let (lookup, _) = names(&[&["127.0.0.1", "10.0.0.1"]]);
    let url = format!("http://mixed.example:{}/ok", trial.hostile.address(Door::Http).port());
    let webhook = trial.add(webhook(url)).await;
    let delivery = trial.deliver_to(webhook, SenderConfig { lookup, ..config("0s") }).await;
    assert!(error(only(&delivery)).starts_with("refused: 10.0.0.1"), "{delivery:?}");
    assert_eq!(trial.requests().len(), 0);
}

/// Sends to every literal with nothing allowed, and returns the errors.
async fn errors_of(hosts: &[&str], targets: TargetPolicy) -> Vec<String> {
    let house = House::new().await;
    let mut webhooks = Vec::new();
    for host in hosts {
        webhooks.push(house.webhook(format!("http://{host}:9/")).await);
    }
    house.emit("feed").await;
    let running = house.send(SenderConfig { targets, ..hasty("0s") });
    let mut errors = Vec::new();
    for webhook in webhooks {
        let deliveries = house.deliveries_once(webhook, |all| !all[0].attempts.is_empty()).await;
        errors.push(error(only(&deliveries[0])).to_owned());
    }
    running.stop().await;
    errors
}

async fn assert_refused(hosts: &[&str]) {
    for (host, error) in hosts.iter().zip(errors_of(hosts, TargetPolicy::default()).await) {
        assert!(error.starts_with("refused: ") && error.contains("may not be reached"), "{host}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn special_purpose_ipv4_addresses_are_refused() {
    let hosts = [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ];
    assert_refused(&hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn special_purpose_ipv6_addresses_are_refused() {
    let hosts = [
        "[::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[100::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[3fff::1]",
        "[5f00::1]",
        "[fc00::1]",
        "[fe80::1]",
        "[ff02::1]",
    ];
    assert_refused(&hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_forms_that_smuggle_an_ipv4_address_are_refused() {
    let hosts = [
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[2001:0:7f00:1::]",
        "[2a00:1450::5efe:127.0.0.1]",
        "[fec0::1]",
        "[64:ff9b:1::7f00:1]",
    ];
    assert_refused(&hosts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn octal_hexadecimal_and_short_forms_of_an_address_are_that_address() {
    assert_refused(&["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "0", "127.0.0.1."]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nat64_is_judged_by_the_ipv4_address_in_it() {
    assert_refused(&["[64:ff9b::127.0.0.1]", "[64:ff9b::10.0.0.1]"]).await;
    let errors = errors_of(&["[64:ff9b::8.8.8.8]"], TargetPolicy::default()).await;
    assert!(!errors[0].starts_with("refused"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_metadata_is_refused_whatever_is_allowed() {
    let hosts =
        ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[::ffff:169.254.169.254]", "0xa9fea9fe"];
    let everything = TargetPolicy::new(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
    for (host, error) in hosts.iter().zip(errors_of(&hosts, everything).await) {
        assert!(error.contains("cloud metadata"), "{host}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allow_list_opens_its_networks_only_and_hides_what_they_answer() {
    let trial = Trial::new().await;
    let targets = TargetPolicy::new(vec!["127.0.0.1/32".parse().unwrap()]);
    let delivery = trial.deliver(Door::Http, "/ok", SenderConfig { targets, ..config("0s") }).await;
    let attempt = only(&delivery);
    assert_eq!((attempt.status, &attempt.response), (Some(200), &None));
    let targets = TargetPolicy::new(vec!["127.0.0.2/32".parse().unwrap()]);
    let delivery = trial.deliver(Door::Http, "/ok", SenderConfig { targets, ..config("0s") }).await;
    assert!(error(only(&delivery)).starts_with("refused: 127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_never_followed() {
    let mut trial = Trial::new().await;
    for door in [Door::Http, Door::Https] {
        let delivery = trial.deliver(door, "/redirect", config("0s,1ms")).await;
        assert_ne!(delivery.state, DeliveryState::Delivered);
        assert!(delivery.attempts.iter().all(|attempt| attempt.status == Some(307)));
        let requests = trial.requests();
        assert!(requests.len() == 2 && requests.iter().all(|request| request.target == "/redirect"));
    }
}

/// Runs itself again with the environment that other clients obey.
#[test]
fn the_environment_names_no_proxy() {
    let dead_end = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", dead_end.local_addr().unwrap());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_request_reaches_its_endpoint", "--nocapture"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, &proxy);
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    dead_end.set_nonblocking(true).unwrap();
    assert!(dead_end.accept().is_err(), "the proxy of the environment was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_endpoint() {
    let trial = Trial::new().await;
    for door in [Door::Http, Door::Https, Door::Https1] {
        let delivery = trial.deliver(door, "/ok", config("0s")).await;
        assert_eq!(delivery.state, DeliveryState::Delivered, "{door:?}: {delivery:?}");
    }
}

/// A proxy that connects wherever it is asked to, with what it was asked.
async fn proxy(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let port = head.split([':', ' ']).nth(2).unwrap().to_owned();
                asked.send(head).unwrap();
                client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
                let mut server = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (format!("http://user:pass@{address}"), asks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_proxy_connects_and_resolves_for_the_sender() {
    let mut trial = Trial::new().await;
    let (url, mut asks) = proxy("200 Connection established").await;
    let (lookup, asked) = names(&[&["10.0.0.1"]]);
    let config = SenderConfig { proxy: Some(url.parse().unwrap()), lookup, ..config("0s") };
    let port = trial.hostile.address(Door::Http).port();
    let id = trial.add(webhook(format!("http://hooks.example:{port}/ok"))).await;
    let delivery = trial.deliver_to(id, config.clone()).await;
    assert_eq!((delivery.state, &only(&delivery).response), (DeliveryState::Delivered, &None));
    let ask = in_time(asks.recv()).await.unwrap();
    assert!(ask.starts_with(&format!("CONNECT hooks.example:{port} HTTP/1.1\r\n")), "{ask}");
    assert!(ask.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz\r\n"), "{ask}");
    assert_eq!(trial.request().await.header("host"), format!("hooks.example:{port}"));
    assert_eq!(asked.load(Ordering::SeqCst), 0, "names are the proxy's to resolve");

    // TLS is spoken through it with the endpoint, not with the proxy.
    let delivery = trial.deliver(Door::Https, "/ok", config.clone()).await;
    assert_eq!(delivery.state, DeliveryState::Delivered, "{delivery:?}");
    // What can be judged without resolving is.
    let id = trial.add(webhook("http://169.254.169.254/".into())).await;
    let delivery = trial.deliver_to(id, config).await;
    assert!(error(only(&delivery)).contains("cloud metadata"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_or_is_away_is_named() {
    let trial = Trial::new().await;
    let (url, _asks) = proxy("403 Forbidden").await;
    let refusing = SenderConfig { proxy: Some(url.parse().unwrap()), ..config("0s") };
    let delivery = trial.deliver(Door::Http, "/ok", refusing).await;
    assert!(error(only(&delivery)).contains("the proxy answered 403"), "{delivery:?}");
    let away = SenderConfig { proxy: Some("http://127.0.0.1:1".parse().unwrap()), ..config("0s") };
    let delivery = trial.deliver(Door::Http, "/ok", away).await;
    assert!(error(only(&delivery)).contains("the proxy cannot be reached"), "{delivery:?}");
}

// ---- How long and how much ----

#[tokio::test(flavor = "multi_thread")]
async fn one_deadline_covers_everything_up_to_the_last_byte() {
    let mut trial = Trial::new().await;
    // An answer that said 200 counts, however its body drags on; anything before that does not.
    let acknowledged = [(Door::Http, "/drip/20"), (Door::Http, "/hang-body"), (Door::Https, "/drip/20")];
    let answered = "(no answer came within 3s)";
    let silent = [
        (Door::Http, "/hang", answered),
        (Door::Https1, "/hang", answered),
        (Door::Https, "/hang", answered),
        (Door::Http, "/drip-head/20", answered),
        (Door::Http, "/interim", answered),
        (Door::SlowTls, "/ok", "(the TLS handshake did not end within 3s)"),
    ];
    // All at the same time: each takes as long as it may.
    let mut webhooks = Vec::new();
    for (door, path) in acknowledged.into_iter().chain(silent.map(|(door, path, _)| (door, path))) {
        webhooks.push(trial.webhook(door, path).await);
    }
    trial.house.emit("feed").await;
    let running = trial.house.send(hasty("0s"));
    let mut deliveries = Vec::new();
    for webhook in webhooks {
        deliveries.push(trial.came_of_it(webhook, 1).await);
    }
    for ((door, path), delivery) in acknowledged.into_iter().zip(&deliveries) {
        assert_eq!(delivery.state, DeliveryState::Delivered, "{door:?} {path}: {delivery:?}");
    }
    for ((door, path, reason), delivery) in silent.into_iter().zip(&deliveries[acknowledged.len()..]) {
        assert!(error(only(delivery)).ends_with(reason), "{door:?} {path}: {delivery:?}");
    }
    let mut left = 0;
    while left < acknowledged.len() {
        let event = in_time(trial.events.recv()).await.unwrap();
        left += usize::from(matches!(event, Event::Left { mode: Mode::Drip { .. } | Mode::HangBody, .. }));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_never_resolved_costs_no_more_than_the_deadline() {
    let trial = Trial::new().await;
    let lookup = Lookup::new(|_| std::future::pending().boxed());
    let id = trial.add(webhook("http://silent.example/".into())).await;
    let delivery = trial.deliver_to(id, SenderConfig { lookup, ..hasty("0s") }).await;
    assert!(error(only(&delivery)).ends_with("(its name was not resolved within 3s)"), "{delivery:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_read_up_to_the_cap_and_left() {
    let mut trial = Trial::new().await;
    for door in [Door::Http, Door::Https1, Door::Https] {
        let delivery = trial.deliver(door, "/huge", config("0s")).await;
        assert_eq!(delivery.state, DeliveryState::Delivered, "{door:?}");
        // What the sockets of both sides buffer is sent on top of the 64 KiB that are read.
        let sent = trial.left().await;
        assert!(sent < 32 * 1024 * 1024, "{door:?}: {sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_a_failure_and_left() {
    let mut trial = Trial::new().await;
    let delivery = trial.deliver(Door::Http, "/headers", config("0s")).await;
    assert_eq!(only(&delivery).status, None);
    assert!(error(only(&delivery)).starts_with("the endpoint's answer is not valid HTTP"), "{delivery:?}");
    assert!(trial.left().await < 32 * 1024 * 1024);
}

// ---- Connections that break ----

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_before_the_answer_is_a_failed_attempt() {
    let trial = Trial::new().await;
    for (door, path) in [
        (Door::Http, "/reset"),
        (Door::Http, "/half-close"),
        (Door::Https1, "/reset"),
        (Door::Https1, "/half-close"),
        (Door::Https, "/reset"),
        (Door::Https, "/half-close"),
    ] {
        let delivery = trial.deliver(door, path, config("0s,1ms")).await;
        assert_eq!(delivery.attempts.len(), 2, "{door:?} {path}");
        for attempt in &delivery.attempts {
            assert!(error(attempt).starts_with("the connection broke"), "{door:?} {path}: {attempt:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_http_is_a_failed_attempt() {
    let trial = Trial::new().await;
    for path in ["/garbage", "/upgrade"] {
        let delivery = trial.deliver(Door::Http, path, config("0s")).await;
        assert_ne!(delivery.state, DeliveryState::Delivered, "{path}: {delivery:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_the_wrong_length_does_not_undo_its_status_nor_spoil_the_next_answer() {
    let mut trial = Trial::new().await;
    for path in ["/short", "/long", "/unframed"] {
        let webhook = trial.webhook(Door::Http, path).await;
        let running = trial.house.send(config("0s"));
        for subject in ["one", "two"] {
            trial.house.emit(subject).await;
            let delivery = trial.came_of_it(webhook, 9).await;
            assert_eq!(
                (delivery.state, only(&delivery).status),
                (DeliveryState::Delivered, Some(200)),
                "{path}"
            );
            assert_eq!(trial.request().await.on_connection, 0, "{path}: the connection was used again");
        }
        running.stop().await;
        trial.house.database.delete_webhook(webhook).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_connection_that_dies_is_an_attempt_on_record_and_the_next_follows_at_once() {
    let mut trial = Trial::new().await;
    let webhook = trial.webhook(Door::Http, "/stale").await;
    let running = trial.house.send(config("0s,1h"));
    trial.house.emit("one").await;
    trial.came_of_it(webhook, 9).await;
    let first = trial.request().await;
    trial.house.emit("two").await;
    let delivery = trial.came_of_it(webhook, 9).await;
    running.stop().await;
    let (dead, fresh) = (trial.request().await, trial.request().await);
    assert_eq!([first.on_connection, dead.on_connection, fresh.on_connection], [0, 1, 0]);
    assert_eq!((dead.header("webhook-id"), &dead.body), (fresh.header("webhook-id"), &fresh.body));
    assert_eq!(delivery.attempts.len(), 2);
    assert!(error(&delivery.attempts[0]).starts_with("the connection broke"), "{delivery:?}");
    assert_eq!(delivery.attempts[0].timings.connect_us, None, "it was open already");
    assert_eq!(delivery.attempts[1].status, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_flaps_gets_the_same_event_until_it_takes_it() {
    let mut trial = Trial::new().await;
    let delivery = trial.deliver(Door::Http, "/flap/3", config("0s,1ms,1ms,1ms,1ms")).await;
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 4));
    let requests = trial.requests();
    let first = (requests[0].header("webhook-id"), &requests[0].body);
    assert!(requests.iter().all(|request| (request.header("webhook-id"), &request.body) == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_followed_by_as_much_patience_as_asked() {
    let trial = Trial::new().await;
    let webhook = trial.webhook(Door::Http, "/status/429/7200").await;
    trial.house.emit("feed").await;
    let running = trial.house.send(config("0s,1ms"));
    let deliveries = trial.house.deliveries_once(webhook, |all| !all[0].attempts.is_empty()).await;
    running.stop().await;
    let wait = deliveries[0].next_attempt.unwrap().since(deliveries[0].attempts[0].started);
    assert!(wait >= Duration::from_secs(7200), "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_used_where_offered_one_connection_for_all_and_another_after_a_goodbye() {
    let mut trial = Trial::new().await;
    let webhook = trial.webhook(Door::Https, "/goaway").await;
    let running = trial.house.send(config("0s,1ms,1ms"));
    for subject in ["one", "two"] {
        trial.house.emit(subject).await;
        assert_eq!(trial.came_of_it(webhook, 9).await.state, DeliveryState::Delivered);
        let request = trial.request().await;
        assert_eq!((request.version, request.on_connection), (http::Version::HTTP_2, 0));
    }
    trial.house.database.delete_webhook(webhook).await.unwrap();
    let webhook = trial.webhook(Door::Https, "/ok").await;
    for subject in 0..10 {
        trial.house.emit(&subject.to_string()).await;
    }
    trial.came_of_it(webhook, 9).await;
    running.stop().await;
    let on_connection: Vec<u32> = trial.requests().iter().map(|request| request.on_connection).collect();
    assert_eq!(on_connection.len(), 10);
    assert_eq!(on_connection.iter().filter(|number| **number == 0).count(), 1, "{on_connection:?}");
}

// ---- Who is at the other end ----

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_prove_the_endpoint_is_refused() {
    let mut trial = Trial::new().await;
    let plain = trial.hostile.url(Door::Http, "/ok").replace("http://", "https://");
    let unknown = trial.hostile.url(Door::Https, "/ok");
    for (url, trusted) in [
        (trial.hostile.url(Door::WrongName, "/ok"), true),
        (trial.hostile.url(Door::Expired, "/ok"), true),
        (unknown, false),
        (plain, true),
    ] {
        let ca_certificate = trusted.then(|| trial.hostile.pems().authority.clone());
        let tls = Some(WebhookTls { ca_certificate, ..WebhookTls::default() });
        let id = trial.add(Webhook { tls, ..webhook(url.clone()) }).await;
        let delivery = trial.deliver_to(id, config("0s")).await;
        assert!(error(only(&delivery)).starts_with("the TLS handshake failed"), "{url}: {delivery:?}");
        assert_eq!(only(&delivery).request, None);
    }
    assert_eq!(trial.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_an_endpoint_that_asks_for_one() {
    let trial = Trial::new().await;
    let without = trial.deliver(Door::Mutual, "/ok", config("0s")).await;
    assert_ne!(without.state, DeliveryState::Delivered, "{without:?}");
    let pems = trial.hostile.pems().clone();
    let tls = WebhookTls {
        client_certificate: Some(pems.client_certificate),
        client_key: Some(pems.client_key),
        ca_certificate: Some(pems.authority),
    };
    let id = trial.add(Webhook { tls: Some(tls), ..webhook(trial.hostile.url(Door::Mutual, "/ok")) }).await;
    let delivery = trial.deliver_to(id, config("0s")).await;
    assert_eq!(delivery.state, DeliveryState::Delivered, "{delivery:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_header_that_would_leave_its_line_is_not_sent() {
    let mut trial = Trial::new().await;
    let headers = [("x-a".to_owned(), "1\r\nhost: elsewhere".to_owned())].into();
    let id = trial.add(Webhook { headers, ..webhook(trial.hostile.url(Door::Http, "/ok")) }).await;
    let delivery = trial.deliver_to(id, config("0s")).await;
    assert_eq!(
        error(only(&delivery)),
        "refused: the header `x-a` cannot be sent: set the webhook's headers again"
    );
    assert_eq!(trial.requests().len(), 0);
}

// ---- What is on record ----

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_tells_what_it_sent_without_its_secrets_and_where_its_time_went() {
    let mut trial = Trial::new().await;
    let port = trial.hostile.address(Door::Https1).port();
    let headers = [("authorization", "Bearer hunter2"), ("x-tenant", "north")]
        .map(|(name, value)| (name.into(), value.into()));
    let tls =
        WebhookTls { ca_certificate: Some(trial.hostile.pems().authority.clone()), ..WebhookTls::default() };
    let url = format!("https://localhost:{port}/ok?a=b#fragment");
    let id = trial.add(Webhook { headers: headers.into(), tls: Some(tls), ..webhook(url) }).await;
    let running = trial.house.send(config("0s"));
    trial.house.emit("one").await;
    trial.came_of_it(id, 9).await;
    trial.house.emit("two").await;
    let second = trial.came_of_it(id, 9).await;
    running.stop().await;
    let first = trial.house.deliveries(id).await.remove(1);

    let request = trial.request().await;
    assert_eq!((request.header("authorization"), request.header("x-tenant")), ("Bearer hunter2", "north"));
    let attempt = only(&first);
    let expected = format!(
        "POST /ok?a=b HTTP/1.1\nhost: localhost:{port}\ncontent-type: application/json\nuser-agent: {}\n\
         authorization: ***\nx-tenant: north\ncontent-length: {}\nwebhook-id: {}\nwebhook-timestamp: {}\n\
         webhook-signature: ***\nx-millicast-signature: ***\ntraceparent: {}",
        request.header("user-agent"),
        request.body.len(),
        first.event,
        attempt.started.as_seconds(),
        request.header("traceparent"),
    );
    assert_eq!(attempt.request.as_deref(), Some(expected.as_str()));
    assert!(request.header("traceparent").contains(&first.event.0.simple().to_string()));
    let timings = attempt.timings;
    let parts = [timings.dns_us, timings.connect_us, timings.tls_us].map(|part| part.unwrap());
    assert!(parts.iter().sum::<u64>() <= timings.first_byte_us.unwrap(), "{timings:?}");
    assert!(timings.first_byte_us.unwrap() <= attempt.duration_us, "{attempt:?}");
    let reused = only(&second).timings;
    assert_eq!((reused.dns_us, reused.connect_us, reused.tls_us), (None, None, None));
    assert!(reused.first_byte_us.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_tells_how_far_it_came() {
    let trial = Trial::new().await;
    let delivery = trial.deliver(Door::WrongName, "/ok", config("0s")).await;
    let timings = only(&delivery).timings;
    assert!(timings.connect_us.is_some() && timings.tls_us.is_none() && timings.first_byte_us.is_none());
    let delivery = trial.deliver(Door::Http, "/hang", hasty("0s")).await;
    let attempt = only(&delivery);
    assert!(attempt.timings.connect_us.is_some() && attempt.request.is_some(), "{attempt:?}");
}
