//! A run and its keeper, seen from the agent.
//!
//! Keeper and agent share a named pipe whose write end only keepers hold. It ends when a keeper has written the
//! result, and also when it is killed, whoever started it: so one file tells a keeper's news to the agent that
//! started it and to the next one, and nobody waits for a clock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use tokio::net::unix::pipe::{OpenOptions as PipeOptions, Receiver};

use super::{ending, explain};
use crate::keeper::proc::is_shortage;
use crate::keeper::record::{Exit, RunFolder, Running, Spec};
use crate::keeper::{ARGUMENT, TOLD_ERROR};

/// How often a keeper that went before it began is started: something may have killed the first one by chance.
const KEEPER_TRIES: u32 = 2;

/// Time that a keeper has to write down the end of what was ended: far more than it takes.
pub(super) const WRITTEN: Duration = Duration::from_secs(10);

/// Most that a keeper tells: one sentence.
const MAX_TOLD: usize = 4096;

/// Why nobody knows how a run ended.
const LOST: &str = "was ended with the keeper that watched it, which somebody killed";

/// As [`LOST`], for a run of another boot.
const REBOOTED: &str = "ended with the machine, which was started again since";

/// A run that has a keeper, or had one.
#[derive(Debug)]
pub(super) struct Kept {
    run: RunFolder,
    pipe: Receiver,
    told: Vec<u8>,
    hung_up: bool,
}

/// Begins the run of `spec`, if it was not begun before, and looks on.
pub(super) async fn begin(exe: &Path, run: RunFolder, spec: &Spec) -> Result<Kept, String> {
    let cannot = |e: io::Error| explain("write the run's folder", run.path(), &e);
    crate::folders::create_dir(run.path()).map_err(cannot)?;
    make_pipe(&run).map_err(cannot)?;
    if run.spec().map_err(cannot)?.is_none() {
        run.write_spec(spec).map_err(cannot)?;
    }
    let mut told = String::new();
    for _ in 0..KEEPER_TRIES {
        if run.running().map_err(cannot)?.is_some() || run.exit().map_err(cannot)?.is_some() {
            return look_on(&run).map_err(cannot);
        }
        let mut kept = open(&run).map_err(cannot)?;
        start_keeper(exe, &run)?;
        // Until it has begun: by then it is on disk that it must not be begun again.
        while !kept.hung_up && kept.told.is_empty() {
            kept.listen().await.map_err(cannot)?;
        }
        if run.running().map_err(cannot)?.is_some() || run.exit().map_err(cannot)?.is_some() {
            return Ok(kept);
        }
        told = kept.told_error().unwrap_or_else(|| "it ended at once".to_owned());
    }
    Err(format!("the keeper cannot begin: {told}"))
}

/// Looks on at a run that was begun before.
pub(super) fn look_on(run: &RunFolder) -> io::Result<Kept> {
    make_pipe(run)?;
    let mut kept = open(run)?;
    // A pipe that nobody writes to any more is at its end, and only a read tells so: there will be no event.
    let mut piece = [0; 512];
    match rustix::io::read(&kept.pipe, &mut piece) {
        Ok(read) => kept.heard(piece.get(..read).unwrap_or_default()),
        Err(rustix::io::Errno::AGAIN) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(kept)
}

fn open(run: &RunFolder) -> io::Result<Kept> {
    let pipe = PipeOptions::new().open_receiver(run.pipe())?;
    Ok(Kept { run: run.clone(), pipe, told: Vec::new(), hung_up: false })
}

impl Kept {
    pub(super) const fn run(&self) -> &RunFolder {
        &self.run
    }

    /// Waits until the program runs.
    ///
    /// # Errors
    /// How it ended, when it has ended meanwhile.
    pub(super) async fn running(&mut self) -> Result<Running, Exit> {
        loop {
            if let Some(exit) = self.exit_now().await {
                return Err(exit);
            }
            if let Some(running) = self.run.running().ok().flatten().filter(|running| running.child.is_some()) {
                return Ok(running);
            }
            if self.hung_up || self.listen().await.is_err() {
                return Err(self.without_result().await);
            }
        }
    }

    /// Waits until the program has ended. Safe to cancel.
    pub(super) async fn ended(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.exit_now().await {
                return exit;
            }
            if self.hung_up || self.listen().await.is_err() {
                return self.without_result().await;
            }
        }
    }

    async fn exit_now(&self) -> Option<Exit> {
        loop {
            match self.run.exit() {
                // It says nothing of the program, and passes; whoever waits for an end has time.
                Err(error) if is_shortage(&error) => tokio::time::sleep(ending::LOOK_PAUSE).await,
                Err(error) => return Some(Exit::error(format!("ended, but how is not known: {error}"))),
                Ok(exit) => return exit,
            }
        }
    }

    /// The pipe has ended; the result may have come just before.
    async fn without_result(&self) -> Exit {
        self.exit_now().await.unwrap_or_else(|| {
            let running = self.run.running().ok().flatten();
            let rebooted = running.is_some_and(|running| running.boot != crate::keeper::proc::boot_id());
            Exit::error(self.told_error().unwrap_or_else(|| if rebooted { REBOOTED } else { LOST }.to_owned()))
        })
    }

    fn told_error(&self) -> Option<String> {
        let at = self.told.iter().position(|byte| *byte == TOLD_ERROR)?;
        Some(String::from_utf8_lossy(self.told.get(at + 1..)?).into_owned())
    }

    fn heard(&mut self, piece: &[u8]) {
        self.hung_up = piece.is_empty();
        let room = MAX_TOLD.saturating_sub(self.told.len()).min(piece.len());
        self.told.extend_from_slice(piece.get(..room).unwrap_or_default());
    }

    /// Waits for news.
    async fn listen(&mut self) -> io::Result<()> {
        let mut piece = [0; 512];
        loop {
            match self.pipe.try_read(&mut piece) {
                Ok(read) => {
                    self.heard(piece.get(..read).unwrap_or_default());
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.pipe.readable().await?,
                Err(e) => return Err(e),
            }
        }
    }
}

fn make_pipe(run: &RunFolder) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::mknodat(rustix::fs::CWD, run.pipe(), FileType::Fifo, mode, 0) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Starts a keeper. It gets the write end of the pipe as its standard output.
fn start_keeper(exe: &Path, run: &RunFolder) -> Result<(), String> {
    let pipe = open_write_end(&run.pipe()).map_err(|e| explain("open", &run.pipe(), &e))?;
    let mut program = exe.to_owned();
    if !program.exists() && std::env::current_exe().is_ok_and(|now| now == deleted(exe)) {
        program = PathBuf::from("/proc/self/exe");
    }
    let mut command = tokio::process::Command::new(&program);
    command.arg(ARGUMENT).arg(run.path()).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(pipe).stderr(Stdio::null());
    let mut keeper =
        command.spawn().map_err(|e| format!("the keeper `{}` cannot be started: {e}", program.display()))?;
    drop(command);
    // For nothing but that no dead process stays behind.
    tokio::spawn(async move { keeper.wait().await });
    Ok(())
}

fn open_write_end(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// What the kernel calls an executable whose file an upgrade has removed.
fn deleted(exe: &Path) -> PathBuf {
    let mut name = exe.as_os_str().to_owned();
    name.push(" (deleted)");
    PathBuf::from(name)
}
