//! The logs of one device, over as many connections as it takes.

use std::time::Duration;

use bytes::Bytes;
use robo_model::name::DeviceName;
use robo_wire::problem::ErrorCode;
use robo_wire::stream::Verdict;
use robo_wire::tail::{Line, SourceAt, TailFrame, TailOpen};
use tokio::sync::mpsc::Sender;

use crate::client::{Client, ClientError};
use crate::commands::exec::{Frames, FramesError};
use crate::error::{CliError, Exit};

/// The first pause before it is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause: somebody waits.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How often in a row it is tried again where nothing is followed: about half a minute.
const MAX_TRIES: u32 = 10;

/// How often it is tried when nothing ever came: then it is no cut.
const MAX_FIRST_TRIES: u32 = 3;

/// A source, as people are told it.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) at: SourceAt,
}

/// What is to be shown.
#[derive(Debug)]
pub(super) enum Told {
    Lines { device: Option<String>, source: String, lines: Vec<Line> },
    Refused { source: String, reason: String },
    Note(String),
}

/// What is asked of one device.
#[derive(Debug)]
pub(super) struct Share {
    /// Where; nothing where the manager alone may know.
    device: Option<DeviceName>,
    /// Those that are not over.
    sources: Vec<Named>,
    open: TailOpen,
    /// Something came once.
    heard: bool,
}

/// Why a connection ended before everything was told.
enum Fault {
    /// It may go on over another one.
    Cut(String),
    Final(CliError),
    /// Nobody listens any more.
    Unheard,
}

impl Share {
    /// `open` says everything but the sources.
    ///
    /// # Errors
    /// When that cannot be asked of a device.
    pub(super) fn new(device: Option<DeviceName>, sources: Vec<Named>, open: TailOpen) -> Result<Self, CliError> {
        let share = Self { device, sources, open, heard: false };
        share.request().check().map_err(CliError::new)?;
        Ok(share)
    }

    /// True when it is about more than one source.
    pub(super) const fn has_several(&self) -> bool {
        self.sources.len() > 1
    }

    fn request(&self) -> TailOpen {
        TailOpen { sources: self.sources.iter().map(|named| named.at.clone()).collect(), ..self.open.clone() }
    }

    /// Tells everything.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) async fn run(mut self, client: &Client, give: Sender<Told>) -> Result<(), CliError> {
        let mut tries = 0;
        loop {
            let mut came = false;
            let done = Box::pin(self.attempt(client, &give, &mut came)).await;
            let reason = match done {
                Ok(()) | Err(Fault::Unheard) => return Ok(()),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Cut(reason)) => reason,
            };
            tries = if came { 1 } else { tries + 1 };
            if !self.heard && tries >= MAX_FIRST_TRIES {
                return Err(self.failed(format!("{} tells no log: {reason}", self.place())).help(
                    "its agent may be of an older version than this: compare `robo device inspect` and `robo --version`",
                ));
            }
            if !self.open.follow && tries > MAX_TRIES {
                return Err(self.failed(format!("the log of {} breaks off: {reason}", self.place())));
            }
            if tries == 1
                && give.send(Told::Note(format!("{}: {reason}; going on when it is back", self.place()))).await.is_err()
            {
                return Ok(());
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(10)).min(MAX_PAUSE);
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Where, for people.
    fn place(&self) -> String {
        self.device.as_ref().map_or_else(|| "its device".to_owned(), ToString::to_string)
    }

    fn failed(&self, what: String) -> CliError {
        CliError::new(what).exit_with(Exit::SomeFailed)
    }

    /// Over one connection. `came` says whether anything did.
    async fn attempt(&mut self, client: &Client, give: &Sender<Told>, came: &mut bool) -> Result<(), Fault> {
        let request = self.request().encode().map_err(|error| Fault::Final(CliError::new(error.to_string())))?;
        let path = self.device.as_ref().map_or_else(|| "logs".to_owned(), |name| format!("devices/{name}/logs"));
        let body = futures_util::stream::iter([Ok(Bytes::from(request))]);
        let bytes = client.framed_post(&path, body).await.map_err(|error| self.fault(error))?;
        let mut frames = Frames::new(bytes);
        let mut over = vec![false; self.sources.len()];
        let ended = loop {
            let frame = match frames.next_frame().await {
                Ok(Some(frame)) => frame,
                Ok(None) => break Err(Fault::Cut("the link to the device was cut".to_owned())),
                Err(FramesError::Client(error)) => break Err(self.fault(error)),
                Err(FramesError::Cut) => break Err(Fault::Cut("the connection was cut".to_owned())),
                Err(error @ FramesError::Frame(_)) => break Err(Fault::Final(CliError::new(error.to_string()))),
            };
            let frame = TailFrame::decode(&frame).map_err(|error| Fault::Final(CliError::new(error.to_string())))?;
            (self.heard, *came) = (true, true);
            if let TailFrame::Verdict(verdict) = frame {
                break self.end(verdict);
            }
            if let Some(told) = self.told(frame, &mut over)
                && give.send(told).await.is_err()
            {
                return Err(Fault::Unheard);
            }
        };
        let mut over = over.into_iter();
        self.sources.retain(|_| !over.next().unwrap_or(false));
        match ended {
            Err(Fault::Cut(_)) if self.sources.is_empty() => Ok(()),
            ended => ended,
        }
    }

    /// What is to be shown of a frame.
    fn told(&mut self, frame: TailFrame, over: &mut [bool]) -> Option<Told> {
        let number = |source: u32| usize::try_from(source).unwrap_or(usize::MAX);
        match frame {
            TailFrame::Lines(lines) => {
                let source = self.sources.get_mut(number(lines.source))?;
                source.at.position = Some(lines.after);
                let (device, source) = (self.device.as_ref().map(ToString::to_string), source.name.clone());
                (!lines.lines.is_empty()).then_some(Told::Lines { device, source, lines: lines.lines })
            }
            TailFrame::Note(note) => {
                let source = self.sources.get(number(note.source))?;
                Some(Told::Note(format!("{}: {}", source.name, note.text)))
            }
            TailFrame::End(end) => {
                let source = self.sources.get(number(end.source))?.name.clone();
                *over.get_mut(number(end.source))? = true;
                end.refused.map(|reason| Told::Refused { source, reason })
            }
            TailFrame::Verdict(_) | TailFrame::Unknown(_) => None,
        }
    }

    fn end(&self, verdict: Verdict) -> Result<(), Fault> {
        match verdict {
            // What failed was told of each source.
            Verdict::Ok | Verdict::Failed { .. } => Ok(()),
            Verdict::Refused { reason } => {
                Err(Fault::Final(self.failed(format!("{} refuses: {reason}", self.place()))))
            }
            Verdict::Timeout
            | Verdict::Offline
            | Verdict::Lost { .. }
            | Verdict::Cancelled { .. }
            | Verdict::Expired => Err(Fault::Cut(verdict.to_string())),
        }
    }

    fn fault(&self, error: ClientError) -> Fault {
        let is_offline = error.code() == Some(ErrorCode::DeviceOffline);
        if self.heard && (is_offline || error.is_passing()) {
            return Fault::Cut(if is_offline { "the device is offline".to_owned() } else { error.to_string() });
        }
        if is_offline {
            let names: Vec<&str> = self.sources.iter().map(|named| named.name.as_str()).collect();
            let what = format!("the device of {} is offline, and the log is there", names.join(", "));
            let error = self.failed(what);
            return Fault::Final(match &self.device {
                Some(name) => error.help(format!("see since when: `robo device inspect {name}`")),
                None => error,
            });
        }
        Fault::Final(error.into())
    }
}
