//! The HTTP proxy on the way to the manager, as the environment names it.
//!
//! `HTTPS_PROXY`, then `ALL_PROXY`, say which one; `NO_PROXY` says for whom none is used. Each may be written in small
//! letters. The rules are those of curl and Go: names and what is below them, addresses, networks, ports, `*`; this
//! machine itself is never behind a proxy. `tunnel` is how one is asked for a connection.

pub(crate) mod tunnel;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

/// The variables that may name a proxy, the first that says something counts.
pub const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The variables that may name for whom there is none.
pub const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Where an `http://` proxy listens that names no port.
const HTTP_PORT: u16 = 80;

/// Where an `https://` proxy listens that names no port.
const HTTPS_PORT: u16 = 443;

/// What the environment says about proxies.
#[derive(Clone, Default)]
pub struct Variables {
    /// The variable's name and what it says; it may hold a password.
    proxy: Option<(&'static str, String)>,
    exceptions: String,
}

/// A proxy to ask. What it prints as has no password in it.
#[derive(Clone)]
pub struct Proxy {
    intercept: Intercept,
    /// As it was written.
    url: String,
    /// For a proxy that is spoken to by TLS.
    secure: Option<Secure>,
}

#[derive(Clone)]
struct Secure {
    roots: Arc<RootCertStore>,
    tls: Arc<ClientConfig>,
}

/// Why what was said about a proxy is of no use. Never tells what a variable says: there may be a password in it.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The variable is no proxy's address.
    #[error(
        "{0} is not the address of an HTTP proxy: write http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ before HOST where the proxy wants them, each special character in them as %XX"
    )]
    NotAProxy(&'static str),
    /// The certificates to trust a proxy by are none.
    #[error("the proxy's CA holds no certificate that can be used ({0}); give one in PEM with --proxy-ca")]
    Ca(String),
    /// There are no certificates to trust a proxy by.
    #[error(
        "this machine has no certificates to verify {proxy} by ({reason}); install ca-certificates, or give the proxy's own CA with --proxy-ca"
    )]
    NoRoots {
        /// Which proxy.
        proxy: String,
        /// Why.
        reason: String,
    },
}

impl Variables {
    /// What `read` gives for the names of variables; [`std::env::var`] in a program.
    #[must_use]
    pub fn read(read: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &'static str| read(name).filter(|text| !text.trim().is_empty()).map(|text| (name, text));
        let exceptions = EXCEPTIONS.into_iter().find_map(said).map(|(_, text)| text).unwrap_or_default();
        Self { proxy: VARIABLES.into_iter().find_map(said), exceptions }
    }

    /// The proxy for `manager` (`host:port`), if one is to be used. A proxy that is spoken to by TLS is verified by
    /// `ca_pem`, or by this machine's certificates where none is given.
    ///
    /// # Errors
    /// When the variable names no proxy, or there is nothing to verify it by.
    pub fn proxy_for(&self, manager: &str, ca_pem: Option<&str>) -> Result<Option<Proxy>, SettingError> {
        let Some((variable, url)) = &self.proxy else { return Ok(None) };
        let wrong = || SettingError::NotAProxy(variable);
        let url = url.trim();
        if is_this_machine(host_of(manager)) {
            return Ok(None);
        }
        let destination: Uri = format!("https://{manager}/").parse().map_err(|_| wrong())?;
        let any = Matcher::builder().https(url.to_owned()).build();
        let intercept = any.intercept(&destination).ok_or_else(wrong)?;
        let is_secure = match intercept.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(wrong()),
        };
        if intercept.uri().host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let exceptions = exceptions_for(&self.exceptions, manager);
        if Matcher::builder().https(url.to_owned()).no(exceptions).build().intercept(&destination).is_none() {
            return Ok(None);
        }
        let mut proxy = Proxy { intercept, url: url.to_owned(), secure: None };
        if is_secure {
            let roots = Arc::new(roots(&proxy, ca_pem)?);
            let tls = crate::tls::server_only(Arc::clone(&roots)).map_err(|e| SettingError::Ca(e.to_string()))?;
            proxy.secure = Some(Secure { roots, tls });
        }
        Ok(Some(proxy))
    }
}

impl Proxy {
    /// Its `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        let uri = self.intercept.uri();
        let default = if self.secure.is_some() { HTTPS_PORT } else { HTTP_PORT };
        format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(default))
    }

    /// As it was written, with its password: for a client that asks the proxy itself.
    #[must_use]
    pub fn url_with_password(&self) -> String {
        if self.url.contains("://") { self.url.clone() } else { format!("http://{}", self.url) }
    }

    /// What a proxy that is spoken to by TLS is verified by.
    #[must_use]
    pub fn roots(&self) -> Option<&Arc<RootCertStore>> {
        self.secure.as_ref().map(|secure| &secure.roots)
    }

    /// TLS to the proxy, and its name in it; nothing where it is spoken to in clear.
    pub(crate) fn tls(&self) -> Option<(Arc<ClientConfig>, Result<ServerName<'static>, String>)> {
        let Secure { tls, .. } = self.secure.as_ref()?;
        let host = self.intercept.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        Some((Arc::clone(tls), ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())))
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.intercept.uri().scheme_str() == Some("https") { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.intercept.uri().authority().map_or("", |a| a.as_str()))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.proxy.as_ref().map(|(name, _)| *name);
        f.debug_struct("Variables").field("proxy", &variable).field("exceptions", &self.exceptions).finish()
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(manager: &str) -> &str {
    manager.rsplit_once(':').map_or(manager, |(host, _)| host).trim_matches(['[', ']'])
}

