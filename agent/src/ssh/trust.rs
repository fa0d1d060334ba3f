//! Has the machine's SSH server let in who shows a certificate of the manager's, or no more.
//!
//! The manager's key comes over the agent's link and lies in the agent's folder. It counts for nothing there: whoever
//! administers the machine takes it over by hand, once. What is written names this device, so that a certificate for
//! another one is good for nothing here; and it is taken back at once when the server would not start with it, or would
//! go on as before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use robo_model::name::DeviceId;
use robo_wire::api::ssh_principal;

use crate::folders::{Folders, write_atomic};
use crate::identity::Enrolled;

/// The file of settings, beside others that the server reads.
const SETTINGS: &str = "sshd_config.d/50-robo.conf";

/// The file of the manager's key.
const AUTHORITY: &str = "robo_user_ca.pub";

/// Where OpenSSH's server is on systems that we know.
const SERVERS: [&str; 4] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"];

/// Where `echo` is; the server wants a full path.
const ECHOES: [&str; 2] = ["/usr/bin/echo", "/bin/echo"];

/// The user without rights as whom the server runs that.
const NOBODY: &str = "nobody";

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's folder.
    pub state: PathBuf,
    /// The server's settings; ours go into `sshd_config.d` beside it.
    pub config: PathBuf,
    /// The server; found where none is named.
    pub server: Option<PathBuf>,
    /// Takes back what was written.
    pub remove: bool,
    /// Only says what would be done.
    pub dry_run: bool,
}

/// What of a file.
enum Change {
    Write(String),
    Remove,
}

/// Does it, and says what was done.
///
/// # Errors
/// One sentence that says why not, and what to do; then all is as it was.
pub fn carry_out(options: &Options) -> Result<String, String> {
    let beside = options.config.parent().unwrap_or_else(|| Path::new("."));
    let (settings, authority) = (beside.join(SETTINGS), beside.join(AUTHORITY));
    let server = Server { program: server(options.server.as_deref())?, config: options.config.clone() };
    let changes = if options.remove {
        vec![(settings.clone(), Change::Remove), (authority.clone(), Change::Remove)]
    } else {
        let (key, device) = (authority_of(&options.state)?, device_of(&options.state)?);
        server.is_free(&authority)?;
        let text = settings_text(&authority, &device)?;
        vec![(authority.clone(), Change::Write(format!("{key} robo\n"))), (settings.clone(), Change::Write(text))]
    };
    let changes: Vec<_> = changes.into_iter().filter(|(path, change)| is_news(path, change)).collect();
    let mut told = String::new();
    for (path, change) in &changes {
        let path = path.display();
        match change {
            Change::Write(text) => told += &format!("{path}:\n{}", indented(text)),
            Change::Remove => told += &format!("{path}: removed\n"),
        }
    }
    if changes.is_empty() {
        return Ok("Nothing is to be done: all is as it should be.\n".to_owned());
    }
    if options.dry_run {
        return Ok(format!("This would be written:\n{told}"));
    }
    let before = write_all(&changes)?;
    let expect = (!options.remove).then_some(authority.as_path());
    if let Err(reason) = server.check(expect) {
        put_back(&before)?;
        return Err(format!("{reason}; what was written is taken back"));
    }
    Ok(format!("{told}Now have the SSH server read it: `systemctl reload ssh`, or sshd, or what starts it here.\n"))
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| all + "    " + line + "\n")
}

fn is_news(path: &Path, change: &Change) -> bool {
    match change {
        Change::Write(text) => !fs::read_to_string(path).is_ok_and(|there| there == *text),
        Change::Remove => path.symlink_metadata().is_ok(),
    }
}

/// What the files had in them, so that they can have it again.
type Before<'a> = Vec<(&'a Path, Option<Vec<u8>>)>;

fn write_all(changes: &[(PathBuf, Change)]) -> Result<Before<'_>, String> {
    let mut before: Before<'_> = Vec::new();
    for (path, change) in changes {
        let was = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return put_back(&before).and(Err(cannot(path, &error))),
        };
        let done = match change {
            Change::Write(text) => write_atomic(path, text.as_bytes(), 0o644),
            Change::Remove => fs::remove_file(path),
        };
        if let Err(error) = done {
            return put_back(&before).and(Err(cannot(path, &error)));
        }
        before.push((path, was));
    }
    Ok(before)
}

