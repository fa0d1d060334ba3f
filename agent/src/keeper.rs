//! The keeper: a small process between the agent and every script or program that it runs.
//!
//! The agent may end at any time, be killed or be replaced by a newer one; what it started must neither notice nor
//! be begun twice, and its result must not get lost. So the agent starts its own executable again, with hidden
//! arguments, and that process starts the program, copies its output to the log, waits for it and writes down how
//! it ended. It holds the run's lock for as long as it lives: there is never a second one.
//!
//! Plain and without a runtime: one keeper is in memory for each supervised process.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use self::output::{Log, Tail};
use self::proc::ProcessId;
use self::record::{Exit, RunFolder, Running, Spec};
use self::user::User;

pub(crate) mod output;
pub(crate) mod proc;
pub(crate) mod record;
pub(crate) mod times;
pub(crate) mod user;

/// The hidden argument that makes the executable a keeper; the run's folder follows it.
pub const ARGUMENT: &str = "keeper";

/// Told to the agent through the pipe: the program runs and `run.json` says so.
pub(crate) const TOLD_RUNNING: u8 = b'r';

/// Told to the agent through the pipe: it could not begin; the reason follows.
pub(crate) const TOLD_ERROR: u8 = b'e';

/// Output is copied in pieces of this size: the capacity of a pipe.
const PIECE: usize = 64 * 1024;

/// What an ended program may have left in the pipe: no unprivileged one can make a pipe larger.
const MAX_PIPE: usize = 1024 * 1024;

/// How often, each second, the end is tried to be written on a full disk before the result is given up.
const END_TRIES: u32 = 60;

/// How often a program that is "busy" is tried again: another process may hold its file for an instant.
const BUSY_TRIES: u32 = 20;

/// Time between two such tries.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// The executable that keepers are started from: this one, also when it was replaced or removed since.
#[must_use]
pub fn executable() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Keeps one run: starts its program, copies its output, and writes down how it ended.
#[must_use]
pub fn main(run_folder: &Path) -> ExitCode {
    match keep(&RunFolder::at(run_folder.to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(TOLD_ERROR, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn keep(run: &RunFolder) -> io::Result<()> {
    // A shell that started us by hand may have made us a leader already.
    rustix::process::setsid().ok();
    let Some(lock) = run.try_lock()? else { return Ok(()) };
    if run.exit()?.is_some() || run.running()?.is_some() {
        return Ok(());
    }
    let Some(spec) = run.spec()? else {
        return Err(io::Error::other(format!("`{}` has no spec.json", run.path().display())));
    };
    let keeper = ProcessId::of(std::process::id())?;
    let mut running = Running { boot: proc::boot_id(), keeper, child: None };
    // Before the program begins: whoever comes after us must not begin it again.
    run.write_running(&running)?;
    // Before the program begins, which is as we are.
    crate::limits::expose("self");
    // We ourselves have but a few.
    if let Some(files) = spec.open_files {
        crate::limits::lower(None, files);
    }
    match start(&spec) {
        Err(reason) => write_end(run, &Exit::error(reason))?,
        Ok((mut child, output)) => {
            running.child = ProcessId::of(child.id()).ok();
            if let Err(error) = run.write_running(&running) {
                rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL).ok();
                child.wait()?;
                return Err(error);
            }
            tell(TOLD_RUNNING, "");
            Copying::new(output, &spec).run(run, &mut child)?;
        }
    }
    drop(lock);
    Ok(())
}

/// The agent may be gone; then nobody needs to know.
fn tell(kind: u8, text: &str) {
    let mut message = vec![kind];
    message.extend_from_slice(text.as_bytes());
    io::stdout().write_all(&message).ok();
    io::stdout().flush().ok();
}

/// Closes our end of the agent's pipe: everything that it waits for is on disk.
fn hang_up() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        rustix::stdio::dup2_stdout(&null).ok();
    }
}

fn start(spec: &Spec) -> Result<(Child, PipeReader), String> {
    let user = spec.user.as_deref().map(User::to_become).transpose()?.flatten();
    let mut shell = false;
    let mut tries = 0;
    loop {
        match try_start(spec, user.as_ref(), shell) {
            Ok(started) => return Ok(started),
            // Without `#!` in its first line, a script is the shell's, as everywhere.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOEXEC) && !shell => shell = true,
            Err(e) if Errno::from_io_error(&e) == Some(Errno::TXTBSY) && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(e) => return Err(explain_start(spec, &e)),
        }
    }
}

fn try_start(spec: &Spec, user: Option<&User>, shell: bool) -> io::Result<(Child, PipeReader)> {
    let words = shell.then_some("/bin/sh").into_iter().chain(spec.argv.iter().map(String::as_str));
    let mut words = words.peekable();
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env_clear().envs(&spec.env).current_dir(&spec.cwd).process_group(0);
    // One pipe for both: their lines stay in order.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    if let Some(user) = user {
        user.run(&mut command);
    }
    Ok((command.spawn()?, reader))
}

