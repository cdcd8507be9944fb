//! A webhook's secret, made ready to prove a request in either scheme, and the names of the headers that do.
//!
//! [`crate::verify`] compares with what these keys give; the fake sender sends it.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

/// `sha1=<lower-case hex>`: the hosted service's scheme.
pub const MILLICAST_SIGNATURE: &str = "x-millicast-signature";
/// The event's id, the same on every attempt (Standard Webhooks 1.0).
pub const WEBHOOK_ID: &str = "webhook-id";
/// When the attempt was signed, in seconds since the epoch (Standard Webhooks 1.0).
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several separated by spaces (Standard Webhooks 1.0).
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// Standard alphabet; some systems drop the `=` at the end.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One secret, already hashed into both HMAC states.
#[derive(Clone)]
pub struct Key {
    millicast: Hmac<Sha1>,
    standard: Hmac<Sha256>,
}

/// A text that is not a webhook secret. The text is left out: it may be a real secret with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// No secret at all.
    #[error("no webhook secret was given: at least one is needed to verify anything")]
    None,
    /// Not base64 of the standard alphabet.
    #[error(
        "the webhook secret is not standard base64, with or without `whsec_` in front: copy it as the server shows it"
    )]
    NotBase64,
    /// An empty secret proves nothing.
    #[error("the webhook secret is empty: anybody could sign with it")]
    Empty,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads standard base64, with or without `whsec_` in front.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let text = text.trim();
        let bytes = BASE64
            .decode(text.strip_prefix("whsec_").unwrap_or(text))
            .map_err(|_| InvalidSecret::NotBase64)?;
        if bytes.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        Ok(Self::from_bytes(&bytes))
    }

    /// The key itself.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let any_length = "HMAC takes a key of any length";
        Self {
            millicast: Hmac::new_from_slice(bytes).expect(any_length),
            standard: Hmac::new_from_slice(bytes).expect(any_length),
        }
    }

    /// HMAC-SHA1 of the body: the hosted service's scheme.
    pub fn millicast(&self, body: &[u8]) -> [u8; 20] {
        self.millicast.clone().chain_update(body).finalize().into_bytes().into()
    }

    /// HMAC-SHA256 of `id.timestamp.body`. Spec: Standard Webhooks 1.0, "Signature scheme".
    pub fn standard(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let head = self.standard.clone().chain_update(id).chain_update(".").chain_update(timestamp);
        head.chain_update(".").chain_update(body).finalize().into_bytes().into()
    }
}
