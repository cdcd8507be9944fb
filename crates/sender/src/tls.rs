//! TLS as the client speaks it: 1.2 or 1.3, certificates always verified.
//!
//! There is no switch that turns verification off, here or anywhere: an endpoint with a certificate of a
//! private authority names that authority ([`mediahooks_model::webhook::WebhookTls`]).

use std::sync::Arc;

use mediahooks_delivery::tls::crypto_provider;
use mediahooks_delivery::{InvalidTls, TlsMaterial, read_tls};
use mediahooks_model::webhook::WebhookTls;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::config::SenderError;

/// The protocols offered, the better one first (RFC 7301, RFC 9113 §3.2).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes the TLS settings of endpoints.
pub(crate) struct Tls {
    roots: Arc<RootCertStore>,
    /// For endpoints without settings of their own, so that they share their sessions.
    plain: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts what the system trusts; the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name something else.
    pub(crate) fn new() -> Result<Self, SenderError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(SenderError::NoCertificates(found.errors.into_iter().next()));
        }
        let roots = Arc::new(roots);
        let plain = config(roots.clone(), &TlsMaterial::default())?;
        Ok(Self { roots, plain })
    }

    /// What connections to an endpoint use.
    pub(crate) fn config(&self, tls: Option<&WebhookTls>) -> Result<Arc<ClientConfig>, InvalidTls> {
        let Some(tls) = tls else { return Ok(self.plain.clone()) };
        let WebhookTls { client_certificate, client_key, ca_certificate } = tls;
        let material =
            read_tls(client_certificate.as_deref(), client_key.as_deref(), ca_certificate.as_deref())?;
        let mut roots = self.roots.clone();
        if !material.authorities.is_empty() {
            Arc::make_mut(&mut roots).add_parsable_certificates(material.authorities.iter().cloned());
        }
        config(roots, &material).map_err(|error| InvalidTls::Identity(error.to_string()))
    }
}

fn config(roots: Arc<RootCertStore>, material: &TlsMaterial) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_provider(crypto_provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match &material.identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
