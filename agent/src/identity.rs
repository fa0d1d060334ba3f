//! Who this device is: its key, which it makes itself and never gives away, and what enrolment brought.
//!
//! Four files in `identity/`. `key.pem` is written before the first request, so that a device whose enrolment was
//! cut off asks again with the same key. `identity.json` is written last: when it is there, all is there.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use serde::{Deserialize, Serialize};

use crate::folders::write_atomic;

/// Keys are for the agent alone, and so is all beside them.
const PRIVATE: u32 = 0o600;

/// An enrolled device.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What enrolment said.
    pub enrolled: Enrolled,
    /// The device's private key, PKCS#8 in PEM.
    pub key_pem: String,
    /// Its certificate.
    pub certificate_pem: String,
    /// The manager's authority.
    pub ca_pem: String,
}

/// What enrolment said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its identity.
    pub device: DeviceId,
    /// Its name at that time.
    pub name: DeviceName,
    /// Its project.
    pub project: ProjectName,
}

/// Why the identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `identity.json` cannot be understood.
    #[error("{path} is damaged ({reason}): remove the folder it lies in and enrol the device again")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No key can be made.
    #[error("cannot make a key")]
    Key(#[from] rcgen::Error),
}

impl Identity {
    /// Reads the identity in `folder`; nothing when the device is not enrolled.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn load(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join("identity.json");
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let enrolled =
            serde_json::from_str(&text).map_err(|e| IdentityError::Damaged { path, reason: e.to_string() })?;
        let read = |name: &str| {
            let path = folder.join(name);
            read_if_there(&path)?.ok_or(IdentityError::Damaged { path, reason: "it is missing".into() })
        };
        Ok(Some(Self {
            enrolled,
            key_pem: read("key.pem")?,
            certificate_pem: read("certificate.pem")?,
            ca_pem: read("ca.pem")?,
        }))
    }

    /// Keeps an identity; `identity.json` goes last.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        write(folder, "certificate.pem", &self.certificate_pem)?;
        write(folder, "ca.pem", &self.ca_pem)?;
        let json = serde_json::to_string_pretty(&self.enrolled).unwrap_or_default();
        write(folder, "identity.json", &json)
    }
}

/// The device's key in `folder`, made now if there is none, with a request to certify it (PKCS#10, PEM).
///
/// # Errors
/// When the key cannot be made, read or written.
pub fn key_and_request(folder: &Path) -> Result<(String, String), IdentityError> {
    let path = folder.join("key.pem");
    let pair = match read_if_there(&path)? {
        Some(pem) => KeyPair::from_pem(&pem)?,
        None => {
            let pair = KeyPair::generate()?;
            write(folder, "key.pem", &pair.serialize_pem())?;
            pair
        }
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&pair)?.pem()?;
    Ok((pair.serialize_pem(), request))
}

fn read_if_there(path: &Path) -> Result<Option<String>, IdentityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { what: "read", path: path.into(), source }),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), IdentityError> {
    let path = folder.join(name);
    write_atomic(&path, text.as_bytes(), PRIVATE).map_err(|source| IdentityError::File { what: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = key_and_request(folder.path()).unwrap();
        let (second, request) = key_and_request(folder.path()).unwrap();
        assert_eq!(first, second);
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        assert!(Identity::load(folder.path()).unwrap().is_none(), "a key alone is no identity");
    }

    #[test]
    fn a_damaged_identity_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("identity.json"), "{").unwrap();
        assert!(matches!(Identity::load(folder.path()), Err(IdentityError::Damaged { .. })));
    }
}
