//! What clients are told of each refusal of the service: its code, and what to do about it.

use std::collections::BTreeSet;

use robo_model::name::{ApplicationName, ComponentName, ProjectName};
use robo_wire::problem::ErrorCode;

use crate::service::{AccessError, RelocationError, ServiceError};

/// What to do about an enrolment token that is not good any more.
const ANOTHER_TOKEN: &str = "ask for a new token; each is good for one device and a short time";

/// The code for machines; nothing for what is the manager's own failure.
pub(super) fn code(error: &ServiceError) -> Option<ErrorCode> {
    Some(match error {
        ServiceError::Store(_) | ServiceError::Files(_) | ServiceError::Randomness(_) | ServiceError::Broken(_) => {
            return None;
        }
        ServiceError::NoProject { .. }
        | ServiceError::NoApplication { .. }
        | ServiceError::NoRevision { .. }
        | ServiceError::NoRevisionFile { .. }
        | ServiceError::NoInstance { .. }
        | ServiceError::NoDevice { .. }
        | ServiceError::NoComponent { .. }
        | ServiceError::NothingMeant { .. }
        | ServiceError::NoToken { .. }
        | ServiceError::NotImported { .. } => ErrorCode::NotFound,
        ServiceError::NoRollback { .. }
        | ServiceError::NoteTooLong { .. }
        | ServiceError::HostStopped { .. }
        | ServiceError::LabelTwice(_)
        | ServiceError::BoundToItself { .. }
        | ServiceError::WrongPrefix { .. }
        | ServiceError::WrongSize { .. }
        | ServiceError::Label(_)
        | ServiceError::Filter(_)
        | ServiceError::TooManyLabels { .. }
        | ServiceError::ReplaceWhom
        | ServiceError::Lifetime { .. }
        | ServiceError::Uses { .. }
        | ServiceError::OneNameForMany { .. }
        | ServiceError::BackToPending
        | ServiceError::ReasonTooLong { .. }
        | ServiceError::NoName { .. }
        | ServiceError::InstallReport(_)
        | ServiceError::Ssh(_)
        | ServiceError::CertificateRequest(_) => ErrorCode::BadRequest,
        ServiceError::TooManyBound { .. }
        | ServiceError::TooManyLabelled { .. }
        | ServiceError::SourceTooLarge { .. }
        | ServiceError::TooManyFiles { .. } => ErrorCode::TooLarge,
        ServiceError::Access(error) => code_of_access(error),
        ServiceError::Relocation(RelocationError::NameTaken { .. } | RelocationError::OthersName { .. }) => {
            ErrorCode::NameTaken
        }
        ServiceError::Relocation(RelocationError::InUse { .. } | RelocationError::Named { .. }) => ErrorCode::InUse,
        ServiceError::InUse { .. } | ServiceError::DeviceInUse { .. } => ErrorCode::InUse,
        ServiceError::NotLetIn { .. } => ErrorCode::Conflict,
        ServiceError::ProjectFull { .. } => ErrorCode::ProjectFull,
        ServiceError::ProjectThere { .. } => ErrorCode::NameTaken,
        ServiceError::FilesMissing(_) => ErrorCode::FilesMissing,
        ServiceError::Graph(_) => ErrorCode::GraphInvalid,
        ServiceError::Plan(plan) => plan.code(),
        ServiceError::PlanMoved { .. } => ErrorCode::PlanMoved,
        ServiceError::TokenForeign => ErrorCode::TokenForeign,
        ServiceError::TokenUnknown => ErrorCode::TokenUnknown,
        ServiceError::TokenExpired(_) => ErrorCode::TokenExpired,
        ServiceError::TokenUsed(_) => ErrorCode::TokenUsed,
        ServiceError::NameTaken(_) => ErrorCode::NameTaken,
    })
}

const fn code_of_access(error: &AccessError) -> ErrorCode {
    match error {
        AccessError::NoUser { .. }
        | AccessError::NoGroup { .. }
        | AccessError::NoUserToken { .. }
        | AccessError::NoGrant { .. } => ErrorCode::NotFound,
        AccessError::UsersName { .. } | AccessError::GroupsName { .. } => ErrorCode::NameTaken,
        AccessError::ShutsOut { .. } => ErrorCode::Conflict,
        AccessError::TheAdmin | AccessError::MayNotGrant { .. } | AccessError::OthersRights { .. } => {
            ErrorCode::Forbidden
        }
        AccessError::DeviceOfWhat | AccessError::File { .. } => ErrorCode::BadRequest,
        AccessError::TooManyGrants { .. } | AccessError::TooManyTokens { .. } | AccessError::TooManyUsers { .. } => {
            ErrorCode::TooLarge
        }
    }
}

/// What to do about a device that an application has something on.
const STILL_NEEDED: &str =
    "apply the application without it or delete it first; or force it, and the host has no device";

fn full(project: &ProjectName) -> String {
    format!(
        "remove a device that is gone (`robo device remove`), or raise the bound: \
         `robo project set {project} --max-devices N`"
    )
}

fn quota_of(project: &ProjectName) -> String {
    format!("`robo project set {project} --max-devices N` changes how many devices it may have")
}

