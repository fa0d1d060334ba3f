//! What must survive a crash: the assignment, what other devices offer, and where each instance stands.
//!
//! Pure types here, and pure [`encode`] and [`decode`] between them and the bytes of their files; [`LedgerStore`] is
//! the only part that touches the disk. There are three [`Part`]s, each a file of its own, so that a change of state
//! does not rewrite a large assignment.

mod codec;
pub(crate) mod evidence;
#[cfg(test)]
pub(crate) mod examples;
mod lists;
pub mod recover;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use robo_model::name::Variable;
use robo_model::quantity::UnixMillis;
use robo_model::resolve::{Imports, Provider, Topic};
use robo_model::spec::{Assignment, Generation, InstanceKey, InstanceSpec};
use robo_model::state::{Failure, InstanceState, Step};
use robo_wire::event::AgentEvent;
use serde::{Deserialize, Serialize};

pub use self::codec::{Damage, VERSION, decode, encode};
pub use self::store::{Found, LedgerError, LedgerStore, Origin};
use crate::order::{Addresses, Ancestor, RunId};

/// Everything an agent knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What the device should run; its generation is the newest accepted one.
    pub assignment: Assignment,
    /// What instances on other devices offer, as the manager told last.
    pub imports: BTreeMap<InstanceKey, Provider>,
    /// Where each instance stands.
    pub state: State,
}

/// One file of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// [`Ledger::assignment`].
    Assignment,
    /// [`Ledger::imports`].
    Imports,
    /// [`Ledger::state`].
    State,
}

impl Part {
    /// In the order in which they are written: a state that speaks of an assignment must find it.
    pub const ALL: [Self; 3] = [Self::Assignment, Self::Imports, Self::State];

    /// The name of its file.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Imports => "imports",
            Self::State => "state",
        }
    }
}

/// Which parts changed and have to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct What {
    /// [`Part::Assignment`] changed.
    pub assignment: bool,
    /// [`Part::Imports`] changed.
    pub imports: bool,
    /// [`Part::State`] changed.
    pub state: bool,
}

impl What {
    /// True when nothing changed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.assignment && !self.imports && !self.state
    }

    /// True when `part` changed.
    #[must_use]
    pub const fn has(self, part: Part) -> bool {
        match part {
            Part::Assignment => self.assignment,
            Part::Imports => self.imports,
            Part::State => self.state,
        }
    }

    /// The parts that changed.
    pub fn parts(self) -> impl Iterator<Item = Part> {
        Part::ALL.into_iter().filter(move |part| self.has(*part))
    }

    /// What changed in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            assignment: self.assignment || other.assignment,
            imports: self.imports || other.imports,
            state: self.state || other.state,
        }
    }
}

/// Where each instance stands, and what is still to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The next run's name; never used before.
    pub next_run: RunId,
    /// The next event's number; never used before.
    pub next_event: u64,
    /// The boot of the machine in which this was written; nothing when nobody said.
    #[serde(default)]
    pub boot: Option<String>,
    /// The addresses that exports have their values from: those of the last connection to the manager.
    #[serde(default, skip_serializing_if = "Addresses::is_unknown")]
    pub addresses: Addresses,
    /// The assignment that the records were last held against; nothing when an older agent wrote this. A crash between
    /// the ledger's parts leaves another one on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Instances that are gone but whose folders may still be there: a crash may have come between. Bounded.
    #[serde(default)]
    pub forgetting: Vec<InstanceKey>,
    /// One per instance; on disk as a list, because a key is more than a text.
    #[serde(with = "lists::records")]
    pub records: BTreeMap<InstanceKey, Record>,
    /// Events that the manager has not stored yet, oldest first.
    #[serde(default)]
    pub spool: VecDeque<AgentEvent>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next_run: RunId(1),
            next_event: 1,
            boot: None,
            addresses: Addresses::default(),
            generation: Some(Generation(0)),
            forgetting: Vec::new(),
            records: BTreeMap::new(),
            spool: VecDeque::new(),
        }
    }
}

