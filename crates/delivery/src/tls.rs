//! An endpoint's own TLS material: a client certificate with its key, and further certificate authorities.
//!
//! `api` reads it when a webhook is registered, so that what cannot work is refused with a reason; `sender`
//! reads the same again and connects with it. Pure: texts in, certificates out.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Longest text of each part, in bytes: a chain of a few certificates takes a tenth of it.
pub const PEM_BYTES_MAX: usize = 64 * 1024;

/// Most certificates in one text.
pub const CERTIFICATES_MAX: usize = 32;

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct TlsMaterial {
    /// What the client shows of itself, with the key that proves it.
    pub identity: Option<Arc<CertifiedKey>>,
    /// Who may vouch for the endpoint, beside the authorities that the system trusts.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Why it cannot be used. The texts themselves are left out: one of them is a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTls {
    /// One without the other.
    #[error("a client certificate and its key belong together: give both, or neither")]
    OneOfTwo,
    /// Longer than [`PEM_BYTES_MAX`], or more certificates than [`CERTIFICATES_MAX`].
    #[error("the {0} is too long: at most 64 KiB and 32 certificates are accepted")]
    TooLong(&'static str),
    /// No PEM, or nothing of the kind in it.
    #[error("the {0} is not PEM text with at least one `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(&'static str),
    /// Not an X.509 certificate.
    #[error("the {part} holds something that is not a usable X.509 certificate: {reason}")]
    Certificate {
        /// Which text.
        part: &'static str,
        /// What the TLS library says.
        reason: String,
    },
    /// No key in it, an encrypted one included.
    #[error("the client key is not PEM text with an unencrypted private key (PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    /// The key does not belong to the certificate, or is of a kind that TLS does not take.
    #[error("the client key cannot be used with the client certificate: {0}")]
    Identity(String),
}

const CERTIFICATE: &str = "client certificate";
const AUTHORITIES: &str = "CA certificate";

/// Reads PEM texts. All absent is nothing special: the system's authorities, and no client certificate.
pub fn read_tls(
    client_certificate: Option<&str>,
    client_key: Option<&str>,
    ca_certificate: Option<&str>,
) -> Result<TlsMaterial, InvalidTls> {
    let identity = match (client_certificate, client_key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Arc::new(read_identity(certificate, key)?)),
        _ => return Err(InvalidTls::OneOfTwo),
    };
    let authorities = ca_certificate.map(read_authorities).transpose()?.unwrap_or_default();
    Ok(TlsMaterial { identity, authorities })
}

/// What does the mathematics of all TLS here.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read_identity(certificate: &str, key: &str) -> Result<CertifiedKey, InvalidTls> {
    let chain = read_certificates(certificate, CERTIFICATE)?;
    if key.len() > PEM_BYTES_MAX {
        return Err(InvalidTls::TooLong("client key"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| InvalidTls::NoKey)?;
    CertifiedKey::from_der(chain, key, &crypto_provider())
        .map_err(|error| InvalidTls::Identity(error.to_string()))
}

fn read_authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let authorities = read_certificates(text, AUTHORITIES)?;
    let mut store = RootCertStore::empty();
    for authority in &authorities {
        store
            .add(authority.clone())
            .map_err(|error| InvalidTls::Certificate { part: AUTHORITIES, reason: error.to_string() })?;
    }
    Ok(authorities)
}

fn read_certificates(text: &str, part: &'static str) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    if text.len() > PEM_BYTES_MAX {
        return Err(InvalidTls::TooLong(part));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(InvalidTls::NoCertificate(part)),
        Ok(certificates) if certificates.len() > CERTIFICATES_MAX => Err(InvalidTls::TooLong(part)),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(InvalidTls::NoCertificate(part)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["client".into()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_and_an_authority_are_read() {
        let (certificate, key) = pair();
        let material = read_tls(Some(&certificate), Some(&key), Some(&certificate)).unwrap();
        assert_eq!(material.identity.unwrap().cert.len(), 1);
        assert_eq!(material.authorities.len(), 1);
        let none = read_tls(None, None, None).unwrap();
        assert!(none.identity.is_none() && none.authorities.is_empty());
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        let (certificate, key) = pair();
        let (other, _) = pair();
        let refused = |certificate: Option<&str>, key: Option<&str>, ca: Option<&str>| {
            let refused = read_tls(certificate, key, ca).unwrap_err();
            assert!(!refused.to_string().contains("PRIVATE"), "{refused}");
            refused
        };
        assert_eq!(refused(Some(&certificate), None, None), InvalidTls::OneOfTwo);
        assert_eq!(refused(None, Some(&key), None), InvalidTls::OneOfTwo);
        assert!(matches!(refused(Some(&other), Some(&key), None), InvalidTls::Identity(_)));
        assert_eq!(refused(Some(&certificate), Some(&certificate), None), InvalidTls::NoKey);
        assert_eq!(refused(Some(&key), Some(&key), None), InvalidTls::NoCertificate(CERTIFICATE));
        assert_eq!(refused(None, None, Some("no PEM")), InvalidTls::NoCertificate(AUTHORITIES));
        let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(refused(None, None, Some(not_x509)), InvalidTls::Certificate { .. }));
        assert!(matches!(refused(Some(not_x509), Some(&key), None), InvalidTls::Identity(_)));
        let long = " ".repeat(PEM_BYTES_MAX + 1);
        assert_eq!(refused(None, None, Some(&long)), InvalidTls::TooLong(AUTHORITIES));
        assert_eq!(refused(None, None, Some(&certificate.repeat(33))), InvalidTls::TooLong(AUTHORITIES));
    }

    proptest! {
        #[test]
        fn no_text_panics(body in "[A-Za-z0-9+/=\n]{0,200}", text in "\\PC{0,100}") {
            let wrapped = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            let key = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
            let _ = read_tls(Some(&wrapped), Some(&key), Some(&wrapped));
            let _ = read_tls(Some(&text), Some(&text), Some(&text));
        }
    }
}