fn explain_start(spec: &Spec, error: &io::Error) -> String {
    let program = spec.argv.first().map_or("", String::as_str);
    let cwd = spec.cwd.display();
    match Errno::from_io_error(error) {
        _ if !spec.cwd.is_dir() => format!("there is no folder `{cwd}` to run `{program}` in"),
        Some(Errno::NOENT) if !Path::new(program).exists() => format!("there is no program `{program}`"),
        Some(Errno::NOENT) => format!("`{program}` cannot be run: the interpreter in its first line does not exist"),
        Some(Errno::TOOBIG) => format!(
            "`{program}` cannot be run: its arguments and environment are too long for this system; import fewer variables"
        ),
        _ => format!("`{program}` cannot be run in `{cwd}`: {error}"),
    }
}

/// Copies a program's output until nobody holds it any more.
struct Copying {
    output: Option<PipeReader>,
    log: Option<Log>,
    tail: Tail,
    piece: Vec<u8>,
}

impl Copying {
    fn new(output: PipeReader, spec: &Spec) -> Self {
        // A program does not fail because its log cannot be written.
        Self { output: Some(output), log: Log::open(&spec.logs).ok(), tail: Tail::default(), piece: vec![0; PIECE] }
    }

    fn run(mut self, run: &RunFolder, child: &mut Child) -> io::Result<()> {
        let status = self.until_end(child)?;
        self.drain();
        let exit = Exit {
            code: status.code(),
            signal: status.signal(),
            error: None,
            output: self.tail.lines(),
            ended_at: crate::now(),
        };
        let written = write_end(run, &exit);
        if let Err(error) = &written {
            tell(TOLD_ERROR, &format!("how it ended could not be written down: {error}"));
        }
        hang_up();
        // What the program left running may go on writing; without us its next line would kill it.
        while self.output.is_some() {
            self.copy();
        }
        written
    }

    fn until_end(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        while let Some(output) = &self.output {
            let mut fds = [PollFd::new(output, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let [readable, ended] = fds.map(|fd| !fd.revents().is_empty());
            if readable {
                self.copy();
            }
            if ended {
                break;
            }
        }
        child.wait()
    }

    /// What the program wrote before its end is in the pipe; what comes after is of others.
    fn drain(&mut self) {
        let mut drained = 0;
        while let Some(output) = &self.output {
            let waiting = rustix::io::ioctl_fionread(output).unwrap_or(0);
            if waiting == 0 || drained >= MAX_PIPE {
                return;
            }
            drained += self.copy();
        }
    }

    /// Copies one piece, waiting for it; forgets the pipe at its end.
    fn copy(&mut self) -> usize {
        let Some(output) = &mut self.output else { return 0 };
        match output.read(&mut self.piece) {
            Ok(0) => self.output = None,
            Ok(read) => {
                let bytes = self.piece.get(..read).unwrap_or_default();
                self.tail.push(bytes);
                if let Some(log) = &mut self.log {
                    // A full disk costs output, not the program.
                    log.write(bytes).ok();
                }
                return read;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.output = None,
        }
        0
    }
}

/// A disk that is full now may not be in a moment; the result is worth waiting.
fn write_end(run: &RunFolder, exit: &Exit) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match run.write_exit(exit) {
            // Its folder was removed: nobody wants to know.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(e),
            Err(_) if tries < END_TRIES => std::thread::sleep(Duration::from_secs(1)),
            other => return other,
        }
        tries += 1;
    }
}
