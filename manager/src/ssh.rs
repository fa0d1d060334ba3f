//! The manager's authority for SSH: it signs certificates with which people log in to devices that trust it.
//!
//! Its key is made at the first start, Ed25519, in OpenSSH's own format beside the manager's other keys. A certificate is
//! for one key, for one principal, which names one device and one user of it, and for a short time: there is no list of
//! those that count no more. Host keys are not signed: agents tell them over their links.

use std::path::Path;

use robo_model::name::DeviceId;
use robo_model::quantity::{Millis, UnixMillis};
use robo_wire::api::ssh_principal;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::KeyData;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::ca::{CaError, write_private};
use crate::token::fill_random;

/// The file of the key, in the manager's folder.
pub const SSH_AUTHORITY: &str = "ssh_ca";

/// Certificates begin to be good this long before now: clocks of devices differ.
const CLOCK_SLACK: Millis = Millis::from_secs(5 * 60);

/// What one may with a certificate, beside logging in: as with a key in `authorized_keys`, but for the windows and the
/// keys of whoever logs in.
const EXTENSIONS: [&str; 3] = ["permit-port-forwarding", "permit-pty", "permit-user-rc"];

/// Bytes of randomness in a certificate, before all that is signed.
const NONCE_BYTES: usize = 32;

/// The authority.
pub struct SshAuthority {
    key: PrivateKey,
    public: String,
}

/// What is to be signed.
#[derive(Debug, Clone)]
pub struct SshWish<'a> {
    /// The key that the certificate is for.
    pub key: &'a PublicKey,
    /// Whose it is, for the log of the device's SSH server.
    pub id: &'a str,
    /// The device that it is good on.
    pub device: &'a DeviceId,
    /// The user of the device that it is good for.
    pub user: &'a str,
    /// From when on it is good.
    pub from: UnixMillis,
    /// Until when. Certificates know whole seconds: this one is not good in the second that this is in.
    pub until: UnixMillis,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSigned {
    /// `TYPE BASE64`.
    pub certificate: String,
    /// Its number.
    pub serial: u64,
    /// The one principal that it is good for.
    pub principal: String,
}

impl SshAuthority {
    /// Reads the authority's key in `folder`, or makes one there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is no such key.
    pub fn load_or_create(folder: &Path) -> Result<Self, CaError> {
        let path = folder.join(SSH_AUTHORITY);
        if !path.exists() {
            let mut seed = [0; 32];
            fill_random(&mut seed)?;
            let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
            write_private(&path, &PrivateKey::new(pair, "robo")?.to_openssh(LineEnding::LF)?)?;
        }
        let text = std::fs::read(&path).map_err(|source| CaError::File { what: "read", path: path.clone(), source })?;
        let unusable = |reason: String| CaError::Unusable { path: path.clone(), reason };
        let key = PrivateKey::from_openssh(text).map_err(|error| unusable(error.to_string()))?;
        if key.is_encrypted() || !key.public_key().key_data().is_ed25519() {
            return Err(unusable("it is no Ed25519 key, or one with a passphrase".to_owned()));
        }
        let public = PublicKey::new(key.public_key().key_data().clone(), "").to_openssh()?.trim_end().to_owned();
        Ok(Self { key, public })
    }

    /// The key by which its certificates are known, `TYPE BASE64`.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// When a certificate begins to be good that is asked for now.
    #[must_use]
    pub const fn from(now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_sub(CLOCK_SLACK.0))
    }

    /// Signs a certificate.
    ///
    /// # Errors
    /// When its time ends before it begins, or the system gives no random bytes.
    pub fn sign(&self, wish: &SshWish<'_>) -> Result<SshSigned, CaError> {
        let principal = ssh_principal(wish.device, wish.user);
        let (mut nonce, mut serial) = (vec![0; NONCE_BYTES], [0; 8]);
        fill_random(&mut nonce)?;
        fill_random(&mut serial)?;
        // Half of the numbers are enough, and all of these are one in JSON, too, whoever reads it.
        let serial = u64::from_le_bytes(serial) >> 11;
        let key = KeyData::from(wish.key.clone());
        let mut builder = Builder::new(nonce, key, wish.from.0 / 1000, wish.until.0 / 1000)?;
        builder.serial(serial)?.key_id(wish.id)?.cert_type(CertType::User)?.valid_principal(&principal)?;
        for name in EXTENSIONS {
            builder.extension(name, "")?;
        }
        let certificate = builder.sign(&self.key)?.to_openssh()?.trim_end().to_owned();
        Ok(SshSigned { certificate, serial, principal })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ssh_key::{Certificate, Fingerprint, HashAlg};

    use super::*;

    fn somebody() -> PublicKey {
        let pair = KeypairData::from(Ed25519Keypair::from_seed(&[7; 32]));
        PrivateKey::new(pair, "").unwrap().public_key().clone()
    }

    #[test]
    fn the_authority_stays_the_same_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = SshAuthority::load_or_create(folder.path()).unwrap();
        assert!(first.public_key().starts_with("ssh-ed25519 AAAA") && robo_wire::api::is_host_key(first.public_key()));
        let second = SshAuthority::load_or_create(folder.path()).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        let path = folder.path().join(SSH_AUTHORITY);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(matches!(SshAuthority::load_or_create(folder.path()), Err(CaError::Unusable { .. })));
    }

    #[test]
    fn a_certificate_says_who_where_and_until_when() {
        let folder = tempfile::tempdir().unwrap();
        let authority = SshAuthority::load_or_create(folder.path()).unwrap();
        let (key, device) = (somebody(), DeviceId::new("d-1").unwrap());
        let (from, until) = (UnixMillis(1_000_000), UnixMillis(1_300_999));
        let wish = SshWish { key: &key, id: "ann@robo-12", device: &device, user: "robot", from, until };
        let signed = authority.sign(&wish).unwrap();
        let certificate = Certificate::from_openssh(&signed.certificate).unwrap();
        let by: Fingerprint = PublicKey::from_openssh(authority.public_key()).unwrap().fingerprint(HashAlg::Sha256);
        assert!(certificate.validate_at(1_299, [&by]).is_ok());
        assert!(certificate.validate_at(1_300, [&by]).is_err() && certificate.validate_at(999, [&by]).is_err());
        assert_eq!(certificate.valid_principals(), ["robo:d-1:robot"]);
        assert_eq!((certificate.key_id(), certificate.serial()), ("ann@robo-12", signed.serial));
        assert_eq!(certificate.cert_type(), CertType::User);
        let names: Vec<_> = certificate.extensions().keys().map(String::as_str).collect();
        assert_eq!(names, EXTENSIONS);
        assert_ne!(authority.sign(&wish).unwrap().serial, signed.serial);
        let over = SshWish { from: until, until: from, ..wish };
        assert!(authority.sign(&over).is_err());
    }
}
