//! Who this device is: its key, which it makes itself and never gives away, and what enrolment brought.
//!
//! Four files in `identity/`. `key.pem` is written before the first request, so that a device whose enrolment was
//! cut off asks again with the same key. `identity.json` is written last: when it is there, all is there.
//!
//! The next key and its certificate have files of their own, and take the places of the old ones when both are there:
//! a crash in between leaves the certificate, and the next start finishes it. A machine that enrols anew does so in
//! `identity.new/`, which takes the place of `identity/` when it is whole.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use robo_model::name::{DeviceId, DeviceName, ProjectName};
use serde::{Deserialize, Serialize};

use crate::folders::{absent_is_fine, sync_dir, write_atomic};

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
    /// SHA-256 of the token it came with, in hexadecimal; an older version did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<String>,
}

impl Enrolled {
    /// Reads as what the device enrolled whose identity is in `folder`; nothing when it is not enrolled.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join("identity.json");
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map_err(|e| IdentityError::Damaged { path, reason: e.to_string() })
    }
}

/// The files of the next key.
const NEXT_KEY: &str = "next-key.pem";
const NEXT_CERTIFICATE: &str = "next-certificate.pem";

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
        finish_enrolment(folder)?;
        let Some(enrolled) = Enrolled::load(folder)? else { return Ok(None) };
        let read = |name: &str| {
            let path = folder.join(name);
            read_if_there(&path)?.ok_or(IdentityError::Damaged { path, reason: "it is missing".into() })
        };
        finish_renewal(folder)?;
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

impl Identity {
    /// The key that comes next, made now if there is none, with a request to certify it (PKCS#10, PEM).
    ///
    /// # Errors
    /// When it cannot be made, read or written.
    pub fn next_key(folder: &Path) -> Result<(String, String), IdentityError> {
        key_and_request_in(&folder.join(NEXT_KEY))
    }

    /// Takes the next key and its certificate for the device's.
    ///
    /// # Errors
    /// When a file cannot be written. Then, and after a crash, the old ones are there or the new ones.
    pub fn keep_next(folder: &Path, key_pem: &str, certificate_pem: &str) -> Result<Self, IdentityError> {
        write(folder, NEXT_KEY, key_pem)?;
        write(folder, NEXT_CERTIFICATE, certificate_pem)?;
        let damaged = || IdentityError::Damaged { path: folder.to_owned(), reason: "it is gone".into() };
        Self::load(folder)?.ok_or_else(damaged)
    }

    /// Where a machine that has an identity enrols anew.
    #[must_use]
    pub fn anew(folder: &Path) -> PathBuf {
        folder.with_extension("new")
    }

    /// Takes the identity in [`Identity::anew`] for the device's.
    ///
    /// # Errors
    /// When a folder cannot be renamed. Then, and after a crash, the old one is there or the new one.
    pub fn keep_anew(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let old = folder.with_extension("old");
        remove_folder(&old)?;
        if Self::anew(folder).join("identity.json").exists() {
            rename(folder, &old)?;
        }
        Self::load(folder)
    }
}

/// Finishes [`Identity::keep_anew`].
fn finish_enrolment(folder: &Path) -> Result<(), IdentityError> {
    let anew = Identity::anew(folder);
    if folder.join("identity.json").exists() || !anew.join("identity.json").exists() {
        return Ok(());
    }
    remove_folder(folder)?;
    rename(&anew, folder)?;
    remove_folder(&folder.with_extension("old"))
}

/// Finishes [`Identity::keep_next`]. The certificate is written after its key and goes to its place after it.
fn finish_renewal(folder: &Path) -> Result<(), IdentityError> {
    let (key, certificate) = (folder.join(NEXT_KEY), folder.join(NEXT_CERTIFICATE));
    if !certificate.exists() {
        return Ok(());
    }
    if key.exists() {
        rename(&key, &folder.join("key.pem"))?;
    }
    rename(&certificate, &folder.join("certificate.pem"))
}

/// Renames, and makes it durable.
fn rename(from: &Path, to: &Path) -> Result<(), IdentityError> {
    let renamed = std::fs::rename(from, to).and_then(|()| to.parent().map_or(Ok(()), sync_dir));
    renamed.map_err(|source| IdentityError::File { what: "rename", path: from.into(), source })
}

