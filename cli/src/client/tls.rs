//! TLS to a manager: one pinned CA, TLS 1.3, HTTP/2, and the manager's own name whatever its address is. A proxy on the
//! way that is spoken to by TLS has a name of its own, and is verified by other authorities.

use std::fmt;
use std::sync::Arc;

use robo_agent::proxy::Proxy;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// `https://HOST:PORT`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `https://HOST[:PORT]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text)
            .map_err(|error| format!("`{text}` is not a URL ({error}); write https://HOST:PORT"))?;
        if url.scheme() != "https" {
            return Err(format!("`{text}` must begin with https://, a manager speaks nothing else"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return Err(format!("`{text}` must be https://HOST:PORT and nothing more"));
        }
        let host = url.host_str().ok_or_else(|| format!("`{text}` names no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: port_of(text, &url) })
    }

    /// What TLS calls the host.
    fn server_name(&self) -> Result<ServerName<'static>, String> {
        ServerName::try_from(self.host.clone())
            .map_err(|error| format!("`{}` is no name of a host: {error}", self.host))
    }

    /// `HOST:PORT`.
    pub(crate) fn host_and_port(&self) -> String {
        self.to_string().replacen("https://", "", 1)
    }
}

/// The port as written: a URL forgets 443, where it is written too.
fn port_of(text: &str, url: &reqwest::Url) -> u16 {
    let written = text.trim_end_matches('/').ends_with(":443");
    url.port().unwrap_or(if written { 443 } else { robo_wire::DEFAULT_PORT })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

/// The configuration that trusts the certificates in `pem` and nothing else; on the way there, what `proxy` is trusted by.
///
/// # Errors
/// Why `pem` is no CA, in words.
pub(crate) fn config(pem: &str, address: &Address, proxy: Option<&Proxy>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("it holds no CA certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate in PEM".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = |roots| WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let manager = verifier(Arc::new(roots)).map_err(|error| error.to_string())?;
    let roots_of_proxy = proxy.and_then(Proxy::roots).map(Arc::clone);
    let proxy = roots_of_proxy.map(verifier).transpose().map_err(|error| error.to_string())?;
    let verifier = Verifier { host: address.server_name()?, manager, proxy };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Verifies a manager by its own name: it is the same one at every address. Whoever is dialled under another name than
/// the manager's address is the proxy.
#[derive(Debug)]
struct Verifier {
    host: ServerName<'static>,
    manager: Arc<WebPkiServerVerifier>,
    proxy: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.proxy {
            Some(proxy) if *server_name != self.host => {
                proxy.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Some(_) | None => {
                let name = ServerName::try_from(robo_wire::SERVER_NAME)
                    .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName))?;
                self.manager.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.manager.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.manager.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.manager.supported_verify_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A CA that signed nothing.
    pub(crate) const CA: &str = include_str!("tls/test-ca.pem");

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (text, expect) in [
            ("https://10.0.0.1:99", "https://10.0.0.1:99"),
            ("https://manager.lan/", "https://manager.lan:7626"),
            ("https://manager.lan:443", "https://manager.lan:443"),
            ("https://[::1]:8000", "https://[::1]:8000"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expect);
        }
        for bad in ["manager:7626", "http://manager", "https://", "https://m/x", "https://me@m", "m"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_certificates_are_a_ca() {
        let address = Address::parse("https://10.0.0.1:99").unwrap();
        assert!(config(CA, &address, None).is_ok());
        assert!(config("", &address, None).unwrap_err().contains("no certificate"));
        assert!(config("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &address, None).is_err());
    }
}