fn put_back(before: &Before<'_>) -> Result<(), String> {
    for (path, was) in before.iter().rev() {
        let done = match was {
            Some(bytes) => write_atomic(path, bytes, 0o644),
            None => fs::remove_file(path),
        };
        done.map_err(|error| cannot(path, &error))?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> String {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        ": run this as root"
    } else if error.kind() == io::ErrorKind::NotFound {
        ": make the folder, and have the server's settings begin with `Include` of it"
    } else {
        ""
    };
    format!("{} cannot be written ({error}){hint}", path.display())
}

/// The manager's key, as it came over the link.
fn authority_of(state: &Path) -> Result<String, String> {
    let path = Folders::new(state).ssh_authority();
    match fs::read_to_string(&path) {
        Ok(text) if is_authority(text.trim()) => Ok(text.trim().to_owned()),
        Ok(_) => Err(format!("{} has no key of a manager in it", path.display())),
        Err(error) => Err(format!(
            "{} cannot be read ({error}): the agent puts the manager's key there when it is connected; \
             run this as the agent's user or root, and name the agent's folder with --state",
            path.display()
        )),
    }
}

/// Notes by which key the manager's certificates for SSH are known, for whoever administers this machine to take over;
/// nothing counts it before. A manager that says none has none.
pub fn note_authority(folders: &Folders, key: Option<&str>) {
    let path = folders.ssh_authority();
    let noted = fs::read_to_string(&path).ok();
    let wanted = key.filter(|key| is_authority(key)).map(|key| format!("{key}\n"));
    if noted == wanted {
        return;
    }
    let done = match wanted {
        Some(text) => write_atomic(&path, text.as_bytes(), 0o644),
        None => fs::remove_file(&path),
    };
    if let Err(error) = done {
        tracing::warn!(%error, "cannot note the manager's key for SSH in {}", path.display());
    }
}

/// Whether a manager may say that certificates for SSH are known by this.
fn is_authority(text: &str) -> bool {
    text.starts_with("ssh-ed25519 ") && robo_wire::api::is_host_key(text)
}

fn device_of(state: &Path) -> Result<DeviceId, String> {
    let folder = Folders::new(state).identity();
    match Enrolled::load(&folder) {
        Ok(Some(enrolled)) => Ok(enrolled.device),
        Ok(None) => Err(format!("this machine is no device: {} has no identity", folder.display())),
        Err(error) => Err(format!("nobody knows which device this is: {error}")),
    }
}

/// What the server is told: who shows a certificate of this authority is let in as the user that it names, on the device
/// that it names.
fn settings_text(authority: &Path, device: &DeviceId) -> Result<String, String> {
    let echo = ECHOES.iter().find(|path| Path::new(path).exists());
    let echo = echo.ok_or("this machine has no `echo`, which says to the SSH server whom certificates are for")?;
    let (authority, principal) = (authority.display(), ssh_principal(device, "%u"));
    // Without root's rights a server is for its own user alone, and can become nobody.
    let own = crate::keeper::user::User::own();
    let user = if own.uid == 0 { NOBODY } else { &own.name };
    Ok(format!(
        "# Written by `robo-agent ssh-trust`, which takes it away again with --remove.\n\
         TrustedUserCAKeys {authority}\n\
         AuthorizedPrincipalsCommand {echo} {principal}\n\
         AuthorizedPrincipalsCommandUser {user}\n"
    ))
}

fn server(named: Option<&Path>) -> Result<PathBuf, String> {
    let found = named.map(Path::to_owned).or_else(|| SERVERS.iter().map(PathBuf::from).find(|path| path.exists()));
    found.ok_or_else(|| "there is no SSH server here that we find: name it with --sshd".to_owned())
}

fn is_ours(command: &str) -> bool {
    command.contains(" robo:")
}

/// The machine's SSH server.
struct Server {
    program: PathBuf,
    config: PathBuf,
}

impl Server {
    /// Refuses to take the place of what an administrator has set: OpenSSH knows one authority's file, and one command.
    fn is_free(&self, authority: &Path) -> Result<(), String> {
        let trusted = self.setting("trustedusercakeys")?.filter(|trusted| Path::new(trusted) != authority);
        let command = self.setting("authorizedprincipalscommand")?.filter(|command| !is_ours(command));
        let trusted = trusted.map(|path| format!("an authority, in {path}"));
        let command = command.map(|command| format!("an AuthorizedPrincipalsCommand, {command}"));
        let Some(other) = trusted.or(command) else { return Ok(()) };
        Err(format!(
            "the SSH server has {other}, of its own already: one takes the other's place; take that away first"
        ))
    }

    /// Refuses settings with which the server would not start, or would not trust what it should.
    fn check(&self, authority: Option<&Path>) -> Result<(), String> {
        self.ask("-t")?;
        let Some(authority) = authority else { return Ok(()) };
        let (config, folder) = (self.config.display(), SETTINGS.split('/').next().unwrap_or_default());
        if self.setting("trustedusercakeys")?.as_deref().map(Path::new) != Some(authority) {
            return Err(format!("the SSH server does not read it: {config} lacks the line `Include {folder}/*.conf`"));
        }
        match self.setting("authorizedprincipalscommand")? {
            Some(command) if is_ours(&command) => Ok(()),
            Some(_) | None => Err(format!("{config} has an AuthorizedPrincipalsCommand of its own")),
        }
    }

    /// What counts of one of its settings, `none` left out.
    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        let all = self.ask("-T")?;
        let mut values = all.lines().filter_map(|line| line.split_once(' ').filter(|(key, _)| *key == name));
        Ok(values.next().map(|(_, value)| value.to_owned()).filter(|value| value != "none"))
    }

    fn ask(&self, option: &str) -> Result<String, String> {
        let program = self.program.display();
        let mut command = Command::new(&self.program);
        command.arg(option).arg("-f").arg(&self.config).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("`{program}` cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(format!("`{program} {option}` refuses the settings: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_key_is_noted_as_it_was_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path());
        let noted = || fs::read_to_string(folders.ssh_authority()).ok();
        for (said, expect) in [
            (None, None),
            (Some("ssh-ed25519 AAAA"), Some("ssh-ed25519 AAAA\n")),
            (Some("ssh-ed25519 AAAA"), Some("ssh-ed25519 AAAA\n")),
            (Some("ssh-ed25519 BBBB"), Some("ssh-ed25519 BBBB\n")),
            (Some("ssh-ed25519 CCCC\nTrustedUserCAKeys /x"), None),
            (Some("ssh-rsa AAAA"), None),
            (Some("ssh-ed25519 AAAA"), Some("ssh-ed25519 AAAA\n")),
            (None, None),
        ] {
            note_authority(&folders, said);
            assert_eq!(noted().as_deref(), expect, "{said:?}");
        }
        let refused = authority_of(folder.path()).unwrap_err();
        assert!(refused.contains("when it is connected"), "{refused}");
    }
}
