//! Who may what: verbs, roles, grants, and the decision with its reasons.
//!
//! Denied by default: something is allowed when a grant gives a role that is enough for the verb, on the thing it is
//! about. A grant with a selector is about devices with these labels alone; what concerns a project as a whole, or
//! the manager, needs one without. No I/O: the manager says which grants there are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::label::{Labels, Selector};
use crate::name::ProjectName;

/// What a user may do, each with everything that the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Sees what there is, and changes nothing.
    Viewer,
    /// Applies, and works on devices.
    Operator,
    /// Says which devices and users there are, and what these may.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownWord { kind: "role", text: text.to_owned(), known: "viewer, operator and admin" })
    }
}

/// A word that is no role or verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: there are {known}")]
pub struct UnknownWord {
    kind: &'static str,
    text: String,
    known: &'static str,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident, $name:literal, $role:ident, $scope:ident;)*) => {
        /// What somebody wants to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Verb {
            $($(#[$doc])* #[serde(rename = $name)] $verb,)*
        }

        impl Verb {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$verb,)*];

            /// As it is written.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$verb => $name,)*
                }
            }

            /// The least role that may.
            #[must_use]
            pub const fn role(self) -> Role {
                match self {
                    $(Self::$verb => Role::$role,)*
                }
            }

            /// What it is about.
            #[must_use]
            pub const fn scope(self) -> Scope {
                match self {
                    $(Self::$verb => Scope::$scope,)*
                }
            }
        }

        const VERBS: &str = concat!($($name, " "),*);
    };
}

verbs! {
    /// See a device, its events and its sessions.
    See, "see", Viewer, Device;
    /// Read what instances and the agent print.
    Logs, "logs", Viewer, Device;
    /// See applications, with their history.
    SeeApplications, "see-applications", Viewer, Project;
    /// Plan, apply, roll back, bind and delete applications; start, stop, cancel and retry what is in them.
    Apply, "apply", Operator, Project;
    /// Run commands.
    Exec, "exec", Operator, Device;
    /// Use a terminal, watch others use one, and end their sessions.
    Shell, "shell", Operator, Device;
    /// Copy files to and from a device.
    Copy, "copy", Operator, Device;
    /// Pass connections through a device.
    Forward, "forward", Operator, Device;
    /// Act as root, or as anybody but the user that a device runs commands as.
    Root, "root", Admin, Device;
    /// Make and revoke the tokens that devices enrol with.
    Enroll, "enroll", Admin, Project;
    /// Change a device's labels, let it in or shut it out, have it change its key or its agent's program, remove it.
    ManageDevices, "manage-devices", Admin, Project;
    /// Say what users may in the project.
    Grant, "grant", Admin, Project;
    /// Read the audit log of the project.
    Audit, "audit", Admin, Project;
    /// Make and remove projects and users, and users' tokens.
    ManageUsers, "manage-users", Admin, Manager;
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Verb {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.iter().copied().find(|verb| verb.name() == text);
        found.ok_or_else(|| UnknownWord { kind: "verb", text: text.to_owned(), known: VERBS.trim_ascii_end() })
    }
}

/// What a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A device: grants with a selector count where it matches.
    Device,
    /// A project as a whole.
    Project,
    /// All projects.
    Manager,
}

/// What somebody wants to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing<'a> {
    /// A device of the project with these labels.
    Device(&'a ProjectName, &'a Labels),
    /// Any device of the project at all: who may see only some is shown these.
    SomeDevice(&'a ProjectName),
    /// The project as a whole.
    Project(&'a ProjectName),
    /// The manager.
    Manager,
}

/// A role that a user was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// In this project; in all where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// On devices with these labels alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub selector: Option<Selector>,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.role)?;
        match &self.project {
            Some(project) => write!(f, " in project `{project}`")?,
            None => f.write_str(" in all projects")?,
        }
        self.selector.as_ref().map_or(Ok(()), |selector| write!(f, ", on devices with `{selector}`"))
    }
}

