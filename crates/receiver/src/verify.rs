//! Proves that a request comes from the sender that shares a secret with you.
//!
//! Two schemes are understood. **Standard Webhooks 1.0** signs the id, the time and the body;
//! **`x-millicast-signature`** signs the body alone, so a captured request can be sent again for ever.
//! When any Standard Webhooks header is present, that scheme decides and the other is not looked at:
//! it proves more, and both stand on the same secret. Hosted Millicast sends only its own; a receiver
//! that listens to Media Hooks alone should call [`Verifier::require_standard`], because an attacker
//! can drop headers. All comparisons take constant time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use http::HeaderMap;
use subtle::ConstantTimeEq as _;

use crate::key::{BASE64, Key, MILLICAST_SIGNATURE, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};

pub use crate::key::InvalidSecret;

/// How far a request's time may be from ours: five minutes, as Standard Webhooks 1.0 advises.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_secs(300);

/// Checks requests against one or more secrets.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Key>,
    tolerance: Duration,
    standard_required: bool,
}

/// A request that is what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which scheme proved it.
    pub scheme: Scheme,
    /// The event's id, the same on every attempt. Only Standard Webhooks has one.
    pub id: Option<String>,
    /// When the attempt was signed, in seconds since the epoch. Only Standard Webhooks has it.
    pub timestamp_seconds: Option<i64>,
}

/// How a request was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Standard Webhooks 1.0, `v1`.
    Standard,
    /// `x-millicast-signature: sha1=…`.
    Millicast,
}

