//! `robo files get`: fetches a file out of the manager.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use robo_model::name::FileName;
use robo_wire::upload::{UploadState, UploadView};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};

use super::told;
use crate::cli::Env;
use crate::client::{Client, ClientError};
use crate::commands::cp::bar::{Bar, Bars};
use crate::error::{CliError, Exit};

/// Connections in a row over which nothing came along, after which it is given up: with the pauses between them about
/// two minutes, more than a manager takes to come back.
const MAX_TRIES: u32 = 10;

/// The pause before the next connection at first; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// Fetches a file out of the manager, and checks it.
///
/// It takes its place when it is whole and its checksum is right; until then an old one stays. One that was cut goes on,
/// also when the same command is given again.
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The file.
    #[arg(add = crate::complete::files())]
    name: FileName,
    /// Where to: a file, or a folder that is there; this folder where nothing is given.
    #[arg(value_name = "TO")]
    to: Option<PathBuf>,
    /// Print the lasting link for programs with a token, and fetch nothing.
    #[arg(long, conflicts_with = "to")]
    url: bool,
}

pub(super) async fn run(args: GetArgs, client: &Client, env: &Env) -> Result<Exit, CliError> {
    let view = client.upload(&args.name).await?;
    let (sha256, total) = match (&view.sha256, view.total, view.state) {
        (Some(sha256), Some(total), UploadState::Completed) => (sha256.clone(), total),
        _ => {
            return Err(CliError::new(format!("the file {} is not here: it is {}", view.name, view.state))
                .help(format!("`robo files show {}` says more", view.name)));
        }
    };
    if args.url {
        env.ui.line(client.upload_url(&view.name))?;
        return Ok(Exit::Done);
    }
    let target = target(args.to, &view.name);
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    tokio::select! {
        done = fetch(&view, (&sha256, total), &target, (client, env)) => done?,
        // What came so far is kept for the next time.
        _ = interrupts.recv() => return Ok(Exit::Interrupted),
    }
    told(&view, format!("{}: {total} bytes", target.display()), env)?;
    Ok(Exit::Done)
}

fn target(to: Option<PathBuf>, name: &FileName) -> PathBuf {
    match to {
        None => PathBuf::from(name.as_str()),
        Some(to) if to.is_dir() => to.join(name.as_str()),
        Some(to) => to,
    }
}

async fn fetch(
    view: &UploadView,
    (sha256, total): (&str, u64),
    target: &Path,
    (client, env): (&Client, &Env),
) -> Result<(), CliError> {
    if target.is_dir() {
        return Err(CliError::new(format!("`{}` is a folder", target.display())));
    }
    let mut part = Part::open(target, sha256, total)?;
    let bars = Bars::new(&env.ui);
    let bar = bars.begin(view.name.as_str());
    let mut tries = 0;
    while part.place < total {
        let before = part.place;
        let Err(error) = part.take(client, &view.name, total, &bar).await else {
            if part.place == before {
                return Err(CliError::new(format!("the manager has no more than {before} of {total} bytes of it")));
            }
            continue;
        };
        let Fault::Client(error) = error else { return Err(part.fault("write", &error)) };
        if !error.is_passing() {
            return Err(error.into());
        }
        tries = if part.place > before { 1 } else { tries + 1 };
        if tries > MAX_TRIES {
            return Err(CliError::from(error).help("give the same command again, and it goes on"));
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(10)).min(MAX_PAUSE);
        bars.note(&format!("{error}; going on in {:.1} s", pause.as_secs_f64()));
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
    part.finish(target, sha256)
}

/// A file that is not whole yet; it lies beside its place, and is known by what it will be.
struct Part {
    file: File,
    path: PathBuf,
    hash: Sha256,
    place: u64,
}

/// Why a piece did not come.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Disk(#[from] std::io::Error),
    #[error("the manager sends more than it said")]
    TooMuch,
}

impl Part {
    fn open(target: &Path, sha256: &str, total: u64) -> Result<Self, CliError> {
        let known: String = sha256.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        let path = target.with_file_name(format!(".robo-{known}.part"));
        let failed = |error: std::io::Error| CliError::new(format!("cannot write {}: {error}", path.display()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        file.try_lock().map_err(|_| {
            CliError::new(format!("another one fetches this file to {} already", target.display()))
                .help("wait for it, or fetch it to another folder")
        })?;
        if file.metadata().map_err(failed)?.len() > total {
            file.set_len(0).map_err(failed)?;
        }
        let (mut hash, mut place, mut piece) = (Sha256::new(), 0, vec![0; 256 * 1024]);
        loop {
            let read = file.read(&mut piece).map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(piece.get(..read).unwrap_or_default());
            place += read as u64;
        }
        file.seek(SeekFrom::Start(place)).map_err(failed)?;
        Ok(Self { file, path, hash, place })
    }

    fn fault(&self, doing: &str, error: &dyn std::fmt::Display) -> CliError {
        CliError::new(format!("cannot {doing} {}: {error}", self.path.display()))
            .help("what came is kept; the same command goes on from there")
    }

    /// Takes what comes over one connection.
    async fn take(&mut self, client: &Client, name: &FileName, total: u64, bar: &Bar) -> Result<(), Fault> {
        let mut content = client.upload_content(name, self.place).await?;
        bar.at(self.place, Some(total));
        while let Some(bytes) = content.next().await {
            let bytes = bytes?;
            if self.place + bytes.len() as u64 > total {
                return Err(Fault::TooMuch);
            }
            self.file.write_all(&bytes)?;
            self.hash.update(&bytes);
            self.place += bytes.len() as u64;
            bar.at(self.place, Some(total));
        }
        Ok(())
    }

    /// Checks it, and puts it in its place.
    fn finish(self, target: &Path, sha256: &str) -> Result<(), CliError> {
        if hex::encode(self.hash.clone().finalize()) != sha256 {
            // What is here is of no use.
            std::fs::remove_file(&self.path).ok();
            return Err(CliError::new("the checksum is wrong: what came is not what the manager has")
                .help("give the same command again; it begins anew"));
        }
        let done = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, target)).and_then(|()| {
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
        });
        done.map_err(|error| self.fault("put into place", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_gone_on_with_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("core");
        let sha256 = hex::encode(Sha256::digest(b"content"));
        let mut part = Part::open(&target, &sha256, 7).unwrap();
        assert!(Part::open(&target, &sha256, 7).is_err(), "another one is at it");
        part.file.write_all(b"con").unwrap();
        drop(part);
        let mut part = Part::open(&target, &sha256, 7).unwrap();
        assert_eq!(part.place, 3);
        part.file.write_all(b"tent").unwrap();
        part.hash.update(b"tent");
        part.finish(&target, &sha256).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"content");
        // What somebody else wrote there is found out, and the old one stays.
        let mut part = Part::open(&target, &sha256, 7).unwrap();
        part.file.write_all(b"CONTENT").unwrap();
        part.hash.update(b"CONTENT");
        assert!(part.finish(&target, &sha256).unwrap_err().what().contains("checksum"));
        assert_eq!(std::fs::read(&target).unwrap(), b"content");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
