//! Groups of users, and files that say which users, groups and roles there are.

use robo_model::access::{Grant, Role};
use robo_model::label::Selector;
use robo_model::name::{ProjectName, UserName};
use robo_model::quantity::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{GrantView, UserRequest};

/// `POST /v1/groups`: makes a group. The same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupRequest {
    /// Its name; no user has it.
    pub name: UserName,
}

/// `GET /v1/groups`: a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupView {
    /// Its name.
    pub name: UserName,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Who made it.
    pub created_by: String,
    /// Who is in it, by name.
    pub members: Vec<UserName>,
    /// What its members may.
    pub grants: Vec<GrantView>,
}

/// Most users, groups, members and bindings of a file, each.
pub const MAX_ACCESS_FILE: usize = 10_000;

/// A file of users, groups and roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessFile {
    /// Users that there are to be.
    #[serde(default)]
    pub users: Vec<UserRequest>,
    /// Groups that there are to be, each with all its members.
    #[serde(default)]
    pub groups: Vec<GroupWish>,
    /// Roles that they are to have.
    #[serde(default)]
    pub bindings: Vec<RoleBinding>,
}

/// A group, as a file wishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupWish {
    /// Its name.
    pub name: UserName,
    /// All who are to be in it; who is in it else is taken out.
    #[serde(default)]
    pub members: Vec<UserName>,
}

/// A role of a user or a group, as a file wishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleBinding {
    /// The user who gets it; or a group does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The group that gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<UserName>,
    /// Which role.
    pub role: Role,
    /// In which project; or in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// In all projects, and for the manager itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_projects: bool,
    /// Only on devices with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub labels: Option<Selector>,
}

impl RoleBinding {
    /// Who gets what; nothing where it does not say who, or not where.
    #[must_use]
    pub fn read(&self) -> Option<(&UserName, Grant)> {
        let ((Some(who), None) | (None, Some(who))) = (&self.user, &self.group) else { return None };
        let is_somewhere = self.project.is_some() != self.all_projects;
        let grant = Grant { role: self.role, project: self.project.clone(), selector: self.labels.clone() };
        is_somewhere.then_some((who, grant))
    }
}

/// `POST /v1/access`: makes users, groups and roles as a file says: all of it, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessRequest {
    /// What there is to be.
    pub file: AccessFile,
    /// Remove what the file does not name: roles, groups and users; never `admin`, nor what a login gave.
    #[serde(default)]
    pub prune: bool,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// One thing that is done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessChange {
    /// Whether something comes or goes.
    pub action: AccessAction,
    /// What, for people.
    pub what: String,
}

/// Whether something comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AccessAction {
    /// It comes.
    Add,
    /// It goes.
    Remove,
}
