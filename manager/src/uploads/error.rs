//! Why a file cannot be asked for or had.

use robo_model::name::{DeviceName, FileName};
use robo_model::quantity::Millis;
use robo_wire::problem::ErrorCode;
use robo_wire::upload::{MAX_SHARE_TTL, MIN_SHARE_TTL, UploadState};

use crate::service::ServiceError;
use crate::store::{MAX_OPEN_UPLOADS, MAX_SHARES, MAX_UPLOADS, StoreError};

/// Why a file cannot be asked for or had.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no such file.
    #[error("there is no file `{0}`: not found")]
    Unknown(FileName),
    /// There is no such link.
    #[error("there is no link `{0}`: not found")]
    NoShare(String),
    /// Another file has the name.
    #[error("there is a file `{name}` already: it is {state}")]
    Taken {
        /// The name.
        name: FileName,
        /// How far that one is.
        state: UploadState,
    },
    /// It is over, so that nothing can be cancelled.
    #[error("the file `{name}` is not in progress: it is {state}")]
    NotOpen {
        /// Which.
        name: FileName,
        /// How far it is.
        state: UploadState,
    },
    /// It is on its way, so that it cannot be removed.
    #[error("the file `{0}` is in progress")]
    OnItsWay(FileName),
    /// It is not whole.
    #[error("the file `{name}` is not here: it is {state}")]
    NotWhole {
        /// Which.
        name: FileName,
        /// How far it is.
        state: UploadState,
    },
    /// The project has as many as it may.
    #[error("the project has {MAX_UPLOADS} files, which is the most there may be")]
    TooMany,
    /// The device has as many to send as it may.
    #[error("`{0}` has {MAX_OPEN_UPLOADS} files to send already, which is the most there may be")]
    TooManyOpen(DeviceName),
    /// The file has as many links as it may.
    #[error("the file `{0}` has {MAX_SHARES} links, which is the most there may be")]
    TooManyShares(FileName),
    /// There is no room in the project.
    #[error("the project's files have {used} of the {max} bytes that they may have")]
    Full {
        /// What they have.
        used: u64,
        /// What they may have.
        max: u64,
    },
    /// A link cannot be good for so long.
    #[error("a link is good for {MIN_SHARE_TTL} to {MAX_SHARE_TTL}, not {0}")]
    Lifetime(Millis),
    /// Too many read by links at this moment.
    #[error("too many files are fetched by links at this moment")]
    Busy,
    /// What is asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// Its content cannot be read.
    #[error("the content of a file cannot be read")]
    Disk(#[source] std::io::Error),
    /// The service refuses or fails.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// What to do about a project that is full.
pub(super) const MAKE_ROOM: &str =
    "remove files that nobody needs with `robo files delete`, or give the manager more with `--files-max`";

impl UploadError {
    /// The code for machines; nothing for what is the manager's own failure.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::Service(_) | Self::Disk(_) => return None,
            Self::Unknown(_) | Self::NoShare(_) => ErrorCode::NotFound,
            Self::Taken { .. } => ErrorCode::NameTaken,
            Self::NotOpen { .. } | Self::OnItsWay(_) | Self::NotWhole { .. } => ErrorCode::Conflict,
            Self::TooMany | Self::TooManyOpen(_) | Self::TooManyShares(_) | Self::Full { .. } => ErrorCode::TooLarge,
            Self::Busy => ErrorCode::Busy,
            Self::Lifetime(_) | Self::Request(_) => ErrorCode::BadRequest,
        })
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "`robo files list` shows all".to_owned(),
            Self::NoShare(_) => "`robo files shares NAME` shows the links of a file".to_owned(),
            Self::Taken { name, state: UploadState::InProgress } => {
                format!("wait for it, or cancel it: `robo files cancel {name}`")
            }
            Self::Taken { .. } => "take another name, or put it in that one's place with `--replace`".to_owned(),
            Self::NotOpen { name, .. } => format!("`robo files show {name}` says more"),
            Self::OnItsWay(name) => format!("cancel it first: `robo files cancel {name}`"),
            Self::NotWhole { name, .. } => format!("`robo files show {name}` says how far it is"),
            Self::TooMany | Self::Full { .. } => MAKE_ROOM.to_owned(),
            Self::TooManyOpen(device) => {
                format!("`robo files list --device {device} --state pending` shows them")
            }
            Self::TooManyShares(name) => format!("`robo files shares {name}` shows them; take some back"),
            Self::Busy => "try again in a moment".to_owned(),
            Self::Service(_) | Self::Disk(_) | Self::Lifetime(_) | Self::Request(_) => return None,
        })
    }
}
