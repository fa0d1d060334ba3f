//! What the reconciler orders and the runtime reports: the whole conversation between the pure part of the agent
//! and the part that touches the machine.

use std::collections::BTreeMap;

use robo_model::graph::{Installer, Settings};
use robo_model::name::{ComponentName, InstancePath, Variable, VariableName};
use robo_model::quantity::Millis;
use robo_model::resolve::Imports;
use robo_model::spec::{InstanceKey, RecipeFiles};
use robo_model::state::Step;
use serde::{Deserialize, Serialize};

/// Names one run of a step or process on this device; counts up for ever and is on disk before the run begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// The addresses by which others reach a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// What `ip` exports, and where checks go.
    #[serde(default)]
    pub main: String,
    /// All of them, the main one first.
    #[serde(default)]
    pub all: Vec<String>,
}

impl Addresses {
    /// Of a device that has one.
    #[must_use]
    pub fn only(main: &str) -> Self {
        Self { main: main.to_owned(), all: vec![main.to_owned()] }
    }

    /// True where none is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.main.is_empty()
    }
}

/// One step to carry out. Beginning the same run twice is beginning it once: after a restart of the agent the
/// reconciler orders the unfinished run again, and the runtime finds it running, finished, or not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which instance.
    pub key: InstanceKey,
    /// Which run.
    pub run: RunId,
    /// What to do.
    pub step: Step,
    /// How. `run`, `env` and the check's texts are already expanded.
    pub installer: Installer,
    /// The recipe; the deploy step brings the recipe's folder to exactly these files.
    pub files: RecipeFiles,
    /// User, deadlines, check; the check's texts are already expanded.
    pub settings: Settings,
    /// What scripts and programs are told.
    pub context: Context,
    /// The run of the process that `stop` has to end; nothing where none runs.
    pub process: Option<RunId>,
    /// After this time the step has failed and what is left of it is killed.
    pub deadline: Millis,
}

/// What scripts and programs are told, as environment and as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Which instance.
    pub key: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// The device's address, for checks.
    pub address: String,
    /// Its exports, with every value filled in.
    pub exports: BTreeMap<Variable, String>,
    /// Its ancestors on this device, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// What it imports.
    pub imports: Imports,
    /// For `update`: what changed, one entry per provider that came, changed or went.
    pub changes: Vec<ImportChange>,
}

/// An ancestor of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Where it stands.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// Its exports.
    pub exports: BTreeMap<Variable, String>,
}

/// One provider whose offer to an importer changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportChange {
    /// Under which prefix it is imported.
    pub prefix: ComponentName,
    /// Who.
    pub provider: InstanceKey,
    /// What it is.
    pub component: ComponentName,
    /// True when it came or changed (`ROBOCONF_UPDATE_STATUS` is then DEPLOYED_STARTED), false when it went.
    pub present: bool,
    /// Its variables now, or the last ones before it went.
    pub variables: BTreeMap<VariableName, String>,
}

/// How a run of a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should. For `start` of a process: it runs, and its check passes.
    Done,
    /// It failed.
    Failed {
        /// One sentence: what happened.
        reason: String,
        /// The exit code, where there was one.
        exit_code: Option<i32>,
        /// The last lines of output, bounded by `robo_model::limits::MAX_FAILURE_LINES` and `MAX_FAILURE_BYTES`.
        output: Vec<String>,
    },
}

/// What the runtime reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A step ended.
    StepEnded {
        /// Of which instance.
        key: InstanceKey,
        /// Which run.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// A supervised process is there; sent once per run, also when it is adopted after a restart of the agent.
    ProcessRuns {
        /// Of which instance.
        key: InstanceKey,
        /// Which run.
        run: RunId,
        /// Its process id.
        pid: u32,
        /// True when it was running before this agent did.
        adopted: bool,
    },
    /// A supervised process ended without being asked to.
    ProcessEnded {
        /// Of which instance.
        key: InstanceKey,
        /// Which run.
        run: RunId,
        /// Its exit code; nothing when a signal ended it or nobody saw it end.
        code: Option<i32>,
        /// One sentence: `killed by signal 9 (KILL)`.
        reason: String,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// The check of a started instance changed its mind (sent on change only; a started instance begins healthy).
    Health {
        /// Of which instance.
        key: InstanceKey,
        /// Whether it passes.
        healthy: bool,
        /// What it found.
        reason: String,
    },
    /// Files of a deployed instance are others than its recipe has, or all are right again; sent on change only.
    Drift {
        /// Of which instance.
        key: InstanceKey,
        /// What is wrong, one line each; empty when nothing is any more.
        changes: Vec<String>,
    },
}
