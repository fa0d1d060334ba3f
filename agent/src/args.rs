//! How an agent is told what to do: the options of `robo-agent` and of `robo agent`.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use robo_model::name::{DeviceName, FileName};
use robo_model::quantity::{Bytes, Millis};
use robo_wire::api::is_user_name;
use robo_wire::switch::Subsystem;

use crate::Config;
use crate::backup::{Asked, OptionsError, options};
use crate::collect;
use crate::dial::Route;
use crate::doctor;
use crate::folders::Folders;
use crate::forward::Policy;
use crate::proxy::{SettingError, Variables};
use crate::ssh::trust;
use crate::uploads::{self, QueueError};

/// The enrolment token, for services that get their secrets by environment.
pub const TOKEN_VARIABLE: &str = "ROBO_TOKEN";

/// The user that commands run as, for services that get their settings by environment.
pub const EXEC_USER_VARIABLE: &str = "ROBO_EXEC_USER";

/// What the machine's owner forbids, for services that get their settings by environment.
pub const WITHOUT_VARIABLE: &str = "ROBO_WITHOUT";

/// Most bytes of a token or certificate that are read; they have some hundred.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

/// The options.
///
/// At the first start the agent enrols with a token from `robo device enroll`, given in a file, on standard input or
/// in ROBO_TOKEN; later it needs none. A token in the file `token` of its folder is taken, too, and removed when the
/// device has come with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manager to dial.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = manager_address)]
    pub manager: String,
    /// The file with the enrolment token; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The manager's CA certificate, in PEM; without it the one that the token names is trusted.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The CA certificate of an https:// proxy, in PEM; without it this machine's certificates are asked.
    #[arg(long, value_name = "FILE")]
    pub proxy_ca: Option<PathBuf>,
    /// The agent's folder: identity, ledger, instances.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The name to propose for this device, where the token does not give one.
    #[arg(long)]
    pub name: Option<DeviceName>,
    /// An address under which other devices reach this one; may be given again, the first is the main one. Found out
    /// where none is given.
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// What people may reach through this device with `robo forward`.
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub forward: Policy,
    /// The user that commands and shells run as where nobody says another; it is the agent's own where this is not given.
    /// Then it takes the right to `root` to run anything as somebody else, root included, and to copy files. Also in
    /// ROBO_EXEC_USER.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    pub exec_user: Option<String>,
    /// What nobody may do on this machine from afar, by names with commas between: exec, shell, copy, forward, logs, collect.
    /// The manager cannot switch it on. Also in ROBO_WITHOUT.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = subsystem)]
    pub without: Vec<Subsystem>,
    /// Copy what instances print to this folder, as a JSON object per line; off where none is given. Also in
    /// ROBO_LOG_BACKUP.
    #[arg(long, value_name = "DIR", value_parser = options::folder)]
    pub log_backup: Option<PathBuf>,
    /// The largest file there, from 1MB to 1GB; 10MB where nothing is said. Also in ROBO_LOG_BACKUP_SIZE.
    #[arg(long, value_name = "SIZE", value_parser = options::size)]
    pub log_backup_size: Option<Bytes>,
    /// How old a file there gets before the next one begins, from 1h to 30d; 24h where nothing is said. Also in
    /// ROBO_LOG_BACKUP_EVERY.
    #[arg(long, value_name = "DURATION", value_parser = options::every)]
    pub log_backup_every: Option<Millis>,
    /// How many files there are at most, from 1 to 100; 10 where nothing is said. Also in ROBO_LOG_BACKUP_KEEP.
    #[arg(long, value_name = "COUNT", value_parser = options::keep)]
    pub log_backup_keep: Option<usize>,
    /// The folder with the public keys of this machine's SSH server, as `ssh_host_ed25519_key.pub`; `robo ssh-proxy` tells
    /// them to whoever connects.
    #[arg(long, default_value = crate::facts::SSH_KEYS, value_name = "DIR")]
    pub ssh_keys: PathBuf,
    /// What names this boot of the machine, where the kernel is not to be asked.
    #[arg(long, hide = true, value_name = "ID")]
    pub boot_id: Option<String>,
    /// How long another program may take that is tried in the place of this one.
    #[arg(long, hide = true, value_name = "DURATION")]
    pub trial_time: Option<Millis>,
}

