//! Where an instance runs, for commands and shells of people that are to run there too: its folder, what its steps and
//! its process are told, and its user.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::{Runtime, exec};
use crate::keeper::user::User;
use crate::order::Order;

/// Where an instance runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The recipe's folder, which its steps and its process begin in too; its data's where the recipe is empty.
    folder: PathBuf,
    env: Environment,
    /// The user that it names; the agent's own where it names none.
    user: Option<String>,
}

/// Whom, where and with what something is run.
#[derive(Debug)]
pub(crate) struct Begin {
    /// Who runs it.
    pub(crate) user: User,
    /// That user's home, or what the instance has for one.
    pub(crate) home: PathBuf,
    /// The working directory; it is there.
    pub(crate) cwd: PathBuf,
    /// The user to become, where that is not the agent's own.
    pub(crate) other: Option<User>,
    /// What the instance is told; nothing outside of one.
    pub(crate) env: Environment,
}

impl Runtime {
    /// Where the instance of `order` runs; the order is the one with which it would be started.
    ///
    /// # Errors
    /// One sentence for people: nothing of it is on this device.
    pub fn place(&self, order: &Order) -> Result<Place, String> {
        let shared = self.shared();
        let folder = shared.folder(order);
        if !folder.data().is_dir() {
            return Err(format!("`{}` is not deployed on this device, and has no folder there", order.key));
        }
        let folder = Some(folder.recipe()).filter(|recipe| recipe.is_dir()).unwrap_or_else(|| folder.data());
        Ok(Place { folder, env: shared.environment(order), user: order.settings.user.clone() })
    }
}

impl Begin {
    /// What is run as `user` in `cwd`; each is the place's, or the device's, where it is not given.
    ///
    /// # Errors
    /// One sentence for people: no such user, no such folder.
    pub(crate) fn find(user: Option<&str>, cwd: Option<&str>, place: Option<Place>) -> Result<Self, String> {
        let (place, env, within) = match place {
            Some(Place { folder, env, user }) => (Some(folder), env, user),
            None => (None, Environment::new(), None),
        };
        let (user, home, other) = exec::whom(user.or(within.as_deref()))?;
        let home = env.get("HOME").map_or(home, PathBuf::from);
        let usual = place.unwrap_or_else(|| home.clone());
        let cwd = match cwd {
            Some(folder) => usual.join(folder),
            None if usual.is_dir() => usual,
            None => PathBuf::from("/"),
        };
        if !cwd.is_dir() {
            return Err(format!("this device has no folder `{}`", cwd.display()));
        }
        Ok(Self { user, home, cwd, other, env })
    }

    /// The whole environment: what every program is told, the instance's over it, and `own` over all.
    pub(crate) fn environment<const N: usize>(&mut self, usual: [(&str, String); N], own: &Environment) -> Environment {
        let mut env: Environment = usual.map(|(name, value)| (name.to_owned(), value)).into();
        // Of another user than the instance's, that one's name is true.
        self.env.remove("USER");
        env.append(&mut self.env);
        env.extend(own.clone());
        env
    }

    /// The home as the environment has it.
    pub(crate) fn home(&self) -> String {
        text(&self.home)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
