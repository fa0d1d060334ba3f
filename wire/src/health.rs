//! How a device is, as its own doctor and the agent's parts say.
//!
//! The answer is [`crate::stream::StreamFrame`]s: a [`HealthReport`] in JSON as standard output, and a verdict.

use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

/// Longest report, in bytes: a dozen checks and as many parts, each with some lines of text.
pub const MAX_HEALTH: usize = 64 * 1024;

/// Asks a device how it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthOpen {}

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthReport {
    /// True when no check failed and no part is in trouble.
    pub ok: bool,
    /// What its doctor looked at, in that order.
    #[serde(default)]
    pub checks: Vec<HealthCheck>,
    /// The parts of its agent.
    #[serde(default)]
    pub parts: Vec<AgentPart>,
}

/// How one check of the doctor went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// One check of the doctor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthCheck {
    /// What was looked at.
    pub check: String,
    /// How it went.
    pub status: CheckStatus,
    /// What was found.
    #[serde(default)]
    pub found: String,
    /// Of one that failed: its [code](crate::code::Code).
    #[serde(default)]
    pub code: Option<String>,
    /// Of one that failed: how it comes to be.
    #[serde(default)]
    pub cause: Option<String>,
    /// Of one that failed: what to do.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// Whether a part of the agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PartState {
    /// It works.
    Running,
    /// It has nothing to do.
    Idle,
    /// It does not work; it tries again by itself.
    Error,
}

/// One part of the agent: the link, the ledger, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentPart {
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub state: PartState,
    /// Since when, by the device's clock.
    pub since: UnixMillis,
    /// How often it began anew since the agent began.
    #[serde(default)]
    pub restarts: u64,
    /// What it is at, in a few words; empty where there is nothing to say.
    #[serde(default)]
    pub detail: String,
    /// What went wrong last; nothing where nothing did since the agent began.
    #[serde(default)]
    pub last_error: Option<String>,
    /// When that was, by the device's clock.
    #[serde(default)]
    pub last_error_at: Option<UnixMillis>,
    /// Who switched it off, since when it stands so; nothing while it is on. Why stands in `detail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
}

/// `GET …/devices/{name}/health`: what a device says of itself, now or when it was asked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthView {
    /// True when the device answered just now; else it is what it said when it was asked last.
    pub live: bool,
    /// Why it did not answer; empty when it did.
    #[serde(default)]
    pub why: String,
    /// When it said so, by the manager's clock; nothing where it never did.
    #[serde(default)]
    pub at: Option<UnixMillis>,
    /// What it says; nothing where it never did.
    #[serde(default)]
    pub report: Option<HealthReport>,
}
