//! One copy of one source: goes on after cuts, and ends with a verdict.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use robo_agent::copy::{CopyError, Gauge, Passed, Report, Source, receive, receive_into, send};
use robo_model::name::DeviceName;
use robo_wire::copy::{CopyFrame, CopyOpen, Kind, Pull, Push, RawPath};
use robo_wire::problem::ErrorCode;
use robo_wire::stream::Verdict;

use super::bar::{Bar, Bars};
use super::show::Outcome;
use super::wire::Wire;
use crate::client::{Client, ClientError};
use crate::error::CliError;

/// Connections in a row over which nothing came along, after which it is given up: with the pauses between them about
/// two minutes, more than an agent or a manager takes to come back.
const MAX_TRIES: u32 = 10;

/// The pause before the next connection at first; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// How often the bar is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// A copy to do.
pub(super) struct Task {
    pub(super) device: DeviceName,
    pub(super) way: Way,
}

/// Which way it goes.
pub(super) enum Way {
    /// To the device: a file or a folder, or standard input.
    Push { file: Option<PathBuf>, push: Push, limit: Option<u64>, recursive: bool },
    /// From the device.
    Pull { pull: Pull, push: Push },
    /// From the device to standard output.
    Print { pull: Pull, passed: Passed },
    /// From another device to this one.
    Across { from: DeviceName, pull: Pull, push: Push },
}

impl Way {
    /// True when it is from standard input, or to standard output.
    pub(super) const fn is_standard(&self) -> bool {
        matches!(self, Self::Push { file: None, .. } | Self::Print { .. })
    }
}

/// Why a connection came to nothing.
enum Fault {
    /// It may go on over the next one.
    Passing(String),
    /// It ends with this.
    Final(Verdict),
    /// Nothing can be done at all.
    Client(ClientError),
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match error.code() {
            Some(ErrorCode::DeviceOffline) => Self::Final(Verdict::Offline),
            Some(_) if !error.is_passing() => {
                Self::Final(Verdict::Refused { reason: CliError::from(error).what().to_owned() })
            }
            Some(_) | None => Self::Client(error),
        }
    }
}

impl From<CopyError> for Fault {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Cut(reason) => Self::Passing(reason),
            CopyError::Refused(reason) => Self::Final(Verdict::Refused { reason }),
            // Nobody can say that it is well before all of it was carried: what was counted would be nothing.
            CopyError::Ended(Verdict::Ok) => Self::Passing("the other side ended before all was there".to_owned()),
            CopyError::Ended(verdict) => Self::Final(verdict),
            CopyError::Frame(error) => Self::Final(Verdict::Refused { reason: error.to_string() }),
        }
    }
}