/// What to do about it.
pub(super) fn help(error: &ServiceError) -> Option<String> {
    Some(match error {
        ServiceError::Ssh(error) => error.help(),
        ServiceError::ProjectFull { project, .. } => full(project),
        ServiceError::ProjectThere { name, .. } => quota_of(name),
        ServiceError::NoProject { .. } => "the project that always exists is `default`".to_owned(),
        ServiceError::NoApplication { near, .. } | ServiceError::NoInstance { near, .. } => {
            meant(near.as_ref(), "`robo status` shows all")
        }
        ServiceError::NoDevice { near, .. } => meant(near.as_ref(), "`robo device list` shows all"),
        ServiceError::NoComponent { near, application, .. } => {
            meant(near.as_ref(), &format!("`robo status {application}` shows what each instance is"))
        }
        ServiceError::NothingMeant { application, .. } => format!("`robo status {application}` shows what there is"),
        ServiceError::HostStopped { path, application } => format!(
            "`robo stop {application} {path} --below` stops all that stands on it; \
             `robo undeploy {application} {path}` removes that"
        ),
        ServiceError::DeviceInUse { .. } => STILL_NEEDED.to_owned(),
        ServiceError::NoRevision { kept, application, .. } => kept_revisions(*kept, application),
        ServiceError::NoRollback { .. } => "leave `rollback_of` out, or send that revision's own bundle".to_owned(),
        ServiceError::NoteTooLong { .. } => "say it shorter, and the rest where your team keeps such things".to_owned(),
        ServiceError::FilesMissing(_) => "upload them and ask again".to_owned(),
        ServiceError::BoundToItself { .. } => "import what the same application offers without `external`".to_owned(),
        ServiceError::NotImported { application, imported, .. } => imports_of(application, imported),
        ServiceError::WrongPrefix { prefix, candidates, .. } => offering(prefix, candidates),
        ServiceError::TooManyBound { .. } => "bind it to an application that gathers what these offer".to_owned(),
        ServiceError::InUse { name, .. } => format!(
            "bind them to another one with `robo bind`, or delete with `robo delete {name} --force`: they then wait or go without"
        ),
        ServiceError::ReplaceWhom => {
            "name it: else the machine that has the token could take any device's place".to_owned()
        }
        ServiceError::Lifetime { .. } => "make the token when the machine is at hand".to_owned(),
        ServiceError::Graph(_) => "`robo check` shows them with their lines".to_owned(),
        ServiceError::Plan(plan) => plan.help(),
        ServiceError::PlanMoved { .. } => "plan again and look at what is different".to_owned(),
        ServiceError::TokenForeign => "use a token of this manager, or the manager of this token".to_owned(),
        ServiceError::TokenUnknown | ServiceError::TokenExpired(_) | ServiceError::TokenUsed(_) => {
            ANOTHER_TOKEN.to_owned()
        }
        ServiceError::NameTaken(_) => {
            "enrol under another name; or, when this machine takes that one's place, with a token that replaces"
                .to_owned()
        }
        ServiceError::NoName { .. } => "give the agent a name".to_owned(),
        ServiceError::NoToken { .. } => "`robo device token list` shows all".to_owned(),
        ServiceError::Access(error) => return error.help(),
        ServiceError::Relocation(error) => error.help(),
        ServiceError::Filter(error) => error.help(),
        ServiceError::OneNameForMany { .. } => "leave the name out: each machine proposes its host name".to_owned(),
        ServiceError::NotLetIn { name, .. } => format!("`robo device accept {name}` lets it in"),
        ServiceError::Store(_)
        | ServiceError::Files(_)
        | ServiceError::Randomness(_)
        | ServiceError::Broken(_)
        | ServiceError::NoRevisionFile { .. }
        | ServiceError::LabelTwice(_)
        | ServiceError::WrongSize { .. }
        | ServiceError::Label(_)
        | ServiceError::TooManyLabels { .. }
        | ServiceError::Uses { .. }
        | ServiceError::BackToPending
        | ServiceError::ReasonTooLong { .. }
        | ServiceError::SourceTooLarge { .. }
        | ServiceError::TooManyFiles { .. }
        | ServiceError::InstallReport(_)
        | ServiceError::TooManyLabelled { .. }
        | ServiceError::CertificateRequest(_) => return None,
    })
}

fn imports_of(application: &ApplicationName, imported: &BTreeSet<ComponentName>) -> String {
    match &*names(imported) {
        "" => format!("`{application}` has no import with `external`"),
        prefixes => format!("it imports {prefixes}"),
    }
}

fn meant(near: Option<&String>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
}

fn kept_revisions(kept: Option<(u64, u64)>, application: &ApplicationName) -> String {
    match kept {
        Some((oldest, newest)) if oldest == newest => format!("{newest} is the only one there is"),
        Some((oldest, newest)) => format!("{oldest} to {newest} are kept: `robo history {application}`"),
        None => "nothing was applied yet".to_owned(),
    }
}

fn offering(prefix: &ComponentName, candidates: &[ApplicationName]) -> String {
    match &*names(candidates) {
        "" => format!("no application offers it; one does with `exports-prefix: {prefix};`"),
        names => format!("{names} offer `{prefix}`"),
    }
}

fn names(all: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    all.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
