//! Signs a webhook request in both schemes from one secret.
//!
//! `sender` prepares a [`SigningKey`] once per endpoint and calls [`signature_headers`] for every
//! attempt. Both signatures cover the body bytes exactly as sent; the Standard Webhooks one covers
//! the id and the time of the attempt too. A secret is never shown by `Debug`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

/// `sha1=<lower-case hex>` of the HMAC-SHA1 of the body: the hosted service's scheme.
pub const MILLICAST_SIGNATURE: &str = "x-millicast-signature";
/// The id of the delivery, the same on every attempt (Standard Webhooks 1.0).
pub const WEBHOOK_ID: &str = "webhook-id";
/// Seconds since the epoch at which the attempt is made (Standard Webhooks 1.0).
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>` of the HMAC-SHA256 of `id.timestamp.body`; one per secret, with spaces between (Standard
/// Webhooks 1.0).
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// What marks a secret in the Standard Webhooks notation.
const STANDARD_PREFIX: &str = "whsec_";

/// Longest secret accepted, in bytes. Past one SHA block (64) length adds nothing.
const SECRET_BYTES_MAX: usize = 256;

/// Secrets come from people and from other systems, some of which drop the `=` at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key shared with one endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// A text that is not a webhook secret. The text itself is left out: it may be a real secret with
/// a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Not base64 of the standard alphabet.
    #[error("the webhook secret is not standard base64 (A-Z a-z 0-9 + /), with or without `whsec_` in front")]
    NotBase64,
    /// Nothing would be proven by an empty key.
    #[error("the webhook secret is empty: it has to hold at least one byte, better 24 or more")]
    Empty,
    /// More than 256 bytes.
    #[error("the webhook secret holds {0} bytes: at most 256 are accepted")]
    TooLong(usize),
}

impl WebhookSecret {
    /// A secret of `N` bytes, which the caller drew from a cryptographic source.
    ///
    /// `N` is checked at compile time against the 24 to 64 bytes that Standard Webhooks 1.0 asks for.
    pub fn generate_from<const N: usize>(random: [u8; N]) -> Self {
        const { assert!(N >= 24 && N <= 64, "Standard Webhooks secrets hold 24 to 64 bytes") };
        Self(random.to_vec())
    }

    /// Standard base64, as REST shows it and as hosted Millicast writes it.
    pub fn reveal_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// `whsec_` and base64, as Standard Webhooks libraries take it.
    pub fn reveal_standard(&self) -> String {
        format!("{STANDARD_PREFIX}{}", self.reveal_base64())
    }
}

impl FromStr for WebhookSecret {
    type Err = InvalidSecret;

    /// Reads either notation; spaces around it are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        // `_` is not in the standard alphabet, so the prefix cannot be part of a plain secret.
        let encoded = text.strip_prefix(STANDARD_PREFIX).unwrap_or(text);
        let bytes = LENIENT.decode(encoded).map_err(|_| InvalidSecret::NotBase64)?;
        match bytes.len() {
            0 => Err(InvalidSecret::Empty),
            1..=SECRET_BYTES_MAX => Ok(Self(bytes)),
            length => Err(InvalidSecret::TooLong(length)),
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// A secret made ready for signing: the key is already hashed into both HMAC states, and each
/// message starts from a copy of them.
#[derive(Clone)]
pub struct SigningKey {
    millicast: Hmac<Sha1>,
    standard: Hmac<Sha256>,
    /// Of the secret before this one, while it still signs.
    previous: Option<Hmac<Sha256>>,
}

impl SigningKey {
    /// Prepares `secret`.
    pub fn new(secret: &WebhookSecret) -> Self {
        let any_length = "HMAC takes a key of any length";
        Self {
            millicast: Hmac::new_from_slice(&secret.0).expect(any_length),
            standard: Hmac::new_from_slice(&secret.0).expect(any_length),
            previous: None,
        }
    }

    /// Lets `previous` sign too, so that a receiver that still has the secret before this one verifies. Only in
    /// the Standard Webhooks scheme: the hosted service's has room for one signature.
    #[must_use]
    pub fn beside(self, previous: &WebhookSecret) -> Self {
        Self { previous: Some(Self::new(previous).standard), ..self }
    }
}

impl From<&WebhookSecret> for SigningKey {
    fn from(secret: &WebhookSecret) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// The values of the four headers that prove a request. The id and the time are held together with
/// the signature over them, so that no others can be sent by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// [`WEBHOOK_ID`].
    pub webhook_id: String,
    /// [`WEBHOOK_TIMESTAMP`], decimal.
    pub timestamp: String,
    /// [`MILLICAST_SIGNATURE`], `sha1=<hex>`.
    pub millicast: String,
    /// [`WEBHOOK_SIGNATURE`], `v1,<base64>`; the newest secret's first.
    pub standard: String,
}

impl SignatureHeaders {
    /// Names, in lower case, and values to set on the request.
    pub fn named(&self) -> [(&'static str, &str); 4] {
        [
            (WEBHOOK_ID, &self.webhook_id),
            (WEBHOOK_TIMESTAMP, &self.timestamp),
            (WEBHOOK_SIGNATURE, &self.standard),
            (MILLICAST_SIGNATURE, &self.millicast),
        ]
    }
}

/// Signs one attempt.
///
/// - `webhook_id`: stays the same over all attempts; without `.`, which separates the signed parts.
/// - `timestamp_seconds`: when this attempt is made; receivers refuse what is minutes away from their clock.
/// - `body`: the exact bytes that are sent.
///
/// Spec: Standard Webhooks 1.0, "Signature scheme"; the Millicast scheme signs the body alone.
pub fn signature_headers(
    key: &SigningKey,
    webhook_id: &str,
    timestamp_seconds: i64,
    body: &[u8],
) -> SignatureHeaders {
    let timestamp = timestamp_seconds.to_string();
    let sign = |key: &Hmac<Sha256>, to: &mut String| {
        let signed = key.clone().chain_update(webhook_id).chain_update(".").chain_update(&timestamp);
        to.push_str("v1,");
        STANDARD.encode_string(signed.chain_update(".").chain_update(body).finalize().into_bytes(), to);
    };
    let mut standard = String::with_capacity(96);
    sign(&key.standard, &mut standard);
    if let Some(previous) = &key.previous {
        standard.push(' ');
        sign(previous, &mut standard);
    }
    let millicast = key.millicast.clone().chain_update(body).finalize().into_bytes();
    SignatureHeaders {
        webhook_id: webhook_id.to_owned(),
        timestamp,
        millicast: format!("sha1={}", hex::encode(millicast)),
        standard,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=";

    #[test]
    fn the_hosted_services_scheme() {
        let key = SigningKey::new(&SECRET.parse().unwrap());
        let headers = signature_headers(&key, "id", 0, br#"{"type":"media"}"#);
        assert_eq!(headers.millicast, "sha1=90279978dedb27a0ca3767eac2feb5b7cede2ffc");
    }

    #[test]
    fn both_notations_are_one_secret() {
        let plain: WebhookSecret = SECRET.parse().unwrap();
        for text in ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=", " MDEyMzQ1Njc4OWFiY2RlZjAxMjM\n"] {
            assert_eq!(text.parse::<WebhookSecret>().unwrap(), plain);
        }
        assert_eq!(plain.reveal_base64(), SECRET);
        assert_eq!(plain.reveal_standard(), format!("whsec_{SECRET}"));
    }

    #[test]
    fn what_is_not_a_secret_is_refused_with_a_reason() {
        let parse = |text: &str| text.parse::<WebhookSecret>().unwrap_err();
        assert_eq!(parse("whsec_"), InvalidSecret::Empty);
        assert_eq!(parse("  "), InvalidSecret::Empty);
        assert_eq!(parse("-_-_"), InvalidSecret::NotBase64);
        assert_eq!(parse("WHSEC_AAAA"), InvalidSecret::NotBase64);
        assert_eq!(parse(&"A".repeat(344)), InvalidSecret::TooLong(258));
    }

    #[test]
    fn nothing_shows_a_secret_by_accident() {
        let secret = WebhookSecret::generate_from([b'k'; 32]);
        let shown = format!("{secret:?} {:?}", SigningKey::from(&secret));
        assert_eq!(shown, "WebhookSecret(..) SigningKey(..)");
    }

    #[test]
    fn two_secrets_sign_side_by_side_and_either_verifies() {
        let secret = |byte: u8| WebhookSecret::generate_from([byte; 32]);
        let (new, old) = (SigningKey::new(&secret(2)), SigningKey::new(&secret(1)));
        let both = signature_headers(&new.clone().beside(&secret(1)), "id", 7, b"body");
        let [new, old] = [new, old].map(|key| signature_headers(&key, "id", 7, b"body"));
        assert_eq!(both.standard, format!("{} {}", new.standard, old.standard));
        assert_eq!(both.millicast, new.millicast);
        for byte in [1, 2] {
            let oracle = standardwebhooks::Webhook::new(&secret(byte).reveal_standard()).unwrap();
            let mut headers = http::HeaderMap::new();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let key = SigningKey::new(&secret(2)).beside(&secret(1));
            for (name, value) in signature_headers(&key, "id", now.try_into().unwrap(), b"body").named() {
                headers.insert(name, value.parse().unwrap());
            }
            oracle.verify(b"body", &headers).unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_reference_library_signs_the_same(
            secret in any::<[u8; 32]>(),
            id in "[A-Za-z0-9_-]{1,64}",
            body in "\\PC{0,200}",
        ) {
            let secret = WebhookSecret::generate_from(secret);
            let oracle = standardwebhooks::Webhook::new(&secret.reveal_standard()).unwrap();
            let headers = signature_headers(&SigningKey::new(&secret), &id, 1_700_000_000, body.as_bytes());
            prop_assert_eq!(&headers.standard, &oracle.sign(&id, 1_700_000_000, body.as_bytes()).unwrap());
        }

        #[test]
        fn a_secret_is_read_as_written(random in any::<[u8; 24]>()) {
            let secret = WebhookSecret::generate_from(random);
            prop_assert_eq!(&secret.reveal_base64().parse::<WebhookSecret>().unwrap(), &secret);
            prop_assert_eq!(&secret.reveal_standard().parse::<WebhookSecret>().unwrap(), &secret);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<WebhookSecret>();
        }
    }
}
