//! An authority made for this run, and the certificates it signs.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::Door;

/// What a client needs to know, in PEM.
#[derive(Debug, Clone)]
pub struct Pems {
    /// The authority that signed all certificates here.
    pub authority: String,
    /// A certificate that a client may show.
    pub client_certificate: String,
    /// Its private key.
    pub client_key: String,
}

/// The authority, and what it vouches for.
pub(crate) struct Certificates {
    pub(crate) pems: Pems,
    authority: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    ip: IpAddr,
}

impl Certificates {
    /// An authority for endpoints at `ip`.
    pub(crate) fn new(ip: IpAddr) -> io::Result<Self> {
        let mut params = params("conformance receiver's authority", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = params.self_signed(&key).map_err(io::Error::other)?;
        let issuer = Issuer::new(params, key);

        let mut client = self::params("client", Vec::new())?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate().map_err(io::Error::other)?;
        let client = client.signed_by(&client_key, &issuer).map_err(io::Error::other)?;
        let pems = Pems {
            authority: authority.pem(),
            client_certificate: client.pem(),
            client_key: client_key.serialize_pem(),
        };
        Ok(Self { pems, authority: authority.der().clone(), issuer, ip })
    }

    /// What does the handshakes behind a door; nothing behind the plain one.
    pub(crate) fn acceptor(&self, door: Door) -> io::Result<Option<TlsAcceptor>> {
        if door == Door::Http {
            return Ok(None);
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if door == Door::Mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.clone()).map_err(io::Error::other)?;
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.server(door)?;
        let mut config = builder.with_single_cert(vec![certificate], key).map_err(io::Error::other)?;
        config.alpn_protocols = match door {
            Door::Https | Door::Mutual => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            _ => vec![b"http/1.1".to_vec()],
        };
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn server(&self, door: Door) -> io::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let names = match door {
            Door::WrongName => vec!["elsewhere.invalid".to_owned()],
            _ => vec!["localhost".to_owned(), self.ip.to_string()],
        };
        let mut params = params("conformance receiver", names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if door == Door::Expired {
            params.not_after = date_time_ymd(2001, 1, 1);
            params.not_before = date_time_ymd(2000, 1, 1);
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        Ok((certificate.der().clone(), key))
    }
}

fn params(name: &str, names: Vec<String>) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
