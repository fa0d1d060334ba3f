//! The real programs: built once, run with folders of their own, ended with their owner.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::eventually_blocking;

/// How long a command may run: more than a wait inside of it ever takes, less than a test run may hang.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder of built binaries, with `robo` and `robo-agent` in it, built now if they are not.
///
/// # Panics
/// When they cannot be built.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--package", "robo-cli", "--package", "robo-agent", "--bins"])
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the programs cannot be built");
        // target/debug/deps/all-… → target/debug
        let me = std::env::current_exe().expect("a test has a path");
        me.ancestors().nth(2).expect("a test lies in target/debug/deps").to_owned()
    })
}

/// The `robo` program.
#[must_use]
pub fn robo() -> PathBuf {
    binaries().join("robo")
}

/// The `robo-agent` program; also a keeper for agents inside a test.
#[must_use]
pub fn robo_agent() -> PathBuf {
    binaries().join("robo-agent")
}

/// A user of robo: config and state folders of its own, gone with it.
pub struct User {
    /// Where it works.
    pub folder: tempfile::TempDir,
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

impl User {
    /// Nobody has run anything yet.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The command `robo`, with a clean environment.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(robo());
        command
            .current_dir(root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path().join("home"))
            .env("ROBO_CONFIG_DIR", self.config())
            .env("ROBO_STATE_DIR", self.state())
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Its config folder.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Its state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Runs `robo` with these arguments to its end.
    ///
    /// # Panics
    /// When it cannot be started, or does not end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    /// Starts `robo` with these arguments; its output is kept until it is waited for.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Started {
        Started::start(self.command().args(arguments))
    }
}

impl Drop for User {
    /// Nothing that was started outlives its test.
    fn drop(&mut self) {
        if self.state().join("up").exists() {
            drop(self.command().args(["down", "--purge"]).output());
        }
    }
}

/// What a run of `robo` left behind.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; 128 + the signal's number when one ended it.
    pub code: i32,
    /// Its output.
    pub out: String,
    /// Its error output.
    pub err: String,
    command: String,
}

impl Run {
    fn of(status: ExitStatus, out: &[u8], err: &[u8], command: String) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let run = Self { code, out: text(out), err: text(err), command };
        let escapes = run.out.contains('\x1b') || run.err.contains('\x1b');
        assert!(!escapes, "colours or cursor moves without a terminal: {run:#?}");
        assert!(!run.err.contains("panicked"), "{run:#?}");
        run
    }

    /// Itself, when it ended with this code.
    ///
    /// # Panics
    /// When it ended with another one; shows all it printed.
    #[expect(clippy::must_use_candidate, reason = "often nothing but the code is of interest")]
    #[expect(clippy::return_self_not_must_use, reason = "as above")]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.out, self.err);
        self
    }

    /// Its output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{}: {e}\n{}", self.command, self.out))
    }
}

/// A command that runs, and whose end is looked at later.
pub struct Started {
    /// The process.
    pub process: Running,
    command: String,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

impl Started {
    /// Starts `command`. Its output goes to files: a pipe that nobody reads would stop it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let file = || tempfile::NamedTempFile::new().expect("a temporary file");
        let (out, err) = (file(), file());
        let stdio = |file: &tempfile::NamedTempFile| Stdio::from(file.reopen().expect("our own file"));
        let process = Running::start(command.stdout(stdio(&out)).stderr(stdio(&err)));
        Self { process, command: format!("{command:?}"), out, err }
    }

    /// What it has printed until now: its output and its error output.
    #[must_use]
    pub fn so_far(&self) -> (String, String) {
        let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap_or_default();
        (read(&self.out), read(&self.err))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn wait(mut self) -> Run {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = self.process.0.try_wait().expect("its state") {
                break status;
            }
            let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap_or_default();
            let late = begin.elapsed() > LONGEST_RUN;
            assert!(!late, "{} does not end\n{}\n{}", self.command, read(&self.out), read(&self.err));
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let read = |file: &tempfile::NamedTempFile| std::fs::read(file.path()).expect("its output");
        Run::of(status, &read(&self.out), &read(&self.err), self.command.clone())
    }
}

/// A program that is killed when its owner goes.
pub struct Running(pub Child);

impl Running {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it is gone");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it is there");
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not know it.
    pub fn ending(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("its state")
    }

    /// Waits until it has ended by itself and gives its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ended(&mut self) -> Option<i32> {
        eventually_blocking("a program ends", || self.ending()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
