//! Keys in a user's `authorized_keys` on a device.

use serde::Serialize;
use ssh_key::HashAlg;
use ssh_key::authorized_keys::Entry;

use super::harmless::harmless;
use super::table::{Look, plain};

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyView {
    pub(crate) fingerprint: String,
    pub(crate) kind: String,
    /// `TYPE BASE64`.
    pub(crate) key: String,
    pub(crate) comment: String,
    /// What its line says of it, as until when it counts.
    pub(crate) options: String,
}

impl KeyView {
    /// What a line says; nothing where it has no key that we can read.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let entry: Entry = line.trim().parse().ok()?;
        let public = entry.public_key();
        let bare = ssh_key::PublicKey::new(public.key_data().clone(), "").to_openssh().ok()?;
        Some(Self {
            fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
            kind: public.algorithm().as_str().to_owned(),
            key: bare.trim_end().to_owned(),
            comment: public.comment().to_owned(),
            options: entry.config_opts().as_str().to_owned(),
        })
    }
}

/// All of them.
pub(crate) fn table(keys: &[KeyView], look: Look) -> String {
    let row = |view: &KeyView| {
        [&view.fingerprint, &view.kind, &view.comment, &view.options].map(|text| harmless(text).into_owned()).to_vec()
    };
    plain(&["FINGERPRINT", "KIND", "COMMENT", "OPTIONS"], keys.iter().map(row).collect(), look.palette)
}