/// Looks at this device, and says what keeps it from its manager.
///
/// Needs no root where the agent needs none, and does not disturb an agent that runs. Run it as the agent's user, with
/// the agent's HTTPS_PROXY and NO_PROXY. It ends with 0 when all is well, and with 1 when something is not.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The manager to ask; without it the one that the agent dialled last.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = manager_address)]
    pub manager: Option<String>,
    /// The CA certificate of an https:// proxy, in PEM.
    #[arg(long, value_name = "FILE")]
    pub proxy_ca: Option<PathBuf>,
    /// The agent's folder.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How to print what was found.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
}

/// How the doctor prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Collects what helps to find a fault into one archive, without the manager: logs, states, what the doctor says.
///
/// Secrets are taken out as far as they can be known; the file MANIFEST in it says what there is. Run it as the agent's
/// user. `robo device collect` does the same from afar.
#[derive(Debug, clap::Args)]
pub struct CollectArgs {
    /// Where to write it, a `.tar.gz`; a name with the host's name and the time where none is given.
    #[arg(short = 'O', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Leave out what instances print.
    #[arg(long)]
    pub without_logs: bool,
    /// The manager to ask; without it the one that the agent dialled last.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = manager_address)]
    pub manager: Option<String>,
    /// The CA certificate of an https:// proxy, in PEM.
    #[arg(long, value_name = "FILE")]
    pub proxy_ca: Option<PathBuf>,
    /// The agent's folder.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Has this machine's SSH server let in whoever shows a certificate of the manager's for this device (`robo ssh-cert`).
///
/// Run it as root. It writes two files beside the server's settings, says what, and takes them back when the server would
/// not start with them. Certificates of others, and keys, count as before.
#[derive(Debug, clap::Args)]
pub struct SshTrustArgs {
    /// Take back what was written: certificates of the manager's count no more.
    #[arg(long)]
    pub remove: bool,
    /// Only say what would be written.
    #[arg(long)]
    pub dry_run: bool,
    /// The settings of the SSH server; ours go into `sshd_config.d` beside it.
    #[arg(long, default_value = "/etc/ssh/sshd_config", value_name = "FILE")]
    pub config: PathBuf,
    /// The SSH server; found where none is named.
    #[arg(long, value_name = "FILE")]
    pub sshd: Option<PathBuf>,
    /// The agent's folder.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl SshTrustArgs {
    /// What to do. The agent's folder is `state` where none is given.
    #[must_use]
    pub fn into_options(self, state: PathBuf) -> trust::Options {
        let Self { remove, dry_run, config, sshd, .. } = self;
        let config = std::path::absolute(&config).unwrap_or(config);
        trust::Options { state: self.state.unwrap_or(state), config, server: sshd, remove, dry_run }
    }
}

/// Sends a file of this device to the manager, which keeps it; `robo files list` shows it there.
///
/// It is queued on disk, and needs no link: the agent tells the manager when there is one, and the manager fetches the
/// file then. So leave it where it is until it is there. Run this as the agent's user, with the agent's folder.
#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// The file.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// What it is called there; by device and file where nothing is said. A number is added to a name that is taken.
    #[arg(long)]
    pub name: Option<FileName>,
    /// What it is, as in run=42; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = meta)]
    pub meta: Vec<(String, String)>,
    /// The agent's folder.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl UploadArgs {
    /// Queues it. The agent's folder is `state` where none is given. Gives the whole path.
    ///
    /// # Errors
    /// When there is no such file, it is no file, or it cannot be queued.
    pub fn queue(self, state: PathBuf) -> Result<String, QueueError> {
        let folders = Folders::new(self.state.unwrap_or(state));
        uploads::queue(&folders, &self.path, self.name, self.meta.into_iter().collect())
    }
}

/// `KEY=VALUE`.
///
/// # Errors
/// When there is no `=` in it.
pub fn meta(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

impl DoctorArgs {
    /// What to look at. The agent's folder is `state` where none is given.
    #[must_use]
    pub fn into_options(self, state: PathBuf) -> doctor::Options {
        to_look_at(self.state.unwrap_or(state), self.manager, self.proxy_ca.as_deref())
    }
}

impl CollectArgs {
    /// What to collect, and into which file. The agent's folder is `state` where none is given.
    #[must_use]
    pub fn into_options(self, state: PathBuf) -> (collect::Options, PathBuf) {
        let doctor = to_look_at(self.state.unwrap_or(state), self.manager, self.proxy_ca.as_deref());
        let usual = || PathBuf::from(collect::file_name());
        (collect::Options { doctor, without_logs: self.without_logs }, self.file.unwrap_or_else(usual))
    }
}

/// The agent's folder where none is given: `/var/lib/robo-agent` for root, and the user's state folder for others (XDG Base Directory Specification).
#[must_use]
pub fn default_state() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/robo-agent");
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".local/state");
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    state.unwrap_or_else(home).join("robo-agent")
}

