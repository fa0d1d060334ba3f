//! TLS of the manager's one port: 1.3 only, AES-256-GCM, keys for each connection alone.
//!
//! A client certificate is asked for and may be left out: people bring a token instead. Whoever brings one must
//! have it from our authority. Which protocol is spoken (API or link) is told apart by ALPN.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::ca::{Ca, peer_of};

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

/// How long after its end a certificate may still be used to get the next one. A robot may lie in a store for months,
/// and must come back without a person; what has not been seen for longer is enrolled again.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Verifies clients as ever, but for one thing: a certificate that ended within [`RENEWAL_GRACE`] passes. Who uses one
/// is told apart by [`crate::ca::Peer::certificate_ends`], and may do nothing but renew it.
#[derive(Debug)]
struct EndedToo(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for EndedToo {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let ends = peer_of(end_entity).map(|peer| Duration::from_millis(peer.certificate_ends.0));
        let at = match ends {
            Some(ends)
                if now.as_secs() >= ends.as_secs() && now.as_secs() - ends.as_secs() < RENEWAL_GRACE.as_secs() =>
            {
                UnixTime::since_unix_epoch(ends.saturating_sub(Duration::from_secs(1)))
            }
            Some(_) | None => now,
        };
        self.0.verify_client_cert(end_entity, intermediates, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
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
    let verifier = Arc::new(EndedToo(verifier));
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use robo_model::quantity::Millis;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn a_certificate_that_ended_passes_for_a_while_and_a_foreign_one_never() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = |folder: &tempfile::TempDir| {
            Ca::load_or_create(folder.path()).unwrap().with_device_lifetime(Millis::from_secs(600))
        };
        let (ours, other) = (ca(&ours), ca(&other));
        let mut roots = RootCertStore::empty();
        roots.add(ours.certificate().clone()).unwrap();
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build().unwrap();
        let verifier = EndedToo(inner);
        let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let signed = |ca: &Ca| ca.sign_device(&"d-1".parse().unwrap(), &request.pem().unwrap()).unwrap();
        let passes = |ca: &Ca, after_end: i64| {
            let signed = signed(ca);
            let der = CertificateDer::from_pem_slice(signed.certificate_pem.as_bytes()).unwrap();
            let at = (signed.ends_at.0 / 1000).checked_add_signed(after_end).unwrap();
            verifier.verify_client_cert(&der, &[], UnixTime::since_unix_epoch(Duration::from_secs(at))).is_ok()
        };
        let grace = i64::try_from(RENEWAL_GRACE.as_secs()).unwrap();
        let tried = [-300, 0, 300, grace - 300, grace + 300].map(|after_end| passes(&ours, after_end));
        assert_eq!(tried, [true, true, true, true, false]);
        assert!(!passes(&other, -300) && !passes(&other, 300));
        assert!(!passes(&ours, -10 * 24 * 3600), "nor one that is not good yet");
    }
}