/// Why a grant does not allow something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Short {
    Role,
    Project,
    Labels,
    Part,
}

impl Grant {
    /// True when it allows `verb` on `thing`.
    #[must_use]
    pub fn allows(&self, verb: Verb, thing: Thing<'_>) -> bool {
        self.falls_short(verb, thing).is_none()
    }

    /// True when everything that `other` allows, this one allows.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.role >= other.role
            && (self.project.is_none() || self.project == other.project)
            && (self.selector.is_none() || self.selector == other.selector)
    }

    fn falls_short(&self, verb: Verb, thing: Thing<'_>) -> Option<Short> {
        let (project, labels) = match thing {
            Thing::Device(project, labels) => (Some(project), Some(labels)),
            Thing::SomeDevice(project) | Thing::Project(project) => (Some(project), None),
            Thing::Manager => (None, None),
        };
        let is_here = match (&self.project, project) {
            (None, _) => true,
            (Some(mine), Some(project)) => mine == project,
            (Some(_), None) => false,
        };
        let fits = match (&self.selector, thing) {
            (None, _) | (Some(_), Thing::SomeDevice(_)) => None,
            (Some(selector), Thing::Device(..)) => {
                (!labels.is_some_and(|labels| selector.matches(labels))).then_some(Short::Labels)
            }
            (Some(_), Thing::Project(_) | Thing::Manager) => Some(Short::Part),
        };
        match (is_here, self.role >= verb.role()) {
            (false, _) => Some(Short::Project),
            (true, false) => Some(Short::Role),
            (true, true) => fits,
        }
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, for people: what allows it, or why each grant is not enough.
    pub reasons: Vec<String>,
}

/// Whether somebody with these grants, through a token that is `narrowed` to no more than that, may do `verb` to `thing`.
#[must_use]
pub fn decide(grants: &[Grant], narrowed: Option<&Grant>, verb: Verb, thing: Thing<'_>) -> Decision {
    let named: Vec<(&Grant, String)> = grants.iter().map(|grant| (grant, grant.to_string())).collect();
    decide_named(&named, narrowed, verb, thing)
}

/// The same as [`decide`], with what reasons call each grant.
#[must_use]
pub fn decide_named(grants: &[(&Grant, String)], narrowed: Option<&Grant>, verb: Verb, thing: Thing<'_>) -> Decision {
    if let Some(short) = narrowed.and_then(|limit| limit.falls_short(verb, thing)) {
        let limit = narrowed.map(ToString::to_string).unwrap_or_default();
        return Decision { allowed: false, reasons: vec![format!("the token is for {limit}: {}", why(short, verb))] };
    }
    if let Some((_, name)) = grants.iter().find(|(grant, _)| grant.allows(verb, thing)) {
        return Decision { allowed: true, reasons: vec![format!("`{verb}` needs {}: {name}", verb.role())] };
    }
    let mut reasons: Vec<String> = grants
        .iter()
        .filter_map(|(grant, name)| grant.falls_short(verb, thing).map(|short| format!("{name}: {}", why(short, verb))))
        .collect();
    if reasons.is_empty() {
        reasons.push("no role was granted".to_owned());
    }
    Decision { allowed: false, reasons }
}

/// True when [`decide`] allows it.
#[must_use]
pub fn is_allowed(grants: &[Grant], narrowed: Option<&Grant>, verb: Verb, thing: Thing<'_>) -> bool {
    narrowed.is_none_or(|limit| limit.allows(verb, thing)) && grants.iter().any(|grant| grant.allows(verb, thing))
}

