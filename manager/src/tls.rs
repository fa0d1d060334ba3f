//! TLS of the manager's one port: 1.3 only, AES-256-GCM, keys for each connection alone.
//!
//! A client certificate is asked for and may be left out: people bring a token instead. Whoever brings one must
//! have it from our authority. Which protocol is spoken (API or link) is told apart by ALPN.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::ca::Ca;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority cannot make a certificate.
    #[error(transparent)]
    Ca(#[from] crate::ca::CaError),
    /// rustls refuses what it was given.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The authority's certificate cannot be a root.
    #[error("the authority's certificate cannot be used to verify clients")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The cryptography of robo's connections: X25519MLKEM768 or X25519 or P-256, AES-256-GCM.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    }
}

/// The server's configuration.
///
/// # Errors
/// When the authority cannot make a certificate.
pub fn server_config(ca: &Ca) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let (chain, key) = ca.server_certificate()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![robo_wire::ALPN_LINK.to_vec(), b"h2".to_vec(), b"http/1.1".to_vec()];
    // No resumption: keys are unique to each connection, and nothing is kept for a device that is gone.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
