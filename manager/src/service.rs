//! What a manager does, without saying how it is asked: the API and the tests call this.
//!
//! It joins the pure parts (compiler, planner) with the store, the files and the bus. One change of a project's
//! applications happens at a time: what a plan reads cannot move between the look and the write.

mod access;
mod acts;
mod apply;
mod audit;
mod bindings;
mod circles;
mod compile;
mod devices;
mod enroll;
mod error;
mod events;
mod fleet;
mod groups;
mod history;
mod identity;
mod installs;
mod login;
mod moved;
mod overrides;
mod relocate;
mod rename;
mod scope;
mod ssh;
mod status;
mod switches;

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use robo_model::name::ProjectName;
use robo_model::quantity::UnixMillis;
use robo_wire::plan::Ground;

pub use self::access::{Access, AccessError, Shown};
pub use self::audit::{Actor, MAX_AUDIT};
pub use self::enroll::Sign;
pub use self::error::{GraphErrors, ServiceError};
pub use self::events::EventFeed;
pub use self::fleet::{DeviceFilter, FilterError};
pub use self::groups::told;
pub use self::login::LoginError;
pub use self::moved::reason as what_moved;
pub use self::relocate::RelocationError;
pub use self::ssh::SshError;
use crate::bus::Bus;
use crate::files::{Files, FilesError};
use crate::plan::PortRanges;
use crate::ssh::SshAuthority;
use crate::store::{Committed, Store, StoreError};

/// The file with the first token of all, below the data folder.
pub const ADMIN_TOKEN: &str = "admin.token";

/// Plans whose ground is remembered, to say what moved: more than people look at in parallel. Losing them costs only
/// the exactness of a message.
const MAX_REMEMBERED_PLANS: usize = 256;

/// The service. Clones share it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    store: Store,
    files: Files,
    bus: Bus,
    /// Where the output of jobs lies.
    outputs: PathBuf,
    /// Where files of devices lie.
    uploads: PathBuf,
    /// Where recordings of sessions lie.
    recordings: PathBuf,
    ca_fingerprint: String,
    /// Ports that are never handed out.
    forbidden_ports: PortRanges,
    /// Held while an application is planned and changed.
    change: tokio::sync::Mutex<()>,
    /// Held while a device enrols, from the choice of its identity to the write.
    enrolling: tokio::sync::Mutex<()>,
    /// A `std` mutex: nothing waits while it is held.
    plans: std::sync::Mutex<VecDeque<(String, Ground)>>,
    /// Signs certificates for the SSH servers of devices.
    ssh: SshAuthority,
    /// Counts how often somebody may less than before, or elsewhere.
    rights: tokio::sync::watch::Sender<u64>,
    /// A `std` mutex: nothing waits while it is held.
    counted: std::sync::Mutex<audit::Counted>,
}

impl Service {
    /// A service on this store, with its files and its administrator's token below `data`. Enrolment tokens name
    /// the CA certificate with this SHA-256, in hexadecimal. `forbidden_ports` are never handed out.
    ///
    /// # Errors
    /// When the folder cannot be used, or the store fails.
    pub async fn open(
        store: Store,
        bus: Bus,
        data: &Path,
        ca_fingerprint: String,
        forbidden_ports: PortRanges,
    ) -> Result<Self, StoreError> {
        let files = Files::open(data).map_err(|error| match error {
            FilesError::Disk { path, source, .. } => StoreError::Folder { path, source },
            error @ (FilesError::WrongHash { .. }
            | FilesError::TooLarge { .. }
            | FilesError::BrokenOff(_)
            | FilesError::Busy
            | FilesError::Name(_)) => folder(data, error),
        })?;
        access::ensure_admin(&store, data).await?;
        let ssh = SshAuthority::load_or_create(data).map_err(|error| folder(data, error))?;
        Ok(Self(Arc::new(Inner {
            store,
            files,
            bus,
            recordings: data.join("sessions"),
            outputs: data.join("jobs"),
            uploads: data.join("uploads"),
            ca_fingerprint,
            forbidden_ports,
            ssh,
            change: tokio::sync::Mutex::default(),
            enrolling: tokio::sync::Mutex::default(),
            plans: std::sync::Mutex::default(),
            rights: tokio::sync::watch::Sender::default(),
            counted: std::sync::Mutex::default(),
        })))
    }

    /// The store it works on.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The files it works on.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.0.files
    }

    /// Signs certificates for the SSH servers of devices.
    #[must_use]
    pub fn ssh_authority(&self) -> &SshAuthority {
        &self.0.ssh
    }

    /// SHA-256 of the authority's certificate, in hexadecimal.
    #[must_use]
    pub fn ca_fingerprint(&self) -> &str {
        &self.0.ca_fingerprint
    }

    /// The folder of the recordings of sessions.
    #[must_use]
    pub fn recordings(&self) -> &Path {
        &self.0.recordings
    }

    /// The folder of the output of jobs.
    #[must_use]
    pub fn outputs(&self) -> &Path {
        &self.0.outputs
    }

    /// Where files of devices lie.
    #[must_use]
    pub fn uploads_folder(&self) -> &Path {
        &self.0.uploads
    }

    /// The bell it rings.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// Refuses a project that does not exist.
    ///
    /// # Errors
    /// When it does not, or the store fails.
    pub async fn check_project(&self, project: &ProjectName) -> Result<(), ServiceError> {
        if self.store().has_project(project).await? {
            return Ok(());
        }
        Err(ServiceError::NoProject { name: project.to_string() })
    }

    /// Moves when somebody may less than before, or elsewhere: a role or a token was taken away, or a device has
    /// other labels. Who lets something go on looks again then.
    #[must_use]
    pub fn rights_moved(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.rights.subscribe()
    }

    fn move_rights(&self) {
        self.0.rights.send_modify(|times| *times += 1);
    }

    /// Tells everyone who waits for what was just written.
    fn ring(&self, project: &ProjectName, committed: &Committed) {
        use crate::bus::Ring;
        for device in &committed.devices {
            self.bus().ring(Ring::Assignment(device.clone()));
        }
        self.bus().ring(Ring::Events(project.clone()));
    }
}

/// Runs `work` to its end even when whoever asked goes away: what was written must also be rung.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(ServiceError::Broken(error.to_string())))
}

/// The time now. The only clock of the service.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn folder(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source: std::io::Error::other(error) }
}

/// Whole or not at all, and for nobody else to read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
