//! The plan: everything an apply will do, complete and reviewable before it is done.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::effect::Effect;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath, ProjectName, Variable};
use robo_model::state::{Step, Wanted};
use serde::{Deserialize, Serialize};

use crate::api::Bundle;

/// What an apply will do. Two plans with the same [`Plan::id`] do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// SHA-256 over everything below but the warnings, and over all that an apply would write: the files, the values, the
    /// ports. An apply names it, and is refused when it no longer comes out.
    pub id: String,
    /// The application.
    pub application: ApplicationName,
    /// What the plan read; if one of these moves, the plan is void.
    pub ground: Ground,
    /// Changes of instances, in the order of their paths.
    pub changes: Vec<Change>,
    /// Imports that will appear, change or vanish on instances that no change mentions.
    pub ripple: Vec<Ripple>,
    /// Instances in the order they can start: everything a wave needs stands in earlier ones, except in cycles.
    pub waves: Vec<Vec<InstancePath>>,
    /// The steps that follow, wave by wave: those of one wave may run at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Vec<PlannedStep>>,
    /// What people asked for beside the application, and what becomes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<PlannedOverride>,
    /// What a person should know before agreeing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A step that applying the plan leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlannedStep {
    /// Of which instance.
    pub path: InstancePath,
    /// In which application, where it is another one than the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationName>,
    /// On which device.
    pub device: DeviceName,
    /// Which step.
    pub step: Step,
}

/// Something that people asked for beside the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlannedOverride {
    /// The root of the subtree.
    pub path: InstancePath,
    /// What was asked for.
    pub wanted: Wanted,
    /// False when the apply ends it.
    pub kept: bool,
}

/// A plan as written to a file: everything that an apply of exactly this plan needs, but for the files, which the
/// manager has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// [`SavedPlan::FORMAT`]: what tells such a file from others.
    pub robo_plan: u32,
    /// The project it was made for.
    pub project: ProjectName,
    /// What is applied.
    pub bundle: Bundle,
    /// Whether overrides stay.
    #[serde(default)]
    pub keep_overrides: bool,
    /// What was agreed to.
    pub plan: Plan,
}

impl SavedPlan {
    /// The version of the file's form.
    pub const FORMAT: u32 = 1;
}

/// What a plan read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ground {
    /// The application's revision; nothing when it does not exist yet.
    #[serde(default)]
    pub revision: Option<u64>,
    /// Which device each host instance is.
    #[serde(default)]
    pub devices: BTreeMap<InstancePath, Bound>,
    /// How many overrides (`robo stop` and friends) were ever recorded for it.
    #[serde(default)]
    pub overrides: u64,
    /// Which applications its external imports come from, by prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bindings: BTreeMap<ComponentName, BTreeSet<ApplicationName>>,
    /// The revisions of other applications that were read: those bound to it, and those it is bound to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<ApplicationName, u64>,
    /// How many overrides were ever recorded for those of them that have some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_overrides: BTreeMap<ApplicationName, u64>,
    /// Which applications the external imports of each of them come from, by prefix, where one is bound.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_bindings: BTreeMap<ApplicationName, BTreeMap<ComponentName, BTreeSet<ApplicationName>>>,
}

/// A host instance's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bound {
    /// Its identity.
    pub id: DeviceId,
    /// Its name now.
    pub name: DeviceName,
}

/// What happens to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Which.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// Where it lives.
    pub device: DeviceName,
    /// What happens.
    pub action: Action,
    /// Why, one line each: `port 3306 → 3307`.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// What happens to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Action {
    /// Deployed and started.
    Create,
    /// Changed in place, with this effect.
    Change(Effect),
    /// Started again: an override is dropped.
    Start,
    /// Stopped and removed.
    Delete,
}

impl Action {
    /// The sign in front of a plan's line.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change(_) | Self::Start => '~',
            Self::Delete => '-',
        }
    }
}

/// One import that moves on an instance that is not changed itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ripple {
    /// The importing instance.
    pub path: InstancePath,
    /// Its application, where it is another one than the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationName>,
    /// Where it lives.
    pub device: DeviceName,
    /// What moves.
    pub variable: Variable,
    /// Who offers it.
    pub provider: InstancePath,
    /// The provider's application, where it is another one than the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_application: Option<ApplicationName>,
    /// The value before; nothing when the import appears, or when only the device knows it.
    #[serde(default)]
    pub before: Option<String>,
    /// The value after; nothing when the import vanishes, or when only the device knows it.
    #[serde(default)]
    pub after: Option<String>,
    /// Which of the three it is.
    pub kind: RippleKind,
    /// What the importer does.
    pub consequence: Consequence,
}

/// How an import moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RippleKind {
    /// A provider comes.
    Appears,
    /// A value changes.
    Changes,
    /// A provider goes.
    Vanishes,
}

/// What an importer does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Consequence {
    /// Runs its update step.
    Update,
    /// Starts: what it waited for is there.
    Start,
    /// Restarts: its command line or environment names the variable, or the provider itself restarts and it cannot do without.
    Restart,
    /// Stops and waits, or goes on waiting: it cannot do without.
    Wait,
}

/// A plan in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// Instances that come.
    pub create: usize,
    /// Instances that change.
    pub change: usize,
    /// Instances that go.
    pub delete: usize,
    /// Instances that notice.
    pub ripple: usize,
}

impl Plan {
    /// True when applying it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.ripple.is_empty()
    }

    /// The plan in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let count = |wanted: char| self.changes.iter().filter(|c| c.action.sign() == wanted).count();
        let touched: BTreeSet<_> = self.ripple.iter().map(|r| (&r.application, &r.path)).collect();
        Summary { create: count('+'), change: count('~'), delete: count('-'), ripple: touched.len() }
    }
}
