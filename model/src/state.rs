//! The states of the life cycle, and what an agent reports of an instance.
//!
//! The states and their meaning are the original's (`Instance.java`), so is their spelling.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{ApplicationName, ComponentName, InstancePath, Variable};
use crate::quantity::UnixMillis;
use crate::resolve::Topic;

/// Where an instance stands in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InstanceState {
    /// Nothing of it is on the machine. First and last state.
    NotDeployed,
    /// The deploy step runs.
    Deploying,
    /// Its files are there; it does not run.
    DeployedStopped,
    /// Wanted started; its parent does not run yet.
    WaitingForAncestor,
    /// Wanted started; mandatory imports are missing.
    Unresolved,
    /// The start step runs, or its check has not passed yet.
    Starting,
    /// It runs, and its exports are published.
    DeployedStarted,
    /// The stop step runs.
    Stopping,
    /// The undeploy step runs.
    Undeploying,
    /// The machine is silent or could not be made; host instances only.
    Problem,
}

impl InstanceState {
    /// Every state, in the order of the life cycle.
    pub const ALL: [Self; 10] = [
        Self::NotDeployed,
        Self::Deploying,
        Self::DeployedStopped,
        Self::WaitingForAncestor,
        Self::Unresolved,
        Self::Starting,
        Self::DeployedStarted,
        Self::Stopping,
        Self::Undeploying,
        Self::Problem,
    ];

    /// The original's spelling, as in `DEPLOYED_STARTED`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDeployed => "NOT_DEPLOYED",
            Self::Deploying => "DEPLOYING",
            Self::DeployedStopped => "DEPLOYED_STOPPED",
            Self::WaitingForAncestor => "WAITING_FOR_ANCESTOR",
            Self::Unresolved => "UNRESOLVED",
            Self::Starting => "STARTING",
            Self::DeployedStarted => "DEPLOYED_STARTED",
            Self::Stopping => "STOPPING",
            Self::Undeploying => "UNDEPLOYING",
            Self::Problem => "PROBLEM",
        }
    }

    /// True while a step runs.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Deploying | Self::Starting | Self::Stopping | Self::Undeploying)
    }

    /// True when the instance's files are on the machine and no step changes that now.
    #[must_use]
    pub const fn is_at_rest_deployed(self) -> bool {
        matches!(self, Self::DeployedStopped | Self::WaitingForAncestor | Self::Unresolved | Self::DeployedStarted)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instance state")]
pub struct UnknownState(String);

impl FromStr for InstanceState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// The states that may be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Wanted {
    /// Nothing of it on the machine.
    NotDeployed,
    /// On the machine, not running.
    Stopped,
    /// Running.
    #[default]
    Started,
}

impl Wanted {
    /// The state that an instance rests in when this wish is fulfilled.
    #[must_use]
    pub const fn state(self) -> InstanceState {
        match self {
            Self::NotDeployed => InstanceState::NotDeployed,
            Self::Stopped => InstanceState::DeployedStopped,
            Self::Started => InstanceState::DeployedStarted,
        }
    }
}

/// One action of the life cycle that an installer carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Step {
    /// Put the files in place, prepare.
    Deploy,
    /// Bring it to life.
    Start,
    /// Tell it that its imports changed.
    Update,
    /// End it.
    Stop,
    /// Remove it.
    Undeploy,
}

impl Step {
    /// The word for it, which is also the name of its script.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Start => "start",
            Self::Update => "update",
            Self::Stop => "stop",
            Self::Undeploy => "undeploy",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The last failure of an instance; kept until the failed step succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// What was being done. A process that ended by itself failed at `start`.
    pub step: Step,
    /// One sentence: what happened.
    pub reason: String,
    /// The exit code, where there was one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The last lines of its output, at most [`crate::limits::MAX_FAILURE_LINES`].
    #[serde(default)]
    pub output: Vec<String>,
    /// When it happened.
    pub at: UnixMillis,
    /// How often in a row this step has failed, from 1.
    pub attempts: u32,
    /// When it is tried again; nothing when it will not be.
    #[serde(default)]
    pub retry_at: Option<UnixMillis>,
}

/// Everything an agent tells of one instance. Level, not edge: the newest report is the whole truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstanceReport {
    /// The application it belongs to.
    pub application: ApplicationName,
    /// Where it stands in that application.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// Its state.
    pub state: InstanceState,
    /// Since when it is in this state.
    pub since: UnixMillis,
    /// For UNRESOLVED and WAITING_FOR_ANCESTOR: the imports or the ancestor it waits for.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// The last failure, until the step succeeds.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What it offers right now: empty unless its state is DEPLOYED_STARTED.
    #[serde(default)]
    pub exports: BTreeMap<Variable, String>,
    /// Its process, where robo supervises one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How often its process was started again by its restart policy.
    #[serde(default)]
    pub restarts: u32,
    /// False while its check fails; true where it has no check.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// False while the device still has to bring it in line with its assignment, or a step runs on it.
    #[serde(default = "yes")]
    pub settled: bool,
    /// What it offers to other applications right now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outside: BTreeMap<Variable, String>,
    /// While it runs: for each mandatory import, the places that can give it. When all places of one of these lists are
    /// empty, it has to stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<BTreeSet<Topic>>,
    /// Where it offered something until it began to wait for those who need it to stop first; empty while it does
    /// not. It goes on as soon as it is [released](crate::release).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held_for: BTreeSet<Topic>,
    /// What was changed behind our back and is not put right yet, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// Why nothing further is tried by itself, as `cancelled by admin`; nothing while something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

impl InstanceReport {
    /// The `hold` of one that waits for another specification or value: no retry makes one.
    pub const HELD_BY_A_VALUE: &'static str = "a value that it needs cannot be made";
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_spelt_as_in_the_original() {
        for state in InstanceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert!("RUNNING".parse::<InstanceState>().is_err());
        assert_eq!("deployed_started".parse(), Ok(InstanceState::DeployedStarted));
    }
}
