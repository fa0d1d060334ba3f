//! The stream by which the manager gives this agent another program.

use std::sync::Arc;
use std::time::Duration;

use robo_model::quantity::Millis;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::upgrade::{UpgradeEnd, UpgradeFrame, UpgradeOpen, UpgradeProgress, UpgradeStage};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::notes::{Notes, TrialNote};
use super::place::Place;
use super::receive::Coming;
use super::{Fault, Own};
use crate::code::Code;
use crate::folders::Folders;
use crate::framing::{read_frame, write_frame};
use crate::keeper::proc::boot_id;

/// How long nothing of the program may come: a line may be narrow, and the manager busy with others.
const STALLED: Duration = Duration::from_secs(120);

/// Bytes that are gathered before they are written: few turns of the disk, and little memory.
const GATHER: usize = 256 * 1024;

/// How long the manager may take to hear that the program is tried, before the link ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Upgrades of this agent. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Upgrades {
    own: Option<Arc<Own>>,
    folders: Folders,
    /// One upgrade at a time.
    turn: Arc<Semaphore>,
}

/// How it goes on after the stream was served.
enum Served {
    /// Nothing follows.
    Over(UpgradeEnd),
    /// The program is tried.
    Trying(TrialNote),
    /// The stream was cut; what came is kept.
    Cut,
}

/// Why it does not come to a trial.
enum Hindrance {
    /// It is not begun.
    Refused(Fault),
    /// The program is of no use.
    Failed(Fault),
    /// The stream ended.
    Cut,
}

impl From<std::io::Error> for Hindrance {
    fn from(_: std::io::Error) -> Self {
        Self::Cut
    }
}

impl Upgrades {
    pub(crate) fn new(own: Option<Arc<Own>>, folders: Folders) -> Self {
        Self { own, folders, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whose turn it is.
    #[cfg(test)]
    pub(super) fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }

    /// Serves a stream that the manager opened, until the program is tried or the stream ends. `busy` says what of people
    /// would end with the agent; nothing where nobody is there.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        open: UpgradeOpen,
        busy: Option<String>,
        stream: S,
    ) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (own, permit) = match self.ready(&open, busy) {
            Ok(ready) => ready,
            Err(fault) => return tell_end(&mut writer, &refused(fault)).await,
        };
        let notes = Notes::of(&self.folders);
        let one = One { own, notes: &notes, open: &open };
        match Box::pin(one.bring(&mut reader, &mut writer)).await {
            Served::Cut => tracing::info!("an upgrade was cut off; what came of the program is kept"),
            Served::Over(end) => tell_end(&mut writer, &end).await,
            Served::Trying(note) => {
                let heard = self.begin_soon(note, permit);
                writer.shutdown().await.ok();
                // The manager closes its end when it has heard all.
                drop(reader.read_to_end(&mut Vec::new()).await);
                drop(heard);
            }
        }
    }

    /// This agent's program, and its turn; or why it is not replaced.
    fn ready(&self, open: &UpgradeOpen, busy: Option<String>) -> Result<(&Arc<Own>, OwnedSemaphorePermit), Fault> {
        open.check().map_err(|reason| Fault::new(Code::Answer, reason))?;
        let packaged =
            || Fault::new(Code::UpgradePackaged, "this agent runs as a part of `robo`, which packages replace");
        let own = self.own.as_ref().ok_or_else(packaged)?;
        if own.is_tried() {
            return Err(Fault::new(Code::UpgradeBusy, "this agent is tried itself just now"));
        }
        let permit = Arc::clone(&self.turn).try_acquire_owned();
        let permit = permit.map_err(|_| Fault::new(Code::UpgradeBusy, "another upgrade of this agent is under way"))?;
        match busy.filter(|_| !open.force) {
            Some(busy) => Err(Fault::new(Code::UpgradeInUse, format!("there is {busy}, which would end"))),
            None => Ok((own, permit)),
        }
    }

    /// Begins the trial when the manager has heard of it, or is gone: when what is given back is dropped.
    fn begin_soon(&self, note: TrialNote, permit: OwnedSemaphorePermit) -> oneshot::Sender<()> {
        let (heard, hear) = oneshot::channel::<()>();
        let (own, state) = (self.own.clone(), self.folders.root().to_owned());
        // A task of its own: those of streams end with the link, and what is written down has to be done.
        tokio::spawn(async move {
            drop(timeout(LAST_WORDS, hear).await);
            if let Some(own) = own {
                own.begin(&note, &state);
            }
            // No other one begins until this process is the trial.
            permit.forget();
        });
        heard
    }
}

/// One upgrade.
struct One<'a> {
    own: &'a Arc<Own>,
    notes: &'a Notes,
    open: &'a UpgradeOpen,
}

