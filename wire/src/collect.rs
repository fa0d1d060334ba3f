//! What a device collects for who looks for a fault: its own log, what its doctor says, where its instances stand.
//!
//! The answer is [`crate::stream::StreamFrame`]s: the bytes of a `.tar.gz` as standard output, and a verdict. There is
//! nothing to go on with after a cut: the device may be another by then, so it is asked anew.

use serde::{Deserialize, Serialize};

/// Most bytes of what is in the archive, before it is packed: enough for the logs of some dozen instances, little enough
/// for a narrow line and a small disk.
pub const MAX_COLLECTED: u64 = 16 * 1024 * 1024;

/// Most bytes of the archive: what it holds hardly shrinks in the worst case, and each of its files has a header.
pub const MAX_BUNDLE: u64 = 2 * MAX_COLLECTED;

/// Asks a device for everything that helps to find a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectOpen {
    /// Leaves out what instances print.
    #[serde(default)]
    pub without_logs: bool,
}