/// No proxy leads back to the machine that asks it.
fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Those exceptions that are for every port or for the manager's, without their ports.
fn exceptions_for(exceptions: &str, manager: &str) -> String {
    let port = manager.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
    let kept = exceptions.split([',', ' ']).filter_map(|entry| {
        let entry = entry.trim();
        let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
        if bare.parse::<IpAddr>().is_ok() || entry.contains('/') {
            return Some(bare);
        }
        match entry.rsplit_once(':') {
            Some((host, only)) => (only == port).then(|| host.trim_matches(['[', ']'])),
            None => Some(entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry)),
        }
    });
    kept.collect::<Vec<_>>().join(",")
}

fn roots(proxy: &Proxy, ca_pem: Option<&str>) -> Result<RootCertStore, SettingError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|e| SettingError::Ca(e.to_string()))?;
            roots.add(certificate).map_err(|e| SettingError::Ca(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(SettingError::Ca("there is none in it".into()));
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
            return Err(SettingError::NoRoots { proxy: proxy.to_string(), reason });
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn chosen(pairs: &[(&str, &str)], manager: &str) -> Option<String> {
        variables(pairs).proxy_for(manager, None).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let check = |pairs: &[(&str, &str)], expect: Option<&str>| {
            assert_eq!(chosen(pairs, "manager.lan:7626").as_deref(), expect, "{pairs:?}");
        };
        check(&[], None);
        check(&[("HTTP_PROXY", "http://no:1")], None);
        check(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")], Some("http://a:1"));
        check(&[("HTTPS_PROXY", " "), ("all_proxy", "c:3")], Some("http://c:3"));
        check(&[("ALL_PROXY", "http://me:secret@d")], Some("http://d"));
        check(&[("https_proxy", "http://[fd00::1]:3128/path")], Some("http://[fd00::1]:3128"));
    }

    #[test]
    fn exceptions_are_names_addresses_networks_and_ports() {
        let check = |exceptions: &str, manager: &str, is_direct: bool| {
            let pairs = [("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", exceptions)];
            assert_eq!(chosen(&pairs, manager).is_none(), is_direct, "{exceptions:?} {manager}");
        };
        for exceptions in ["*", "lan", ".lan", "*.lan", "manager.lan", "x, MANAGER.LAN ,y", "manager.lan:7626", "a lan"]
        {
            check(exceptions, "manager.lan:7626", true);
        }
        for exceptions in ["", "an", "anager.lan", "manager.lan:443", "other", "10.0.0.1", "manager.lan.org", ",,"] {
            check(exceptions, "manager.lan:7626", false);
        }
        check("10.0.0.1", "10.0.0.1:7626", true);
        check("10.0.0.0/8", "10.0.0.1:7626", true);
        check("10.0.0.1:7626", "10.0.0.1:7626", true);
        check("10.0.0.1:80", "10.0.0.1:7626", false);
        check("10.0.0.0/33,11.0.0.0/8", "10.0.0.1:7626", false);
        check("fd00::/8", "[fd00::1]:7626", true);
        check("fd00::1", "[fd00::1]:7626", true);
        check("[fd00::1]", "[fd00::1]:7626", true);
        check("[fd00::1]:7626", "[fd00::1]:7626", true);
        check("[fd00::1]:1", "[fd00::1]:7626", false);
        check("fd00::2", "[fd00::1]:7626", false);
        for this_machine in ["localhost:7626", "127.0.0.9:7626", "[::1]:7626"] {
            check("", this_machine, true);
        }
    }

    #[test]
    fn a_wrong_address_is_told_without_what_it_says() {
        for wrong in ["socks5://h:1", "ftp://h", "http://", "http://a b", "://", "http://u:pässword@h"] {
            let error = variables(&[("HTTPS_PROXY", wrong)]).proxy_for("m:1", None).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY is not the address of an HTTP proxy"), "{wrong}: {error}");
            assert!(!error.contains("pässword"), "{error}");
        }
    }

    #[test]
    fn the_password_is_in_the_header_and_nowhere_else() {
        let variables = variables(&[("HTTPS_PROXY", "http://Alad%64in:open%40sesame@proxy:3128")]);
        let proxy = variables.proxy_for("m:1", None).unwrap().unwrap();
        // Aladdin:open@sesame, in base64.
        assert_eq!(proxy.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuQHNlc2FtZQ==");
        assert_eq!(proxy.address(), "proxy:3128");
        for shown in [proxy.to_string(), format!("{proxy:?}"), format!("{variables:?}")] {
            assert!(!shown.contains("sesame") && !shown.contains("Alad"), "{shown}");
        }
    }

    #[test]
    fn a_proxys_ca_has_to_be_one() {
        let variables = variables(&[("HTTPS_PROXY", "https://proxy")]);
        for wrong in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = variables.proxy_for("m:1", Some(wrong)).unwrap_err();
            assert!(matches!(error, SettingError::Ca(_)), "{error}");
        }
    }
}
