//! Certificates for SSH, and keys of people on devices.

use robo_model::name::DeviceId;
use robo_model::quantity::{Millis, UnixMillis};
use serde::{Deserialize, Serialize};

use super::devices::{MAX_USER, is_host_key};

/// `POST …/devices/{name}/ssh-certificate`: asks for a certificate with which one logs in to this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshCertificateRequest {
    /// The public key that it is for, `TYPE BASE64`.
    pub public_key: String,
    /// Whom to log in as there; [the device's own user](crate::api::Facts::own_user) where nobody is named.
    #[serde(default)]
    pub user: Option<String>,
    /// How long it is good for; [`SshCertificateRequest::LIFETIME`] where nothing is said.
    #[serde(default)]
    pub lifetime: Option<Millis>,
}

impl SshCertificateRequest {
    /// Five minutes: long enough to connect, and connections go on without it.
    pub const LIFETIME: Millis = Millis::from_secs(5 * 60);
    /// Longest lifetime that may be asked for. Rights that are taken away end only what is issued after that.
    pub const MAX_LIFETIME: Millis = Millis::from_secs(3600);
}

/// A certificate for SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshCertificate {
    /// As a line of a file `-cert.pub`: `TYPE BASE64`.
    pub certificate: String,
    /// Its number; the device's SSH server writes it into its log.
    pub serial: u64,
    /// Who logs in there.
    pub user: String,
    /// The one principal that it is good for, by [`ssh_principal`].
    pub principal: String,
    /// When it ends, by the manager's clock.
    pub expires_at: UnixMillis,
    /// How long that is from when it was asked for.
    pub lifetime: Millis,
}

/// What a certificate says that is good for logging in as `user` to this device, and what the device wants to read.
#[must_use]
pub fn ssh_principal(device: &DeviceId, user: &str) -> String {
    format!("robo:{device}:{user}")
}

/// True for a name that a user of a system may have: nothing that means more in a file of OpenSSH's, or to a shell.
#[must_use]
pub fn is_user_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= MAX_USER && !text.starts_with('-') && text.bytes().all(is_good)
}

/// `POST …/devices/{name}/ssh-keys`: looks at the keys that may log in as a user of the device, or changes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshKeysRequest {
    /// Whose; those of the user that the device runs commands as where nobody is named.
    #[serde(default)]
    pub user: Option<String>,
    /// What to do.
    pub change: SshKeyChange,
}

/// What to do with the keys of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SshKeyChange {
    /// Nothing: tell them.
    List,
    /// Lets a key in, or changes until when.
    Add {
        /// The public key, `TYPE BASE64`.
        key: String,
        /// What it is called there: at most [`MAX_KEY_NOTE`] characters.
        #[serde(default)]
        note: String,
        /// Until when; for ever where nothing is said.
        #[serde(default)]
        expires_at: Option<UnixMillis>,
    },
    /// Lets a key in no more.
    Remove {
        /// The public key, `TYPE BASE64`.
        key: String,
    },
}

/// Longest note of a key, in characters.
pub const MAX_KEY_NOTE: usize = 100;

impl SshKeyChange {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        let (key, note) = match self {
            Self::List => return Ok(()),
            Self::Add { key, note, .. } => (key, note.as_str()),
            Self::Remove { key } => (key, ""),
        };
        if !is_host_key(key) {
            return Err("this is no public key: write TYPE BASE64, as in `ssh-ed25519 AAAA…`".to_owned());
        }
        let is_good = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if note.chars().count() > MAX_KEY_NOTE || !note.chars().all(is_good) {
            return Err(format!("a note is one word of at most {MAX_KEY_NOTE} plain characters"));
        }
        Ok(())
    }
}

/// The keys of a user on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshKeys {
    /// Whose.
    pub user: String,
    /// Whether anything was changed.
    #[serde(default)]
    pub changed: bool,
    /// The lines of the user's `authorized_keys` that have a key, as they are; at most [`MAX_SSH_KEYS`].
    #[serde(default)]
    pub lines: Vec<String>,
}

/// Most keys of one user that are told.
pub const MAX_SSH_KEYS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_file_of_keys_is_one_line() {
        let add = |key: &str, note: &str| {
            SshKeyChange::Add { key: key.into(), note: note.into(), expires_at: None }.check().is_ok()
        };
        assert!(add("ssh-ed25519 AAAA", "") && add("ssh-ed25519 AAAA", "ann@desk"));
        for (key, note) in [
            ("", ""),
            ("AAAA", ""),
            ("ssh-ed25519 AAAA\nssh-rsa BBBB", ""),
            ("command=\"x\" ssh-ed25519 AAAA", ""),
            ("ssh-ed25519 AAAA", "a\nssh-rsa BBBB"),
            ("ssh-ed25519 AAAA", "two words"),
        ] {
            assert!(!add(key, note), "{key} {note}");
        }
        assert!(!add("ssh-ed25519 AAAA", &"x".repeat(MAX_KEY_NOTE + 1)));
        assert!(SshKeyChange::Remove { key: "x".into() }.check().is_err() && SshKeyChange::List.check().is_ok());
    }

    #[test]
    fn a_principal_names_the_device_and_the_user() {
        let device = "d-1".parse().unwrap();
        assert_eq!(ssh_principal(&device, "robot"), "robo:d-1:robot");
        for bad in ["", "-r", "a:b", "a b", "a,b", "%u", &"x".repeat(MAX_USER + 1)] {
            assert!(!is_user_name(bad), "{bad}");
        }
    }
}
