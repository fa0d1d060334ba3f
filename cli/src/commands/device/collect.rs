//! `robo device collect`: all that helps to find a fault on a device, in one archive.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use robo_model::name::DeviceName;
use robo_wire::collect::MAX_BUNDLE;
use robo_wire::problem::ErrorCode;
use robo_wire::stream::{StreamFrame, Verdict};
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Env, Format};
use crate::client::{Client, ClientError};
use crate::commands::exec::{Frames, FramesError};
use crate::error::{CliError, Exit};
use crate::output::shell_word;

/// How often it is asked for when the connection is cut each time: half a minute in all.
const MAX_TRIES: u32 = 8;

/// The first pause before it is asked for again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Collects what helps to find a fault on a device into one archive.
///
/// The agent's log, what its doctor says, where its instances stand, the last of what they printed, memory, disks and
/// network. Secrets are taken out as far as they can be known, and MANIFEST in it says what there is. When the
/// connection is cut the device is asked again; the file is there when it is whole.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "report",
    after_help = "\
Examples:
  robo device collect robot-7                   into a file with its name and the time
  robo device collect robot-7 -O fault.tar.gz --without-logs
On the device itself, without a manager: robo-agent collect"
)]
pub(super) struct CollectArgs {
    /// The device.
    #[arg(add = crate::complete::devices())]
    name: DeviceName,
    /// Where to write it, a `.tar.gz`; a file that is there is replaced.
    #[arg(short = 'O', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave out what instances print.
    #[arg(long)]
    without_logs: bool,
}

/// The bundle, for programs.
#[derive(Serialize)]
struct Collected<'a> {
    device: &'a DeviceName,
    file: &'a Path,
    bytes: u64,
}

/// A file that is no bundle yet; it goes with this.
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Why there is no bundle.
enum Fault {
    /// It may be had when it is asked for again.
    Cut(String),
    Final(CliError),
}

pub(super) async fn run(args: &CollectArgs, env: &Env) -> Result<Exit, CliError> {
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    tokio::select! {
        done = Box::pin(collect(args, env)) => done.map(|()| Exit::Done),
        _ = interrupts.recv() => Ok(Exit::Interrupted),
    }
}

async fn collect(args: &CollectArgs, env: &Env) -> Result<(), CliError> {
    let (ui, name, client) = (&env.ui, &args.name, env.client()?);
    let path = args.file.clone().unwrap_or_else(|| usual_name(name, Timestamp::now()).into());
    let mut part = Part::open(&path)?;
    let mut heard = false;
    for tries in 1.. {
        let reason = match Box::pin(attempt(args, &client, &mut part, &mut heard)).await {
            Ok(()) => break,
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Cut(reason)) => reason,
        };
        if !heard && tries >= 3 {
            let what = format!("{name} gives no bundle: {reason}");
            return Err(CliError::new(what).exit_with(Exit::SomeFailed).help(format!(
                "its agent may be of an older version than this: compare `robo device inspect {name}` and `robo --version`"
            )));
        }
        if tries >= MAX_TRIES {
            return Err(CliError::new(format!("the bundle of {name} breaks off each time: {reason}"))
                .exit_with(Exit::SomeFailed)
                .help("try `--without-logs`, which makes it smaller"));
        }
        ui.note(format!("{name}: {reason}; asking again"));
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(5));
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
    let bytes = part.finish(&path)?;
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&Collected { device: name, file: &path, bytes }),
        Format::Name => ui.line(path.display()),
        Format::Table | Format::Wide => {
            ui.line(path.display())?;
            let word = shell_word(&path.display().to_string());
            ui.note(format!("{bytes} bytes. What is in it: `tar xzOf {word} robo-bundle/MANIFEST`"));
            Ok(())
        }
    }
}