/// Why a request is not to be trusted. The messages may be sent back: they hold nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Neither scheme's headers are there.
    #[error("the request is not signed: it has neither `webhook-signature` nor `x-millicast-signature`")]
    Unsigned,
    /// Signed, but not in the scheme that this receiver demands.
    #[error("the request has no Standard Webhooks signature, which this receiver requires")]
    StandardRequired,
    /// One of the three Standard Webhooks headers is missing.
    #[error("the `{0}` header is missing")]
    Missing(&'static str),
    /// A header occurs twice or is not what it has to be.
    #[error("the `{0}` header is malformed or occurs more than once")]
    Malformed(&'static str),
    /// The time of signing is too far in the past.
    #[error("the request was signed {0} s ago, which is too long: check both clocks, or it is a replay")]
    TooOld(u64),
    /// The time of signing is too far in the future.
    #[error("the request was signed {0} s in the future: check both clocks")]
    TooNew(u64),
    /// No signature belongs to any of the secrets.
    #[error("the signature does not match: another secret, or the body was changed on its way")]
    Mismatch,
}

impl Verifier {
    /// Trusts `secrets`, each in standard base64 or as `whsec_…`. Several are for rotation: give the old
    /// and the new one until the sender uses the new one only.
    ///
    /// # Errors
    /// No secret, or one that cannot be read.
    pub fn new<I>(secrets: I) -> Result<Self, InvalidSecret>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let keys: Vec<Key> =
            secrets.into_iter().map(|secret| Key::parse(secret.as_ref())).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(InvalidSecret::None);
        }
        Ok(Self { keys, tolerance: TOLERANCE_DEFAULT, standard_required: false })
    }

    /// Sets how far a request's time may be from ours, in either direction; [`TOLERANCE_DEFAULT`] otherwise.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Refuses what is signed only by `x-millicast-signature`, which does not protect against replay.
    #[must_use]
    pub fn require_standard(mut self) -> Self {
        self.standard_required = true;
        self
    }

    /// Checks one request at the time `now`.
    ///
    /// `body` has to be the bytes as they came: parsed and written again they would not match.
    ///
    /// # Errors
    /// A reason that can be answered with status 400.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<Verified, VerifyError> {
        let standard = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE];
        if standard.into_iter().any(|name| headers.contains_key(name)) {
            return self.verify_standard(headers, body, now);
        }
        if !headers.contains_key(MILLICAST_SIGNATURE) {
            return Err(VerifyError::Unsigned);
        }
        if self.standard_required {
            return Err(VerifyError::StandardRequired);
        }
        self.verify_millicast(headers, body)
    }

    fn verify_standard(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Verified, VerifyError> {
        let id = only(headers, WEBHOOK_ID)?;
        let timestamp = only(headers, WEBHOOK_TIMESTAMP)?;
        let signatures = only(headers, WEBHOOK_SIGNATURE)?;
        let seconds = parse_timestamp(timestamp).ok_or(VerifyError::Malformed(WEBHOOK_TIMESTAMP))?;
        self.check_time(seconds, now)?;

        let expected: Vec<_> = self.keys.iter().map(|key| key.standard(id, timestamp, body)).collect();
        // Other versions than v1 may stand beside it; they are not ours to judge.
        let given = signatures.split(' ').filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?).ok());
        let mut genuine = subtle::Choice::from(0);
        for signature in given {
            for expected in &expected {
                genuine |= expected.as_slice().ct_eq(&signature);
            }
        }
        if !bool::from(genuine) {
            return Err(VerifyError::Mismatch);
        }
        Ok(Verified { scheme: Scheme::Standard, id: Some(id.to_owned()), timestamp_seconds: Some(seconds) })
    }

    fn check_time(&self, seconds: i64, now: SystemTime) -> Result<(), VerifyError> {
        let ahead = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i128::from(seconds) - i128::from(since.as_secs()),
            Err(before) => i128::from(seconds) + i128::from(before.duration().as_secs()),
        };
        let distance = u64::try_from(ahead.unsigned_abs()).unwrap_or(u64::MAX);
        match distance > self.tolerance.as_secs() {
            true if ahead < 0 => Err(VerifyError::TooOld(distance)),
            true => Err(VerifyError::TooNew(distance)),
            false => Ok(()),
        }
    }

    fn verify_millicast(&self, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
        let given = only(headers, MILLICAST_SIGNATURE)?
            .strip_prefix("sha1=")
            .and_then(|signature| hex::decode(signature).ok())
            .ok_or(VerifyError::Malformed(MILLICAST_SIGNATURE))?;
        let mut genuine = subtle::Choice::from(0);
        for key in &self.keys {
            genuine |= key.millicast(body).as_slice().ct_eq(&given);
        }
        if !bool::from(genuine) {
            return Err(VerifyError::Mismatch);
        }
        Ok(Verified { scheme: Scheme::Millicast, id: None, timestamp_seconds: None })
    }
}

impl fmt::Debug for Verifier {
    /// Leaves the keys out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys.len())
            .field("tolerance", &self.tolerance)
            .field("standard_required", &self.standard_required)
            .finish()
    }
}

/// The value of a header that has to occur exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(VerifyError::Missing(name))?;
    match (values.next(), value.to_str()) {
        (None, Ok(text)) if !text.is_empty() => Ok(text),
        _ => Err(VerifyError::Malformed(name)),
    }
}

