//! The store: everything a manager knows, in SQLite.
//!
//! What is acknowledged is on disk: WAL with full synchronisation. One connection writes, so that writes queue here
//! and never collide there; others read. The SQL is what PostgreSQL takes too: numbered placeholders, `ON CONFLICT`,
//! no function of SQLite's own. No type of the driver leaves this module.

mod access;
mod applications;
mod audit;
mod bindings;
mod contact;
mod devices;
mod events;
mod groups;
mod health;
mod identity;
mod installs;
mod instances;
mod jobs;
mod keys;
mod logins;
mod needed;
mod projects;
mod release;
mod relocate;
mod remove;
mod rename;
mod revisions;
pub mod rules;
mod sessions;
mod switches;
mod tokens;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use robo_model::name::{ApplicationName, DeviceId};
use robo_wire::frame::MAX_CONTROL_FRAME;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

pub use self::access::{UserRecord, UserTokenRecord};
pub use self::applications::{ApplicationRecord, ApplicationSummary, Apply, Committed, Revision, Specs};
pub use self::audit::{AUDIT_SEGMENT, AuditFilter, AuditLine, Trimmed};
pub use self::bindings::{Bind, LetGo};
pub use self::contact::{Contact, ContactMoved, Silence};
pub use self::devices::{DeviceRecord, FactsMoved};
pub use self::events::{EventFilter, EventPage, MAX_EVENTS, NewEvent};
pub use self::groups::AccessStep;
pub use self::identity::Promoted;
pub use self::installs::{InstallRecord, MAX_INSTALLS};
pub use self::instances::{Recorded, ReportedInstance};
pub use self::jobs::{JobCounts, JobRecord, MAX_JOBS, RunRecord};
pub use self::logins::{BY_LOGIN, Login, LoginMoved};
pub use self::projects::ProjectRecord;
pub use self::relocate::Relocated;
pub use self::remove::{Homeless, Removed};
pub use self::rename::Renamed;
pub use self::revisions::{MAX_REVISIONS, Told};
pub use self::sessions::{MAX_SESSIONS, SessionEnd, SessionRecord};
pub use self::tokens::{EnrollTokenRecord, Enrolment, NewDevice};
pub use self::uploads::{
    Added, MAX_OPEN_UPLOADS, MAX_SHARES, MAX_UPLOADS, Room, ShareRecord, UploadAfter, UploadFilter, UploadRecord,
};

/// Connections that read. More than cores only helps while one waits for the disk.
const READERS: u32 = 4;

/// How long a statement waits for a lock of SQLite's. Only a checkpoint or a backup ever holds one against us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an operation waits for a free connection. The writer's queue is the longest: thousands of devices may
/// come back at once, and each costs it a synchronisation of the disk.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);

/// SQLite's result code for a file that is something else.
const SQLITE_NOTADB: &str = "26";

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used", path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another manager works on this data.
    #[error("another manager process uses the data folder {}; stop it first, or give this one its own folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The file is no database.
    #[error("{} is not a database of robo; move it away, or name another data folder", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has changed the database's form.
    #[error("{} was written by a newer version of robo (its form {version} is unknown here); use that version", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The newest form in it.
        version: i64,
    },
    /// The database's form cannot be brought up to date.
    #[error("the database {} cannot be brought up to date", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A statement failed.
    #[error("the database failed while {what}")]
    Query {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Something in the database is not what this program writes.
    #[error("the database holds {what} that cannot be read: {reason}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A value cannot be written as JSON.
    #[error("{what} cannot be written as JSON")]
    Encode {
        /// What was written.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such device.
    #[error("there is no device {id}")]
    NoDevice {
        /// Its identity.
        id: DeviceId,
    },
    /// There is no such application, or no longer.
    #[error("there is no application `{name}`")]
    NoApplication {
        /// Its name.
        name: ApplicationName,
    },
    /// A device would be told more than a message may hold.
    #[error("the assignment of device {device} would have {bytes} bytes, at most {max} can be told", max = MAX_CONTROL_FRAME)]
    AssignmentTooLarge {
        /// The device.
        device: DeviceId,
        /// Its size.
        bytes: usize,
    },
}

/// An error below.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Locked as long as the store is open.
    lock: Arc<std::fs::File>,
    contacts: Arc<contact::Contacts>,
}