/// `robot-7-20260131T134502Z.tar.gz`
fn usual_name(name: &DeviceName, now: Timestamp) -> String {
    format!("{name}-{}.tar.gz", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// Asks once. `heard` becomes true when anything came.
async fn attempt(args: &CollectArgs, client: &Client, part: &mut Part, heard: &mut bool) -> Result<(), Fault> {
    part.begin().map_err(|error| part.failed(&error))?;
    let name = &args.name;
    let path = format!("devices/{name}/collect{}", if args.without_logs { "?without_logs=true" } else { "" });
    let asked = client.framed_post(&path, futures_util::stream::empty()).await;
    let mut frames = Frames::new(asked.map_err(|error| fault(error, name, *heard))?);
    loop {
        let frame = match frames.next_frame().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(Fault::Cut("the link to the device was cut".to_owned())),
            Err(FramesError::Client(error)) => return Err(fault(error, name, true)),
            Err(FramesError::Cut) => return Err(Fault::Cut("the connection was cut".to_owned())),
            Err(error @ FramesError::Frame(_)) => return Err(Fault::Final(CliError::new(error.to_string()))),
        };
        *heard = true;
        match StreamFrame::decode(frame).map_err(|error| Fault::Final(CliError::new(error.to_string())))? {
            StreamFrame::Stdout(bytes) => part.write(&bytes)?,
            StreamFrame::Verdict(verdict) => return ended(verdict, name),
            StreamFrame::Stdin(_)
            | StreamFrame::StdinEnd
            | StreamFrame::Signal(_)
            | StreamFrame::Stderr(_)
            | StreamFrame::Received(..)
            | StreamFrame::Seen(_)
            | StreamFrame::Taken(_)
            | StreamFrame::Unknown(_) => {}
        }
    }
}

fn ended(verdict: Verdict, name: &DeviceName) -> Result<(), Fault> {
    match verdict {
        Verdict::Ok => Ok(()),
        Verdict::Refused { .. } | Verdict::Failed { .. } => {
            let error = CliError::new(format!("{name} gives no bundle: {verdict}")).exit_with(Exit::SomeFailed);
            Err(Fault::Final(error.help(format!("see what keeps it from it: `robo logs --agent {name}`"))))
        }
        Verdict::Timeout | Verdict::Offline | Verdict::Lost { .. } | Verdict::Cancelled { .. } | Verdict::Expired => {
            Err(Fault::Cut(verdict.to_string()))
        }
    }
}

/// A device that is offline at first is told at once; one that was there may come back.
fn fault(error: ClientError, name: &DeviceName, heard: bool) -> Fault {
    let is_offline = error.code() == Some(ErrorCode::DeviceOffline);
    if heard && (is_offline || error.is_passing()) {
        return Fault::Cut(if is_offline { "the device is offline".to_owned() } else { error.to_string() });
    }
    if is_offline {
        let error = CliError::new(format!("{name} is offline, and what would be collected is there"));
        return Fault::Final(error.exit_with(Exit::SomeFailed).help(format!(
            "see since when: `robo device inspect {name}`; on the device itself `robo-agent collect` needs no manager"
        )));
    }
    Fault::Final(error.into())
}

impl Part {
    /// The file beside `path`, for this user alone.
    fn open(path: &Path) -> Result<Self, CliError> {
        let mut part = path.to_owned().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let shown = part.display();
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&part);
        let file = file.map_err(|error| CliError::new(format!("{shown} cannot be written: {error}")))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: part, file, bytes: 0 }),
            Err(TryLockError::WouldBlock) => {
                Err(CliError::new(format!("another robo writes {shown} just now")).help("name another file: `-O FILE`"))
            }
            Err(TryLockError::Error(error)) => Err(CliError::new(format!("{shown} cannot be locked: {error}"))),
        }
    }

    /// Forgets what is in it.
    fn begin(&mut self) -> io::Result<()> {
        self.bytes = 0;
        io::Seek::rewind(&mut self.file)?;
        self.file.set_len(0)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BUNDLE {
            let what = format!("the device sends more than {MAX_BUNDLE} bytes, which no bundle has");
            return Err(Fault::Final(CliError::new(what).exit_with(Exit::SomeFailed)));
        }
        self.file.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Fault {
        Fault::Final(CliError::new(format!("{} cannot be written: {error}", self.path.display())))
    }

    /// Makes it the file `path`; how many bytes it has.
    fn finish(self, path: &Path) -> Result<u64, CliError> {
        let moved = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, path));
        moved.map_err(|error| CliError::new(format!("{} cannot be written: {error}", path.display())))?;
        Ok(self.bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing is there any more when it has become the bundle.
        std::fs::remove_file(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        std::fs::write(&path, "old").unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut part = Part::open(&path).unwrap();
        assert!(Part::open(&path).is_err(), "somebody else writes it");
        assert!(part.write(b"half of it").is_ok());
        part.begin().unwrap();
        assert!(part.write(b"whole").is_ok());
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names()), (&b"old"[..], 2));
        assert_eq!(part.finish(&path).unwrap(), 5);
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), names()), (&b"whole"[..], 1));
        let mut part = Part::open(&path).unwrap();
        assert!(part.write(&vec![0; usize::try_from(MAX_BUNDLE).unwrap() + 1]).is_err());
        drop(part);
        assert_eq!(names(), 1, "what is half there goes");
        assert!(Part::open(&folder.path().join("none/a")).is_err());
    }

    #[test]
    fn the_usual_name_says_which_device_and_when() {
        let now = "2026-01-31T13:45:02.7Z".parse().unwrap();
        assert_eq!(usual_name(&"robot-7".parse().unwrap(), now), "robot-7-20260131T134502Z.tar.gz");
    }
}
