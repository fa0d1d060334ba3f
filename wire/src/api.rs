//! Bodies of the manager's API. Paths stand beside the handlers, in the OpenAPI document.
//!
//! All is JSON, but for file contents and for exec, which speaks the frames of [`crate::stream`].

mod access;
mod devices;
mod enroll;
mod groups;
mod install;
mod login;
mod ssh;
mod upgrade;

use std::collections::BTreeMap;

use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath};
use robo_model::quantity::UnixMillis;
use robo_model::spec::{FileHash, FileRef, RecipeFiles, RelativePath};
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use serde::{Deserialize, Serialize};

pub use self::access::{
    AuditAnchor, AuditBreak, AuditEntry, AuditOutcome, AuditVerdict, CanI, CanIAnswer, GrantRequest, GrantView,
    LAST_USED_STEP, Me, NewUserToken, ProjectRequest, ProjectView, QuotaRequest, UserKind, UserRequest,
    UserTokenRequest, UserTokenView, UserView,
};
pub use self::devices::{
    DeviceChange, DeviceInstance, DeviceState, DeviceView, Facts, Interface, LabelOutcome, LabelResult, LabelsRequest,
    MAX_CAPABILITIES, MAX_DEVICE_PAGE, MAX_HOST_KEY, MAX_HOST_KEYS, MAX_INTERFACE_ADDRESSES, MAX_INTERFACES,
    MAX_LABELLED, MAX_REASON, MAX_SUBSYSTEMS, MAX_USER, MoveRequest, NOTICE_HEADER, RenameRequest, Standing,
    StandingRequest, is_host_key,
};
pub use self::enroll::{
    CertificateRequest, CertificateView, EnrollRequest, EnrollResponse, EnrollTokenView, KeyView, MAX_ENROLL_BODY,
    NO_FILE, TokenRequest, TokenView,
};
pub use self::groups::{
    AccessAction, AccessChange, AccessFile, AccessRequest, GroupRequest, GroupView, GroupWish, MAX_ACCESS_FILE,
    RoleBinding,
};
pub use self::install::{InstallReport, InstallStage, InstallView, MAX_HOST, MAX_INSTALL_DETAIL, MAX_INSTALL_REPORT};
pub use self::login::{
    LoggedIn, LoginCode, LoginProof, LoginRequest, LoginState, LogoutRequest, MAX_LOGIN_BODY, MAX_LOGIN_SECRET,
};
pub use self::ssh::{
    MAX_KEY_NOTE, MAX_SSH_KEYS, SshCertificate, SshCertificateRequest, SshKeyChange, SshKeys, SshKeysRequest,
    is_user_name, ssh_principal,
};
pub use self::upgrade::{
    LastUpgrade, MAX_UPGRADES_AT_A_TIME, UPGRADES_AT_A_TIME, UpgradeLine, UpgradeRequest, UpgradeVerdict,
};
use crate::plan::Plan;

/// Largest JSON body of a request, in bytes: a bundle's manifest with its bounds on files fits.
pub const MAX_JSON_BODY: usize = 16 * 1024 * 1024;

/// Largest file that may be uploaded, in bytes. Larger artefacts are fetched by the recipe.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Everything an apply consists of; the files themselves are uploaded once, by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bundle {
    /// What is compiled.
    pub entry: Entry,
    /// The application's name where the sources give none.
    #[serde(default)]
    pub default_name: Option<String>,
    /// `${key}` of a project folder's descriptor.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Every source file by its path below the entry's root.
    pub sources: BTreeMap<RelativePath, FileRef>,
    /// Recipe files by the name of their folder.
    #[serde(default)]
    pub recipes: BTreeMap<ComponentName, RecipeFiles>,
}

/// What is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "path", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Entry {
    /// A file in robo's form.
    File(RelativePath),
    /// A Roboconf project folder: `descriptor/`, `graph/`, `instances/`.
    Project,
}

/// `POST …/files/missing`: asks which files the manager lacks; the answer has the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileHashes {
    /// The files.
    pub hashes: Vec<FileHash>,
}

