//! An application after parsing, conversion and checks: what the planner reads.
//!
//! Inheritance, facets, `count` and overrides are already applied here: a component lists every
//! child, export and import it has, wherever it came from.

mod container;
mod image;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::label::Selector;
use crate::name::{ApplicationName, ComponentName, DeviceName, InstancePath, NameTemplate, Variable, VariableName};
use crate::quantity::{Bytes, MilliCpu, Millis};

pub use self::container::{Container, MountPath, MountPathError};
pub use self::image::{ImageError, ImageErrorKind, ImageRef};
pub use self::rollout::{Batch, Rollout, RolloutError, RolloutErrorKind};

/// A deployable graph with its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name, unique in a project.
    pub name: ApplicationName,
    /// `major.minor[.patch][-qualifier]`, where one was given.
    #[serde(default)]
    pub version: Option<String>,
    /// Free text for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Free words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The prefix under which other applications import from this one.
    #[serde(default)]
    pub exports_prefix: Option<ComponentName>,
    /// What other applications may import: our variable, and its name outside.
    #[serde(default)]
    pub exports: BTreeMap<Variable, VariableName>,
    /// In which batches a change goes over the instances of components that say nothing of it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Every component by name.
    pub components: BTreeMap<ComponentName, Component>,
    /// Every instance by path; a parent stands before its children.
    pub instances: BTreeMap<InstancePath, Instance>,
}

/// A type of software, with everything it inherits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: ComponentName,
    /// The comment that stands right above it, without `#`.
    #[serde(default)]
    pub annotation: Option<String>,
    /// Itself, then what it extends, nearest first. The first of these that has a recipe folder gives the recipe.
    pub lineage: Vec<ComponentName>,
    /// The facets it has, its own and inherited ones.
    #[serde(default)]
    pub facets: BTreeSet<ComponentName>,
    /// How an instance of it is brought to life.
    pub installer: Installer,
    /// Components whose instances may stand below one of this.
    #[serde(default)]
    pub children: BTreeSet<ComponentName>,
    /// Every variable it offers, by full name.
    #[serde(default)]
    pub exports: BTreeMap<Variable, ExportValue>,
    /// Every variable it needs.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// Deadlines, user, limits, check, rollout.
    #[serde(default)]
    pub settings: Settings,
}

/// Which agent plug-in runs a recipe, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Installer {
    /// The instance is a machine with an agent.
    Target,
    /// Runs the scripts of the recipe.
    Script,
    /// Supervises one program.
    Process(Process),
    /// Supervises one container.
    Container(Container),
    /// Writes each step to the instance's log; for models and tests.
    Logger,
    /// A plug-in that this version does not know; deploying fails and says so.
    Other {
        /// Its name as written.
        name: String,
    },
}

impl Installer {
    /// The word after `installer:`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Target => "target",
            Self::Script => "script",
            Self::Process(_) => "process",
            Self::Container(_) => "container",
            Self::Logger => "logger",
            Self::Other { name } => name,
        }
    }
}

/// What `installer: process` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Process {
    /// The command line, as written: words split as a shell does, then `$(name)` expanded in each; no shell runs.
    pub run: String,
    /// When to start it again after it ended by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// `env.KEY: value;` with `$(name)` not yet expanded; the only place where `$(secret:NAME)` may stand.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// When a process that ended by itself is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RestartPolicy {
    /// Whatever its exit code.
    #[default]
    Always,
    /// Unless it exited with 0.
    OnFailure,
    /// Never.
    Never,
}

/// Deadlines, user, limits, check and rollout of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settings {
    /// The operating-system user that steps and processes run as; the agent's own where none is given.
    #[serde(default)]
    pub user: Option<String>,
    /// How long `deploy` may take; [`Settings::DEPLOY_TIMEOUT`] where none is given.
    #[serde(default)]
    pub deploy_timeout: Option<Millis>,
    /// How long `start` and `update` may take, the check's first pass included; [`Settings::START_TIMEOUT`].
    #[serde(default)]
    pub start_timeout: Option<Millis>,
    /// How long `stop` and `undeploy` may take before what is left is killed; [`Settings::STOP_TIMEOUT`].
    #[serde(default)]
    pub stop_timeout: Option<Millis>,
    /// How to see that an instance is well.
    #[serde(default)]
    pub check: Option<Check>,
    /// How long its exports outlive contact with its device; [`Settings::LEASE`] where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Millis>,
    /// The most memory that an instance may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// The most processor time that an instance may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// In which batches a change goes over its instances; [`Application::rollout`] where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What becomes of it when something changes it behind our back.
    #[serde(default, skip_serializing_if = "Drift::is_default")]
    pub drift: Drift,
}

/// What becomes of an instance when something changes it behind our back: a file of its recipe is another one, or its
/// check fails for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Drift {
    /// It is told and shown, and nothing else: whoever did it may have had a reason.
    #[default]
    Report,
    /// It is put right: files are put back and the instance restarts; one whose check fails restarts.
    Heal,
}

impl Drift {
    const fn is_default(&self) -> bool {
        matches!(self, Self::Report)
    }
}

/// As the language writes it.
impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Report => "report",
            Self::Heal => "heal",
        })
    }
}

