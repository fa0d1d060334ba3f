//! A job: one stream to each of many targets, all into one answer, and exactly one verdict for each.
//!
//! Tasks: one per target, which carries input there and output back; one that spreads the client's input; and the
//! one that runs [`Job::run`], which alone says verdicts. Every queue between them is short, so that a slow client
//! slows the commands down and nothing piles up here.

mod spread;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use robo_model::name::{DeviceId, JobId};
use robo_wire::call::CallTicket;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::job::{ABSENT, Output, RunStart};
use robo_wire::stream::{Answer, Command, DeviceTarget, MAX_CHUNK, Open, StreamFrame, Verdict};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use self::spread::{Ear, Heard, spread, spread_call};
use super::frames::BodyFrames;
use crate::jobs::line::{Input, Line, Sink};
use crate::links::{Links, OpenError};
use crate::streams::StreamFrames;

/// Frames of input on their way to one target.
const INPUT_QUEUE: usize = 8;

/// Frames of output on their way to the client.
pub(super) const OUTPUT_QUEUE: usize = 64;

/// How long after a command's own deadline its agent may take to say so.
const GRACE: Duration = Duration::from_secs(60);

/// How long the last verdicts may take to arrive at a client that can come back.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As the client reads it.
    pub(super) shown: DeviceTarget,
    /// The device, or why nothing can be done on it.
    pub(super) device: Result<DeviceId, &'static str>,
    /// What is to be done there takes the right to `root`.
    pub(super) is_above: bool,
}

/// What is to be done, and where the answer goes.
pub(super) struct Job {
    pub(super) links: Arc<dyn Links>,
    pub(super) open: Open,
    /// By which agents know a command again after a cut.
    pub(super) job: Option<JobId>,
    pub(super) targets: Vec<Target>,
    pub(super) output: mpsc::Sender<Bytes>,
    /// Of a client that can come back.
    pub(super) call: Option<Call>,
}

/// What a client that can come back has already.
pub(super) struct Call {
    pub(super) ticket: CallTicket,
    /// How long ago it asked for the command; nothing when it asks now.
    pub(super) age: Option<Duration>,
    /// The place of the first byte of input that it sends.
    pub(super) input: u64,
    /// Of each target: so much of its output has arrived.
    pub(super) places: Vec<u64>,
    /// It came back over another connection.
    pub(super) taken_over: CancellationToken,
}

/// How it ended.
pub(super) struct Ending {
    /// In the order of the targets.
    pub(super) verdicts: Vec<Verdict>,
    /// Those that a client which can come back and went away will not ask for again; nothing when it did not go.
    pub(super) settled: Option<Vec<bool>>,
}

