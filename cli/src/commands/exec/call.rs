//! A command under way, and the way back to it when the manager was away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use robo_wire::call::{CallTicket, OpenTarget, ResumeRequest};
use robo_wire::job::{ABSENT, RECEIVED_EVERY};
use robo_wire::stream::{Answer, ExecRequest, StreamFrame};
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::catch;
use super::frames::{Frames, FramesError};
use super::input::Input;
use super::outcome::Outcomes;
use super::view::View;
use crate::client::{Client, ClientError};
use crate::error::{CliError, Exit};

/// SIGINT's number, the same on every system we run on.
const SIGINT: i32 = 2;

/// After the last verdict the manager writes its history and then ends the answer; how long that is waited for.
const HISTORY_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether the line that says how it goes is due.
const TICK: Duration = Duration::from_millis(500);

/// The first pause before the manager is dialled again; it doubles, and each is drawn between half and all of it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: a manager that is back is not let wait.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A command under way.
pub(super) struct Call<'a> {
    client: &'a Client,
    request: ExecRequest,
    frames: Frames,
    input: Arc<Input>,
    interrupts: Signal,
    interrupted: bool,
    /// What it takes to come back; nothing from a manager of an older version.
    ticket: Option<CallTicket>,
    /// Of each target of this connection the number that it has here.
    numbers: Vec<usize>,
    /// By our own numbers.
    arrived: Vec<Arrived>,
    /// How many targets that have no verdict have taken how much of the input.
    taken: BTreeMap<u64, usize>,
    away_since: Option<Instant>,
}

/// What has arrived of a target.
#[derive(Default)]
struct Arrived {
    place: u64,
    /// What the manager was told of that.
    told: u64,
    /// It has taken so much of the input.
    taken: u64,
}

/// What comes next.
enum Next {
    Answer(Answer),
    End,
    Broken(FramesError),
    /// The second Ctrl-C: leave at once.
    Leave,
}

/// What became of an attempt to come back.
enum Back {
    There,
    /// The second Ctrl-C.
    Leave,
    Lost(String),
}

impl<'a> Call<'a> {
    /// Sends the request.
    pub(super) async fn open(client: &'a Client, request: ExecRequest, with_input: bool) -> Result<Self, CliError> {
        let first = request.encode().map_err(unsendable)?;
        let mut interrupts = catch()?;
        let input = Input::new();
        if with_input {
            input.read_stdin().map_err(|error| CliError::new(format!("standard input cannot be read: {error}")))?;
        }
        let body = input.body(input.connect(), first);
        let bytes = tokio::select! {
            answer = client.framed_post("exec", body) => answer?,
            _ = interrupts.recv() => return Err(CliError::told(Exit::Interrupted)),
        };
        Ok(Self {
            client,
            request,
            frames: Frames::new(bytes),
            input,
            interrupts,
            interrupted: false,
            ticket: None,
            numbers: Vec::new(),
            arrived: Vec::new(),
            taken: BTreeMap::new(),
            away_since: None,
        })
    }

    /// The first frames: who the targets are. Nothing after a second Ctrl-C.
    pub(super) async fn targets(&mut self) -> Result<Option<Outcomes>, CliError> {
        loop {
            return match self.next().await {
                Next::Answer(Answer::Ticket(ticket)) => {
                    self.ticket = Some(ticket);
                    continue;
                }
                Next::Answer(Answer::Targets(targets)) => {
                    if self.ticket.is_none() {
                        self.input.forget_what_is_sent();
                    }
                    self.numbers = (0..targets.len()).collect();
                    self.arrived = targets.iter().map(|_| Arrived::default()).collect();
                    self.taken = BTreeMap::from([(0, targets.len())]);
                    Ok(Some(Outcomes::new(targets)))
                }
                Next::Leave => Ok(None),
                Next::Broken(FramesError::Client(error)) => Err(error.into()),
                Next::Broken(error) => Err(CliError::new(error.to_string())),
                Next::Answer(Answer::From(..)) | Next::End => {
                    Err(CliError::new("the manager did not tell which devices the command goes to"))
                }
            };
        }
    }

