//! Users of the operating system, from `/etc/passwd`, and their groups, from `/etc/group`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Gid, Uid};
use rustix::process::chdir;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

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

    /// Has `command` run as this user, with all groups of this user and none of ours, as a login has it. When it cannot be
    /// started, that is the error of its start; so it is when this user may not be in its working directory.
    #[expect(unsafe_code, reason = "the standard library sets user and group, and takes away all other groups")]
    pub(crate) fn run(&self, command: &mut Command) {
        let (uid, gid, groups) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid), self.groups());
        let become_user = move || {
            set_thread_groups(&groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            // Entered as root before.
            chdir(c".")?;
            Ok(())
        };
        // SAFETY: between fork and exec this makes system calls and nothing else: the groups were found before, it takes no
        // lock and no memory. The new process has one thread, so what is set of that is set of the process.
        unsafe { command.pre_exec(become_user) };
    }

    /// The groups in which this user is: its own and all that name it.
    fn groups(&self) -> Vec<Gid> {
        let bytes = fs::read("/etc/group").unwrap_or_default();
        groups_in(&String::from_utf8_lossy(&bytes), &self.name, self.gid).into_iter().map(Gid::from_raw).collect()
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

/// The groups of a user by the lines of `/etc/group`, its own first.
fn groups_in(text: &str, name: &str, own: u32) -> Vec<u32> {
    let mut groups = vec![own];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(':').skip(2);
        let (Some(Ok(gid)), Some(members)) = (fields.next().map(str::parse), fields.next()) else { continue };
        if members.split(',').any(|member| member.trim() == name) && !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    groups
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
    fn a_user_is_in_its_own_group_and_in_all_that_name_it() {
        let text = "root:x:0:\nadm:x:4:ann\ndocker:x:998: bob , ann\nvideo:x:44:anna,bob\n\
                    again:x:4:ann\nnone:x:a:ann\nshort:x:9\n# docker:x:1:ann\nown:x:1000:ann\n";
        assert_eq!(groups_in(text, "ann", 1000), [1000, 4, 998]);
        assert_eq!(groups_in(text, "anna", 7), [7, 44]);
        assert_eq!(groups_in(text, "nobody", 65534), [65534], "none of root's");
        assert_eq!(groups_in("", "ann", 1), [1]);
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
