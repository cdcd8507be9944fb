//! A sender for the tests of your receiver: signs as Media Hooks does, or as hosted Millicast does, and
//! misbehaves in every way that a receiver has to stand.
//!
//! A [`Hook`] is an event with its id. Each [`Hook::request`] is one more attempt to deliver it, as an
//! `http::Request` that any framework's test client takes; `post` (feature `download`) sends it to a running
//! server. [`FakeSender::rehearsal`] is a script of all the cases with what is expected of each.
//!
//! ```
//! use mediahooks_receiver::fake::{FakeSender, completed_clip};
//!
//! let sender = FakeSender::new("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=")?.to("http://localhost/hooks");
//! let hook = sender.hook(&completed_clip("an-asset"));
//! let delivered = hook.request();
//! let repeated = hook.request(); // the same `webhook-id`
//! let forged = sender.hook(&completed_clip("another")).tampered().request();
//! # assert_eq!(delivered.headers()["webhook-id"], repeated.headers()["webhook-id"]);
//! # assert_ne!(delivered.headers()["webhook-id"], forged.headers()["webhook-id"]);
//! # Ok::<(), mediahooks_receiver::InvalidSecret>(())
//! ```

mod rehearsal;
mod samples;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::event::{Event, Payload};
use crate::key::{BASE64, InvalidSecret, Key};
use crate::key::{MILLICAST_SIGNATURE, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use crate::verify::Scheme;

pub use rehearsal::{Expected, Step};
pub use samples::{completed_clip, errored_recording, feed_started, life_of_a_recording};

/// Makes signed requests.
#[derive(Debug, Clone)]
pub struct FakeSender {
    keys: Vec<Key>,
    scheme: Scheme,
    target: Uri,
    clock: Option<SystemTime>,
    sent: Arc<AtomicU64>,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Unsigned,
    Forged,
    Tampered,
    OtherId,
}

/// An event that is to be delivered, with its id.
#[derive(Debug, Clone)]
pub struct Hook {
    sender: FakeSender,
    id: String,
    /// The type of the body, and what a picture carries.
    headers: HeaderMap,
    body: Bytes,
    /// How far the clock that signs is ahead.
    ahead_s: i64,
    fault: Fault,
}

impl FakeSender {
    /// Signs with `secret` (base64, with or without `whsec_`) in both schemes, as Media Hooks does.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub fn new(secret: &str) -> Result<Self, InvalidSecret> {
        let keys = vec![Key::parse(secret)?];
        let target = Uri::from_static("http://localhost/");
        Ok(Self { keys, scheme: Scheme::Standard, target, clock: None, sent: Arc::default() })
    }

    /// Signs with the secret before as well, as during a rotation: two signatures in one header, that of the
    /// newer secret first. `x-millicast-signature` has room for one only, which is the newer one's.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub fn rotated_from(mut self, previous: &str) -> Result<Self, InvalidSecret> {
        self.keys.push(Key::parse(previous)?);
        Ok(self)
    }

    /// Sends `x-millicast-signature` alone, as hosted Millicast does.
    #[must_use]
    pub fn like_millicast(mut self) -> Self {
        self.scheme = Scheme::Millicast;
        self
    }

    /// Sends to `url`; `http://localhost/` otherwise.
    ///
    /// # Panics
    /// When `url` is none: this is for tests.
    #[must_use]
    pub fn to(mut self, url: &str) -> Self {
        self.target = url.parse().expect("a URL to send to");
        self
    }

    /// Signs at `now` instead of the time of the system's clock.
    #[must_use]
    pub fn at(mut self, now: SystemTime) -> Self {
        self.clock = Some(now);
        self
    }

    /// Prepares to deliver `event`.
    pub fn hook(&self, event: &Event) -> Hook {
        match &event.payload {
            Payload::Thumbnail(thumbnail) => {
                let mut hook = self.raw("image/jpeg", thumbnail.jpeg.clone());
                let facts = [
                    ("x-millicast-timestamp", event.timestamp.map(|time| time.0.to_string())),
                    ("x-millicast-feed-id", thumbnail.feed_id.clone()),
                    ("x-millicast-stream-id", thumbnail.stream_id.clone()),
                    ("x-millicast-token-id", thumbnail.token_id.map(|id| id.to_string())),
                ];
                for (name, value) in facts {
                    if let Some(value) = value {
                        hook.headers.insert(HeaderName::from_static(name), header_value(&value));
                    }
                }
                hook
            }
            _ => self.raw("application/json", event.to_json().unwrap_or_default()),
        }
    }

    /// Prepares to deliver these very bytes.
    pub fn raw(&self, content_type: &str, body: impl Into<Bytes>) -> Hook {
        // Unlike those of an earlier run, which a receiver that keeps its ids may remember.
        let id = format!("fake-{}-{}", seconds(self.now()), self.sent.fetch_add(1, Ordering::Relaxed) + 1);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, header_value(content_type))]);
        Hook { sender: self.clone(), id, headers, body: body.into(), ahead_s: 0, fault: Fault::None }
    }

    fn now(&self) -> SystemTime {
        self.clock.unwrap_or_else(SystemTime::now)
    }
}