impl Job {
    /// Runs it to its end; the verdicts, in the order of the targets, were told by then, unless the client is gone.
    pub(super) async fn run(self, input: Option<BodyFrames>) -> Ending {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; self.targets.len()];
        let told = self.introduce().await;
        let mut tasks = JoinSet::new();
        let (tell, heard): (Vec<_>, Vec<_>) = match &self.call {
            Some(call) => call.places.iter().map(|place| watch::channel(Heard { place: *place, seen: false })).unzip(),
            None => (Vec::new(), Vec::new()),
        };
        let (numbers, inputs) = self.start(&mut tasks, told, &heard);
        let mut spreading = match input {
            Some(input) if self.call.is_some() => spread_call(input, inputs, tell),
            input => spread(input, inputs),
        };
        for (number, target) in self.targets.iter().enumerate() {
            if let Err(reason) = target.device {
                self.tell(&mut verdicts, number, Verdict::Refused { reason: reason.to_owned() }).await;
            }
        }
        let mut broke = "the manager broke it off".to_owned();
        loop {
            tokio::select! {
                joined = tasks.join_next_with_id() => match joined {
                    None => break,
                    Some(Ok((id, verdict))) => self.tell_of(&mut verdicts, numbers.get(&id), verdict).await,
                    Some(Err(error)) => {
                        tracing::error!(%error, "a target's task broke");
                        let verdict = Verdict::Lost { reason: "the manager failed; its log says more".to_owned() };
                        self.tell_of(&mut verdicts, numbers.get(&error.id()), verdict).await;
                    }
                },
                () = self.output.closed() => {
                    "the client went away".clone_into(&mut broke);
                    break;
                }
                () = self.taken_over() => break,
                Some(error) = spreading.broken.recv() => {
                    broke = format!("the client's input cannot be read: {error}");
                    break;
                }
            }
        }
        tasks.abort_all();
        if self.call.is_some() && verdicts.iter().all(Option::is_some) {
            self.last_words(&heard).await;
        }
        let seen = |heard: &watch::Receiver<Heard>| heard.borrow().seen;
        let is_gone = self.call.is_some() && !heard.iter().all(seen);
        let settled = is_gone.then(|| heard.iter().map(seen).collect());
        for number in 0..verdicts.len() {
            if verdicts.get(number).is_some_and(Option::is_none) {
                let verdict = Verdict::Lost { reason: broke.clone() };
                match verdicts.get_mut(number) {
                    // Nobody decides that for one who may come back.
                    Some(place) if is_gone => *place = Some(verdict),
                    _ => self.tell(&mut verdicts, number, verdict).await,
                }
            }
        }
        Ending { verdicts: verdicts.into_iter().flatten().collect(), settled }
    }

    /// Says which call it is, and who the targets are; false when the client is gone.
    async fn introduce(&self) -> bool {
        if let Some(call) = &self.call
            && !send(&self.output, &Answer::Ticket(call.ticket.clone())).await
        {
            return false;
        }
        let shown = self.targets.iter().map(|target| target.shown.clone()).collect();
        send(&self.output, &Answer::Targets(shown)).await
    }

    async fn taken_over(&self) {
        match &self.call {
            Some(call) => call.taken_over.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the client has all verdicts, or is gone.
    async fn last_words(&self, heard: &[watch::Receiver<Heard>]) {
        let all = async {
            for heard in heard {
                // The sender is in the task that reads what the client says.
                drop(heard.clone().wait_for(|heard| heard.seen).await);
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS, all) => {}
            () = self.output.closed() => {}
        }
    }

    /// Starts a task for each target that is a device; says which task is for which target.
    fn start(
        &self,
        tasks: &mut JoinSet<Verdict>,
        told: bool,
        heard: &[watch::Receiver<Heard>],
    ) -> (HashMap<Id, usize>, Vec<Ear>) {
        let (mut numbers, mut inputs) = (HashMap::new(), Vec::new());
        for (number, target) in self.targets.iter().enumerate() {
            let Some(device) = target.device.as_ref().ok().filter(|_| told).cloned() else { continue };
            let (give, take) = mpsc::channel(INPUT_QUEUE);
            inputs.push(give);
            let links = Arc::clone(&self.links);
            let call = self.call.as_ref().zip(heard.get(number).cloned());
            let call = call.map(|(call, heard)| Heeded { heard, age: call.age, input: call.input });
            let one = One { number: number_of(number), output: self.output.clone(), job: self.job.clone(), call };
            let open = self.open.clone();
            let id = tasks.spawn(async move { Box::pin(one.run(links, device, open, take)).await }).id();
            numbers.insert(id, number);
        }
        (numbers, inputs)
    }

    async fn tell_of(&self, verdicts: &mut [Option<Verdict>], number: Option<&usize>, verdict: Verdict) {
        if let Some(number) = number {
            self.tell(verdicts, *number, verdict).await;
        }
    }

    /// Tells a verdict, and once only.
    async fn tell(&self, verdicts: &mut [Option<Verdict>], number: usize, verdict: Verdict) {
        if let Some(place @ None) = verdicts.get_mut(number) {
            *place = Some(verdict.clone());
            send(&self.output, &Answer::From(number_of(number), StreamFrame::Verdict(verdict))).await;
        }
    }
}

fn number_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Waits until the client takes it; false when the client is gone.
async fn send(output: &mpsc::Sender<Bytes>, answer: &Answer) -> bool {
    match answer.encode() {
        Ok(bytes) => output.send(bytes.into()).await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be sent");
            false
        }
    }
}

/// One target's task.
struct One {
    number: u32,
    output: mpsc::Sender<Bytes>,
    job: Option<JobId>,
    call: Option<Heeded>,
}

/// Of a client that can come back: what has arrived at it, and where it goes on.
struct Heeded {
    heard: watch::Receiver<Heard>,
    age: Option<Duration>,
    /// It knows that so much of its input was taken.
    input: u64,
}

impl One {
    async fn run(self, links: Arc<dyn Links>, device: DeviceId, open: Open, input: Input) -> Verdict {
        match (open, self.job.clone()) {
            (Open::Exec(command), Some(job)) => self.command(links, (job, device), command, input).await,
            (open, _) => self.read(&*links, &device, open).await,
        }
    }

