//! TLS to a manager: one pinned CA, TLS 1.3, HTTP/2, and the manager's own name whatever its address is.

use std::fmt;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// `https://HOST:PORT`, read. As a resolver it answers every question with that host's addresses.
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

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
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

impl Resolve for Address {
    fn resolve(&self, _asked: Name) -> Resolving {
        let Self { host, port } = self.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
            if found.is_empty() {
                return Err(format!("the name {host} has no address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The configuration that trusts the certificates in `pem` and nothing else.
///
/// # Errors
/// Why `pem` is no CA, in words.
pub(crate) fn config(pem: &str) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("it holds no CA certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate in PEM".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
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
        assert!(config(CA).is_ok());
        assert!(config("").unwrap_err().contains("no certificate"));
        assert!(config("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }
}