impl Hook {
    /// The `webhook-id` of every attempt.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// With this `webhook-id`.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Signed `age` ago: a copy that somebody kept and sends again.
    #[must_use]
    pub fn late(mut self, age: Duration) -> Self {
        self.ahead_s = -(age.as_secs() as i64);
        self
    }

    /// Signed by a clock that is `ahead`.
    #[must_use]
    pub fn early(mut self, ahead: Duration) -> Self {
        self.ahead_s = ahead.as_secs() as i64;
        self
    }

    /// With one bit of the body changed after it was signed.
    #[must_use]
    pub fn tampered(mut self) -> Self {
        self.fault = Fault::Tampered;
        self
    }

    /// Signed by somebody who does not know the secret.
    #[must_use]
    pub fn forged(mut self) -> Self {
        self.fault = Fault::Forged;
        self
    }

    /// Without any signature.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.fault = Fault::Unsigned;
        self
    }

    /// With another `webhook-id` than was signed, which would pass for another event.
    #[must_use]
    pub fn with_an_id_not_signed(mut self) -> Self {
        self.fault = Fault::OtherId;
        self
    }

    /// One attempt to deliver it, signed now.
    pub fn request(&self) -> Request<Bytes> {
        let mut body = self.body.clone();
        let mut headers = self.headers.clone();
        if self.fault != Fault::Unsigned {
            self.sign(&mut headers);
        }
        if self.fault == Fault::Tampered {
            let mut changed = body.to_vec();
            match changed.last_mut() {
                Some(last) => *last ^= 1,
                None => changed.push(0),
            }
            body = changed.into();
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.sender.target.clone();
        *request.headers_mut() = headers;
        request
    }

    fn sign(&self, headers: &mut HeaderMap) {
        let forged = [Key::from_bytes(b"nobody's secret")];
        let keys = if self.fault == Fault::Forged { &forged[..] } else { &self.sender.keys };
        let millicast = hex::encode(keys[0].millicast(&self.body));
        headers.insert(MILLICAST_SIGNATURE, header_value(&format!("sha1={millicast}")));
        if self.sender.scheme == Scheme::Millicast {
            return;
        }
        let timestamp = (seconds(self.sender.now()) + self.ahead_s).to_string();
        let signatures: Vec<_> = keys
            .iter()
            .map(|key| format!("v1,{}", BASE64.encode(key.standard(&self.id, &timestamp, &self.body))))
            .collect();
        let id = if self.fault == Fault::OtherId { format!("{}-changed", self.id) } else { self.id.clone() };
        headers.insert(WEBHOOK_ID, header_value(&id));
        headers.insert(WEBHOOK_TIMESTAMP, header_value(&timestamp));
        headers.insert(WEBHOOK_SIGNATURE, header_value(&signatures.join(" ")));
    }
}

/// Sends a request over the network; returns the status and the text of the response.
///
/// # Errors
/// The receiver could not be reached.
#[cfg(feature = "download")]
pub async fn post(
    client: &reqwest::Client,
    request: Request<Bytes>,
) -> Result<(http::StatusCode, String), reqwest::Error> {
    let response = client.execute(request.try_into()?).await?;
    Ok((response.status(), response.text().await?))
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("what a header can hold")
}