impl One<'_> {
    async fn bring(&self, reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) -> Served {
        match self.try_to_bring(reader, writer).await {
            Ok(Some(note)) => Served::Trying(note),
            Ok(None) => Served::Over(UpgradeEnd::Same),
            Err(Hindrance::Cut) => Served::Cut,
            Err(Hindrance::Refused(fault)) => Served::Over(refused(fault)),
            Err(Hindrance::Failed(fault)) => {
                let Fault { code, reason } = fault.clone();
                tracing::warn!(%code, reason, "an upgrade of this agent failed");
                let outcome = self.note().outcome(Err(fault));
                if let Err(error) = self.notes.write_outcome(&outcome) {
                    tracing::warn!(%error, "cannot write down how an upgrade ended");
                }
                self.own.recall_from(self.notes);
                Served::Over(UpgradeEnd::Failed { code: code.to_string(), reason })
            }
        }
    }

    /// The trial that is to begin; nothing where that program runs already.
    async fn try_to_bring(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Option<TrialNote>, Hindrance> {
        let digest = self.own.digest().await;
        let unreadable = |error| Fault::at(Code::InstallFolder, "read", self.own.program(), &error);
        if digest.map_err(unreadable).map_err(Hindrance::Refused)? == self.open.sha256 {
            return Ok(None);
        }
        if !self.own.is_in_place() {
            let reason = format!("{} is not what this agent runs", self.own.program().display());
            return Err(Hindrance::Refused(Fault::new(Code::UpgradeReplaced, reason)));
        }
        let place = Place::of(self.own.program());
        let (notes, open) = (self.notes.clone(), self.open.clone());
        let room = place.clone();
        let coming = in_background(move || {
            let coming = Coming::open(&notes, &open.sha256, open.size)?;
            let folder = notes.create().map_err(|error| Fault::at(Code::StateFolder, "use", room.folder(), &error))?;
            room.check(open.size, folder, open.size - coming.place()).map(|()| coming)
        });
        let coming = coming.await.map_err(Hindrance::Refused)?;
        say(writer, &UpgradeFrame::Want(coming.place())).await?;
        let coming = self.download(coming, reader, writer).await?;
        progress(writer, UpgradeStage::Verifying, 0).await?;
        let (sha256, lay) = (self.open.sha256.clone(), place.clone());
        let laid = in_background(move || coming.finish(&sha256).and_then(|part| lay.lay(&part)));
        laid.await.map_err(Hindrance::Failed)?;
        let note = self.note();
        let ready = match Box::pin(place.ask_version()).await {
            Ok(()) => self.notes.write_trial(&note).map_err(|error| {
                Fault::at(Code::StateFolder, "write a note of the trial to", self.own.program(), &error)
            }),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = ready {
            place.clear();
            return Err(Hindrance::Failed(fault));
        }
        // From here on it is tried, whatever the manager hears of it.
        progress(writer, UpgradeStage::Trying, 0).await.ok();
        Ok(Some(note))
    }

    async fn download(
        &self,
        mut coming: Coming,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Coming, Hindrance> {
        progress(writer, UpgradeStage::Downloading, coming.percent()).await?;
        let (mut told, mut gathered) = (coming.percent(), Vec::new());
        while !coming.is_whole() {
            let frame = timeout(STALLED, read_frame(reader, MAX_STREAM_FRAME)).await.map_err(|_| Hindrance::Cut)?;
            let frame = frame.ok().flatten().map(UpgradeFrame::decode).transpose();
            let malformed = |error| Hindrance::Refused(Fault::new(Code::Answer, format!("{error}")));
            let cut = match frame.map_err(malformed)? {
                Some(UpgradeFrame::Data(place, bytes)) => {
                    let next = place.saturating_sub(gathered.len() as u64);
                    coming.expects(next, gathered.len() + bytes.len()).map_err(Hindrance::Refused)?;
                    gathered.extend_from_slice(&bytes);
                    false
                }
                Some(
                    UpgradeFrame::Want(_) | UpgradeFrame::Progress(_) | UpgradeFrame::End(_) | UpgradeFrame::Unknown(_),
                ) => false,
                None => true,
            };
            if cut || gathered.len() >= GATHER || coming.place() + gathered.len() as u64 == self.open.size {
                let bytes = std::mem::take(&mut gathered);
                let written = in_background(move || coming.take(&bytes).map(|()| coming));
                coming = written.await.map_err(Hindrance::Failed)?;
            }
            if cut {
                return Err(Hindrance::Cut);
            }
            if coming.percent() != told {
                told = coming.percent();
                progress(writer, UpgradeStage::Downloading, told).await?;
            }
        }
        Ok(coming)
    }

    fn note(&self) -> TrialNote {
        TrialNote {
            id: self.open.id.clone(),
            sha256: self.open.sha256.clone(),
            version: self.open.version.clone(),
            program: self.own.program().to_owned(),
            time: Millis(u64::try_from(self.own.time().as_millis()).unwrap_or(u64::MAX)),
            boot: boot_id().to_owned(),
            by: None,
            child: None,
        }
    }
}

fn refused(fault: Fault) -> UpgradeEnd {
    UpgradeEnd::Refused { code: fault.code.to_string(), reason: fault.reason }
}

async fn tell_end(writer: &mut (impl AsyncWrite + Unpin), end: &UpgradeEnd) {
    // A peer that is gone needs none.
    say(writer, &UpgradeFrame::End(end.clone())).await.ok();
    writer.shutdown().await.ok();
}

async fn progress(writer: &mut (impl AsyncWrite + Unpin), stage: UpgradeStage, percent: u8) -> std::io::Result<()> {
    say(writer, &UpgradeFrame::Progress(UpgradeProgress { stage, percent })).await
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), frame: &UpgradeFrame) -> std::io::Result<()> {
    write_frame(writer, &frame.encode().map_err(std::io::Error::other)?).await
}

/// Does work that waits for the disk.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Fault::new(Code::StateFolder, error.to_string())))
}
