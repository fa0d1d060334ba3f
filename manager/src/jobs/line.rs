//! The manager's line to a run: one stream to the agent at a time, opened again after each cut, until the end is known.

use std::sync::Arc;
use std::time::Duration;

use robo_model::name::{DeviceId, JobId};
use robo_model::quantity::Millis;
use robo_wire::backlog::Backlog;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::job::{Ended, MAX_INPUT, Output, RECEIVED_EVERY, RunFrame, RunOpen, RunStart};
use robo_wire::stream::{MAX_CHUNK, Open, StreamFrame, Verdict};
use tokio::io::{AsyncWriteExt as _, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::links::{LinkStream, Links, OpenError};
use crate::service::now;
use crate::streams::StreamFrames;

/// How often it is looked whether a device is there again.
const LOOK: Duration = Duration::from_millis(200);

/// So often a stream may break in a row while its device is there and nothing comes: then it will not get better.
const MAX_BREAKS: u32 = 5;

/// How long a device may take to end what was cancelled: its agent kills after a few seconds.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// How long a run's last word may take.
const LAST_WORD: Duration = Duration::from_secs(10);

type Stream = Box<dyn LinkStream>;

/// What goes to a run; the client's frames.
pub(crate) type Input = mpsc::Receiver<Arc<StreamFrame>>;

/// Where a run's output goes.
pub(crate) trait Sink: Send {
    /// So much of the output is there.
    fn place(&self) -> u64;

    /// So much of it is where it belongs, and may be forgotten on the device.
    fn arrived(&self) -> u64 {
        self.place()
    }

    /// Waits until more of it is where it belongs, where that is not at once.
    fn moved(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The input was taken up to there.
    fn taken(&mut self, _place: u64) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// The run is there.
    fn begun(&mut self);

    /// Takes output, whose first byte has that place, and waits until there is room for more. The error ends the run's
    /// line, and is told.
    fn take(&mut self, kind: Output, place: u64, bytes: &[u8]) -> impl Future<Output = Result<(), String>> + Send;
}

/// What a line needs.
pub(crate) struct Line {
    links: Arc<dyn Links>,
    device: DeviceId,
    job: JobId,
    /// What to run; nothing when it must not be begun any more.
    start: Option<RunStart>,
    /// How long the device may be away after it was asked.
    patience: Duration,
    cancel: CancellationToken,
    /// When it was asked for the first time.
    asked: Option<Instant>,
    /// So long before that another line asked.
    age: Option<Duration>,
    typed: Typed,
}

/// Input on its way.
struct Typed {
    bytes: Backlog,
    /// The device has taken it up to there; who sends it may not know that yet.
    taken: u64,
    ended: bool,
    signals: Vec<i32>,
}

/// How a line ended.
pub(crate) struct Outcome {
    /// The run's end.
    pub(crate) ended: Ended,
    stream: Option<WriteHalf<Stream>>,
}

/// Why a stream ended.
enum Cut {
    Over(Outcome),
    /// It broke; it may get better.
    Broken(String),
    /// It will not get better.
    Lost(String),
}

impl Outcome {
    pub(super) fn here(verdict: Verdict) -> Self {
        Self { ended: Ended { verdict, began_at: None, ended_at: now() }, stream: None }
    }

    /// The end is where it should be: the agent may forget the run.
    pub(crate) async fn acknowledge(self) {
        let Some(mut stream) = self.stream else { return };
        let said = async {
            say(&mut stream, &RunFrame::Done).await?;
            stream.shutdown().await
        };
        // An agent that does not hear it forgets the run after a while.
        drop(timeout(LAST_WORD, said).await);
    }
}

impl Line {
    /// A line to a run that was not asked for yet, or must not be begun any more when there is no `start`.
    pub(crate) fn new(
        links: Arc<dyn Links>,
        (job, device): (JobId, DeviceId),
        start: Option<RunStart>,
        patience: Millis,
        cancel: CancellationToken,
    ) -> Self {
        let typed = Typed { bytes: Backlog::new(0, MAX_INPUT), taken: 0, ended: false, signals: Vec::new() };
        Self { links, device, job, start, patience: patience.duration(), cancel, asked: None, age: None, typed }
    }

    /// The same to a run that another line asked for, so long ago; the input that comes begins at `input`.
    pub(crate) fn gone_on(mut self, age: Option<Duration>, input: u64) -> Self {
        self.typed.bytes = Backlog::new(input, MAX_INPUT);
        self.asked = age.map(|_| Instant::now());
        self.age = age;
        self
    }

    /// Keeps the line until the run's end.
    pub(crate) async fn run(&mut self, sink: &mut impl Sink, mut input: Option<Input>) -> Outcome {
        let (mut away_since, mut breaks) = (None::<Instant>, 0);
        loop {
            let before = sink.place();
            let reason = match self.open(sink.arrived()).await {
                Err(OpenError::Offline) if self.asked.is_none() && self.start.is_some() => {
                    return Outcome::here(Verdict::Offline);
                }
                Err(OpenError::Off(reason)) => return Outcome::here(Verdict::Refused { reason }),
                Err(error) => {
                    if matches!(error, OpenError::Offline) {
                        breaks = 0;
                    }
                    error.to_string()
                }
                Ok(stream) => match self.carry(stream, sink, &mut input).await {
                    Cut::Over(outcome) => return outcome,
                    Cut::Lost(reason) => return Outcome::here(Verdict::Lost { reason }),
                    Cut::Broken(reason) => {
                        if sink.place() > before {
                            (away_since, breaks) = (None, 0);
                        }
                        reason
                    }
                },
            };
            breaks += 1;
            if breaks >= MAX_BREAKS && self.links.is_linked(&self.device) {
                return Outcome::here(self.given_up(reason));
            }
            let since = *away_since.get_or_insert_with(Instant::now);
            let patience = if self.cancel.is_cancelled() { CANCEL_PATIENCE } else { self.patience };
            if since.elapsed() >= patience {
                let time = Millis::from_secs(patience.as_secs());
                let reason = format!("the device was out of reach for longer than {time}");
                return Outcome::here(Verdict::Lost { reason });
            }
            sleep(LOOK).await;
        }
    }

    /// The verdict where it will not get better.
    fn given_up(&self, reason: String) -> Verdict {
        let is_within = self.start.as_ref().is_some_and(|start| start.command.within.is_some());
        if is_within && reason == UNHEARD {
            Verdict::Refused { reason: TOO_OLD.to_owned() }
        } else {
            Verdict::Lost { reason }
        }
    }

    async fn open(&mut self, from: u64) -> Result<Stream, OpenError> {
        let asked = self.asked;
        self.asked = Some(asked.unwrap_or_else(Instant::now));
        // What is to end is not begun any more.
        let start = self.start.clone().filter(|_| !self.cancel.is_cancelled());
        let age = asked.map(|at| at.elapsed().saturating_add(self.age.unwrap_or_default()));
        let age = age.map(|age| Millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        let open = RunOpen { job: self.job.clone(), start, asked: age, from };
        let opened = self.links.open(&self.device, Open::from(open));
        let opened = opened.await;
        if matches!(opened, Err(OpenError::Offline)) {
            // It was not asked after all.
            self.asked = asked;
        }
        opened
    }

    /// Carries everything both ways until the stream ends.
    async fn carry(&mut self, stream: Stream, sink: &mut impl Sink, input: &mut Option<Input>) -> Cut {
        let (read, mut write) = split(stream);
        let mut frames = StreamFrames::new(read);
        let mut voice = Voice { input: None, input_ended: false, received: sink.arrived(), cancelled: None };
        let mut heard = false;
        loop {
            if let Err(error) = voice.say(&mut write, &mut self.typed, sink.arrived(), &self.cancel).await {
                tracing::debug!(%error, "a run's stream takes no more");
                // It may have said its end before.
            }
            let room = voice.input.is_some() && self.typed.bytes.room() >= MAX_STREAM_FRAME;
            let overdue = voice.cancelled.map(|at| at + CANCEL_PATIENCE);
            let frame = tokio::select! {
                frame = frames.next(MAX_STREAM_FRAME) => frame,
                item = next_input(input), if room => {
                    self.typed.take(item, input);
                    continue;
                }
                () = sink.moved() => continue,
                () = self.cancel.cancelled(), if voice.cancelled.is_none() => continue,
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    return Cut::Lost("it was told to end, and the device does not say that it has".to_owned());
                }
            };
            let frame = match frame.map(|frame| frame.map(RunFrame::decode)) {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Cut::Lost(error.to_string()),
                Ok(None) if !heard => return Cut::Broken(UNHEARD.to_owned()),
                Ok(None) => return Cut::Broken("the link went away".to_owned()),
                Err(crate::streams::ReadError::Frame(error)) => return Cut::Lost(error.to_string()),
                Err(error) => return Cut::Broken(error.to_string()),
            };
            heard = true;
            match frame {
                RunFrame::Begun(begun) => {
                    voice.input = Some(begun.taken);
                    self.typed.was_taken(begun.taken);
                    sink.begun();
                    sink.taken(begun.taken).await;
                }
                RunFrame::Output(kind, place, bytes) => {
                    if let Err(reason) = sink.take(kind, place, &bytes).await {
                        return Cut::Lost(reason);
                    }
                }
                RunFrame::Taken(place) => {
                    self.typed.was_taken(place);
                    sink.taken(place).await;
                }
                RunFrame::Ended(ended) => return Cut::Over(Outcome { ended, stream: Some(write) }),
                // Of a newer version, or not an agent's to say.
                RunFrame::Input(..)
                | RunFrame::InputEnd
                | RunFrame::Signal(_)
                | RunFrame::Received(_)
                | RunFrame::Cancel
                | RunFrame::Done
                | RunFrame::Unknown(_) => {}
            }
        }
    }
}

/// What is known of an agent that hangs up without a word, again and again.
const UNHEARD: &str = "the device's agent hangs up without a word; it may be too old for jobs: update it";

/// Such an agent begins nothing: it does not know what it is asked for.
const TOO_OLD: &str = "the device's agent is too old to run something where an instance runs; update it";

async fn next_input(input: &mut Option<Input>) -> Option<Arc<StreamFrame>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

impl Typed {
    fn was_taken(&mut self, place: u64) {
        self.taken = self.taken.max(place);
        self.bytes.forget_before(self.taken);
    }

    fn take(&mut self, item: Option<Arc<StreamFrame>>, input: &mut Option<Input>) {
        match item.as_deref() {
            Some(StreamFrame::Stdin(bytes)) => {
                self.bytes.push(bytes);
                self.bytes.forget_before(self.taken);
            }
            Some(StreamFrame::StdinEnd) => self.ended = true,
            Some(StreamFrame::Signal(number)) => self.signals.push(*number),
            Some(
                StreamFrame::Stdout(_)
                | StreamFrame::Stderr(_)
                | StreamFrame::Verdict(_)
                | StreamFrame::Received(..)
                | StreamFrame::Seen(_)
                | StreamFrame::Taken(_)
                | StreamFrame::Unknown(_),
            ) => {}
            // The request ended without saying so.
            None => (self.ended, *input) = (true, None),
        }
    }
}

/// What was said on one stream.
struct Voice {
    /// How far the input was sent; nothing before the run is there.
    input: Option<u64>,
    input_ended: bool,
    received: u64,
    cancelled: Option<Instant>,
}

impl Voice {
    /// Says all that is to be said. It is little enough that an agent's windows take it.
    async fn say(
        &mut self,
        to: &mut WriteHalf<Stream>,
        typed: &mut Typed,
        place: u64,
        cancel: &CancellationToken,
    ) -> std::io::Result<()> {
        if cancel.is_cancelled() && self.cancelled.is_none() {
            self.cancelled = Some(Instant::now());
            say(to, &RunFrame::Cancel).await?;
        }
        if place - self.received >= RECEIVED_EVERY {
            self.received = place;
            say(to, &RunFrame::Received(place)).await?;
        }
        let Some(sent) = &mut self.input else { return Ok(()) };
        while let Some((place, bytes)) = typed.bytes.read(*sent, MAX_CHUNK) {
            *sent = place + bytes.len() as u64;
            say(to, &RunFrame::Input(place, bytes)).await?;
        }
        for number in std::mem::take(&mut typed.signals) {
            say(to, &RunFrame::Signal(number)).await?;
        }
        if typed.ended && !self.input_ended {
            self.input_ended = true;
            say(to, &RunFrame::InputEnd).await?;
        }
        Ok(())
    }
}

async fn say(to: &mut WriteHalf<Stream>, frame: &RunFrame) -> std::io::Result<()> {
    let bytes = frame.encode().map_err(std::io::Error::other)?;
    to.write_all(&bytes).await?;
    to.flush().await
}