    /// Shows everything that comes until every target has its verdict. Nothing after a second Ctrl-C.
    pub(super) async fn follow(
        mut self,
        mut outcomes: Outcomes,
        mut view: View<'_>,
    ) -> Result<Option<Outcomes>, CliError> {
        let reason = loop {
            let next = if outcomes.are_complete() {
                tokio::time::timeout(HISTORY_PATIENCE, self.next()).await.unwrap_or(Next::End)
            } else {
                view.tick(&outcomes)?;
                match tokio::time::timeout(TICK, self.next()).await {
                    Ok(next) => next,
                    Err(_) => continue,
                }
            };
            let cut = match next {
                Next::Answer(Answer::From(target, frame)) => {
                    self.take(target, frame, &mut outcomes, &mut view)?;
                    continue;
                }
                Next::Answer(Answer::Targets(_) | Answer::Ticket(_)) => continue,
                Next::End | Next::Broken(_) | Next::Leave if outcomes.are_complete() => break String::new(),
                Next::Leave => return Ok(None),
                Next::End => "the manager ended the answer without a verdict".to_owned(),
                Next::Broken(FramesError::Client(error)) if error.is_passing() => error.to_string(),
                Next::Broken(error @ FramesError::Cut) => error.to_string(),
                Next::Broken(error @ (FramesError::Client(_) | FramesError::Frame(_))) => break error.to_string(),
            };
            match Box::pin(self.come_back(cut, &outcomes, &mut view)).await? {
                Back::There => {}
                Back::Leave => return Ok(None),
                Back::Lost(reason) => break reason,
            }
        };
        for target in outcomes.close(&reason) {
            view.end(target, &mut outcomes)?;
        }
        view.finish(&outcomes)?;
        Ok(Some(outcomes))
    }

    /// Shows a frame, and says that it has arrived.
    fn take(
        &mut self,
        number: u32,
        frame: StreamFrame,
        outcomes: &mut Outcomes,
        view: &mut View<'_>,
    ) -> Result<(), CliError> {
        let target = usize::try_from(number).ok().and_then(|number| self.numbers.get(number)).copied();
        let Some(target) = target else { return Ok(()) };
        let Some(arrived) = self.arrived.get_mut(target) else { return Ok(()) };
        self.away_since = None;
        let is_open = outcomes.all().get(target).is_some_and(|outcome| outcome.verdict.is_none());
        let (mut length, mut has_ended) = (0, false);
        match &frame {
            StreamFrame::Stdout(bytes) | StreamFrame::Stderr(bytes) => length = bytes.len() as u64,
            StreamFrame::Verdict(_) => has_ended = true,
            StreamFrame::Taken(place) if is_open && *place > arrived.taken => {
                let before = std::mem::replace(&mut arrived.taken, *place);
                *self.taken.entry(*place).or_default() += 1;
                self.took_more_than(before);
                return Ok(());
            }
            StreamFrame::Taken(_)
            | StreamFrame::Stdin(_)
            | StreamFrame::StdinEnd
            | StreamFrame::Signal(_)
            | StreamFrame::Received(..)
            | StreamFrame::Seen(_)
            | StreamFrame::Unknown(_) => return Ok(()),
        }
        view.show(target, frame, outcomes)?;
        arrived.place += length;
        if self.ticket.is_none() {
            return Ok(());
        }
        if has_ended {
            self.input.seen(number);
        } else if arrived.place - arrived.told >= RECEIVED_EVERY {
            arrived.told = arrived.place;
            self.input.received(number, arrived.place);
        }
        let taken = arrived.taken;
        if has_ended && is_open {
            self.took_more_than(taken);
        }
        Ok(())
    }

