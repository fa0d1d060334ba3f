//! Certificates with which people log in to devices by SSH.

use robo_model::quantity::Millis;
use robo_wire::api::{SshCertificate, SshCertificateRequest, is_user_name};
use ssh_key::PublicKey;

use super::access::Access;
use super::error::ServiceError;
use super::{Service, now};
use crate::ssh::{SshAuthority, SshWish};
use crate::store::DeviceRecord;

/// Digits of the authority's fingerprint by which a certificate names its manager.
const MANAGER_DIGITS: usize = 8;

/// Why no certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// It is for no key.
    #[error("this is no public key for SSH: {0}")]
    Key(String),
    /// It is for nobody.
    #[error("`{0}` is no name of a user")]
    User(String),
    /// Nobody knows whom it is for.
    #[error("device `{0}` does not say which user it runs commands as")]
    NoUser(String),
    /// It is good for longer than it may be.
    #[error("a certificate is good for {max} at most, and for a second at least")]
    Lifetime {
        /// The bound.
        max: Millis,
    },
}

impl SshError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Key(_) => "write TYPE BASE64, as in a file `.pub`: `ssh-ed25519 AAAA…`".to_owned(),
            Self::User(_) => "write one of the device's /etc/passwd".to_owned(),
            Self::NoUser(_) => "name the user, as in `ssh robot@robot-7.robo`".to_owned(),
            Self::Lifetime { .. } => "ask for another one when it is over: that takes no more than a moment".to_owned(),
        }
    }
}

impl Service {
    /// Whom a certificate for this device is for.
    ///
    /// # Errors
    /// When the request names nobody, and the device does not say who it is there.
    pub fn ssh_user(&self, device: &DeviceRecord, request: &SshCertificateRequest) -> Result<String, ServiceError> {
        let user = match &request.user {
            Some(user) => user.as_str(),
            None => device.facts.own_user().ok_or_else(|| SshError::NoUser(device.name.to_string()))?,
        };
        if is_user_name(user) { Ok(user.to_owned()) } else { Err(SshError::User(user.to_owned()).into()) }
    }

    /// Signs a certificate for logging in to this device as `user`, for whoever may. It ends with the token that it is
    /// asked for with, or before.
    ///
    /// # Errors
    /// When the key is none, the time is too long or none, or the system gives no random bytes.
    pub fn ssh_certificate(
        &self,
        access: &Access,
        device: &DeviceRecord,
        user: String,
        request: &SshCertificateRequest,
    ) -> Result<SshCertificate, ServiceError> {
        let lifetime = request.lifetime.unwrap_or(SshCertificateRequest::LIFETIME);
        let max = SshCertificateRequest::MAX_LIFETIME;
        if lifetime > max || lifetime < Millis::from_secs(1) {
            return Err(SshError::Lifetime { max }.into());
        }
        let key = PublicKey::from_openssh(&request.public_key).map_err(|error| SshError::Key(error.to_string()))?;
        let manager = self.ca_fingerprint().get(..MANAGER_DIGITS).unwrap_or_default();
        let now = now();
        let until = now.plus(lifetime);
        let until = access.ends().map_or(until, |end| end.min(until));
        let wish = SshWish {
            key: &key,
            id: &format!("{}@robo-{manager}", access.user),
            device: &device.id,
            user: &user,
            from: SshAuthority::from(now),
            until,
        };
        let signed = self.ssh_authority().sign(&wish).map_err(|error| ServiceError::Broken(error.to_string()))?;
        let (certificate, serial, principal) = (signed.certificate, signed.serial, signed.principal);
        Ok(SshCertificate { certificate, serial, user, principal, expires_at: until, lifetime: until.since(now) })
    }
}
