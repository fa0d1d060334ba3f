//! Users of the operating system, from `/etc/passwd`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    /// The login shell; empty where none is given.
    pub(crate) shell: PathBuf,
}

impl User {
    /// The user that this process runs as.
    pub(crate) fn own() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let known = read_all().into_iter().find(|user| user.uid == uid);
        known.unwrap_or_else(|| Self {
            name: uid.to_string(),
            uid,
            gid: rustix::process::getegid().as_raw(),
            home: PathBuf::from("/"),
            shell: PathBuf::new(),
        })
    }

    /// The user `name`, if this process may become it; nothing when it is that user already.
    ///
    /// # Errors
    /// Says that there is no such user, or that this process must not become it.
    pub(crate) fn to_become(name: &str) -> Result<Option<Self>, String> {
        let Some(user) = read_all().into_iter().find(|user| user.name == name) else {
            return Err(format!("this device has no user `{name}`; add it, or change `user:`"));
        };
        let own = Self::own();
        if user.uid == own.uid {
            return Ok(None);
        }
        if own.uid != 0 {
            return Err(format!(
                "the agent runs as `{}` and may not run anything as `{name}`; run the agent as root, or remove `user:`",
                own.name
            ));
        }
        Ok(Some(user))
    }

    /// Makes `path` this user's.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }
}

/// Who owns what `user` or `user:group` says, by names or numbers; the user's own group where a name says no other.
///
/// # Errors
/// Says that there is no such user or group, or that this process may not give anything to them.
pub(crate) fn owner(text: &str) -> Result<(Uid, Option<Gid>), String> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let known = read_all().into_iter().find(|known| known.name == user);
    let uid = known.as_ref().map(|known| known.uid).or_else(|| number(user));
    let uid = uid.ok_or_else(|| format!("there is no user `{user}` there"))?;
    let gid = match group {
        None => known.map(|known| known.gid),
        Some(name) => {
            Some(group_id(name).or_else(|| number(name)).ok_or_else(|| format!("there is no group `{name}` there"))?)
        }
    };
    let own = User::own();
    if own.uid != 0 && own.uid != uid {
        return Err(format!("only root may give files to `{user}`, and this runs as `{}`", own.name));
    }
    Ok((Uid::from_raw(uid), gid.map(Gid::from_raw)))
}

/// A user's or a group's number; the highest means nobody's in the kernel's calls.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

fn group_id(name: &str) -> Option<u32> {
    let bytes = fs::read("/etc/group").unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten())
}

fn read_all() -> Vec<User> {
    let bytes = fs::read("/etc/passwd").unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (_comment, home) = (fields.next()?, fields.next()?);
    let shell = fields.next().unwrap_or_default();
    Some(User { name: name.to_owned(), uid, gid, home: PathBuf::from(home), shell: PathBuf::from(shell) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_skipped() {
        let web = parse("web:x:1001:1002:Web, Server:/home/web:/bin/sh").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_path()), (1001, 1002, Path::new("/home/web")));
        assert_eq!(web.shell, Path::new("/bin/sh"));
        assert_eq!(parse("web:x:1:2:c:/home/web").unwrap().shell, Path::new(""));
        for bad in ["", "# comment", "web:x:a:1:c:/h:/s", "web:x:1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn owners_are_found_by_name_and_number() {
        let own = User::own();
        let (uid, gid) = (Uid::from_raw(own.uid), Gid::from_raw(own.gid));
        assert_eq!(owner(&own.name), Ok((uid, Some(gid))));
        assert_eq!(owner(&format!("{}:{}", own.uid, own.gid)), Ok((uid, Some(gid))));
        for bad in ["", ":", "no such user", "0:no such group", "4294967295"] {
            assert!(owner(bad).unwrap_err().contains("there is no"), "{bad}");
        }
    }

    #[test]
    fn an_unknown_user_is_named() {
        assert!(User::to_become("no such user").unwrap_err().contains("`no such user`"));
        assert_eq!(User::to_become(&User::own().name), Ok(None));
    }
}
