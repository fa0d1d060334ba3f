//! Keys of people for a device's SSH server, as the manager has the agent look at them and change them.
//!
//! The answer is [`crate::stream::StreamFrame`]s: an [`SshKeys`](crate::api::SshKeys) in JSON as standard output, and a
//! verdict.

use serde::{Deserialize, Serialize};

use crate::api::SshKeyChange;

/// Longest answer, in bytes.
pub const MAX_SSH_KEYS_ANSWER: usize = 4 * 1024 * 1024;

/// Looks at the keys that may log in as a user of the device, or changes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKeysOpen {
    /// Whose; those of the user that commands run as where nobody is named.
    #[serde(default)]
    pub user: Option<String>,
    /// What to do.
    pub change: SshKeyChange,
}
