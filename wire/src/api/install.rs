//! How far a machine is that becomes a device, as the script that installs the agent tells it.

use robo_model::label::Labels;
use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

/// Largest body of a report, in bytes: it comes from a machine that is no device yet.
pub const MAX_INSTALL_REPORT: usize = 4 * 1024;

/// Longest name of a host, in bytes: what Linux allows.
pub const MAX_HOST: usize = 64;

/// Longest word about what went wrong, in characters: the last lines of a log fit.
pub const MAX_INSTALL_DETAIL: usize = 1000;

/// What is done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InstallStage {
    /// Whether the machine can be a device.
    Check,
    /// The program is fetched.
    Download,
    /// Its SHA-256 is compared.
    Verify,
    /// It is tried, and takes its place.
    Unpack,
    /// Its environment is written.
    Settings,
    /// Its service is written.
    Unit,
    /// The token is left for it, and it is started.
    Enrol,
    /// It is waited for until the manager knows the device.
    Online,
}

impl InstallStage {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Check,
        Self::Download,
        Self::Verify,
        Self::Unpack,
        Self::Settings,
        Self::Unit,
        Self::Enrol,
        Self::Online,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Download => "download",
            Self::Verify => "verify",
            Self::Unpack => "unpack",
            Self::Settings => "settings",
            Self::Unit => "unit",
            Self::Enrol => "enrol",
            Self::Online => "online",
        }
    }

    /// The one that is written so; nothing for others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl std::fmt::Display for InstallStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `POST /v1/install/report`: how far one machine is. The latest one counts.
///
/// Its credential is the SHA-256 of the enrolment token and not the token: the machine cannot verify the manager yet, and
/// with the hash nobody can do anything but report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstallReport {
    /// SHA-256 of the enrolment token, in hexadecimal.
    pub token_hash: String,
    /// The machine's host name, 1 to [`MAX_HOST`] bytes of letters, digits, `.`, `-` and `_`.
    pub host: String,
    /// What is being done, or failed.
    pub stage: InstallStage,
    /// How much of everything is done, 0 to 100.
    pub percent: u8,
    /// Of a failure: its [code](crate::code::Code).
    #[serde(default)]
    pub code: Option<String>,
    /// What happened; at most [`MAX_INSTALL_DETAIL`] characters, and no secrets.
    #[serde(default)]
    pub detail: String,
}

/// `GET …/installs`: a machine that is on its way to become a device, or failed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstallView {
    /// The device's name, as the token gives it; without one the host's.
    pub name: String,
    /// The machine's host name, as it says itself.
    pub host: String,
    /// The token that it was started with, as lists call it.
    pub token: String,
    /// The labels that the device gets.
    #[serde(default)]
    pub labels: Labels,
    /// What it is at.
    pub stage: InstallStage,
    /// How much is done, 0 to 100.
    pub percent: u8,
    /// Of a failure: its code.
    #[serde(default)]
    pub code: Option<String>,
    /// Of a failure: how it comes to be.
    #[serde(default)]
    pub cause: Option<String>,
    /// Of a failure: what to do.
    #[serde(default)]
    pub remedy: Option<String>,
    /// What happened there; empty where there is nothing to say.
    #[serde(default)]
    pub detail: String,
    /// When it said so.
    pub at: UnixMillis,
}