/// Where one instance stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is on the machine, or is being put there: the assigned specification may be newer.
    pub spec: InstanceSpec,
    /// Its state.
    pub state: InstanceState,
    /// Since when.
    pub since: UnixMillis,
    /// For UNRESOLVED and WAITING_FOR_ANCESTOR: what it waits for.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// The step that runs.
    #[serde(default)]
    pub run: Option<Run>,
    /// The process that runs.
    #[serde(default)]
    pub process: Option<ProcessRun>,
    /// The start step that started it last.
    #[serde(default)]
    pub started_by: RunId,
    /// What the last step that told it anything (deploy, start, update) told.
    #[serde(default)]
    pub told: Told,
    /// The last failure, until the step succeeds.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// How often in a row the step of `failure` failed since the instance was last changed or asked for.
    #[serde(default)]
    pub tries: u32,
    /// How often in a row its process ended soon after it was started.
    #[serde(default)]
    pub crashes: u32,
    /// Why it is not started although it could be.
    #[serde(default)]
    pub hold: Hold,
    /// How often its process was started again by its restart policy.
    #[serde(default)]
    pub restarts: u32,
    /// False while its check fails.
    pub healthy: bool,
    /// While it waits for those who need it before it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What was changed behind our back, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// True when its check failed for so long that it stops, to be started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ailing: bool,
    /// True when it stops to be started with other values. It does, whatever becomes of these values meanwhile: what
    /// it withdraws may be what moves them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// True when an undeploy step failed: its files may be gone, so it is deployed before it is started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stripped: bool,
    /// How often its files were put back, each time soon after the last.
    #[serde(default)]
    pub mends: u32,
    /// When they were put back last.
    #[serde(default)]
    pub mended_at: UnixMillis,
    /// The imports before an update that failed; it is told of the change again when a retry is asked for.
    #[serde(default, with = "lists::imports", skip_serializing_if = "Imports::is_empty")]
    pub untold: Imports,
}

impl Record {
    /// An instance of which nothing is on the machine yet.
    #[must_use]
    pub fn new(spec: InstanceSpec, now: UnixMillis) -> Self {
        Self {
            spec,
            state: InstanceState::NotDeployed,
            since: now,
            waits_for: Vec::new(),
            run: None,
            process: None,
            started_by: RunId(0),
            told: Told::default(),
            failure: None,
            tries: 0,
            crashes: 0,
            hold: Hold::Free,
            restarts: 0,
            healthy: true,
            drain: None,
            drift: Vec::new(),
            ailing: false,
            restarting: false,
            stripped: false,
            mends: 0,
            mended_at: UnixMillis(0),
            untold: Imports::new(),
        }
    }
}

/// Why an instance is not started although its parent and its imports are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nothing holds it.
    #[default]
    Free,
    /// Its process ended and its restart policy says to leave it so; until it is changed or asked for again.
    Ended,
    /// A value that it needs cannot be made; until its imports, its specification or the address change.
    Value,
    /// Somebody cancelled what was being done: no step begins by itself, but for a stop that others wait for. Until it
    /// is changed, asked for again, or a retry is asked for.
    Cancelled {
        /// Who.
        by: String,
    },
}

/// An instance withdrew its exports, and stops when those who need them have stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Where it offered something.
    pub topics: BTreeSet<Topic>,
    /// Since when it waits.
    pub since: UnixMillis,
}

/// A step that runs. With the record's `spec` and `told`, which do not change meanwhile, it gives the order again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What runs.
    pub step: Step,
    /// True when it is no longer wanted and was told to end.
    #[serde(default)]
    pub aborted: bool,
    /// Who cancelled it, when that is why it was told to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// The process that ran when it began.
    #[serde(default)]
    pub process: Option<RunId>,
    /// For `update`: the imports before.
    #[serde(default, with = "lists::imports")]
    pub before: Imports,
}

impl Run {
    /// One that begins while `process` runs.
    #[must_use]
    pub const fn new(id: RunId, step: Step, process: Option<RunId>) -> Self {
        Self { id, step, aborted: false, cancelled_by: None, process, before: Imports::new() }
    }
}

/// A supervised process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRun {
    /// The run of the start step that made it.
    pub run: RunId,
    /// Its process id, once it is known.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Since when it runs.
    pub since: UnixMillis,
}

/// What an instance was told of itself and the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The device's address.
    #[serde(default)]
    pub address: String,
    /// Its exports, with every value filled in.
    #[serde(default)]
    pub exports: BTreeMap<Variable, String>,
    /// Its ancestors on this device, nearest first.
    #[serde(default)]
    pub ancestors: Vec<Ancestor>,
    /// What it imports.
    #[serde(default, with = "lists::imports")]
    pub imports: Imports,
}