impl Task {
    /// Copies.
    ///
    /// # Errors
    /// When the manager cannot be reached in the first place.
    pub(super) async fn run(mut self, client: &Client, bars: &Bars) -> Result<Outcome, CliError> {
        let bar = bars.begin(&self.title());
        let (mut tries, mut bytes, mut was_there) = (0, 0, false);
        loop {
            let gauge = Gauge::default();
            let done = {
                let attempt = Box::pin(self.attempt(client, &gauge));
                watched(attempt, &gauge, &bar).await
            };
            let carried = gauge.read().2;
            bytes += carried;
            let reason = match done {
                Ok((report, verdict)) => return Ok(Outcome::new(&self.device, verdict, bytes, report)),
                Err(Fault::Final(Verdict::Offline)) if was_there => "the device is offline".to_owned(),
                Err(Fault::Final(verdict)) => {
                    return Ok(Outcome::new(&self.device, verdict, bytes, Report::default()));
                }
                Err(Fault::Client(error)) if was_there && error.is_passing() => error.to_string(),
                Err(Fault::Client(error)) => return Err(error.into()),
                Err(Fault::Passing(reason)) => reason,
            };
            if matches!(self.way, Way::Push { file: None, .. }) {
                let reason = format!("{reason}; what came from standard input cannot be sent again");
                return Ok(Outcome::new(&self.device, Verdict::Lost { reason }, bytes, Report::default()));
            }
            was_there = true;
            tries = if carried > 0 { 1 } else { tries + 1 };
            if tries > MAX_TRIES {
                let reason = format!("{reason}; the same command goes on from there");
                return Ok(Outcome::new(&self.device, Verdict::Lost { reason }, bytes, Report::default()));
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(10)).min(MAX_PAUSE);
            bars.note(&format!("{}: {reason}; going on in {:.1} s", self.device, pause.as_secs_f64()));
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    fn title(&self) -> String {
        let path = match &self.way {
            Way::Push { push, .. } => &push.name,
            Way::Pull { pull, .. } | Way::Print { pull, .. } | Way::Across { pull, .. } => &pull.path,
        };
        format!("{} {path}", self.device)
    }

    /// Over one connection.
    async fn attempt(&mut self, client: &Client, gauge: &Gauge) -> Result<(Report, Verdict), Fault> {
        match &mut self.way {
            Way::Push { file, push, limit, recursive } => {
                let source = match file {
                    Some(path) => Source::path(path.clone(), *recursive, *limit),
                    None => Source::stream(Box::new(opened(std::io::stdin().as_fd().try_clone_to_owned())?), *limit),
                };
                let mut wire = Wire::open(client, &self.device, &CopyOpen::Push(push.clone())).await?;
                settle(wire.line.next().await?, push)?;
                let mut report = Box::pin(send(source, &mut wire.line, gauge)).await?;
                let verdict = wire.line.verdict(&mut report).await?;
                Ok((report, verdict))
            }
            Way::Pull { pull, push } => {
                let mut wire = Wire::open(client, &self.device, &CopyOpen::Pull(pull.clone())).await?;
                let mut report = Box::pin(receive(push, Path::new(""), &mut wire.line, gauge)).await?;
                let verdict = wire.line.verdict(&mut report).await?;
                let own = report.verdict();
                Ok((report, if verdict == Verdict::Ok { own } else { verdict }))
            }
            Way::Print { pull, passed } => {
                let mut wire = Wire::open(client, &self.device, &CopyOpen::Pull(pull.clone())).await?;
                let mut stdout = opened(crate::output::standard_output())?;
                let report = Box::pin(receive_into(&mut stdout, passed, &mut wire.line, gauge)).await?;
                let verdict = report.verdict();
                Ok((report, verdict))
            }
            Way::Across { from, pull, push } => {
                let mut to = Wire::open(client, &self.device, &CopyOpen::Push(push.clone())).await?;
                settle(to.line.next().await?, push)?;
                let mut from = Wire::open(client, from, &CopyOpen::Pull(pull.clone())).await?;
                across(&mut from, &mut to, gauge).await
            }
        }
    }
}

/// Standard input or output, read and written away from the loop.
fn opened(fd: std::io::Result<OwnedFd>) -> Result<tokio::fs::File, Fault> {
    let fd = fd.map_err(|error| {
        Fault::Final(Verdict::Refused { reason: format!("standard input or output cannot be used: {error}") })
    })?;
    Ok(tokio::fs::File::from_std(std::fs::File::from(fd)))
}

/// Where the device puts the copy: the next try puts it there too.
fn settle(first: CopyFrame, push: &mut Push) -> Result<(), Fault> {
    match first {
        CopyFrame::Place(path) => {
            push.path = RawPath(path.0);
            push.exact = true;
            Ok(())
        }
        CopyFrame::Verdict(verdict) => Err(Fault::Final(verdict)),
        CopyFrame::Entry(_)
        | CopyFrame::Want(_)
        | CopyFrame::Data(..)
        | CopyFrame::End(_)
        | CopyFrame::Skipped(_)
        | CopyFrame::Failed(_)
        | CopyFrame::Finish
        | CopyFrame::Unknown(_) => {
            Err(Fault::Final(Verdict::Refused { reason: "the device did not say where the copy goes".to_owned() }))
        }
    }
}

/// Carries a copy from one device to another: both speak the same.
async fn across(from: &mut Wire, to: &mut Wire, gauge: &Gauge) -> Result<(Report, Verdict), Fault> {
    let (mut report, mut sent) = (Report::default(), Verdict::Ok);
    let mut is_over = false;
    loop {
        let (frame, is_source) = tokio::select! {
            frame = from.line.next(), if !is_over => (frame?, true),
            frame = to.line.next() => (frame?, false),
        };
        if let CopyFrame::Verdict(verdict) = frame {
            match verdict {
                Verdict::Ok | Verdict::Failed { .. } if is_source => (sent, is_over) = (verdict, true),
                Verdict::Ok => return Ok((report, sent)),
                Verdict::Failed { .. } => return Ok((report, verdict)),
                Verdict::Timeout
                | Verdict::Offline
                | Verdict::Refused { .. }
                | Verdict::Lost { .. }
                | Verdict::Cancelled { .. }
                | Verdict::Expired => {
                    return Err(Fault::Final(verdict));
                }
            }
            continue;
        }
        let line = if is_source { &mut to.line } else { &mut from.line };
        count(&frame, &mut report, gauge);
        line.say(&frame).await?;
        line.flush().await?;
    }
}

fn count(frame: &CopyFrame, report: &mut Report, gauge: &Gauge) {
    match frame {
        CopyFrame::Entry(entry) => match &entry.kind {
            Kind::Small(content) => {
                gauge.expect(content.0.len() as u64);
                gauge.carry(content.0.len() as u64);
                report.files += 1;
            }
            Kind::File(size) => gauge.expect(size.unwrap_or(0)),
            Kind::Folder | Kind::Link(_) => {}
        },
        CopyFrame::Data(_, data) => gauge.carry(data.len() as u64),
        CopyFrame::End(_) => report.files += 1,
        CopyFrame::Skipped(told) => report.skip(told.clone()),
        CopyFrame::Failed(told) => report.fail(told.clone()),
        CopyFrame::Place(_)
        | CopyFrame::Want(_)
        | CopyFrame::Finish
        | CopyFrame::Verdict(_)
        | CopyFrame::Unknown(_) => {}
    }
}

/// Draws meanwhile.
async fn watched<T>(attempt: impl Future<Output = T>, gauge: &Gauge, bar: &Bar) -> T {
    let mut attempt = std::pin::pin!(attempt);
    loop {
        tokio::select! {
            done = &mut attempt => {
                bar.show(gauge);
                return done;
            }
            () = tokio::time::sleep(FRAME) => bar.show(gauge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_all_was_carried_is_no_success() {
        assert!(matches!(Fault::from(CopyError::Ended(Verdict::Ok)), Fault::Passing(_)));
        assert!(matches!(Fault::from(CopyError::Ended(Verdict::Offline)), Fault::Final(Verdict::Offline)));
    }
}