    /// One target has taken more than that, or takes nothing any more.
    fn took_more_than(&mut self, before: u64) {
        if let Some(count) = self.taken.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.taken.remove(&before);
            }
        }
        // When all have ended nobody takes any: what comes is let go.
        self.input.taken(self.taken.first_key_value().map_or(u64::MAX, |(place, _)| *place));
    }

    /// The next frame. The first Ctrl-C goes to the targets.
    async fn next(&mut self) -> Next {
        loop {
            tokio::select! {
                answer = self.frames.next() => return match answer {
                    Ok(Some(answer)) => Next::Answer(answer),
                    Ok(None) => Next::End,
                    Err(error) => Next::Broken(error),
                },
                _ = self.interrupts.recv() => {
                    if self.interrupt() {
                        return Next::Leave;
                    }
                }
            }
        }
    }

    /// Sends the signal, and does not wait for it; true when it is the second.
    fn interrupt(&mut self) -> bool {
        if !self.interrupted {
            self.input.signal(SIGINT);
        }
        std::mem::replace(&mut self.interrupted, true)
    }

    /// Dials the manager until it is there again, for as long as devices keep commands whose callers are away.
    async fn come_back(&mut self, cut: String, outcomes: &Outcomes, view: &mut View<'_>) -> Result<Back, CliError> {
        let Some(ticket) = self.ticket.clone() else { return Ok(Back::Lost(cut)) };
        if self.away_since.is_none() {
            view.note(&format!("{cut}; going on when it is back"))?;
        }
        let since = *self.away_since.get_or_insert_with(Instant::now);
        // A manager that takes the call and says nothing is as one that is away.
        if since.elapsed() >= ABSENT.duration() {
            return Ok(Back::Lost(cut));
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let wait = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
            let coming = async {
                wait.await;
                reopen(self.client, &self.input, (&ticket, &self.request), (outcomes, &self.arrived)).await
            };
            let came = tokio::select! {
                came = coming => came,
                _ = self.interrupts.recv() => {
                    if self.interrupt() {
                        return Ok(Back::Leave);
                    }
                    continue;
                }
            };
            match came {
                Ok((frames, numbers)) => {
                    (self.frames, self.numbers) = (frames, numbers);
                    for arrived in &mut self.arrived {
                        arrived.told = arrived.place;
                    }
                    return Ok(Back::There);
                }
                Err(Refused::Final(reason)) => return Ok(Back::Lost(reason)),
                Err(Refused::Passing(error)) if since.elapsed() >= ABSENT.duration() => {
                    return Ok(Back::Lost(error.to_string()));
                }
                Err(Refused::Passing(_)) => pause = (pause * 2).min(MAX_PAUSE),
            }
        }
    }
}

/// Why a call cannot go on.
enum Refused {
    Passing(ClientError),
    Final(String),
}

/// Goes on with the targets that have no verdict over a new connection; its frames, and which targets it has.
async fn reopen(
    client: &Client,
    input: &Arc<Input>,
    (ticket, request): (&CallTicket, &ExecRequest),
    (outcomes, arrived): (&Outcomes, &[Arrived]),
) -> Result<(Frames, Vec<usize>), Refused> {
    let all = outcomes.all().iter().zip(arrived).enumerate();
    let open = all.filter(|(_, (outcome, _))| outcome.verdict.is_none());
    let open = open
        .map(|(number, (outcome, arrived))| (number, OpenTarget { name: outcome.name.clone(), place: arrived.place }));
    let (numbers, targets) = open.unzip();
    let (connection, place) = input.connect();
    let resume = ResumeRequest { ticket: ticket.clone(), command: request.command.clone(), targets, input: place };
    let first = resume.encode().map_err(|error| Refused::Final(format!("the command cannot go on: {error}")))?;
    match client.framed_post("exec/resume", input.body((connection, place), first)).await {
        Ok(bytes) => Ok((Frames::new(bytes), numbers)),
        Err(error) if error.is_passing() => Err(Refused::Passing(error)),
        Err(error) => Err(Refused::Final(error.to_string())),
    }
}

fn unsendable(error: robo_wire::frame::FrameError) -> CliError {
    CliError::new(format!("the command cannot be sent: {error}"))
}