fn why(short: Short, verb: Verb) -> String {
    match short {
        Short::Role => format!("`{verb}` needs {}", verb.role()),
        Short::Project => "another project".to_owned(),
        Short::Labels => "the device has other labels".to_owned(),
        Short::Part => format!("`{verb}` is about more than some devices"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, project: Option<&str>, selector: Option<&str>) -> Grant {
        Grant { role, project: project.map(|p| p.parse().unwrap()), selector: selector.map(|s| s.parse().unwrap()) }
    }

    fn labels(site: &str) -> Labels {
        [("site".to_owned(), site.to_owned())].into()
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(*verb));
            assert_eq!(serde_json::to_value(verb).unwrap(), verb.name());
        }
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("fly".parse::<Verb>().unwrap_err().to_string().contains("see logs see-applications"));
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("viewer"));
    }

    #[test]
    fn denied_by_default() {
        let (here, site) = ("here".parse().unwrap(), labels("tokyo"));
        for verb in Verb::ALL {
            for thing in [Thing::Device(&here, &site), Thing::SomeDevice(&here), Thing::Project(&here), Thing::Manager]
            {
                assert!(!decide(&[], None, *verb, thing).allowed);
                assert!(decide(&[grant(Role::Admin, None, None)], None, *verb, thing).allowed);
            }
        }
        assert_eq!(decide(&[], None, Verb::Exec, Thing::Manager).reasons, ["no role was granted"]);
    }

    #[test]
    fn a_role_is_good_for_its_verbs_in_its_project() {
        let (here, there) = ("here".parse().unwrap(), "there".parse().unwrap());
        let grants = [grant(Role::Operator, Some("here"), None)];
        let may = |verb, thing| is_allowed(&grants, None, verb, thing);
        assert!(may(Verb::Apply, Thing::Project(&here)) && may(Verb::See, Thing::SomeDevice(&here)));
        assert!(!may(Verb::Apply, Thing::Project(&there)) && !may(Verb::Enroll, Thing::Project(&here)));
        assert!(!may(Verb::ManageUsers, Thing::Manager));
        let told = decide(&grants, None, Verb::Enroll, Thing::Project(&here)).reasons;
        assert_eq!(told, ["operator in project `here`: `enroll` needs admin"]);
    }

    #[test]
    fn a_selector_is_about_its_devices_alone() {
        let here = "here".parse().unwrap();
        let grants = [grant(Role::Operator, Some("here"), Some("site=tokyo")), grant(Role::Viewer, Some("here"), None)];
        let (tokyo, osaka) = (labels("tokyo"), labels("osaka"));
        let may = |verb, thing| is_allowed(&grants, None, verb, thing);
        assert!(may(Verb::Shell, Thing::Device(&here, &tokyo)));
        assert!(!may(Verb::Shell, Thing::Device(&here, &osaka)));
        assert!(may(Verb::See, Thing::Device(&here, &osaka)));
        assert!(!may(Verb::Apply, Thing::Project(&here)));
        let told = decide(&grants, None, Verb::Shell, Thing::Device(&here, &osaka)).reasons;
        assert_eq!(told[0], "operator in project `here`, on devices with `site=tokyo`: the device has other labels");
        assert_eq!(told[1], "viewer in project `here`: `shell` needs operator");
    }

    #[test]
    fn a_narrow_token_is_good_for_less_than_its_user() {
        let here = "here".parse().unwrap();
        let (grants, limit) = ([grant(Role::Admin, None, None)], grant(Role::Viewer, Some("here"), None));
        assert!(is_allowed(&grants, Some(&limit), Verb::See, Thing::Project(&here)));
        for thing in [Thing::Project(&here), Thing::Manager] {
            assert!(!is_allowed(&grants, Some(&limit), Verb::Apply, thing));
            assert!(!decide(&grants, Some(&limit), Verb::Apply, thing).allowed);
        }
        assert!(!is_allowed(&[], Some(&grants[0]), Verb::See, Thing::Project(&here)), "a token gives nothing");
    }

    #[test]
    fn who_covers_whom() {
        let all = grant(Role::Admin, None, None);
        let some = grant(Role::Operator, Some("here"), Some("site=tokyo"));
        assert!(all.covers(&some) && some.covers(&some) && !some.covers(&all));
        assert!(!grant(Role::Admin, Some("there"), None).covers(&some));
        assert!(!grant(Role::Viewer, None, None).covers(&some));
    }
}