    /// Runs a command. It goes on while its device is away for a while.
    async fn command(
        mut self,
        links: Arc<dyn Links>,
        run: (JobId, DeviceId),
        command: Command,
        input: Input,
    ) -> Verdict {
        let limit = command.timeout.map(|t| t.duration().saturating_add(ABSENT.duration()).saturating_add(GRACE));
        let start = Some(RunStart { command, background: false });
        let mut line = Line::new(links, run, start, ABSENT, CancellationToken::new());
        let place = self.call.as_ref().map_or(0, |call| call.heard.borrow().place);
        if let Some(call) = &mut self.call {
            line = line.gone_on(call.age, call.input);
            call.heard.mark_unchanged();
        }
        let heard = self.call.as_ref().map(|call| call.heard.clone());
        let mut sink = Client { one: self, place };
        let outcome = match limit {
            None => line.run(&mut sink, Some(input)).await,
            Some(limit) => match tokio::time::timeout(limit, line.run(&mut sink, Some(input))).await {
                Ok(outcome) => outcome,
                Err(_) => return Verdict::Timeout,
            },
        };
        let verdict = outcome.ended.verdict.clone();
        tokio::spawn(async move {
            if let Some(mut heard) = heard {
                // Who went away before it arrived comes back for it; the device keeps it until then.
                let seen = tokio::time::timeout(ABSENT.duration(), heard.wait_for(|heard| heard.seen)).await;
                let Ok(Ok(_)) = seen else { return };
            }
            outcome.acknowledge().await;
        });
        verdict
    }

    /// Reads what an agent has to say, to its end.
    async fn read(&self, links: &dyn Links, device: &DeviceId, open: Open) -> Verdict {
        match links.open(device, open).await {
            Ok(stream) => self.carry_back(StreamFrames::new(stream)).await,
            Err(OpenError::Offline) => Verdict::Offline,
            Err(OpenError::Off(reason)) => Verdict::Refused { reason },
            Err(error @ OpenError::Failed(_)) => Verdict::Lost { reason: error.to_string() },
        }
    }

    /// Carries output to the client until the verdict is there.
    async fn carry_back<R: tokio::io::AsyncRead + Unpin>(&self, mut frames: StreamFrames<R>) -> Verdict {
        loop {
            let frame = match frames.next(MAX_STREAM_FRAME).await {
                Ok(Some(frame)) => StreamFrame::decode(frame).map_err(|error| error.to_string()),
                Ok(None) => Err("the link went away".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let arrived = match frame {
                Ok(StreamFrame::Verdict(verdict)) => return verdict,
                Ok(StreamFrame::Stdout(data)) => self.pass(&data, StreamFrame::Stdout).await,
                Ok(StreamFrame::Stderr(data)) => self.pass(&data, StreamFrame::Stderr).await,
                // Of a newer version, or not an agent's to say.
                Ok(
                    StreamFrame::Unknown(_)
                    | StreamFrame::Stdin(_)
                    | StreamFrame::StdinEnd
                    | StreamFrame::Signal(_)
                    | StreamFrame::Received(..)
                    | StreamFrame::Seen(_)
                    | StreamFrame::Taken(_),
                ) => true,
                Err(reason) => return Verdict::Lost { reason },
            };
            if !arrived {
                return Verdict::Lost { reason: "the client went away".to_owned() };
            }
        }
    }

    /// In pieces that fit with the target's number before them.
    async fn pass(&self, data: &[u8], kind: fn(Vec<u8>) -> StreamFrame) -> bool {
        for piece in data.chunks(MAX_CHUNK) {
            if !send(&self.output, &Answer::From(self.number, kind(piece.to_vec()))).await {
                return false;
            }
        }
        true
    }
}

/// The client, as a run's output goes there: every byte, in order.
struct Client {
    one: One,
    place: u64,
}

impl Sink for Client {
    fn place(&self) -> u64 {
        self.place
    }

    fn begun(&mut self) {}

    fn arrived(&self) -> u64 {
        self.one.call.as_ref().map_or(self.place, |call| call.heard.borrow().place.min(self.place))
    }

    async fn moved(&mut self) {
        if let Some(call) = &mut self.one.call
            && call.heard.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    async fn taken(&mut self, place: u64) {
        if let Some(call) = self.one.call.as_mut().filter(|call| place > call.input) {
            call.input = place;
            // A client that is gone is noticed elsewhere.
            send(&self.one.output, &Answer::From(self.one.number, StreamFrame::Taken(place))).await;
        }
    }

    async fn take(&mut self, kind: Output, place: u64, bytes: &[u8]) -> Result<(), String> {
        if place > self.place {
            return Err("a part of its output got lost".to_owned());
        }
        // What came already does not come twice.
        let known = usize::try_from(self.place - place).unwrap_or(usize::MAX);
        let bytes = bytes.get(known..).unwrap_or_default();
        self.place += bytes.len() as u64;
        let kind = match kind {
            Output::Stdout => StreamFrame::Stdout,
            Output::Stderr => StreamFrame::Stderr,
        };
        if self.one.pass(bytes, kind).await { Ok(()) } else { Err("the client went away".to_owned()) }
    }
}
