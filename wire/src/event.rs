//! The history: what happened, to whom, when.

use std::fmt;

use robo_model::label::Labels;
use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath, JobId, ProjectName, SessionId};
use robo_model::quantity::UnixMillis;
use robo_model::spec::{Generation, InstanceKey};
use robo_model::state::{Failure, InstanceState, Wanted};
use serde::{Deserialize, Serialize};

/// One thing that happened, as the manager tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Orders the events of a project; the next request's `after`.
    pub id: u64,
    /// When it happened, by the clock of where it happened.
    pub at: UnixMillis,
    /// On which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    /// To which application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationName>,
    /// To which instance of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<InstancePath>,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What an agent tells of one instance; `seq` counts up on the device and never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Orders the events of a device, from 1; a manager stores each number once.
    pub seq: u64,
    /// When, by the device's clock.
    pub at: UnixMillis,
    /// To which instance; nothing for the device itself.
    #[serde(default)]
    pub key: Option<InstanceKey>,
    /// What.
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventBody {
    /// An instance came into a state.
    State {
        /// Where it was.
        from: InstanceState,
        /// Where it is.
        to: InstanceState,
        /// For UNRESOLVED and WAITING_FOR_ANCESTOR.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<String>,
    },
    /// A step failed, or a process ended that should run.
    Failed {
        /// How.
        failure: Failure,
    },
    /// An instance's update step ran because its imports changed.
    Updated {
        /// What changed, one line each.
        #[serde(default)]
        changes: Vec<String>,
    },
    /// A check that passed fails, or the reverse.
    Health {
        /// Whether it passes now.
        healthy: bool,
        /// What the check found.
        #[serde(default)]
        reason: String,
    },
    /// The agent found a process of an instance running when it started, and looks after it again.
    Adopted {
        /// The process.
        pid: u32,
    },
    /// The instance is no longer part of the device's assignment and is gone.
    Forgotten,
    /// An agent took a new assignment.
    Assigned {
        /// Which.
        generation: Generation,
    },
    /// Events were dropped because the device was offline for longer than its spool holds.
    Gap {
        /// How many.
        lost: u64,
    },
    /// A step was cancelled on request; its failure says how it ended.
    Cancelled {
        /// Who asked.
        by: String,
    },
    /// What failed or was held is tried again on request.
    Retried {
        /// Who asked.
        by: String,
    },
    /// Something was changed behind our back, or nothing is any more.
    Drift {
        /// What, one line each; empty when all is as it should be again.
        #[serde(default)]
        changes: Vec<String>,
    },
    /// The exports of an instance are withdrawn: its device was silent for longer than their lease.
    LeaseEnded,
    /// A device was enrolled.
    Enrolled,
    /// An operator let a device in that waited for it, or back in.
    Admitted {
        /// Who.
        by: String,
    },
    /// A device's key is worth nothing any more.
    Revoked {
        /// Who said so.
        by: String,
        /// Why, where somebody said so.
        #[serde(default)]
        reason: String,
    },
    /// A device that waited for an operator was not let in; its key is worth nothing.
    Rejected {
        /// Who said so.
        by: String,
        /// Why, where somebody said so.
        #[serde(default)]
        reason: String,
    },
    /// A device has another name now; told of the new one.
    Renamed {
        /// The name that it had, which is free again.
        from: DeviceName,
        /// Who said so.
        by: String,
    },
    /// A device has another key now, certified by the one before it.
    KeyRotated {
        /// SHA-256 of the new public key, in hexadecimal.
        fingerprint: String,
    },
    /// A device was removed.
    Removed,
    /// A device went from one project to another; told in both.
    Moved {
        /// Where it was.
        from: ProjectName,
        /// Where it is.
        to: ProjectName,
        /// Who said so.
        by: String,
    },
    /// The SSH server of a device has other keys than before.
    HostKeys {
        /// SHA-256 of each, as `ssh-keygen -l` writes it.
        fingerprints: Vec<String>,
    },
    /// A device has these labels now.
    Labelled {
        /// All of them.
        labels: Labels,
    },
    /// A part of a device's agent was switched on or off.
    Switched {
        /// Which.
        subsystem: String,
        /// True when it is on now.
        on: bool,
        /// Who did it.
        by: String,
    },
    /// An application's external imports of this prefix come from these applications now.
    Bound {
        /// The prefix.
        prefix: ComponentName,
        /// From whom; empty when from nobody any more.
        #[serde(default)]
        applications: Vec<ApplicationName>,
    },
    /// A device's link came up.
    Online,
    /// A device's link went down.
    Offline {
        /// Why, as far as it is known.
        reason: String,
    },
    /// A revision was applied.
    Applied {
        /// Its number.
        revision: u64,
        /// The revision that it brings back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<u64>,
    },
    /// Somebody asked for another state than the application says.
    Asked {
        /// Of this instance and all below; nothing for the whole application.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subtree: Option<InstancePath>,
        /// Only of instances of this component or facet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<ComponentName>,
        /// Which state.
        wanted: Wanted,
    },
    /// The application was deleted.
    Deleted,
    /// A command ran.
    Executed {
        /// Its words.
        command: Vec<String>,
        /// Its verdict.
        verdict: crate::stream::Verdict,
    },
    /// Somebody ordered a job.
    JobBegan {
        /// Which.
        job: JobId,
        /// Who.
        by: String,
        /// Its words.
        command: Vec<String>,
        /// On how many devices.
        targets: u32,
    },
    /// Every target of a job has its verdict.
    JobEnded {
        /// Which.
        job: JobId,
        /// How many of them are ok.
        ok: u32,
        /// How many are not.
        not_ok: u32,
        /// Who cancelled it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody began a shell session.
    SessionBegan {
        /// Which.
        session: SessionId,
        /// Who.
        by: String,
        /// What it runs; empty for the login shell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        command: Vec<String>,
    },
    /// A shell session ended.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// How.
        verdict: crate::stream::Verdict,
        /// Who ended it, when it was not its own doing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { from, to, waits_for } if waits_for.is_empty() => write!(f, "{from} → {to}"),
            Self::State { from, to, waits_for } => write!(f, "{from} → {to}, waits for {}", waits_for.join(", ")),
            Self::Failed { failure } => write!(f, "{} failed: {}", failure.step, failure.reason),
            Self::Updated { changes } => write!(f, "update: {}", changes.join(", ")),
            Self::Health { healthy: true, .. } => f.write_str("check passes"),
            Self::Health { healthy: false, reason } => write!(f, "check fails: {reason}"),
            Self::Adopted { pid } => write!(f, "still running, looked after again (pid {pid})"),
            Self::Forgotten => f.write_str("gone"),
            Self::Assigned { generation } => write!(f, "assignment {generation} accepted"),
            Self::Gap { lost } => write!(f, "{lost} events lost while the device was offline"),
            Self::Enrolled => f.write_str("enrolled"),
            Self::Online => f.write_str("online"),
            Self::Offline { reason } => write!(f, "offline: {reason}"),
            Self::Cancelled { by } => write!(f, "cancelled by {by}"),
            Self::Retried { by } => write!(f, "tried again, {by} asked for it"),
            Self::Drift { changes } if changes.is_empty() => f.write_str("as it should be again"),
            Self::Drift { changes } => write!(f, "changed behind our back: {}", changes.join(", ")),
            Self::LeaseEnded => f.write_str("exports withdrawn: its device is silent for longer than their lease"),
            Self::Removed => f.write_str("removed"),
            Self::Admitted { by } => write!(f, "let in by {by}"),
            Self::Revoked { by, reason } if reason.is_empty() => write!(f, "its key was revoked by {by}"),
            Self::Revoked { by, reason } => write!(f, "its key was revoked by {by}: {reason}"),
            Self::Rejected { by, reason } if reason.is_empty() => write!(f, "not let in by {by}"),
            Self::Rejected { by, reason } => write!(f, "not let in by {by}: {reason}"),
            Self::Renamed { from, by } => write!(f, "renamed by {by}, was {from}"),
            Self::KeyRotated { fingerprint } => {
                write!(f, "has a new key, {}", fingerprint.get(..16).unwrap_or_default())
            }
            Self::Moved { from, to, by } => write!(f, "moved from project `{from}` to `{to}` by {by}"),
            Self::HostKeys { fingerprints } => {
                write!(f, "its SSH server has other keys now: {}", fingerprints.join(" "))
            }
            Self::Switched { subsystem, on, by } => {
                write!(f, "{subsystem} switched {} by {by}", if *on { "on" } else { "off" })
            }
            Self::Labelled { labels } => {
                let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "labels: {}", labels.join(", "))
            }
            Self::Bound { prefix, applications } if applications.is_empty() => write!(f, "{prefix} is bound to nobody"),
            Self::Bound { prefix, applications } => {
                let names: Vec<&str> = applications.iter().map(ApplicationName::as_str).collect();
                write!(f, "{prefix} is bound to {}", names.join(", "))
            }
            Self::Applied { revision, of: Some(of) } => write!(f, "revision {revision} applied, which is {of} again"),
            Self::Applied { revision, of: None } => write!(f, "revision {revision} applied"),
            Self::Asked { subtree, component, wanted } => {
                f.write_str(&asked(subtree.as_ref(), component.as_ref(), *wanted))
            }
            Self::Deleted => f.write_str("deleted"),
            Self::Executed { command, verdict } => write!(f, "ran `{}`: {verdict}", command.join(" ")),
            Self::JobBegan { job, by, command, targets } => {
                write!(f, "job {job} begun by {by} on {targets}: `{}`", command.join(" "))
            }
            Self::JobEnded { job, ok, not_ok, by } => {
                write!(f, "job {job} ended: {ok} ok, {not_ok} not{}", cancelled(by.as_deref()))
            }
            Self::SessionBegan { session, by, command } if command.is_empty() => {
                write!(f, "session {session} begun by {by}: a shell")
            }
            Self::SessionBegan { session, by, command } => {
                write!(f, "session {session} begun by {by}: `{}`", command.join(" "))
            }
            Self::SessionEnded { session, verdict, by: None } => write!(f, "session {session} ended: {verdict}"),
            Self::SessionEnded { session, verdict, by: Some(by) } => {
                write!(f, "session {session} ended by {by}: {verdict}")
            }
            Self::Unknown => f.write_str("(an event of a newer version)"),
        }
    }
}

/// What somebody asked for, of what.
fn asked(subtree: Option<&InstancePath>, component: Option<&ComponentName>, wanted: Wanted) -> String {
    let verb = match wanted {
        Wanted::Started => "start",
        Wanted::Stopped => "stop",
        Wanted::NotDeployed => "undeploy",
    };
    match (component, subtree) {
        (Some(component), Some(path)) => format!("{verb} every {component} below {path}"),
        (Some(component), None) => format!("{verb} every {component}"),
        (None, Some(path)) => format!("{verb} {path}"),
        (None, None) => format!("{verb} everything"),
    }
}

/// Who cancelled something, where somebody did.
fn cancelled(by: Option<&str>) -> String {
    by.map(|by| format!(", cancelled by {by}")).unwrap_or_default()
}
