//! A job: one stream to each of many targets, all into one answer, and exactly one verdict for each.
//!
//! Tasks: one per target, which carries input there and output back; one that spreads the client's input; and the
//! one that runs [`Job::run`], which alone says verdicts. Every queue between them is short, so that a slow client
//! slows the commands down and nothing piles up here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use robo_model::name::DeviceId;
use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::{Answer, DeviceTarget, MAX_CHUNK, Open, StreamFrame, Verdict};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::frames::BodyFrames;
use crate::links::{Links, OpenError};
use crate::streams::StreamFrames;

/// Frames of input on their way to one target.
const INPUT_QUEUE: usize = 8;

/// Frames of output on their way to the client.
pub(super) const OUTPUT_QUEUE: usize = 64;

/// How long after a command's own deadline its agent may take to say so.
const GRACE: Duration = Duration::from_secs(60);

/// One target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As the client reads it.
    pub(super) shown: DeviceTarget,
    /// Nothing where there is no such device.
    pub(super) device: Option<DeviceId>,
}

/// What is to be done, and where the answer goes.
pub(super) struct Job {
    pub(super) links: Arc<dyn Links>,
    pub(super) open: Open,
    pub(super) targets: Vec<Target>,
    pub(super) output: mpsc::Sender<Bytes>,
}

type Input = mpsc::Sender<Arc<StreamFrame>>;

impl Job {
    /// Runs it to its end; the verdicts, in the order of the targets, were told by then, unless the client is gone.
    pub(super) async fn run(self, input: Option<BodyFrames>) -> Vec<Verdict> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; self.targets.len()];
        let shown = self.targets.iter().map(|target| target.shown.clone()).collect();
        let told = send(&self.output, &Answer::Targets(shown)).await;
        let mut tasks = JoinSet::new();
        let (numbers, inputs) = self.start(&mut tasks, told);
        let mut spreading = spread(input, inputs);
        for (number, target) in self.targets.iter().enumerate() {
            if target.device.is_none() {
                let reason = "there is no such device".to_owned();
                self.tell(&mut verdicts, number, Verdict::Refused { reason }).await;
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
                Some(error) = spreading.broken.recv() => {
                    broke = format!("the client's input cannot be read: {error}");
                    break;
                }
            }
        }
        tasks.abort_all();
        for number in 0..verdicts.len() {
            if verdicts.get(number).is_some_and(Option::is_none) {
                self.tell(&mut verdicts, number, Verdict::Lost { reason: broke.clone() }).await;
            }
        }
        verdicts.into_iter().flatten().collect()
    }

    /// Starts a task for each target that is a device; says which task is for which target.
    fn start(&self, tasks: &mut JoinSet<Verdict>, told: bool) -> (HashMap<Id, usize>, Vec<Input>) {
        let (mut numbers, mut inputs) = (HashMap::new(), Vec::new());
        for (number, target) in self.targets.iter().enumerate() {
            let Some(device) = target.device.clone().filter(|_| told) else { continue };
            let (give, take) = mpsc::channel(INPUT_QUEUE);
            inputs.push(give);
            let links = Arc::clone(&self.links);
            let one = One { number: number_of(number), output: self.output.clone() };
            let open = self.open.clone();
            let id = tasks.spawn(async move { one.run(&*links, &device, open, take).await }).id();
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

/// The task that spreads the client's input; it ends with this.
struct Spreading {
    task: Option<AbortHandle>,
    broken: mpsc::Receiver<String>,
}

impl Drop for Spreading {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Gives every target the client's input. The slowest decides how fast: input is never dropped.
fn spread(input: Option<BodyFrames>, inputs: Vec<Input>) -> Spreading {
    let (say, broken) = mpsc::channel(1);
    let Some(mut input) = input else { return Spreading { task: None, broken } };
    let task = tokio::spawn(async move {
        loop {
            let frame = match input.next(MAX_STREAM_FRAME).await.map(|frame| frame.map(StreamFrame::decode)) {
                Ok(Some(Ok(frame @ (StreamFrame::Stdin(_) | StreamFrame::StdinEnd | StreamFrame::Signal(_))))) => frame,
                Ok(Some(Ok(_))) => continue,
                Ok(None) => return,
                Ok(Some(Err(error))) => return drop(say.send(error.to_string()).await),
                Err(error) => return drop(say.send(error.to_string()).await),
            };
            let frame = Arc::new(frame);
            for target in &inputs {
                // A target that has its verdict takes no more.
                drop(target.send(Arc::clone(&frame)).await);
            }
        }
    });
    Spreading { task: Some(task.abort_handle()), broken }
}

/// One target's task.
struct One {
    number: u32,
    output: mpsc::Sender<Bytes>,
}

impl One {
    async fn run(
        self,
        links: &dyn Links,
        device: &DeviceId,
        open: Open,
        input: mpsc::Receiver<Arc<StreamFrame>>,
    ) -> Verdict {
        let (limit, takes_input) = match &open {
            Open::Exec(command) => (command.timeout.map(|t| t.duration().saturating_add(GRACE)), command.stdin),
            Open::Logs(_) | Open::Shell(_) | Open::Forward(_) => (None, false),
        };
        let stream = match links.open(device, open).await {
            Ok(stream) => stream,
            Err(OpenError::Offline) => return Verdict::Offline,
            Err(error @ OpenError::Failed(_)) => return Verdict::Lost { reason: error.to_string() },
        };
        let (read, write) = tokio::io::split(stream);
        let carried = async {
            tokio::select! {
                verdict = self.carry_back(StreamFrames::new(read)) => verdict,
                () = carry_there(write, input, takes_input) => Verdict::Lost { reason: "the input ended".to_owned() },
            }
        };
        match limit {
            None => carried.await,
            Some(limit) => tokio::time::timeout(limit, carried).await.unwrap_or(Verdict::Timeout),
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
                    StreamFrame::Unknown(_) | StreamFrame::Stdin(_) | StreamFrame::StdinEnd | StreamFrame::Signal(_),
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

/// Carries input to the agent. Never ends by itself: the verdict ends it.
async fn carry_there<W: AsyncWrite + Unpin>(
    mut write: W,
    mut input: mpsc::Receiver<Arc<StreamFrame>>,
    takes_input: bool,
) {
    let mut open = takes_input;
    while let Some(frame) = input.recv().await {
        if *frame == StreamFrame::StdinEnd {
            open = false;
        }
        if !write_frame(&mut write, &frame).await {
            return std::future::pending().await;
        }
    }
    if open {
        // The request ended without saying so.
        write_frame(&mut write, &StreamFrame::StdinEnd).await;
    }
    std::future::pending::<()>().await;
}

/// False when the agent takes no more; its verdict says why.
async fn write_frame<W: AsyncWrite + Unpin>(write: &mut W, frame: &StreamFrame) -> bool {
    let Ok(bytes) = frame.encode() else { return false };
    write.write_all(&bytes).await.is_ok() && write.flush().await.is_ok()
}
