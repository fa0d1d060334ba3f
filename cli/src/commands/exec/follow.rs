//! The output of jobs, as it comes; a connection that breaks is made again, and nothing is shown twice.

use std::time::Duration;

use robo_model::name::JobId;
use robo_wire::stream::{Answer, StreamFrame};
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::frames::{Frames, FramesError};
use super::outcome::Outcomes;
use super::view::View;
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::output::Ui;

/// How long a manager may be away before we give up: it restarts within seconds.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether the line that says how it goes is due.
const TICK: Duration = Duration::from_millis(500);

/// Which output.
#[derive(Debug)]
pub(crate) struct Whose {
    /// Of which job.
    pub(crate) id: JobId,
    /// Of one device only.
    pub(crate) device: Option<String>,
    /// Until every target has its verdict.
    pub(crate) follow: bool,
}

/// One who follows a job.
pub(super) struct Follower<'a> {
    pub(super) client: &'a Client,
    pub(super) ui: &'a Ui,
    pub(super) whose: Whose,
    /// The first Ctrl-C cancels the job; nothing where it only ends the following.
    pub(super) interrupts: Option<Signal>,
    pub(super) interrupted: bool,
}

/// Why a connection ended.
enum Cut {
    /// All was told.
    End,
    /// It may be made again.
    Passing(ClientError),
    /// The second Ctrl-C.
    Leave,
}

impl Follower<'_> {
    /// Shows everything; what became of each target. Nothing after a second Ctrl-C.
    ///
    /// # Errors
    /// When the manager refuses, is away for too long, or our output takes no more.
    pub(super) async fn follow<'v>(
        &mut self,
        make: impl Fn(&Outcomes) -> View<'v>,
    ) -> Result<Option<Outcomes>, CliError> {
        let mut shown: Option<(Outcomes, View<'v>, Vec<u64>)> = None;
        let mut away_since = None::<Instant>;
        loop {
            let cut =
                match self.client.job_output(&self.whose.id, self.whose.device.as_deref(), self.whose.follow).await {
                    Ok(bytes) => {
                        away_since = None;
                        self.carry(Frames::new(bytes), &mut shown, &make).await?
                    }
                    Err(error) if error.is_passing() => Cut::Passing(error),
                    Err(error) => return Err(error.into()),
                };
            match cut {
                Cut::Leave => return Ok(None),
                Cut::End => {
                    let is_all = |(outcomes, ..): &(Outcomes, View<'v>, Vec<u64>)| outcomes.are_complete();
                    if !self.whose.follow || shown.as_ref().is_some_and(is_all) {
                        let Some((outcomes, mut view, _)) = shown else { return Ok(None) };
                        view.finish(&outcomes)?;
                        return Ok(Some(outcomes));
                    }
                }
                Cut::Passing(error) => {
                    if away_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        let id = &self.whose.id;
                        return Err(CliError::from(error).help(format!("the job goes on: `robo job logs -f {id}`")));
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn carry<'v>(
        &mut self,
        mut frames: Frames,
        shown: &mut Option<(Outcomes, View<'v>, Vec<u64>)>,
        make: &impl Fn(&Outcomes) -> View<'v>,
    ) -> Result<Cut, CliError> {
        let mut places: Vec<u64> = Vec::new();
        loop {
            let answer = tokio::select! {
                answer = frames.next() => answer,
                () = tokio::time::sleep(TICK) => {
                    if let Some((outcomes, view, _)) = shown {
                        view.tick(outcomes)?;
                    }
                    continue;
                }
                () = interrupt(&mut self.interrupts) => {
                    if self.interrupted {
                        return Ok(Cut::Leave);
                    }
                    self.interrupted = true;
                    self.cancel().await;
                    continue;
                }
            };
            match answer {
                Ok(Some(Answer::Targets(targets))) => {
                    places = vec![0; targets.len()];
                    if shown.is_none() {
                        let seen = vec![0; targets.len()];
                        let outcomes = Outcomes::new(targets);
                        let view = make(&outcomes);
                        *shown = Some((outcomes, view, seen));
                    }
                }
                Ok(Some(Answer::From(target, frame))) => {
                    let Some((outcomes, view, seen)) = shown else { continue };
                    let target = usize::try_from(target).unwrap_or(usize::MAX);
                    let (Some(place), Some(seen)) = (places.get_mut(target), seen.get_mut(target)) else { continue };
                    if let Some(frame) = fresh(frame, place, seen) {
                        view.show(target, frame, outcomes)?;
                    }
                }
                Ok(Some(Answer::Ticket(_))) => {}
                Ok(None) => return Ok(Cut::End),
                Err(FramesError::Client(error)) if error.is_passing() => return Ok(Cut::Passing(error)),
                Err(FramesError::Client(error)) => return Err(error.into()),
                // The manager ended in the middle of a frame: what was shown already is not shown again.
                Err(FramesError::Cut) => return Ok(Cut::End),
                Err(error @ FramesError::Frame(_)) => return Err(CliError::new(error.to_string())),
            }
        }
    }

    async fn cancel(&self) {
        let id = &self.whose.id;
        match self.client.cancel_job(id).await {
            Ok(_) => self
                .ui
                .note(format!("The job {id} is cancelled; again Ctrl-C to leave before it has ended everywhere.")),
            Err(error) => self.ui.note(format!("The job {id} cannot be cancelled: {error}")),
        }
    }
}

async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => std::future::pending().await,
    }
}

/// What of a frame was not shown yet.
fn fresh(mut frame: StreamFrame, place: &mut u64, seen: &mut u64) -> Option<StreamFrame> {
    if let StreamFrame::Stdout(data) | StreamFrame::Stderr(data) = &mut frame {
        let known = usize::try_from(seen.saturating_sub(*place)).unwrap_or(usize::MAX).min(data.len());
        *place += data.len() as u64;
        *seen = (*seen).max(*place);
        data.drain(..known);
        if data.is_empty() {
            return None;
        }
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let mut seen = 0;
        let mut place = 0;
        let out = |text: &str| StreamFrame::Stdout(text.into());
        assert_eq!(fresh(out("abc"), &mut place, &mut seen), Some(out("abc")));
        assert_eq!(
            fresh(StreamFrame::Stderr(b"de".into()), &mut place, &mut seen),
            Some(StreamFrame::Stderr(b"de".into()))
        );
        place = 0;
        assert_eq!(fresh(out("abc"), &mut place, &mut seen), None);
        assert_eq!(
            fresh(StreamFrame::Stderr(b"def".into()), &mut place, &mut seen),
            Some(StreamFrame::Stderr(b"f".into()))
        );
        assert_eq!((place, seen), (6, 6));
    }
}