fn remove_folder(folder: &Path) -> Result<(), IdentityError> {
    absent_is_fine(std::fs::remove_dir_all(folder)).map_err(|source| IdentityError::File {
        what: "remove",
        path: folder.into(),
        source,
    })
}

/// The device's key in `folder`, made now if there is none, with a request to certify it (PKCS#10, PEM).
///
/// # Errors
/// When the key cannot be made, read or written.
pub fn key_and_request(folder: &Path) -> Result<(String, String), IdentityError> {
    key_and_request_in(&folder.join("key.pem"))
}

fn key_and_request_in(path: &Path) -> Result<(String, String), IdentityError> {
    let pair = match read_if_there(path)? {
        Some(pem) => KeyPair::from_pem(&pem)?,
        None => {
            let pair = KeyPair::generate()?;
            write_file(path, &pair.serialize_pem())?;
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
    write_file(&folder.join(name), text)
}

fn write_file(path: &Path, text: &str) -> Result<(), IdentityError> {
    write_atomic(path, text.as_bytes(), PRIVATE).map_err(|source| IdentityError::File {
        what: "write",
        path: path.into(),
        source,
    })
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

    fn saved(folder: &Path, name: &str, key: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let enrolled = Enrolled {
            device: "d-1".parse().unwrap(),
            name: name.parse().unwrap(),
            project: "default".parse().unwrap(),
            token_hash: None,
        };
        let identity =
            Identity { enrolled, key_pem: key.into(), certificate_pem: format!("of {key}"), ca_pem: "ca".into() };
        write(folder, "key.pem", key).unwrap();
        identity.save(folder).unwrap();
    }

    fn pair(folder: &Path) -> (String, String) {
        let identity = Identity::load(folder).unwrap().unwrap();
        (identity.key_pem, identity.certificate_pem)
    }

    fn words(key: &str, certificate: &str) -> (String, String) {
        (key.to_owned(), certificate.to_owned())
    }

    #[test]
    fn a_renewal_that_is_cut_anywhere_leaves_a_key_with_its_own_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        saved(folder, "one", "a");
        write(folder, NEXT_KEY, "b").unwrap();
        assert_eq!(pair(folder), words("a", "of a"), "not certified yet");
        write(folder, NEXT_CERTIFICATE, "of b").unwrap();
        assert_eq!(pair(folder), words("b", "of b"), "cut before the key went to its place");
        write(folder, "key.pem", "c").unwrap();
        write(folder, NEXT_CERTIFICATE, "of c").unwrap();
        assert_eq!(pair(folder), words("c", "of c"), "cut after it");
        Identity::keep_next(folder, "d", "of d").unwrap();
        assert_eq!(pair(folder), words("d", "of d"));
        assert!(!folder.join(NEXT_KEY).exists() && !folder.join(NEXT_CERTIFICATE).exists());
        let (first, _) = Identity::next_key(folder).unwrap();
        assert_eq!(Identity::next_key(folder).unwrap().0, first, "one that was asked about stays");
    }

    #[test]
    fn a_machine_that_enrols_anew_is_the_old_one_or_the_new_one() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("identity");
        saved(&folder, "one", "a");
        std::fs::create_dir_all(Identity::anew(&folder)).unwrap();
        write(&Identity::anew(&folder), "key.pem", "b").unwrap();
        assert_eq!(Identity::keep_anew(&folder).unwrap().unwrap().enrolled.name.as_str(), "one", "it is not whole yet");
        saved(&Identity::anew(&folder), "two", "b");
        assert_eq!(Identity::load(&folder).unwrap().unwrap().enrolled.name.as_str(), "one", "nor taken yet");
        std::fs::rename(&folder, folder.with_extension("old")).unwrap();
        assert_eq!(Identity::load(&folder).unwrap().unwrap().enrolled.name.as_str(), "two", "cut between the two");
        saved(&Identity::anew(&folder), "three", "c");
        assert_eq!(Identity::keep_anew(&folder).unwrap().unwrap().enrolled.name.as_str(), "three");
        assert!(!folder.with_extension("old").exists() && !Identity::anew(&folder).exists());
    }

    #[test]
    fn a_damaged_identity_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("identity.json"), "{").unwrap();
        assert!(matches!(Identity::load(folder.path()), Err(IdentityError::Damaged { .. })));
    }
}