type Tx = Transaction<'static, Sqlite>;

impl Store {
    /// Opens the store in the folder `data`, which is made when it is missing; the database is `robo.db` in it.
    ///
    /// # Errors
    /// When another manager uses the folder, or the database is none, damaged, or of a newer version.
    pub async fn open(data: &Path) -> Result<Self, StoreError> {
        let lock = lock(data)?;
        let path = data.join("robo.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let opening = |source| opening(&path, source);
        let writer = pool(1).connect_with(options.clone()).await.map_err(opening)?;
        migrate(&writer, &path).await?;
        let readers = pool(READERS).connect_lazy_with(options);
        let store = Self { writer, readers, lock: Arc::new(lock), contacts: Arc::default() };
        store.all_offline().await?;
        Ok(store)
    }

    /// Closes the store and gives the folder free: what was written stays; clones answer with errors from here on.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the data folder stays locked until this process ends");
        }
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        self.writer.begin().await.map_err(at("beginning a transaction"))
    }

    /// A transaction that reads: all its statements see the same state.
    async fn snapshot(&self) -> Result<Tx, StoreError> {
        self.readers.begin().await.map_err(at("beginning to read"))
    }
}

async fn commit(tx: Tx) -> Result<(), StoreError> {
    tx.commit().await.map_err(at("committing"))
}

/// Takes the lock that tells other managers that this folder is in use.
fn lock(data: &Path) -> Result<std::fs::File, StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Folder { path, source }
    };
    std::fs::create_dir_all(data).map_err(failed(data))?;
    let path = data.join("lock");
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: data.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(StoreError::Folder { path, source }),
    }
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    match sqlx::migrate!("./migrations").run(writer).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => {
            Err(StoreError::NewerSchema { path: path.to_owned(), version })
        }
        Err(sqlx::migrate::MigrateError::Execute(source)) if is_no_database(&source) => {
            Err(StoreError::NotADatabase { path: path.to_owned() })
        }
        Err(source) => Err(StoreError::Migration { path: path.to_owned(), source: source.into() }),
    }
}

fn opening(path: &Path, source: sqlx::Error) -> StoreError {
    if is_no_database(&source) {
        return StoreError::NotADatabase { path: path.to_owned() };
    }
    StoreError::Query { what: "opening it", source: source.into() }
}

fn is_no_database(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == SQLITE_NOTADB)
}

/// Says what was being done when a statement failed.
fn at(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Query { what, source: source.into() }
}

fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { what, source })
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt { what, reason: e.to_string() })
}

/// A name as it was checked when it was written.
fn parse<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| StoreError::Corrupt { what, reason: e.to_string() })
}

/// As the database counts; numbers of ours never come near the end.
fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As we count; nothing below zero is ever written.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A row's columns, each by its name.
struct Columns<'r> {
    what: &'static str,
    row: &'r SqliteRow,
}

impl<'r> Columns<'r> {
    const fn of(what: &'static str, row: &'r SqliteRow) -> Self {
        Self { what, row }
    }

    fn text(&self, column: &str) -> Result<&'r str, StoreError> {
        self.row.try_get(column).map_err(at(self.what))
    }

    fn text_or_null(&self, column: &str) -> Result<Option<&'r str>, StoreError> {
        self.row.try_get(column).map_err(at(self.what))
    }

    fn number(&self, column: &str) -> Result<u64, StoreError> {
        self.row.try_get(column).map(count).map_err(at(self.what))
    }

    fn number_or_null(&self, column: &str) -> Result<Option<u64>, StoreError> {
        self.row.try_get::<Option<i64>, _>(column).map(|n| n.map(count)).map_err(at(self.what))
    }

    fn small(&self, column: &str) -> Result<u32, StoreError> {
        self.number(column).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    fn flag(&self, column: &str) -> Result<bool, StoreError> {
        self.number(column).map(|n| n != 0)
    }

    fn name<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        parse(self.what, self.text(column)?)
    }

    fn name_or_null<T>(&self, column: &str) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text_or_null(column)?.map(|text| parse(self.what, text)).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        from_json(self.what, self.text(column)?)
    }
}

#[cfg(test)]
mod tests;
