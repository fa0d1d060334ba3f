//! Users, their tokens, what they may, and the audit log.

use robo_model::access::{Decision, Grant, Role, Verb};
use robo_model::name::{DeviceName, ProjectName, UserName};
use robo_model::quantity::{Millis, UnixMillis};
use serde::{Deserialize, Serialize};

/// What a user is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UserKind {
    /// Somebody at a terminal.
    #[default]
    Person,
    /// A pipeline, or another program.
    Machine,
}

/// `POST /v1/users`: makes a user. The same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserRequest {
    /// Its name.
    pub name: UserName,
    /// What it is.
    #[serde(default)]
    pub kind: UserKind,
}

/// `GET /v1/users`: a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserView {
    /// Its name.
    pub name: UserName,
    /// What it is.
    pub kind: UserKind,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Who made it.
    pub created_by: String,
    /// When one of its tokens was used last, to within [`LAST_USED_STEP`].
    #[serde(default)]
    pub last_used: Option<UnixMillis>,
    /// How many of its tokens are good.
    pub tokens: u32,
    /// What it may.
    pub grants: Vec<GrantView>,
}

/// How exactly it is known when a token was used last: each use would be a write else.
pub const LAST_USED_STEP: Millis = Millis::from_secs(600);

/// A role that a user has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantView {
    /// Names the grant.
    pub id: u64,
    /// Whose it is.
    pub user: UserName,
    /// The group by which the user has it; nothing where it is the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<UserName>,
    /// What it gives.
    #[serde(flatten)]
    pub grant: Grant,
    /// When it was given.
    pub granted_at: UnixMillis,
    /// Who gave it.
    pub granted_by: String,
}

impl std::fmt::Display for GrantView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.grant)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ", by group `{group}`"))
    }
}

/// `POST /v1/grants`: gives a user a role. The same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantRequest {
    /// Who gets it.
    pub user: UserName,
    /// What it gives.
    #[serde(flatten)]
    pub grant: Grant,
}

/// `POST /v1/users/{user}/tokens`: makes a token with which somebody is this user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserTokenRequest {
    /// What it is for, in words: at most [`UserTokenRequest::MAX_NOTE`] characters.
    #[serde(default)]
    pub note: String,
    /// How long it is good for; [`UserTokenRequest::LIFETIME`] where nothing is said.
    #[serde(default)]
    pub lifetime: Option<Millis>,
    /// What it is good for at most, of what its user may.
    #[serde(default)]
    pub narrowed: Option<Grant>,
}

impl UserTokenRequest {
    /// A quarter of a year.
    pub const LIFETIME: Millis = Millis::from_secs(90 * 24 * 3600);
    /// Longest lifetime that may be asked for: two years.
    pub const MAX_LIFETIME: Millis = Millis::from_secs(731 * 24 * 3600);
    /// Most characters of a note.
    pub const MAX_NOTE: usize = 200;
    /// Most tokens of one user that are good at a time.
    pub const MAX_TOKENS: usize = 100;
}

/// `GET /v1/users/{user}/tokens`: a token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserTokenView {
    /// Names the token: the beginning of its hash.
    pub id: String,
    /// Whose it is.
    pub user: UserName,
    /// What it is for.
    #[serde(default)]
    pub note: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Who made it.
    #[serde(default)]
    pub created_by: String,
    /// When it ends, if ever.
    #[serde(default)]
    pub expires_at: Option<UnixMillis>,
    /// When it was used last, to within [`LAST_USED_STEP`].
    #[serde(default)]
    pub last_used: Option<UnixMillis>,
    /// What it is good for at most.
    #[serde(default)]
    pub narrowed: Option<Grant>,
}

/// The answer to the making of a token: its secret is told here and never again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewUserToken {
    /// The token.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub view: UserTokenView,
}

/// `GET /v1/auth/me`: who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    /// The user.
    pub user: UserName,
    /// The token it came with.
    pub token: UserTokenView,
    /// What the user may.
    pub grants: Vec<GrantView>,
}

/// `POST /v1/auth/can-i`: whether somebody may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CanI {
    /// What.
    pub verb: Verb,
    /// In which project; the manager as a whole where none is named.
    #[serde(default)]
    pub project: Option<ProjectName>,
    /// On which device; the project as a whole where none is named.
    #[serde(default)]
    pub device: Option<DeviceName>,
    /// Who; whoever asks, where nobody is named.
    #[serde(default)]
    pub user: Option<UserName>,
}

/// The answer to [`CanI`].
pub type CanIAnswer = Decision;

/// `POST /v1/projects`: makes a project. The same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectRequest {
    /// Its name.
    pub name: ProjectName,
    /// How many devices it may have; any number where nothing is said. What there is already stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_devices: Option<u32>,
}

/// `PUT /v1/projects/{project}/quota`: says how many devices a project may have. Those that it has stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaRequest {
    /// So many; any number where nothing is said.
    #[serde(default)]
    pub max_devices: Option<u32>,
}

/// `GET /v1/projects`: a project of which whoever asks may see something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectView {
    /// Its name.
    pub name: ProjectName,
    /// The most that whoever asks may there.
    pub role: Role,
    /// How many devices it has, for who may see all of them; nothing for others, and of an older manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<u32>,
    /// How many it may have; any number where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_devices: Option<u32>,
}

/// What became of something that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AuditOutcome {
    /// It was allowed, and begun after this line was on disk.
    Allowed,
    /// It was refused.
    Refused,
    /// It was allowed, and failed; its line `allowed` stands before.
    Failed,
    /// What had been allowed was cut off, because it is allowed no longer.
    Cut,
    /// Something of a newer version.
    #[serde(other)]
    Unknown,
}

/// `GET /v1/audit`: a line of the audit log.
///
/// `hash` is the SHA-256 over the line's other fields and the hash of the line before: who changes a line changes all
/// after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Counts the lines from 1, without gaps.
    pub id: u64,
    /// When.
    pub at: UnixMillis,
    /// Who, as far as it is known: a user, `device NAME`, or nobody.
    #[serde(default)]
    pub who: Option<String>,
    /// The token it came with.
    #[serde(default)]
    pub token: Option<String>,
    /// From which address.
    #[serde(default)]
    pub from: Option<String>,
    /// In which project.
    #[serde(default)]
    pub project: Option<String>,
    /// What was wanted: a verb, or a word for what devices do.
    pub verb: String,
    /// Of what: the path that was asked for, or more.
    pub thing: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Why, and with what.
    #[serde(default)]
    pub detail: String,
    /// How many times the same happened, where that was counted instead of being written down again.
    pub times: u64,
    /// Binds the line to the one before, in hexadecimal.
    pub hash: String,
}

/// `GET /v1/audit/verify`: whether the audit log is as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditVerdict {
    /// How many lines were looked at.
    pub lines: u64,
    /// The first line that is not what was written, and what is wrong there.
    #[serde(default)]
    pub broken: Option<AuditBreak>,
    /// The last line's number; who keeps it with its hash elsewhere finds out when lines are taken away at the end.
    pub last: u64,
    /// The last line's hash.
    pub hash: String,
    /// The last line that was taken away because its time was over; what follows is bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<AuditAnchor>,
}

/// Where the audit log begins, after lines were taken away whose time was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditAnchor {
    /// The last line that was taken away.
    pub id: u64,
    /// Its hash, which was right when it went.
    pub hash: String,
}

/// Where the audit log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditBreak {
    /// The line.
    pub id: u64,
    /// What is wrong with it.
    pub reason: String,
}
