//! Collects what helps to find a fault on this device into one archive: for `robo device collect` over a stream, and for
//! `robo-agent collect` without any link.
//!
//! It reads what is on the disk and disturbs neither an agent that runs nor what it looks after. All of it is text; what
//! looks like a secret is taken out of every file.
//!
//! - `bundle`: the archive; `redact`: no secrets; `machine`: what the system tells; `state`: instances and logs.

mod bundle;
mod machine;
mod redact;
mod state;

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use robo_wire::collect::CollectOpen;
use robo_wire::stream::{MAX_CHUNK, StreamFrame, Verdict};
use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use self::bundle::{Bundle, Taken};
use self::redact::Redactor;
use self::state::Known;
use crate::dial::Route;
use crate::doctor::{self, Report};
use crate::folders::Folders;
use crate::framing::{until_gone, write_frame};
use crate::ledger::LedgerStore;
use crate::runtime::in_background;

/// How long the doctor may take; then the bundle goes without its report. A proxy that says nothing takes longer.
const DOCTOR: Duration = Duration::from_secs(30);

/// Pieces that wait for a slow stream; then reading waits.
const WAITING_PIECES: usize = 4;

/// Bundles that are made at a time; the next ones wait. Each costs a core for a second, and some MiB.
static MAKING: Semaphore = Semaphore::const_new(2);

/// What is collected.
#[derive(Debug)]
pub struct Options {
    /// Where to look.
    pub doctor: doctor::Options,
    /// Leaves out what instances print.
    pub without_logs: bool,
}

/// Serves a stream that the manager opened: the archive, and a verdict. Ends early when the stream does.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(folders: Folders, route: Route, open: CollectOpen, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let doctor = doctor::Options { state: folders.root().to_owned(), route: Ok(Some(route)) };
    let options = Options { doctor, without_logs: open.without_logs };
    let work = async {
        let verdict = match tell(options, &mut writer).await {
            Ok(()) => Verdict::Ok,
            Err(reason) => Verdict::Refused { reason },
        };
        if let Ok(frame) = StreamFrame::Verdict(verdict).encode() {
            // A peer that is gone needs none.
            write_frame(&mut writer, &frame).await.ok();
        }
        writer.shutdown().await.ok();
    };
    until_gone(reader, work).await;
}

/// Writes the bundle to the file `path`, which is there when it is whole, and then for this user alone.
///
/// # Errors
/// When it cannot be written; what was at `path` before is still there then.
pub async fn to_file(options: Options, path: &Path) -> io::Result<()> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&part)?;
    let written = async {
        let written = packed(options, BufWriter::new(file)).await.map_err(io::Error::other)?;
        written.get_ref().sync_all()?;
        fs::rename(&part, path)
    };
    let written = written.await;
    if written.is_err() {
        // Half a bundle helps nobody.
        fs::remove_file(&part).ok();
    }
    written
}

/// A name for a bundle of this machine: no two of one machine have the same.
pub(crate) fn file_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("{host}-{}.tar.gz", crate::now().0)
}

/// Tells the bundle as it is made.
async fn tell(options: Options, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), String> {
    let _turn = MAKING.acquire().await.map_err(|error| error.to_string())?;
    let (give, mut take) = mpsc::channel(WAITING_PIECES);
    let pieces = Pieces { give, waiting: Vec::with_capacity(MAX_CHUNK) };
    // Writing ends when the pieces are gone.
    let packing = async { packed(options, pieces).await.map(drop) };
    let writing = async move {
        while let Some(piece) = take.recv().await {
            let frame = StreamFrame::Stdout(piece).encode().map_err(|error| error.to_string())?;
            write_frame(writer, &frame).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let (packed, written) = tokio::join!(packing, writing);
    packed.and(written)
}

/// Writes to a queue, in pieces as large as a frame takes.
struct Pieces {
    give: mpsc::Sender<Vec<u8>>,
    waiting: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(MAX_CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..fits).unwrap_or_default());
        if self.waiting.len() == MAX_CHUNK {
            self.flush()?;
        }
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.waiting);
        if piece.is_empty() {
            Ok(())
        } else {
            self.give.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }
}

/// Writes the bundle to `out`, and gives that back.
async fn packed<W: Write + Send + 'static>(options: Options, out: W) -> Result<W, String> {
    let examined = timeout(DOCTOR, Box::pin(doctor::examine(&options.doctor))).await;
    let report = examined.map_err(|_| format!("the doctor did not come to an end in {DOCTOR:?}"));
    in_background(move || pack(&options, report, out).map_err(|error| format!("the bundle cannot be written: {error}")))
        .await
}

fn pack<W: Write>(options: &Options, report: Result<Report, String>, out: W) -> io::Result<W> {
    let folders = Folders::new(&options.doctor.state);
    let known = Known { ledger: LedgerStore::inspect(&folders.ledger()), runs: folders.all_runs() };
    let mut redactor = Redactor::default();
    known.teach(&mut redactor);
    for (name, value) in std::env::vars_os() {
        redactor.know_variable(&name.to_string_lossy(), &value.to_string_lossy());
    }
    let addresses = known.ledger.as_ref().map(|found| found.ledger.state.addresses.clone()).unwrap_or_default();
    let mut bundle = Bundle::new(out, redactor, crate::now());
    match report {
        Ok(report) => {
            bundle.add("doctor.txt", Ok::<_, io::Error>(Taken::whole(report.text())))?;
            bundle.json("doctor.json", &report)?;
        }
        Err(reason) => bundle.add("doctor.txt", Err(reason))?,
    }
    machine::add(&mut bundle, &folders, &addresses)?;
    known.add(&mut bundle, &folders)?;
    state::logs(&mut bundle, &folders, !options.without_logs)?;
    let mut out = bundle.finish()?;
    out.flush()?;
    Ok(out)
}

#[cfg(test)]
mod tests;