/// `POST …/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanRequest {
    /// What is wished.
    pub bundle: Bundle,
    /// True when what people asked for beside the application (`robo stop` and friends) stays.
    #[serde(default)]
    pub keep_overrides: bool,
}

/// `POST …/apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplyRequest {
    /// What is wished.
    pub bundle: Bundle,
    /// The plan that was agreed to; the apply is refused when it no longer comes out.
    pub plan_id: String,
    /// As in the plan's request.
    #[serde(default)]
    pub keep_overrides: bool,
    /// Why, for the history.
    #[serde(default)]
    pub note: Option<String>,
    /// The revision that this brings back, for the history.
    #[serde(default)]
    pub rollback_of: Option<u64>,
}

/// Which instances of an application a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scope {
    /// This instance and all below it; nothing for all instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<InstancePath>,
    /// Only what stands below `path`, not the instance itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub below: bool,
    /// Only instances of this component or facet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The application; nothing where the request's path names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationName>,
}

/// What can be done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verb {
    /// End the step that runs; it counts as failed, and is not tried again by itself.
    Cancel,
    /// Try what failed or is held again, at once.
    Retry,
}

/// `POST …/applications/{application}/act`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActRequest {
    /// What.
    pub verb: Verb,
    /// To which instances.
    #[serde(default)]
    pub scope: Scope,
}

/// What came of an [`ActRequest`]: one verdict for each device that has some of the instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActAnswer {
    /// By name.
    pub devices: Vec<ActVerdict>,
}

/// What came of an act on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActVerdict {
    /// The device.
    pub device: DeviceName,
    /// How it ended there.
    pub verdict: crate::stream::Verdict,
    /// The instances to which something was done.
    #[serde(default)]
    pub instances: Vec<InstancePath>,
}

/// `GET …/applications/{application}/revisions`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionView {
    /// Its number, from 1.
    pub number: u64,
    /// When it was applied.
    pub applied_at: UnixMillis,
    /// Whose token applied it.
    #[serde(default)]
    pub by: String,
    /// Why, where somebody said so.
    #[serde(default)]
    pub note: Option<String>,
    /// The revision that it brought back.
    #[serde(default)]
    pub rollback_of: Option<u64>,
    /// The application's version, where the sources give one.
    #[serde(default)]
    pub version: Option<String>,
    /// How many instances it has.
    pub instances: usize,
    /// What applying it did, in numbers.
    #[serde(default)]
    pub summary: crate::plan::Summary,
}

/// `GET …/applications/{application}/revisions/{number}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionDetail {
    /// What the list says of it.
    pub revision: RevisionView,
    /// What was sent: to be planned and applied again.
    pub bundle: Bundle,
}

/// `GET …/applications/{application}/diff?from=1&to=3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionDiff {
    /// The older revision, as asked for.
    pub from: u64,
    /// The newer one, as asked for.
    pub to: u64,
    /// Instances that differ.
    pub changes: Vec<crate::plan::Change>,
    /// Files that differ: sources and recipe files.
    pub files: Vec<FileDiff>,
}

/// A file that differs between two revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileDiff {
    /// Its path below the application's folder.
    pub path: String,
    /// In the older one.
    #[serde(default)]
    pub before: Option<FileRef>,
    /// In the newer one.
    #[serde(default)]
    pub after: Option<FileRef>,
}

/// `PUT …/applications/{application}/bindings/{prefix}`: all applications that external imports of a prefix come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BindRequest {
    /// All of them; none unbinds the prefix.
    pub applications: Vec<ApplicationName>,
}

/// `GET …/applications/{application}/bindings`: each prefix that it imports from, or is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BindingView {
    /// The prefix.
    pub prefix: ComponentName,
    /// Where its imports come from; empty when nobody was bound yet.
    pub applications: Vec<ApplicationName>,
    /// The project's applications that offer this prefix.
    #[serde(default)]
    pub candidates: Vec<ApplicationName>,
}

