//! Bodies of the manager's API. Paths stand beside the handlers, in the OpenAPI document.
//!
//! All is JSON, but for file contents and for exec, which speaks the frames of [`crate::stream`].

use std::collections::BTreeMap;

use robo_model::label::Labels;
use robo_model::name::{ApplicationName, ComponentName, DeviceId, DeviceName, InstancePath, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{FileHash, FileRef, Generation, RecipeFiles, RelativePath};
use robo_model::state::{InstanceReport, InstanceState, Wanted};
use serde::{Deserialize, Serialize};

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

/// `PATCH …/devices/{name}`: changes labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceChange {
    /// Labels to set.
    #[serde(default)]
    pub set: Labels,
    /// Labels to remove.
    #[serde(default)]
    pub unset: Vec<String>,
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

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceView {
    /// Its identity.
    pub id: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its labels.
    pub labels: Labels,
    /// What it told of itself.
    pub facts: Facts,
    /// SHA-256 of its public key, in hexadecimal.
    pub key_fingerprint: String,
    /// Whether it may connect.
    #[serde(default)]
    pub standing: Standing,
    /// Whether it is connected.
    pub online: bool,
    /// Why it is not connected, or may not; empty where nobody knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When its certificate ends; it gets a new one at half its life.
    #[serde(default)]
    pub certificate_ends: Option<UnixMillis>,
    /// True when it was silent for so long that its host instances are PROBLEM.
    #[serde(default)]
    pub silent: bool,
    /// When it was enrolled.
    pub enrolled_at: UnixMillis,
    /// When it last connected or was last heard of; nothing before the first time.
    #[serde(default)]
    pub last_seen: Option<UnixMillis>,
    /// The newest assignment made for it.
    pub generation: Generation,
    /// The newest assignment it accepted.
    pub accepted: Generation,
    /// Why it refused a newer one.
    #[serde(default)]
    pub refused: Option<String>,
    /// The applications that have instances on it.
    #[serde(default)]
    pub applications: Vec<ApplicationName>,
}

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Standing {
    /// It enrolled and waits for an operator: nothing is told to it.
    Pending,
    /// It is one of ours.
    #[default]
    Accepted,
    /// Its key is worth nothing any more.
    Revoked,
}

/// `PUT …/devices/{name}/standing`: lets a device in, or shuts it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StandingRequest {
    /// [`Standing::Accepted`] or [`Standing::Revoked`].
    pub standing: Standing,
    /// Why, for the history.
    #[serde(default)]
    pub reason: String,
}

/// Longest reason, in characters: it stands in the history and in lists.
pub const MAX_REASON: usize = 500;

/// What a device tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Facts {
    /// Its host name.
    #[serde(default)]
    pub hostname: String,
    /// Its system, as in `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default)]
    pub os: String,
    /// Its kernel, as in `Linux 6.1.0`.
    #[serde(default)]
    pub kernel: String,
    /// Its processor, as in `x86_64`.
    #[serde(default)]
    pub arch: String,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// The address under which others reach it; what an export `ip` gets.
    #[serde(default)]
    pub address: String,
    /// Installers it offers.
    #[serde(default)]
    pub installers: Vec<String>,
    /// All its addresses but those of the loopback, IPv4 first; `address` is one of them, or what was configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Ports from [`robo_model::limits::FIRST_RANDOM_PORT`] on that something listened on; bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

/// `POST …/tokens`: makes an enrolment token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// The device's name; where none is given, the agent proposes one.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// Labels it gets.
    #[serde(default)]
    pub labels: Labels,
    /// How long the token is good for; [`TokenRequest::LIFETIME`] where none is given.
    #[serde(default)]
    pub lifetime: Option<Millis>,
    /// When a device of that name exists: its key is replaced and it keeps its identity, instead of a refusal.
    #[serde(default)]
    pub replace: bool,
    /// How many devices it lets in, 1 to [`TokenRequest::MAX_USES`]; one where nothing is said.
    #[serde(default)]
    pub uses: Option<u32>,
    /// Whether an operator has to accept each device that comes with it.
    #[serde(default)]
    pub approve: bool,
}

impl TokenRequest {
    /// An hour: long enough to walk to the machine.
    pub const LIFETIME: Millis = Millis::from_secs(3600);
    /// Longest lifetime that may be asked for: a week.
    pub const MAX_LIFETIME: Millis = Millis::from_secs(7 * 24 * 3600);
    /// Most devices that one token lets in: a fleet's image.
    pub const MAX_USES: u32 = 10_000;
}

/// `GET …/tokens`: an enrolment token that may still let devices in, or was used up or ended not long ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollTokenView {
    /// Names the token: the beginning of its hash.
    pub id: String,
    /// The device's name, where it gives one.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// The labels that devices get.
    pub labels: Labels,
    /// Whether it replaces a device's key.
    #[serde(default)]
    pub replace: bool,
    /// Whether an operator has to accept each device.
    #[serde(default)]
    pub approve: bool,
    /// How many devices it lets in.
    pub uses: u32,
    /// How many came already.
    pub used: u32,
    /// The device that came last.
    #[serde(default)]
    pub last_used_by: Option<DeviceName>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Whose token made it.
    #[serde(default)]
    pub created_by: String,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// `POST /v1/agent/certificate`: a device that has a certificate asks for one for its next key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateRequest {
    /// A PKCS#10 request (RFC 2986) in PEM, signed with the next key.
    pub certificate_request: String,
}

/// A device's certificate. The key it is for becomes the device's with its first use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateView {
    /// In PEM.
    pub certificate: String,
    /// When it ends.
    pub ends_at: UnixMillis,
}

/// `GET /v1/agent/certificate`: the manager knows the device's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// SHA-256 of the device's public key, in hexadecimal.
    pub key_fingerprint: String,
}

/// A new enrolment token. It is told once and stored only as a hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// What it is called in lists.
    #[serde(default)]
    pub id: String,
    /// The token: `rbe1.<SHA-256 of the manager's CA>.<secret>`.
    pub token: String,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// `POST /v1/enroll`: the only request that needs no credentials but the token in it.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    /// The enrolment token.
    pub token: String,
    /// A PKCS#10 request (RFC 2986) in PEM, signed with the device's key.
    pub certificate_request: String,
    /// The name the machine proposes; the token's goes first.
    #[serde(default)]
    pub name: Option<DeviceName>,
    /// What it tells of itself.
    #[serde(default)]
    pub facts: Facts,
}

/// The answer to an enrolment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollResponse {
    /// The device's identity.
    pub device: DeviceId,
    /// Its name.
    pub name: DeviceName,
    /// Its project.
    pub project: ProjectName,
    /// Its certificate, in PEM.
    pub certificate: String,
}

/// Largest body of an enrolment, in bytes: it comes from an unauthenticated peer.
pub const MAX_ENROLL_BODY: usize = 64 * 1024;

/// `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// The manager's version.
    pub version: String,
    /// Devices with a link to this manager process.
    pub links: u64,
}