fn to_look_at(state: PathBuf, manager: Option<String>, proxy_ca: Option<&Path>) -> doctor::Options {
    let noted = || read(&Folders::new(&state).manager(), "the manager's address").ok();
    let manager = manager.or_else(|| manager_address(noted()?.trim()).ok());
    let route = manager.map(|manager| route(manager, proxy_ca)).transpose();
    doctor::Options { state, route: route.map_err(|error| error.to_string()) }
}

/// Why the options are of no use.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// A file cannot be read.
    #[error("{what} cannot be read from {from}: {source}")]
    Read {
        /// What was wanted.
        what: &'static str,
        /// Where.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// What the environment says about a proxy is of no use.
    #[error(transparent)]
    Proxy(#[from] SettingError),
    /// What the environment says of a user is of no use.
    #[error("{EXEC_USER_VARIABLE}: {0}")]
    ExecUser(String),
    /// What the environment says of what is forbidden is of no use.
    #[error("{WITHOUT_VARIABLE}: {0}")]
    Without(String),
    /// No backup of logs can be made as it is asked for.
    #[error(transparent)]
    LogBackup(#[from] OptionsError),
    /// There is a token, and nothing in it.
    #[error(
        "the enrolment token is empty: make one with `robo device enroll`, or leave it out when this device is enrolled already"
    )]
    EmptyToken,
}

impl Args {
    /// Reads what the options name. The agent's folder is `state` where none is given.
    ///
    /// # Errors
    /// When token or certificate cannot be read.
    pub fn into_config(self, state: PathBuf) -> Result<Config, ArgsError> {
        let state = self.state.clone().unwrap_or(state);
        let log_backup = self.log_backup().into_options(|name| std::env::var(name).ok())?;
        Ok(Config {
            token: self.token(&state)?,
            ca_pem: self.ca.as_deref().map(|path| read(path, "the CA certificate")).transpose()?,
            route: route(self.manager.clone(), self.proxy_ca.as_deref())?,
            state,
            name: self.name,
            addresses: self.address,
            forward: self.forward,
            exec_user: self.exec_user.map_or_else(exec_user, |name| Ok(Some(name)))?,
            without: if self.without.is_empty() { without()? } else { self.without.into_iter().collect() },
            log_backup,
            ssh: self.ssh_keys,
            boot: self.boot_id,
            own: None,
        })
    }

    /// What they say of a backup of logs.
    pub(crate) fn log_backup(&self) -> Asked {
        let (folder, size) = (self.log_backup.clone(), self.log_backup_size);
        Asked { folder, size, every: self.log_backup_every, keep: self.log_backup_keep }
    }

    fn token(&self, state: &Path) -> Result<Option<String>, ArgsError> {
        let text = match &self.token_file {
            Some(path) => read(path, "the token")?,
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) => text,
                Err(_) => match read(&Folders::new(state).token(), "the token") {
                    Err(ArgsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
                    other => other?,
                },
            },
        };
        let text = text.trim();
        if text.is_empty() { Err(ArgsError::EmptyToken) } else { Ok(Some(text.to_owned())) }
    }
}

/// The way to the manager, as the options and the environment say.
fn route(manager: String, proxy_ca: Option<&Path>) -> Result<Route, ArgsError> {
    let ca = proxy_ca.map(|path| read(path, "the proxy's CA certificate")).transpose()?;
    let variables = Variables::read(|name| std::env::var(name).ok());
    let proxy = variables.proxy_for(&manager, ca.as_deref())?;
    Ok(Route { manager, proxy })
}

fn read(path: &Path, what: &'static str) -> Result<String, ArgsError> {
    let mut text = String::new();
    let is_stdin = path.as_os_str() == "-";
    let done = if is_stdin {
        io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT_BYTES).read_to_string(&mut text))
    };
    let from = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    done.map(|_| text).map_err(|source| ArgsError::Read { what, from, source })
}