/// The answer to an apply: it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Applied {
    /// The application.
    pub application: ApplicationName,
    /// Its new revision, or the old one when nothing changed.
    pub revision: u64,
    /// What was done.
    pub plan: Plan,
    /// Events after this id tell how it goes.
    pub cursor: u64,
}

/// `POST …/applications/{application}/wanted`: an override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WantedRequest {
    /// Which instances.
    #[serde(flatten)]
    pub scope: Scope,
    /// What they should be.
    pub wanted: Wanted,
}

/// The answer to an override or a deletion: it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// The instances it concerns.
    pub instances: Vec<InstancePath>,
    /// Events after this id tell how it goes.
    pub cursor: u64,
}

/// `GET …/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// Events after this id are not in this answer yet.
    pub cursor: u64,
    /// The applications.
    pub applications: Vec<ApplicationView>,
    /// Their instances, by application and path; those that are being removed stand among them.
    pub instances: Vec<InstanceView>,
    /// Which of them wait for one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circles: Vec<Circle>,
}

/// Instances that wait for one another, so that none of them ever starts by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Circle {
    /// Once round: each waits for the next, the last for the first.
    pub members: Vec<CircleMember>,
}

/// One of those that wait for one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CircleMember {
    /// Its application.
    pub application: ApplicationName,
    /// Its path in it.
    pub path: InstancePath,
    /// The prefix of its imports that the next one would give; nothing when it stands on the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ComponentName>,
}

/// One application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplicationView {
    /// Its name.
    pub name: ApplicationName,
    /// Its revision.
    pub revision: u64,
    /// Its version, where the sources give one.
    #[serde(default)]
    pub version: Option<String>,
    /// When that revision was applied.
    pub applied_at: UnixMillis,
}

/// One instance: what it should be, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstanceView {
    /// The application.
    pub application: ApplicationName,
    /// The path in it.
    pub path: InstancePath,
    /// What it is.
    pub component: ComponentName,
    /// The word after `installer:`.
    pub installer: String,
    /// The device it lives on.
    pub device: DeviceName,
    /// Whether that device is connected.
    pub online: bool,
    /// What it should be; nothing when it is no longer part of the application and only has to go.
    pub wanted: Option<Wanted>,
    /// True when somebody asked for another state than the application says.
    #[serde(default)]
    pub overridden: bool,
    /// Its state as last reported.
    pub state: InstanceState,
    /// The report; nothing before the first one.
    #[serde(default)]
    pub report: Option<InstanceReport>,
    /// True when its exports are withdrawn because its device was silent for longer than their lease.
    #[serde(default)]
    pub lapsed: bool,
    /// False while the device does not know its newest assignment yet, or has still to bring the instance in line
    /// with it: the state may be about to change.
    #[serde(default)]
    pub settled: bool,
}

impl InstanceView {
    /// True when it is what it should be, for good, reported by a connected device, and its check passes.
    #[must_use]
    pub fn is_as_wished(&self) -> bool {
        let Some(wanted) = self.wanted else { return false };
        self.state == wanted.state() && self.settled && self.online && self.report.as_ref().is_none_or(|r| r.healthy)
    }

    /// True when files of its recipe were changed behind our back. Whoever waits for what was wished does not wait for
    /// that: with `drift: report;` nothing but people puts it right.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        self.report.as_ref().is_some_and(|report| !report.drift.is_empty())
    }

    /// True for a host whose device was removed: no agent tells of PROBLEM, only the manager does.
    #[must_use]
    pub fn is_homeless(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.state == InstanceState::Problem)
    }

    /// True when it is held, and `robo retry` ends that.
    #[must_use]
    pub fn is_freed_by_retry(&self) -> bool {
        let hold = self.report.as_ref().and_then(|report| report.hold.as_deref());
        hold.is_some_and(|hold| hold != InstanceReport::HELD_BY_A_VALUE) && !self.is_homeless()
    }
}

/// `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// The manager's version.
    pub version: String,
    /// Devices with a link to this manager process.
    pub links: u64,
}
