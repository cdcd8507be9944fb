//! The official libraries of Standard Webhooks 1.0 for Python, JavaScript and Rust believe what the sender
//! X nothing that was changed on its way.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mediahooks_delivery::{SigningKey, signature_headers};
use mediahooks_model::webhook::PreviousSecret;
use mediahooks_testkit::tools;
use serde_json::json;
use support::{Endpoint, House, Received, SECRET, config, now};

const OLD_SECRET: &str = "b2xkIHNlY3JldCBvbGQgc2VjcmV0IG9sZCBzZWNyZXQ=";
const FOREIGN_SECRET: &str = "Zm9yZWlnbiBzZWNyZXQgZm9yZWlnbiBzZWNyZXQgIQ==";

/// A request that the libraries judge, and their only right answer.
#[derive(Debug, Clone)]
struct Case {
    what: String,
    secret: &'static str,
    headers: BTreeMap<String, String>,
    body: String,
    genuine: bool,
}

impl Case {
    fn of(what: &str, request: &Received) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = request.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Self {
            what: what.to_owned(),
            secret: SECRET,
            headers: headers.collect(),
            body: request.body.clone(),
            genuine: true,
        }
    }

    fn under(mut self, secret: &'static str, genuine: bool) -> Self {
        self.what += &format!(", secret {secret}");
        (self.secret, self.genuine) = (secret, genuine);
        self
    }

    /// The same in all ways in which somebody might change it.
    fn tampered(&self) -> Vec<Self> {
        let changed = |what: &str, change: &dyn Fn(&mut Self)| {
            let mut case = Self { what: format!("{}, {what}", self.what), genuine: false, ..self.clone() };
            change(&mut case);
            case
        };
        let header = |name: &'static str, change: fn(&str) -> String| {
            changed(&format!("{name} changed"), &|case| {
                let value = case.headers.get_mut(name).expect(name);
                *value = change(value);
            })
        };
        let without = |name: &'static str| {
            changed(&format!("{name} taken away"), &|case| drop(case.headers.remove(name)))
        };
        vec![
            changed("a letter of the body changed", &|case| case.body = case.body.replacen('e', "f", 1)),
            changed("a space added to the body", &|case| case.body.push(' ')),
            header("webhook-id", |id| format!("{id}0")),
            header("webhook-timestamp", |time| (time.parse::<i64>().unwrap() + 1).to_string()),
            header("webhook-signature", |_| format!("v1,{}", "A".repeat(43) + "=")),
            header("webhook-signature", |signature| signature.replace("v1,", "v2,")),
            without("webhook-id"),
            without("webhook-timestamp"),
            without("webhook-signature"),
        ]
    }
}

/// Every library judges every case.
fn judge(cases: &[Case]) {
    let verdicts: [(&str, Vec<String>); 3] = [
        ("Rust", cases.iter().map(rust_says).collect()),
        ("Python", say(tools::python(), "verify.py", cases)),
        ("JavaScript", say(tools::node(), "verify.js", cases)),
    ];
    for (library, verdicts) in verdicts {
        assert_eq!(verdicts.len(), cases.len(), "{library}");
        for (case, verdict) in cases.iter().zip(verdicts) {
            assert_eq!(verdict == "genuine", case.genuine, "{library}: {} is {verdict}", case.what);
        }
    }
}

fn rust_says(case: &Case) -> String {
    let headers = case.headers.iter();
    let headers: http::HeaderMap =
        headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let library = standardwebhooks::Webhook::new(case.secret).unwrap();
    match library.verify(case.body.as_bytes(), &headers) {
        Ok(()) => "genuine".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

fn say(mut interpreter: Command, script: &str, cases: &[Case]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official").join(script);
    let mut process = interpreter.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let lines: String = cases
        .iter()
        .map(|Case { secret, headers, body, .. }| json!({"secret": secret, "headers": headers, "body": body}))
        .map(|line| format!("{line}\n"))
        .collect();
    // From a thread of its own: the script answers while it reads.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{interpreter:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Subjects whose bodies hold what may be mangled on the way.
fn subjects() -> [String; 4] {
    ["feed".to_owned(), "größer 🎥 \u{2028}".to_owned(), r#"\" \\ \u0000 %s"#.to_owned(), "x".repeat(100_000)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_believed_and_what_is_changed_is_not() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(200).await;
    house.webhook(endpoint.url()).await;
    for subject in subjects() {
        house.emit(&subject).await;
    }
    let running = house.send(config("0s"));
    let requests = endpoint.take(subjects().len()).await;
    running.stop().await;

    let genuine: Vec<_> = requests.iter().map(|request| Case::of("as sent", request)).collect();
    let mut cases: Vec<_> = genuine.iter().flat_map(Case::tampered).collect();
    cases.extend(genuine.iter().map(|case| case.clone().under(FOREIGN_SECRET, false)));
    cases.extend(genuine);
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_is_changed_the_old_and_the_new_one_are_believed() {
    let house = House::new().await;
    let mut endpoint = Endpoint::answering(200).await;
    let id = house.webhook(endpoint.url()).await;
    let old_secret = async |until| {
        let previous = PreviousSecret { secret: OLD_SECRET.into(), until };
        house.change(id, |webhook| webhook.previous_secret = Some(previous)).await;
    };
    old_secret(now().plus(Duration::from_secs(3600))).await;
    for subject in subjects() {
        house.emit(&subject).await;
    }
    let running = house.send(config("0s"));
    let requests = endpoint.take(subjects().len()).await;

    // Later, the old secret's time is over.
    old_secret(now()).await;
    house.emit("later").await;
    let later = Case::of("after the change", &endpoint.next().await);
    running.stop().await;

    let mut cases = vec![later.clone(), later.under(OLD_SECRET, false)];
    for request in &requests {
        assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
        let case = Case::of("during the change", request);
        for secret in [SECRET, OLD_SECRET] {
            let case = case.clone().under(secret, true);
            cases.extend(case.tampered());
            cases.push(case);
        }
        cases.push(case.under(FOREIGN_SECRET, false));
    }
    judge(&cases);
}

#[test]
fn what_was_signed_long_ago_is_not_believed() {
    let key = SigningKey::new(&SECRET.parse().unwrap());
    let body = r#"{"type":"feeds"}"#;
    let signed = |age_s: i64, genuine| {
        let headers = signature_headers(&key, "an-id", now().as_seconds() - age_s, body.as_bytes());
        let headers = headers.named().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let what = format!("signed {age_s} s ago");
        Case { what, secret: SECRET, headers: headers.into(), body: body.to_owned(), genuine }
    };
    judge(&[signed(0, true), signed(200, true), signed(400, false), signed(-200, true), signed(-400, false)]);
}