/// Digits alone: `+5`, which Rust would read too, is signed differently by other libraries.
fn parse_timestamp(text: &str) -> Option<i64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=";
    const BODY: &[u8] = br#"{"type":"media"}"#;
    const SHA1: &str = "sha1=90279978dedb27a0ca3767eac2feb5b7cede2ffc";
    const NOW: u64 = 1_700_000_000;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// What the Media Hooks sender would send at `seconds`, signed with `secret`.
    fn signed(secret: &str, seconds: i64) -> HeaderMap {
        let key = mediahooks_delivery::SigningKey::new(&secret.parse().unwrap());
        let signed = mediahooks_delivery::signature_headers(&key, "evt-1", seconds, BODY);
        headers(&signed.named())
    }

    fn verify(verifier: &Verifier, headers: &HeaderMap) -> Result<Verified, VerifyError> {
        verifier.verify(headers, BODY, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn verifier() -> Verifier {
        Verifier::new([SECRET]).unwrap()
    }

    #[test]
    fn what_media_hooks_sends_is_verified_by_the_stronger_scheme() {
        let verified = verify(&verifier(), &signed(SECRET, NOW as i64)).unwrap();
        let id = Some("evt-1".to_owned());
        assert_eq!(verified, Verified { scheme: Scheme::Standard, id, timestamp_seconds: Some(NOW as i64) });
    }

    #[test]
    fn what_hosted_millicast_sends_is_verified() {
        let verified = verify(&verifier(), &headers(&[("X-Millicast-Signature", SHA1)])).unwrap();
        assert_eq!(verified, Verified { scheme: Scheme::Millicast, id: None, timestamp_seconds: None });
    }

    #[test]
    fn a_standard_header_is_never_overruled_by_a_genuine_millicast_signature() {
        let check = |name, value, expected| {
            let mut headers = signed(SECRET, NOW as i64);
            match value {
                Some(value) => drop(headers.insert(name, http::HeaderValue::from_static(value))),
                None => drop(headers.remove(name)),
            }
            assert_eq!(verify(&verifier(), &headers), Err(expected), "{name}");
        };
        check(WEBHOOK_SIGNATURE, Some("v1,AAAA"), VerifyError::Mismatch);
        check(WEBHOOK_ID, Some("evt-2"), VerifyError::Mismatch);
        check(WEBHOOK_TIMESTAMP, Some("1700000001"), VerifyError::Mismatch);
        check(WEBHOOK_TIMESTAMP, Some("+1700000000"), VerifyError::Malformed(WEBHOOK_TIMESTAMP));
        check(WEBHOOK_TIMESTAMP, Some("99999999999999999999"), VerifyError::Malformed(WEBHOOK_TIMESTAMP));
        check(WEBHOOK_SIGNATURE, None, VerifyError::Missing(WEBHOOK_SIGNATURE));
        check(WEBHOOK_ID, None, VerifyError::Missing(WEBHOOK_ID));
    }

    #[test]
    fn rotation_by_several_secrets_or_several_signatures() {
        let new = "bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldw==";
        let both = Verifier::new([SECRET, &format!("whsec_{new}")]).unwrap();
        assert!(verify(&both, &signed(new, NOW as i64)).is_ok());
        assert!(verify(&both, &signed(SECRET, NOW as i64)).is_ok());
        assert_eq!(verify(&verifier(), &signed(new, NOW as i64)), Err(VerifyError::Mismatch));

        let mut headers = signed(SECRET, NOW as i64);
        let genuine = headers[WEBHOOK_SIGNATURE].to_str().unwrap();
        let list = format!("v1a,bm9wZQ== v1,bm9wZQ==  {genuine} rubbish");
        headers.insert(WEBHOOK_SIGNATURE, list.parse().unwrap());
        assert!(verify(&verifier(), &headers).is_ok());
    }

    #[test]
    fn a_request_from_another_time_is_refused() {
        let at = |offset: i64| verify(&verifier(), &signed(SECRET, NOW as i64 + offset)).map(drop);
        assert_eq!(at(-300), Ok(()));
        assert_eq!(at(300), Ok(()));
        assert_eq!(at(-301), Err(VerifyError::TooOld(301)));
        assert_eq!(at(301), Err(VerifyError::TooNew(301)));
        let patient = verifier().tolerance(Duration::from_secs(3600));
        assert!(verify(&patient, &signed(SECRET, NOW as i64 - 3600)).is_ok());
    }

    #[test]
    fn the_weaker_scheme_can_be_switched_off() {
        let strict = verifier().require_standard();
        let millicast = headers(&[(MILLICAST_SIGNATURE, SHA1)]);
        assert_eq!(verify(&strict, &millicast), Err(VerifyError::StandardRequired));
        assert!(verify(&strict, &signed(SECRET, NOW as i64)).is_ok());
    }

    #[test]
    fn what_is_not_signed_or_signed_wrongly_is_refused() {
        let check = |pairs: &[_], expected| assert_eq!(verify(&verifier(), &headers(pairs)), Err(expected));
        check(&[], VerifyError::Unsigned);
        check(&[(MILLICAST_SIGNATURE, "")], VerifyError::Malformed(MILLICAST_SIGNATURE));
        check(&[(MILLICAST_SIGNATURE, "sha256=00")], VerifyError::Malformed(MILLICAST_SIGNATURE));
        check(&[(MILLICAST_SIGNATURE, "sha1=zz")], VerifyError::Malformed(MILLICAST_SIGNATURE));
        check(&[(MILLICAST_SIGNATURE, "sha1=")], VerifyError::Mismatch);
        check(&[(MILLICAST_SIGNATURE, "sha1=9027")], VerifyError::Mismatch);
        check(&[(MILLICAST_SIGNATURE, &SHA1.replace("sha1=9", "sha1=8"))], VerifyError::Mismatch);
        let mut twice = headers(&[(MILLICAST_SIGNATURE, SHA1)]);
        twice.append(MILLICAST_SIGNATURE, SHA1.parse().unwrap());
        assert_eq!(verify(&verifier(), &twice), Err(VerifyError::Malformed(MILLICAST_SIGNATURE)));
    }

    #[test]
    fn secrets_that_prove_nothing_are_refused() {
        let refused = |secrets: &[&str]| Verifier::new(secrets).unwrap_err();
        assert_eq!(refused(&[]), InvalidSecret::None);
        assert_eq!(refused(&["whsec_"]), InvalidSecret::Empty);
        assert_eq!(refused(&[SECRET, "not base64"]), InvalidSecret::NotBase64);
        assert!(!format!("{:?}", verifier()).contains("Hmac"));
    }

    /// The example that the reference libraries of Standard Webhooks 1.0 are tested with.
    #[test]
    fn the_published_example_is_verified() {
        let verifier = Verifier::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let headers = headers(&[
            (WEBHOOK_ID, "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            (WEBHOOK_TIMESTAMP, "1614265330"),
            (WEBHOOK_SIGNATURE, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        let now = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
        assert_eq!(
            verifier.verify(&headers, br#"{"test": 2432232314}"#, now).map(|verified| verified.scheme),
            Ok(Scheme::Standard)
        );
    }

    #[test]
    fn the_reference_library_agrees() {
        let reference = standardwebhooks::Webhook::new(&format!("whsec_{SECRET}")).unwrap();
        let signature = reference.sign("evt-1", NOW as i64, BODY).unwrap();
        let time = NOW.to_string();
        let theirs = [(WEBHOOK_ID, "evt-1"), (WEBHOOK_TIMESTAMP, &time), (WEBHOOK_SIGNATURE, &signature)];
        assert!(verify(&verifier(), &headers(&theirs)).is_ok());
    }

    proptest! {
        #[test]
        fn no_headers_panic(values in proptest::collection::vec("[ -~]{0,60}", 4), body in any::<Vec<u8>>()) {
            let names = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE, MILLICAST_SIGNATURE];
            let all: HeaderMap = names.iter().zip(&values)
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            prop_assert!(verifier().verify(&all, &body, UNIX_EPOCH).is_err());
        }

        #[test]
        fn a_changed_body_never_verifies(position in 0..BODY.len(), bit in 0..8u8) {
            let mut body = BODY.to_vec();
            body[position] ^= 1 << bit;
            let now = UNIX_EPOCH + Duration::from_secs(NOW);
            prop_assert_eq!(verifier().verify(&signed(SECRET, NOW as i64), &body, now), Err(VerifyError::Mismatch));
            let millicast = headers(&[(MILLICAST_SIGNATURE, SHA1)]);
            prop_assert_eq!(verifier().verify(&millicast, &body, now), Err(VerifyError::Mismatch));
        }
    }
}
