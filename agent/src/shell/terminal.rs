//! A pseudo-terminal with the program that runs on it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use robo_model::name::SessionId;
use robo_wire::shell::{ShellStart, Size};
use robo_wire::stream::Verdict;
use rustix::fs::{Uid, fchown};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::leader;
use crate::keeper::user::User;
use crate::limits;
use crate::runtime::place::Begin;
use crate::runtime::{DEFAULT_PATH, Place};

/// The shell of whoever has none.
const FALLBACK_SHELL: &str = "/bin/sh";

/// Shells that let nobody in: the agent's own user often has one of them.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// How long a program may take to begin: a machine that is short of memory is slow.
const BEGINNING: Duration = Duration::from_secs(20);

/// Most bytes of the reason why a program does not begin.
const MAX_REASON: u64 = 4096;

/// A terminal, seen from the side of whoever looks at it.
pub(super) struct Terminal {
    master: AsyncFd<File>,
    leader: Option<Pid>,
}

/// The program on it; killed when this is dropped.
pub(super) struct Program(Child);

impl Terminal {
    /// Starts what `start` says on a new terminal.
    ///
    /// # Errors
    /// One sentence for people: no such program, no such folder, no terminal to be had.
    pub(super) async fn start(
        exe: &Path,
        session: &SessionId,
        start: &ShellStart,
        place: Option<Place>,
    ) -> Result<(Self, Program), String> {
        if start.within.is_some() && place.is_none() {
            return Err("where the instance runs is not known here".to_owned());
        }
        let begin = Begin::find(start.user.as_deref(), start.cwd.as_deref(), place)?;
        let shell = login_shell(&begin.user);
        let mut command = Command::new(exe);
        command.arg(leader::ARGUMENT);
        let (cwd, other) = (begin.cwd.clone(), begin.other.clone());
        command.args(words(start, &shell)).env_clear().envs(environment(session, start, begin, &shell));
        let (master, slave) = open(start.size).map_err(|e| format!("this device has no terminal to give: {e}"))?;
        if let Some(user) = &other {
            let uid = Some(Uid::from_raw(user.uid));
            fchown(&slave, uid, None).map_err(|e| format!("the terminal cannot be given to `{}`: {e}", user.name))?;
            user.run(command.as_std_mut());
        }
        command.stdin(slave.try_clone().map_err(|e| e.to_string())?).stdout(slave).stderr(Stdio::piped());
        let mut child = command.current_dir(&cwd).kill_on_drop(true).spawn().map_err(|e| e.to_string())?;
        // It holds our copies of the terminal's other side, whose end we want to see.
        drop(command);
        limits::give_back(child.id());
        let mut reason = String::new();
        if let Some(told) = child.stderr.take() {
            let mut told = told.take(MAX_REASON);
            timeout(BEGINNING, told.read_to_string(&mut reason))
                .await
                .map_err(|_| format!("the program did not begin within {} s", BEGINNING.as_secs()))?
                .map_err(|e| format!("the program did not begin: {e}"))?;
        }
        if !reason.is_empty() {
            let program = start.argv.first().map_or_else(|| shell.display().to_string(), Clone::clone);
            return Err(format!("`{program}` cannot be run on this device: {reason}"));
        }
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        #[expect(deprecated, reason = "the new name is `unsafe` for types that may change their file; a File does not")]
        let master = AsyncFd::new(master).map_err(|e| e.to_string())?;
        Ok((Self { master, leader }, Program(child)))
    }

    /// Reads what the program prints; 0 when nobody holds the other side any more.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            let Ok(mut ready) = self.master.readable().await else { return 0 };
            match ready.try_io(|master| master.get_ref().read(buffer)) {
                Ok(Ok(count)) => return count,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // EIO, on Linux: the other side is closed.
                Ok(Err(_)) => return 0,
                Err(_) => {}
            }
        }
    }

    /// Types; answers with how much of it was taken. What nobody can read any more counts as taken.
    pub(super) async fn write(&self, bytes: &[u8]) -> usize {
        loop {
            let Ok(mut ready) = self.master.writable().await else { return bytes.len() };
            match ready.try_io(|master| master.get_ref().write(bytes)) {
                Ok(Ok(count)) => return count,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return bytes.len(),
                Err(_) => {}
            }
        }
    }

    /// Gives the terminal another size; the kernel tells the program in front.
    pub(super) fn resize(&self, size: Size) {
        if let Err(error) = tcsetwinsize(self.master.get_ref(), winsize(size)) {
            tracing::debug!(%error, "a terminal cannot be resized");
        }
    }

    /// Makes full-screen programs draw themselves anew.
    pub(super) fn redraw(&self) {
        self.signal_front(Signal::WINCH);
    }

    /// What a terminal does when its line is cut. The program must not have been waited for: its number would be free.
    pub(super) fn hang_up(&self) {
        for signal in [Signal::HUP, Signal::CONT] {
            self.signal(signal);
        }
    }

    /// Ends what did not heed that; as for [`Terminal::hang_up`].
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        self.signal_front(signal);
        if let Some(leader) = self.leader {
            kill_process_group(leader, signal).ok();
        }
    }

    fn signal_front(&self, signal: Signal) {
        if let Ok(group) = tcgetpgrp(self.master.get_ref()) {
            // It may have ended since.
            kill_process_group(group, signal).ok();
        }
    }
}

impl Program {
    /// Waits for its end. May be dropped while it waits.
    pub(super) async fn wait(&mut self) -> Verdict {
        match self.0.wait().await {
            Ok(status) => verdict(status),
            Err(error) => Verdict::Lost { reason: format!("how it ended is not known: {error}") },
        }
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) {
        0 => Verdict::Ok,
        code => Verdict::Failed { code },
    }
}

/// Both sides of a new terminal.
fn open(size: Size) -> io::Result<(File, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    tcsetwinsize(&master, winsize(size))?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    ioctl_fionbio(&master, true)?;
    Ok((File::from(master), slave))
}

const fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}

fn login_shell(user: &User) -> PathBuf {
    let lets_in = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !NO_SHELLS.contains(&name) && path.is_file()
    };
    if lets_in(&user.shell) { user.shell.clone() } else { PathBuf::from(FALLBACK_SHELL) }
}

/// The program, its name for itself, its arguments. A name that begins with `-` makes a shell a login shell.
fn words(start: &ShellStart, shell: &Path) -> Vec<OsString> {
    match start.argv.split_first() {
        Some((program, arguments)) => {
            [program, program].into_iter().chain(arguments).map(|word| OsString::from(word.as_str())).collect()
        }
        None => {
            let mut name = OsString::from("-");
            name.push(shell.file_name().unwrap_or_default());
            vec![shell.into(), name]
        }
    }
}

fn environment(session: &SessionId, start: &ShellStart, mut begin: Begin, shell: &Path) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").ok().filter(|p| !p.is_empty()).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let name = begin.user.name.clone();
    let usual = [
        ("PATH", path),
        ("HOME", begin.home()),
        ("LANG", "C.UTF-8".to_owned()),
        ("USER", name.clone()),
        ("LOGNAME", name),
        ("SHELL", shell.to_string_lossy().into_owned()),
        ("ROBO_SESSION", session.to_string()),
    ];
    let mut all = begin.environment(usual, &start.env);
    all.insert("TERM".to_owned(), start.term.clone());
    all
}