impl Settings {
    /// A device that was silent for a minute does not serve anybody now; robots that roam get longer leases.
    pub const LEASE: Millis = Millis::from_secs(60);
    /// Deploying may unpack and build.
    pub const DEPLOY_TIMEOUT: Millis = Millis::from_secs(600);
    /// A database may replay its log at start.
    pub const START_TIMEOUT: Millis = Millis::from_secs(120);
    /// What ignores TERM this long is killed.
    pub const STOP_TIMEOUT: Millis = Millis::from_secs(30);
}

/// How to see that a started instance is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What is tried.
    pub probe: Probe,
    /// Time from the end of one try to the next.
    pub every: Millis,
    /// How long one try may take.
    pub timeout: Millis,
}

impl Check {
    /// Time between tries where none is given.
    pub const EVERY: Millis = Millis::from_secs(5);
    /// Time for one try where none is given.
    pub const TIMEOUT: Millis = Millis::from_secs(5);
}

/// What a check tries. Texts may hold `$(name)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Probe {
    /// `http PORT PATH`: a GET on the instance's own address answers with 2xx or 3xx.
    Http {
        /// A number, or a `$(name)` that becomes one.
        port: String,
        /// Starts with `/`.
        path: String,
    },
    /// `tcp PORT`: the port on the instance's own address accepts a connection.
    Tcp {
        /// A number, or a `$(name)` that becomes one.
        port: String,
    },
    /// `run COMMAND`: the command, run in the recipe's folder, exits with 0.
    Run {
        /// Words split as a shell does; no shell runs.
        command: String,
    },
}

/// Where an exported variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ExportValue {
    /// Written in the file; `$(name)` not yet expanded.
    Text(String),
    /// The device's address; the agent fills it in.
    Address,
    /// Another of the device's addresses, or all of them; the agent fills it in.
    Addresses(AddressKind),
    /// A port that robo picks once and keeps.
    RandomPort,
    /// Declared without a value. A component may leave it open; an instance must not.
    Missing,
}

/// Which of a device's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AddressKind {
    /// Its first one of IPv4.
    V4,
    /// Its first one of IPv6.
    V6,
    /// All of them, with a blank between two; the first is the one that [`ExportValue::Address`] is.
    All,
}

impl ExportValue {
    /// What the agent fills in where `variable` has no value: `ip`, `ip4`, `ip6`, `ips`, and names that end so behind a
    /// dot, in any case. Nothing for other names.
    #[must_use]
    pub fn filled_in(variable: &Variable) -> Option<Self> {
        let local = variable.local.as_str();
        let last = match local.rsplit_once('.') {
            // As in the original, something has to stand before the dot.
            Some(("", _)) => return None,
            Some((_, last)) => last,
            None => local,
        };
        let names = [
            ("ip", Self::Address),
            ("ip4", Self::Addresses(AddressKind::V4)),
            ("ip6", Self::Addresses(AddressKind::V6)),
            ("ips", Self::Addresses(AddressKind::All)),
        ];
        names.into_iter().find(|(name, _)| last.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A variable, or all variables of a prefix, that a component needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Import {
    /// The component, facet or application prefix it comes from.
    pub prefix: ComponentName,
    /// The local name; nothing for the wildcard `Prefix.*`.
    pub variable: Option<VariableName>,
    /// True when an instance starts without it.
    #[serde(default)]
    pub optional: bool,
    /// True when it comes from another application.
    #[serde(default)]
    pub external: bool,
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.variable {
            Some(variable) => write!(f, "{}.{variable}", self.prefix),
            None => write!(f, "{}.*", self.prefix),
        }
    }
}

/// One concrete piece of software, or one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Where it stands.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// The component's exports with this instance's overrides and additions.
    #[serde(default)]
    pub exports: BTreeMap<Variable, ExportValue>,
    /// `data.KEY: value;` for the target that makes the machine.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// `channels: a, b;` as in the original; without effect there and here.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Which machine a host instance is; only on instances whose installer is `target`.
    #[serde(default)]
    pub binding: Option<Binding>,
}

/// Which machine a host instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Binding {
    /// `device: NAME;`
    Device(DeviceName),
    /// `devices: SELECTOR;`: one instance for each device that matches, now and later.
    Devices {
        /// Which devices.
        selector: Selector,
        /// How each device's instance is called. The path of the instance in the application has
        /// [`NameTemplate::stand_in`] instead.
        name: NameTemplate,
    },
    /// `target: NAME;`: a machine that robo makes.
    Target(String),
}

impl Application {
    /// The host instance that `path` lives on: itself or its nearest ancestor with installer `target`.
    #[must_use]
    pub fn host_of(&self, path: &InstancePath) -> Option<&Instance> {
        std::iter::once(path.clone())
            .chain(path.ancestors())
            .filter_map(|p| self.instances.get(&p))
            .find(|instance| self.is_host(instance))
    }

    /// True when `instance` is a machine with an agent.
    #[must_use]
    pub fn is_host(&self, instance: &Instance) -> bool {
        self.components.get(&instance.component).is_some_and(|c| c.installer == Installer::Target)
    }
}
