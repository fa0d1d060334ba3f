//! TLS of everything the agent dials: 1.3 only, AES-256-GCM, the manager's authority pinned.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::identity::Identity;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What we keep is no certificate or key.
    #[error("the device's identity cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// rustls refuses what it was given.
    #[error("TLS cannot be set up")]
    Rustls(#[from] Error),
}

/// The cryptography of robo's connections: X25519MLKEM768 or X25519 or P-256, AES-256-GCM.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    })
}

/// For an enrolled device: trusts its manager's authority alone, and brings its own certificate.
///
/// # Errors
/// When the identity's files are no certificate or key.
pub fn enrolled(identity: &Identity, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.ca_pem.as_bytes())?)?;
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(finish(config, alpn))
}

/// For a device that enrols: trusts whatever authority has the fingerprint that its token pins, which the manager
/// sends in its chain. The authority found is in [`Pin::authority`] after the handshake.
///
/// # Errors
/// Never in practice.
pub fn pinned(pin: &Arc<Pin>, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(pin) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    Ok(finish(config, alpn))
}

/// For a proxy that is spoken to by TLS: trusts `roots`, and brings nothing. TLS 1.3 as everywhere, with any cipher of it.
///
/// # Errors
/// Never in practice.
pub(crate) fn server_only(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn finish(mut config: ClientConfig, alpn: &[u8]) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Verifies a manager by the fingerprint of its authority. All else is checked as ever: signatures, validity, name.
pub struct Pin {
    fingerprint: String,
    authority: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    /// Pins the authority whose certificate (DER) has this SHA-256, in lower-case hexadecimal.
    #[must_use]
    pub fn new(fingerprint: String) -> Arc<Self> {
        Arc::new(Self { fingerprint, authority: Mutex::new(None), provider: provider() })
    }

    /// The authority's certificate in PEM, once a handshake has succeeded.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        let found = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().map(|der| pem_of(der))
    }
}

/// SHA-256 of the first certificate in `pem`, in hexadecimal.
///
/// # Errors
/// When there is no certificate in it.
pub fn fingerprint_of(pem: &str) -> Result<String, TlsError> {
    Ok(hex::encode(Sha256::digest(CertificateDer::from_pem_slice(pem.as_bytes())?)))
}

/// Textual encoding of certificates (RFC 7468).
fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.fingerprint)
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| hex::encode(Sha256::digest(certificate)) == self.fingerprint)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verified = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|e| Error::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
