//! Why the service refuses or fails. How a client is told stands in `api/problem.rs`.

use std::collections::BTreeSet;
use std::fmt;

use robo_model::label::SelectorError;
use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath, ProjectName};
use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::{FileHash, InstanceKey, RelativePath};
use robo_wire::api::Standing;

use super::access::AccessError;
use super::fleet::FilterError;
use super::relocate::RelocationError;
use super::ssh::SshError;
use crate::ca::CaError;
use crate::files::FilesError;
use crate::plan::PlanError;
use crate::store::StoreError;
use crate::token::NoRandomness;

/// Why the service refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Something about users and what they may.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No certificate for SSH is issued.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A part of the program broke.
    #[error("a task of the manager broke: {0}")]
    Broken(String),
    /// There is no such project.
    #[error("there is no project `{name}`")]
    NoProject {
        /// Its name.
        name: String,
    },
    /// The project has as many devices as it may have.
    #[error("project `{project}` has as many devices as it may have: {max}")]
    ProjectFull {
        /// Its name.
        project: ProjectName,
        /// How many.
        max: u32,
    },
    /// There is a project of that name, with another bound.
    #[error("there is a project `{name}` already, which may have {}", bound(*max_devices))]
    ProjectThere {
        /// Its name.
        name: ProjectName,
        /// How many devices it may have.
        max_devices: Option<u32>,
    },
    /// There is no such application.
    #[error("there is no application `{name}`")]
    NoApplication {
        /// Its name.
        name: ApplicationName,
        /// One whose name is nearly that.
        near: Option<String>,
    },
    /// There is no such revision, or no longer.
    #[error("application `{application}` has no revision {number}")]
    NoRevision {
        /// The application.
        application: ApplicationName,
        /// Its number.
        number: u64,
        /// The oldest and the newest that are kept.
        kept: Option<(u64, u64)>,
    },
    /// What is to be applied is not what it is said to bring back.
    #[error("this is not what revision {number} of `{application}` was")]
    NoRollback {
        /// The application.
        application: ApplicationName,
        /// The revision.
        number: u64,
    },
    /// A revision has no such file.
    #[error("revision {number} of `{application}` has no file {hash}")]
    NoRevisionFile {
        /// The application.
        application: ApplicationName,
        /// The revision.
        number: u64,
        /// The file.
        hash: FileHash,
    },
    /// A note is too long.
    #[error("the note has {characters} characters, at most {max} are kept")]
    NoteTooLong {
        /// How many it has.
        characters: usize,
        /// The bound.
        max: usize,
    },
    /// There is no such instance.
    #[error("application `{application}` has no instance `{path}`")]
    NoInstance {
        /// The application.
        application: ApplicationName,
        /// The path.
        path: InstancePath,
        /// One whose path is nearly that.
        near: Option<String>,
    },
    /// There is no such component or facet.
    #[error("application `{application}` has no component or facet `{name}`")]
    NoComponent {
        /// The application.
        application: ApplicationName,
        /// Its name.
        name: ComponentName,
        /// One whose name is nearly that.
        near: Option<String>,
    },
    /// There is no such device.
    #[error("there is no device `{name}`")]
    NoDevice {
        /// Its name.
        name: DeviceName,
        /// One whose name is nearly that.
        near: Option<String>,
    },
    /// Nothing is left of what was named.
    #[error("application `{application}` has {what}")]
    NothingMeant {
        /// The application.
        application: ApplicationName,
        /// What it does not have.
        what: String,
    },
    /// Machines do not stop.
    #[error("`{path}` of `{application}` is a machine: it is there or not, and cannot be stopped")]
    HostStopped {
        /// The application.
        application: ApplicationName,
        /// The machine.
        path: InstancePath,
    },
    /// Applications stand on the device.
    #[error("device `{name}` is in use: it is {}", listed(.hosts, host))]
    DeviceInUse {
        /// The device.
        name: DeviceName,
        /// The host instances that it is.
        hosts: Vec<InstanceKey>,
    },
    /// A device stays in its project.
    #[error(transparent)]
    Relocation(#[from] RelocationError),
    /// Which devices are meant cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A label is to be set and removed.
    #[error("label `{0}` is to be set and removed at once")]
    LabelTwice(String),
    /// Files of the bundle were not uploaded.
    #[error("{} files of the bundle were not uploaded", .0.len())]
    FilesMissing(Vec<FileHash>),
    /// A file of the bundle has another size than the bundle says.
    #[error("file {hash} has {found} bytes, the bundle says {said}")]
    WrongSize {
        /// Which.
        hash: FileHash,
        /// What the bundle says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// A source is too large.
    #[error("source `{path}` has {bytes} bytes, at most {max} are allowed")]
    SourceTooLarge {
        /// Which.
        path: RelativePath,
        /// Its size.
        bytes: u64,
        /// The bound.
        max: usize,
    },
    /// The bundle has too many files.
    #[error("the bundle has {count} {what}, at most {max} are allowed")]
    TooManyFiles {
        /// Which files.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// The graph has errors.
    #[error("the graph has {} errors", .0.count)]
    Graph(GraphErrors),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What the plan read has changed.
    #[error("the plan no longer holds: {reason}")]
    PlanMoved {
        /// What changed.
        reason: String,
    },
    /// An application is bound to itself.
    #[error("`{application}` cannot be bound to itself")]
    BoundToItself {
        /// The application.
        application: ApplicationName,
    },
    /// An application is bound by a prefix that it does not import.
    #[error("application `{application}` imports nothing of `{prefix}` from other applications")]
    NotImported {
        /// The application.
        application: ApplicationName,
        /// The prefix.
        prefix: ComponentName,
        /// The prefixes that it does import.
        imported: BTreeSet<ComponentName>,
    },
    /// An application is bound to one that offers something else.
    #[error("application `{application}` offers {}, not `{prefix}`", offered(.offers.as_ref()))]
    WrongPrefix {
        /// The one that was to be bound to.
        application: ApplicationName,
        /// The prefix.
        prefix: ComponentName,
        /// Its own prefix, where it has one.
        offers: Option<ComponentName>,
        /// Those that do offer the prefix.
        candidates: Vec<ApplicationName>,
    },
    /// A prefix is bound to too many applications.
    #[error("`{prefix}` is to be bound to {count} applications, at most {max} are allowed")]
    TooManyBound {
        /// The prefix.
        prefix: ComponentName,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// Others import from it.
    #[error("others import from application `{name}`: {}", listed(.by, quoted))]
    InUse {
        /// The application.
        name: ApplicationName,
        /// Those that are bound to it; at least one.
        by: Vec<ApplicationName>,
    },
    /// A label breaks its rule.
    #[error(transparent)]
    Label(#[from] SelectorError),
    /// Labels of too many devices at once.
    #[error("{count} devices are meant, at most {max} are changed at once")]
    TooManyLabelled {
        /// How many are.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// Too many labels.
    #[error("{count} labels, a device has at most {max}")]
    TooManyLabels {
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A token that replaces a device does not say which.
    #[error("a token that replaces a device needs that device's name")]
    ReplaceWhom,
    /// A token cannot be good for so long.
    #[error("a token cannot be good for {asked}, {max} is the longest")]
    Lifetime {
        /// What was asked for.
        asked: Millis,
        /// The bound.
        max: Millis,
    },
    /// A token cannot let in so many.
    #[error("a token lets in 1 to {max} devices, not {asked}")]
    Uses {
        /// What was asked for.
        asked: u32,
        /// The bound.
        max: u32,
    },
    /// One name for several devices.
    #[error("{uses} devices cannot all be called `{name}`")]
    OneNameForMany {
        /// The name.
        name: DeviceName,
        /// How many.
        uses: u32,
    },
    /// There is no such enrolment token.
    #[error("there is no enrolment token `{id}`")]
    NoToken {
        /// What it was called.
        id: String,
    },
    /// A device cannot be made to wait again.
    #[error("a device is let in or shut out, and never sent back to wait")]
    BackToPending,
    /// The device may not connect, so nothing can be asked of it.
    #[error("`{name}` is not let in: it is {}", standing_word(*.standing))]
    NotLetIn {
        /// The device.
        name: DeviceName,
        /// How it stands.
        standing: Standing,
    },
    /// The reason is too long to stand in lists.
    #[error("the reason has {length} characters, at most {max} are kept")]
    ReasonTooLong {
        /// Its length.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// The enrolment token is another manager's.
    #[error("the enrolment token is another manager's")]
    TokenForeign,
    /// What a machine says of its installation cannot be so.
    #[error("the report of an installation: {0}")]
    InstallReport(String),
    /// The enrolment token is unknown.
    #[error("the enrolment token is unknown")]
    TokenUnknown,
    /// The enrolment token's time is over.
    #[error("the enrolment token ended at {} (Unix time in milliseconds)", .0.0)]
    TokenExpired(UnixMillis),
    /// The enrolment token was used.
    #[error("the enrolment token was used already{}", by(.0.as_ref()))]
    TokenUsed(Option<DeviceName>),
    /// The device's name is taken.
    #[error("another device is called `{0}`")]
    NameTaken(DeviceName),
    /// Neither token, nor request, nor host name make a device's name.
    #[error("the device has no name: neither token nor agent gives one, and its host name `{hostname}` makes none")]
    NoName {
        /// The host name.
        hostname: String,
    },
    /// The certificate request is none.
    #[error("the certificate request is refused")]
    CertificateRequest(#[source] CaError),
}

fn by(device: Option<&DeviceName>) -> String {
    device.map(|name| format!(" by device `{name}`")).unwrap_or_default()
}

const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "waiting for an operator",
        Standing::Accepted => "accepted",
        Standing::Revoked => "revoked",
    }
}

fn offered(prefix: Option<&ComponentName>) -> String {
    prefix.map_or_else(|| "nothing to others".to_owned(), |prefix| format!("`{prefix}` to others"))
}

/// Most names in one sentence.
const MAX_NAMES: usize = 10;

fn listed<T>(all: &[T], told: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<String> = all.iter().take(MAX_NAMES).map(told).collect();
    if all.len() > shown.len() {
        shown.push(format!("{} more", all.len() - shown.len()));
    }
    shown.join(", ")
}

fn quoted(name: &ApplicationName) -> String {
    format!("`{name}`")
}

fn host(key: &InstanceKey) -> String {
    format!("`{}` of `{}`", key.path, key.application)
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphErrors {
    /// The first errors, one line each: code, place, message.
    pub lines: Vec<String>,
    /// How many there are in all.
    pub count: usize,
}

impl fmt::Display for GraphErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        match self.count.saturating_sub(self.lines.len()) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Most names that one unknown name is compared with.
const MAX_CANDIDATES: usize = 10_000;

/// The candidate that `name` most probably was meant to be.
pub(super) fn near(name: &str, candidates: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .map(|candidate| (strsim::osa_distance(name, candidate.as_ref()), candidate.as_ref().to_owned()))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

fn bound(max_devices: Option<u32>) -> String {
    max_devices.map_or_else(|| "any number of devices".to_owned(), |max| format!("{max} devices"))
}