fn exec_user() -> Result<Option<String>, ArgsError> {
    match std::env::var_os(EXEC_USER_VARIABLE) {
        None => Ok(None),
        Some(text) => user_name(&text.to_string_lossy()).map(Some).map_err(ArgsError::ExecUser),
    }
}

fn subsystem(text: &str) -> Result<Subsystem, String> {
    text.trim().parse()
}

/// An empty variable forbids nothing: that is how settings are left out.
fn without() -> Result<BTreeSet<Subsystem>, ArgsError> {
    let text = std::env::var_os(WITHOUT_VARIABLE).unwrap_or_default();
    let text = text.to_string_lossy();
    let names = text.split(',').filter(|_| !text.trim().is_empty());
    names.map(subsystem).collect::<Result<_, _>>().map_err(ArgsError::Without)
}

/// A name that a user of a system may have.
fn user_name(text: &str) -> Result<String, String> {
    if is_user_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no name of a user: write one of /etc/passwd"))
    }
}

/// `HOST:PORT`; the port is added where it is missing, and a URL's scheme is taken off.
fn manager_address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]:{}", robo_wire::DEFAULT_PORT));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| format!("`{port}` is not a port"))?,
        None => robo_wire::DEFAULT_PORT,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let good = match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    if good { Ok(format!("{name}:{port}")) } else { Err(format!("`{text}` is not HOST or HOST:PORT")) }
}

#[cfg(test)]
mod tests {
    use robo_wire::api::MAX_USER;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_token_waits_in_the_folder() {
        use clap::Parser as _;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let token = |more: &[&str]| {
            let arguments = [&["robo-agent", "--manager", "m", "--state", state.to_str().unwrap()], more].concat();
            Program::try_parse_from(arguments).unwrap().args.token(&state)
        };
        assert_eq!(token(&[]).unwrap(), None, "there is not even a folder");
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("token"), "rbe1.a.b\n").unwrap();
        assert_eq!(token(&[]).unwrap().as_deref(), Some("rbe1.a.b"));
        let other = folder.path().join("other");
        std::fs::write(&other, "rbe1.c.d").unwrap();
        assert_eq!(token(&["--token-file", other.to_str().unwrap()]).unwrap().as_deref(), Some("rbe1.c.d"));
        std::fs::write(state.join("token"), "\n").unwrap();
        assert!(matches!(token(&[]), Err(ArgsError::EmptyToken)));
        assert!(matches!(token(&["--token-file", "/none/here"]), Err(ArgsError::Read { .. })));
    }

    #[test]
    fn what_is_forbidden_is_named() {
        use clap::Parser as _;
        let parse = |what: &str| {
            let line = ["robo-agent", "--manager", "m", "--without", what].map(str::to_owned);
            Program::try_parse_from(line).map(|program| program.args.without).map_err(|error| error.to_string())
        };
        assert_eq!(parse("shell").unwrap(), [Subsystem::Shell]);
        assert_eq!(parse("forward, exec").unwrap(), [Subsystem::Forward, Subsystem::Exec]);
        for bad in ["", "shells", "shell,", "shell;exec", "all"] {
            assert!(parse(bad).unwrap_err().contains("nothing that can be switched"), "{bad}");
        }
    }

    #[test]
    fn a_user_is_named_as_systems_name_them() {
        use clap::Parser as _;
        for good in ["robot", "www-data", "_ntp", "svc.robot", "r2"] {
            assert_eq!(user_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-robot", "a b", "robot:x", "a/b", "roböt", &"x".repeat(MAX_USER + 1)] {
            assert!(user_name(bad).unwrap_err().contains("no name of a user"), "{bad}");
            let line = ["robo-agent", "--manager", "m", &format!("--exec-user={bad}")].map(str::to_owned);
            assert!(Program::try_parse_from(line).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_manager_is_named_by_host_and_port() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(manager_address(text).ok().as_deref(), expect, "{text}");
        };
        check("example.org", Some("example.org:7626"));
        check("example.org:80", Some("example.org:80"));
        check("https://10.0.0.1:7626/", Some("10.0.0.1:7626"));
        check("::1", Some("[::1]:7626"));
        check("[::1]", Some("[::1]:7626"));
        check("[::1]:9", Some("[::1]:9"));
        for bad in ["", ":7626", "a:b", "a:0", "a:70000", "http://a", "a b", "[::1", "[a]:1", "a/b"] {
            check(bad, None);
        }
    }
}
