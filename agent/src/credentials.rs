//! What this device shows when it dials. It changes while the agent runs: the next connection has the new key, and the
//! one that is there goes on.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;

use crate::identity::Identity;
use crate::tls::{self, TlsError};

/// TLS for everything that is dialled, with the newest certificate.
#[derive(Debug)]
pub struct Credentials(Mutex<Configs>);

#[derive(Debug, Clone)]
struct Configs {
    link: Arc<ClientConfig>,
    http: Arc<ClientConfig>,
}

impl Configs {
    fn of(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self { link: tls::enrolled(identity, robo_wire::ALPN_LINK)?, http: tls::enrolled(identity, b"http/1.1")? })
    }
}

impl Credentials {
    /// Of an enrolled device.
    ///
    /// # Errors
    /// When the identity's files are no certificate or key.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(Mutex::new(Configs::of(identity)?))))
    }

    /// For the link.
    #[must_use]
    pub fn link(&self) -> Arc<ClientConfig> {
        self.get().link
    }

    /// For requests.
    #[must_use]
    pub fn http(&self) -> Arc<ClientConfig> {
        self.get().http
    }

    /// From here on, what is dialled has this identity.
    ///
    /// # Errors
    /// When its files are no certificate or key; then the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        let configs = Configs::of(identity)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    fn get(&self) -> Configs {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
