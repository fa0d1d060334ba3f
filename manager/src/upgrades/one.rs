//! The upgrade of one agent: its program goes there, and then it is waited for until it says how it ended.

use std::time::Duration;

use robo_model::name::DeviceId;
use robo_wire::api::{LastUpgrade, UpgradeVerdict};
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::{MAX_CHUNK, Open};
use robo_wire::upgrade::{UpgradeEnd, UpgradeFrame, UpgradeOpen, UpgradeStage};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Common, Voice};
use crate::bus::{Heard, Ring};
use crate::install::Program;
use crate::links::{LinkStream, OpenError};
use crate::streams::StreamFrames;

/// How long an agent may say nothing: it hashes its own program first, and a narrow line takes its time for each percent.
const STALLED: Duration = Duration::from_secs(180);

/// How long a device may take to come back from a trial: the agent gives the program two minutes, ends it, and dials.
const RETURN: Duration = Duration::from_secs(5 * 60);

/// How long a device may be away in the middle of a download: it dials again within a minute.
const AWAY: Duration = Duration::from_secs(90);

/// How often the program is sent on after a cut.
const MAX_TRIES: u32 = 10;

/// How often it is looked whether a device is back, where no bell rings: it may be at another manager process.
const LOOK: Duration = Duration::from_secs(1);

/// What to do about an agent that knows nothing of upgrades.
const TOO_OLD: &str = "its agent does not know how to replace itself: run the line that installs it there once more";

/// One device, and the program that it is to get.
pub(crate) struct One {
    pub(crate) device: DeviceId,
    /// SHA-256 of the program that it told last; empty where it told none.
    pub(crate) from: String,
    pub(crate) program: Program,
}

/// How one stream ended.
enum Ended {
    Verdict(UpgradeVerdict),
    /// The agent tries the program; its link ends with that.
    Trying,
    /// It may be gone on with.
    Cut(String),
    /// The device has no link.
    Offline,
}

impl One {
    /// Brings the agent there, and waits for it.
    pub(super) async fn run(&self, common: &Common, voice: &Voice) -> UpgradeVerdict {
        let mut reason = String::new();
        for tries in 0..MAX_TRIES {
            match self.attempt(common, voice).await {
                Ended::Verdict(verdict) => return verdict,
                Ended::Trying => return self.returned(common).await,
                Ended::Offline if tries == 0 => return UpgradeVerdict::Offline,
                Ended::Offline => {}
                Ended::Cut(why) => reason = why,
            }
            if !self.is_back(common).await {
                break;
            }
        }
        UpgradeVerdict::Lost { reason: format!("{reason}; what came of the program is kept there: ask again") }
    }

    async fn attempt(&self, common: &Common, voice: &Voice) -> Ended {
        let open = UpgradeOpen {
            id: common.id.clone(),
            sha256: self.program.sha256.clone(),
            size: self.program.size,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            force: common.force,
        };
        let stream = match common.links.open(&self.device, Open::Upgrade(open)).await {
            Ok(stream) => stream,
            Err(OpenError::Offline) => return Ended::Offline,
            Err(error @ (OpenError::Failed(_) | OpenError::Off(_))) => return Ended::Cut(error.to_string()),
        };
        let (reader, writer) = tokio::io::split(stream);
        let (say, wanted) = oneshot::channel();
        tokio::select! {
            ended = self.hear(StreamFrames::new(reader), say, voice) => ended,
            why = self.give(wanted, writer) => Ended::Cut(why),
        }
    }

    /// Hears what the agent says, to the end.
    async fn hear(
        &self,
        mut frames: StreamFrames<tokio::io::ReadHalf<Box<dyn LinkStream>>>,
        wanted: oneshot::Sender<u64>,
        voice: &Voice,
    ) -> Ended {
        let (mut wanted, mut heard) = (Some(wanted), false);
        loop {
            let frame = match timeout(STALLED, frames.next(MAX_STREAM_FRAME)).await {
                Err(_) => return Ended::Cut(format!("it says nothing for {} s", STALLED.as_secs())),
                Ok(Err(error)) => return Ended::Cut(error.to_string()),
                Ok(Ok(None)) if !heard && self.from.is_empty() => {
                    let (code, reason) = (String::new(), TOO_OLD.to_owned());
                    return Ended::Verdict(UpgradeVerdict::Refused { code, reason });
                }
                Ok(Ok(None)) => return Ended::Cut("the link went away".to_owned()),
                Ok(Ok(Some(frame))) => frame,
            };
            heard = true;
            match UpgradeFrame::decode(frame) {
                Ok(UpgradeFrame::Want(place)) => drop(wanted.take().map(|wanted| wanted.send(place))),
                Ok(UpgradeFrame::Progress(progress)) => {
                    voice.tell(progress).await;
                    if progress.stage == UpgradeStage::Trying {
                        return Ended::Trying;
                    }
                }
                Ok(UpgradeFrame::End(end)) => return Ended::Verdict(verdict(end)),
                Ok(UpgradeFrame::Data(..) | UpgradeFrame::Unknown(_)) => {}
                Err(error) => return Ended::Cut(error.to_string()),
            }
        }
    }

