//! How a copy ended.

use indicatif::HumanBytes;
use robo_agent::copy::Report;
use robo_model::name::DeviceName;
use robo_wire::copy::Told;
use robo_wire::stream::Verdict;
use serde::Serialize;

use crate::error::{CliError, Exit};
use crate::output::Ui;

/// Most entries that are told one by one to people.
const MAX_LINES: usize = 20;

/// How a device's copies ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    device: DeviceName,
    #[serde(flatten)]
    verdict: Verdict,
    files: u64,
    /// Bytes of content that were carried.
    bytes: u64,
    failed: u64,
    failures: Vec<Remark>,
    skipped: u64,
    remarks: Vec<Remark>,
}

/// What is said of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Remark {
    /// Relative to the source; empty for the source itself.
    name: String,
    reason: String,
}

fn remarks(told: Vec<Told>) -> Vec<Remark> {
    told.into_iter().map(|told| Remark { name: told.name.to_string(), reason: told.reason }).collect()
}

impl Outcome {
    pub(super) fn new(device: &DeviceName, verdict: Verdict, bytes: u64, report: Report) -> Self {
        let Report { files, failed, failures, skipped, remarks } = report;
        let (failures, remarks) = (self::remarks(failures), self::remarks(remarks));
        Self { device: device.clone(), verdict, files, bytes, failed, failures, skipped, remarks }
    }

    /// Adds what became of the next source: the first that is not well is the whole's verdict.
    pub(super) fn join(&mut self, other: Self) {
        if self.verdict == Verdict::Ok {
            self.verdict = other.verdict;
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.skipped += other.skipped;
        self.remarks.extend(other.remarks);
    }

    fn sentence(&self) -> String {
        match &self.verdict {
            Verdict::Ok => {
                format!("{}: {}, {}", self.device, counted(self.files, "file", "files"), HumanBytes(self.bytes))
            }
            Verdict::Failed { .. } => {
                let entries = counted(self.failed.max(1), "entry", "entries");
                format!("{}: {entries} could not be copied", self.device)
            }
            Verdict::Offline => format!("{} is offline", self.device),
            Verdict::Timeout | Verdict::Expired => format!("{}: the time was over", self.device),
            Verdict::Refused { reason } | Verdict::Cancelled { reason } => format!("{}: {reason}", self.device),
            Verdict::Lost { reason } => format!("{}: the copy was broken off: {reason}", self.device),
        }
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What the shell is told.
pub(super) fn exit(outcomes: &[Outcome]) -> Exit {
    if outcomes.iter().all(|outcome| outcome.verdict == Verdict::Ok) { Exit::Done } else { Exit::SomeFailed }
}

/// Tells people how it ended: a line for each device. Where no bars were, one copy that went well says nothing, as `cp`.
pub(super) fn tell(outcomes: &[Outcome], count: usize, ui: &Ui) -> Result<Exit, CliError> {
    for outcome in outcomes {
        told(outcome, "left out", &outcome.remarks, outcome.skipped, ui);
        told(outcome, "not copied", &outcome.failures, outcome.failed, ui);
    }
    match outcomes {
        [only] if count == 1 && only.verdict != Verdict::Ok => {
            let error = CliError::new(only.sentence()).exit_with(Exit::SomeFailed);
            Err(match &only.verdict {
                Verdict::Offline => error.help(format!("see since when: `robo device inspect {}`", only.device)),
                Verdict::Lost { .. } => error.help("give the same command again, and it goes on"),
                Verdict::Ok
                | Verdict::Failed { .. }
                | Verdict::Timeout
                | Verdict::Expired
                | Verdict::Cancelled { .. }
                | Verdict::Refused { .. } => error,
            })
        }
        [_] if count == 1 && !ui.can_animate => Ok(Exit::Done),
        many => {
            for outcome in many {
                ui.note(outcome.sentence());
            }
            Ok(exit(many))
        }
    }
}

fn told(outcome: &Outcome, what: &str, all: &[Remark], count: u64, ui: &Ui) {
    for told in all.iter().take(MAX_LINES) {
        let name = if told.name.is_empty() { String::new() } else { format!(" `{}`", told.name) };
        ui.note(format!("{}: {what}:{name} {}", outcome.device, told.reason));
    }
    let more = count.saturating_sub(MAX_LINES as u64);
    if more > 0 {
        ui.note(format!("{}: {what}: {more} more", outcome.device));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_source_decides_and_programs_read_all_of_it() {
        let device: DeviceName = "d1".parse().unwrap();
        let mut report = Report { files: 2, ..Report::default() };
        report.fail(Told { number: Some(3), name: "a/b".into(), reason: "it is a folder".into() });
        let mut whole = Outcome::new(&device, Verdict::Ok, 7, Report { files: 1, ..Report::default() });
        whole.join(Outcome::new(&device, Verdict::Failed { code: 1 }, 5, report));
        whole.join(Outcome::new(&device, Verdict::Ok, 1, Report::default()));
        assert_eq!(exit(std::slice::from_ref(&whole)), Exit::SomeFailed);
        assert_eq!(whole.sentence(), "d1: 1 entry could not be copied");
        let json = serde_json::to_value(&whole).unwrap();
        assert_eq!((&json["verdict"], &json["bytes"], &json["files"]), (&"failed".into(), &13.into(), &3.into()));
    }
}
