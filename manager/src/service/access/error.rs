//! Why something about users and what they may is refused.

use robo_model::name::UserName;

/// Why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such user.
    #[error("there is no user `{name}`")]
    NoUser {
        /// Its name.
        name: UserName,
    },
    /// There is no such group.
    #[error("there is no group `{name}`")]
    NoGroup {
        /// Its name.
        name: UserName,
    },
    /// A user is called as the group is to be.
    #[error("`{name}` is a user, and no group")]
    UsersName {
        /// The name.
        name: UserName,
    },
    /// A group is called as the user is to be.
    #[error("`{name}` is a group, and no user")]
    GroupsName {
        /// The name.
        name: UserName,
    },
    /// A file of users says what cannot be.
    #[error("{place}: {what}")]
    File {
        /// Where in the file.
        place: String,
        /// What.
        what: String,
    },
    /// Whoever asks would not be able to ask again.
    #[error("`{user}`, who asks, could not manage users any more")]
    ShutsOut {
        /// Who.
        user: UserName,
    },
    /// There is no such token of the user.
    #[error("user `{user}` has no token `{id}`")]
    NoUserToken {
        /// The user.
        user: UserName,
        /// What it was called.
        id: String,
    },
    /// There is no such grant, or none that is the asker's business.
    #[error("there is no grant {id}")]
    NoGrant {
        /// Its number.
        id: u64,
    },
    /// The administrator stays, and may everything.
    #[error("the user `admin` stays, and may everything: whoever has the manager's folder is this user")]
    TheAdmin,
    /// Whoever asks cannot give or take that.
    #[error("this is not yours to give or take: {grant}")]
    MayNotGrant {
        /// What.
        grant: String,
    },
    /// What others may is for those who manage users.
    #[error("what `{user}` may is not yours to ask")]
    OthersRights {
        /// Who.
        user: UserName,
    },
    /// A device without its project.
    #[error("a device is named, and not in which project")]
    DeviceOfWhat,
    /// A user has too many roles.
    #[error("user `{user}` has {max} roles already")]
    TooManyGrants {
        /// The user.
        user: UserName,
        /// The bound.
        max: usize,
    },
    /// A user has too many tokens.
    #[error("user `{user}` has {max} tokens already")]
    TooManyTokens {
        /// The user.
        user: UserName,
        /// The bound.
        max: usize,
    },
    /// There are too many users.
    #[error("there are {max} users already")]
    TooManyUsers {
        /// The bound.
        max: usize,
    },
}

impl AccessError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoUser { .. } => "`robo user list` shows all".to_owned(),
            Self::NoGroup { .. } => "`robo group list` shows all".to_owned(),
            Self::UsersName { .. } | Self::GroupsName { .. } => "users and groups have names of their own".to_owned(),
            Self::File { .. } => "`robo user apply --help` shows a file that is right".to_owned(),
            Self::ShutsOut { .. } => {
                "name your own role in the file (admin, `all_projects: true`), or let `admin` do it".to_owned()
            }
            Self::NoUserToken { user, .. } => format!("`robo user token list {user}` shows all"),
            Self::NoGrant { .. } => "`robo user grants` shows all".to_owned(),
            Self::MayNotGrant { .. } | Self::OthersRights { .. } => "`robo auth whoami` shows what you may".to_owned(),
            Self::TheAdmin => "a new token for it: take `admin.token` away, and start the manager again".to_owned(),
            Self::TooManyGrants { .. } => "take away what is not needed: `robo user revoke`".to_owned(),
            Self::TooManyTokens { .. } => "revoke what is not needed: `robo user token revoke`".to_owned(),
            Self::DeviceOfWhat | Self::TooManyUsers { .. } => return None,
        })
    }
}
