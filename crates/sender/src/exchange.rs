//! One HTTP exchange: a signed POST and what came back.
//!
//! Called by the dispatcher once per attempt. What always holds: it ends by the deadline, it reads no
//! more of a response than the cap, it follows no redirect and uses no proxy, and it connects only
//! where the target policy allows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mediahooks_database::ClaimedDelivery;
use mediahooks_delivery::{
    AttemptResult, FailureKind, SignatureHeaders, TargetPolicy, parse_retry_after, parse_url,
};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, redirect};

use crate::config::{SenderConfig, SenderError};
use crate::failure::{kind_of, root_of};
use crate::resolver::GuardedResolver;
use crate::surroundings::Clock;
use crate::transport::{Exchanged, Transport};

/// Bytes of a response that are kept for the delivery log.
const RESPONSE_KEPT_BYTES: usize = 1024;

/// Characters of a cause that are kept for the delivery log: some quote what the peer sent.
const CAUSE_CHARS_MAX: usize = 300;

/// Below the 5 s after which Node.js closes an idle connection: a request that crosses with the close
/// is a failed attempt, for no fault of the endpoint.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(4);

/// An HTTP/2 connection that does not answer a ping is given up, so that a dead one does not fail every
/// later request to its host until TCP notices.
const PING_EVERY: Duration = Duration::from_secs(10);

/// The HTTP client, shared by all attempts.
pub struct Exchange {
    client: Client,
    targets: Arc<TargetPolicy>,
    deadline: Duration,
    response_bytes_max: usize,
}

impl Exchange {
    pub(crate) fn new(config: &SenderConfig) -> Result<Self, SenderError> {
        let targets = Arc::new(config.targets.clone());
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .dns_resolver(GuardedResolver::new(targets.clone()))
            // What a redirect or a proxy connects to is out of the guard's sight.
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Every request is an attempt on record.
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .pool_max_idle_per_host(usize::try_from(config.per_webhook).unwrap_or(usize::MAX))
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_EVERY)
            .build()
            .map_err(SenderError::Client)?;
        let SenderConfig { deadline, response_bytes_max, .. } = *config;
        Ok(Self { client, targets, deadline, response_bytes_max })
    }

    /// Without the deadline. Leaves the answer in `head` as soon as its status is known.
    async fn exchange(
        &self,
        url: &str,
        headers: &SignatureHeaders,
        body: Bytes,
        head: &mut Option<AttemptResult>,
    ) -> Exchanged {
        // The client asks its resolver about names only; a literal is judged here.
        let url = match parse_url(url, &self.targets) {
            Ok(url) => url,
            Err(refused) => return Exchanged::refused(&refused),
        };
        let tls = url.scheme() == "https";
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers.named() {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) => {
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after =
                    retry_after.and_then(|value| parse_retry_after(value, Clock::default().now()));
                let answer = AttemptResult::Status { code: response.status().as_u16(), retry_after };
                *head = Some(answer);
                self.answered(response, answer).await
            }
            Err(error) => failed(&error, tls),
        }
    }

    async fn answered(&self, mut response: Response, result: AttemptResult) -> Exchanged {
        let hidden = self.must_hide(&response);
        let kept = read_capped(&mut response, self.response_bytes_max).await;
        let error = (!response.status().is_success()).then(|| result.to_string());
        let response = (!hidden && !kept.is_empty()).then(|| shown(&kept));
        Exchanged { result, error, response }
    }

    /// Whether the response comes from a private service, which the webhook's owner may not be able to
    /// read otherwise.
    fn must_hide(&self, response: &Response) -> bool {
        response.remote_addr().is_none_or(|remote| self.targets.is_private_exception(remote.ip()))
    }

    /// What the deadline cut off. A status that came is the answer, whatever its body did: an endpoint
    /// that acknowledged is not to be told again.
    fn timed_out(&self, head: Option<AttemptResult>) -> Exchanged {
        let Some(result) = head else {
            let kind = FailureKind::Timeout;
            return Exchanged::failed(kind, format!("{kind} (no answer came within {:?})", self.deadline));
        };
        let is_success = matches!(result, AttemptResult::Status { code: 200..300, .. });
        let error = format!("{result}, but its body did not end within {:?}", self.deadline);
        Exchanged { result, error: (!is_success).then_some(error), response: None }
    }
}

impl Transport for Exchange {
    async fn send(&self, delivery: &ClaimedDelivery, headers: &SignatureHeaders, body: Bytes) -> Exchanged {
        let mut head = None;
        let exchanging = self.exchange(&delivery.webhook.url, headers, body, &mut head);
        match tokio::time::timeout(self.deadline, exchanging).await {
            Ok(exchanged) => exchanged,
            Err(_) => self.timed_out(head),
        }
    }
}

fn failed(error: &reqwest::Error, tls: bool) -> Exchanged {
    let kind = kind_of(error, tls);
    let cause: String = root_of(error).chars().take(CAUSE_CHARS_MAX).collect();
    match kind {
        FailureKind::TargetRefused => Exchanged::refused(&cause),
        _ => Exchanged::failed(kind, format!("{kind} ({cause})")),
    }
}

/// Reads a body up to `bytes_max` and returns its start. A connection that breaks in the middle ends it:
/// the status has been said. Dropping an unfinished response closes its connection.
async fn read_capped(response: &mut Response, bytes_max: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut read = 0usize;
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = RESPONSE_KEPT_BYTES - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read = read.saturating_add(chunk.len());
        if read >= bytes_max {
            break;
        }
    }
    kept
}

/// As text that every database stores: PostgreSQL refuses NUL.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use reqwest::Body;

    use super::*;

    fn response(body: impl Into<Body>) -> Response {
        http::Response::new(body.into()).into()
    }

    #[tokio::test]
    async fn the_first_kibibyte_of_a_response_is_kept() {
        let kept = read_capped(&mut response("x".repeat(5000)), 65_536).await;
        assert_eq!(kept, "x".repeat(1024).into_bytes());
        assert_eq!(read_capped(&mut response("ok"), 65_536).await, b"ok");
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_cap_asks_for() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 100])));
        let kept = read_capped(&mut response(Body::wrap_stream(endless)), 250).await;
        assert_eq!(kept.len(), 300);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_kept_as_far_as_it_came() {
        let pieces = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("reset"))]);
        let kept = read_capped(&mut response(Body::wrap_stream(pieces.boxed())), 250).await;
        assert_eq!(kept, b"half");
    }

    #[test]
    fn any_bytes_are_shown_as_text() {
        assert_eq!(shown(b"caf\xc3\xa9 \xff\0"), "caf\u{e9} \u{fffd}\u{fffd}");
    }

    #[tokio::test]
    async fn a_response_of_unknown_origin_is_not_shown() {
        let exchange = Exchange::new(&SenderConfig::new("test")).unwrap();
        let answer = AttemptResult::Status { code: 200, retry_after: None };
        assert_eq!(exchange.answered(response("secret"), answer).await.response, None);
    }
}