    /// Sends the program from where the agent wants it. Ends when it cannot be read, with the reason, and not before.
    async fn give(&self, wanted: oneshot::Receiver<u64>, mut writer: impl AsyncWrite + Unpin) -> String {
        if let Ok(mut place) = wanted.await {
            while place < self.program.size {
                let program = self.program.clone();
                let read = tokio::task::spawn_blocking(move || program.read(place, MAX_CHUNK));
                let read = read.await.map_err(std::io::Error::other).flatten();
                let encoded = read.and_then(|piece| {
                    let after = place + piece.len() as u64;
                    let frame = UpgradeFrame::Data(place, piece).encode().map_err(std::io::Error::other)?;
                    Ok((after, frame))
                });
                let (after, frame) = match encoded {
                    Ok(encoded) => encoded,
                    Err(error) => {
                        tracing::error!(%error, "an agent's program cannot be read");
                        return format!("the manager cannot read the program: {error}");
                    }
                };
                if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                    // What the agent said last is still to be heard.
                    break;
                }
                place = after;
            }
        }
        std::future::pending().await
    }

    /// Waits until the device has a link again; false when that does not come.
    async fn is_back(&self, common: &Common) -> bool {
        let until = Instant::now() + AWAY;
        while Instant::now() < until {
            // Once the link that was cut is known to be gone, it is another one.
            tokio::time::sleep(LOOK).await;
            if common.links.is_linked(&self.device) {
                return true;
            }
        }
        false
    }

    /// Waits until the agent tells how it ended, also from another manager process.
    async fn returned(&self, common: &Common) -> UpgradeVerdict {
        // Before the first look: what changes after that rings.
        let mut bell = common.service.bus().listen();
        let until = Instant::now() + RETURN;
        while Instant::now() < until {
            let record = common.service.store().device(&self.device).await;
            match record.map(|record| record.map(|record| record.facts.upgrade)) {
                Ok(Some(Some(last))) if last.id == common.id => return self.told(last),
                Ok(Some(_)) => {}
                Ok(None) => return UpgradeVerdict::Lost { reason: "the device was removed meanwhile".to_owned() },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a device cannot be looked at");
                }
            }
            let next = (Instant::now() + LOOK).min(until);
            let is_it = |heard: &Heard| match heard {
                Heard::Ring(Ring::Devices(project)) => *project == common.project,
                Heard::Ring(_) => false,
                Heard::Lost | Heard::Closed => true,
            };
            while let Ok(heard) = timeout_at(next, bell.next()).await {
                if heard == Heard::Closed {
                    return UpgradeVerdict::Lost { reason: "the manager stops".to_owned() };
                }
                if is_it(&heard) {
                    break;
                }
            }
        }
        let reason = format!(
            "it tried the program, and did not come back within {} minutes: see what it says when it does",
            RETURN.as_secs() / 60
        );
        UpgradeVerdict::Lost { reason }
    }

    fn told(&self, last: LastUpgrade) -> UpgradeVerdict {
        let LastUpgrade { code, reason, .. } = last;
        if code.is_empty() {
            return UpgradeVerdict::Upgraded { from: self.from.clone(), to: self.program.sha256.clone() };
        }
        UpgradeVerdict::Failed { code, reason }
    }
}

fn verdict(end: UpgradeEnd) -> UpgradeVerdict {
    match end {
        UpgradeEnd::Same => UpgradeVerdict::Same,
        UpgradeEnd::Refused { code, reason } => UpgradeVerdict::Refused { code, reason },
        UpgradeEnd::Failed { code, reason } => UpgradeVerdict::Failed { code, reason },
    }
}
