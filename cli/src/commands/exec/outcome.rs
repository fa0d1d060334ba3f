//! What became of each target: N targets in, N verdicts out.

use robo_wire::stream::{DeviceTarget, Verdict};
use serde::Serialize;

/// Most bytes of one target's output that are kept for `-o json`, for each of its two streams.
const MAX_KEPT: usize = 1024 * 1024;

/// Most bytes that are kept for all targets together; each is let go when its target's verdict is there.
const MAX_KEPT_TOGETHER: usize = 256 * 1024 * 1024;

/// All targets of one command.
#[derive(Debug)]
pub(super) struct Outcomes {
    targets: Vec<Outcome>,
    kept: usize,
}

/// One target.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its name, as asked for.
    pub(super) name: String,
    /// How it ended; nothing until it has.
    pub(super) verdict: Option<Verdict>,
    /// Whether the manager knows a device by this name.
    pub(super) is_known: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Output.
    Stdout,
    /// Error output.
    Stderr,
}

/// One target, for machines.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    device: &'a str,
    verdict: &'static str,
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    stdout: String,
    stderr: String,
    /// True when there was more output than is kept.
    truncated: bool,
}

/// What a target printed, as far as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said<'a> {
    /// Its output.
    pub(super) stdout: &'a [u8],
    /// Its error output.
    pub(super) stderr: &'a [u8],
    /// There was more.
    pub(super) truncated: bool,
}

impl Outcomes {
    /// Targets that have no verdict yet.
    pub(super) fn new(targets: Vec<DeviceTarget>) -> Self {
        let fresh = |t: DeviceTarget| Outcome {
            name: t.name,
            verdict: None,
            is_known: t.device.is_some(),
            stdout: vec![],
            stderr: vec![],
            truncated: false,
        };
        Self { targets: targets.into_iter().map(fresh).collect(), kept: 0 }
    }

    /// The targets, in the manager's order.
    pub(super) fn all(&self) -> &[Outcome] {
        &self.targets
    }

    /// True when every target has its verdict.
    pub(super) fn are_complete(&self) -> bool {
        self.targets.iter().all(|t| t.verdict.is_some())
    }

    /// Keeps output for later, as far as the bounds allow.
    pub(super) fn keep(&mut self, target: usize, stream: Stream, bytes: &[u8]) {
        let Some(outcome) = self.targets.get_mut(target) else { return };
        let kept = match stream {
            Stream::Stdout => &mut outcome.stdout,
            Stream::Stderr => &mut outcome.stderr,
        };
        let room = (MAX_KEPT - kept.len()).min(MAX_KEPT_TOGETHER - self.kept);
        let (fits, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        kept.extend_from_slice(fits);
        outcome.truncated |= !rest.is_empty();
        self.kept += fits.len();
    }

    /// Writes down how a target ended; only the first verdict counts. True when this was it.
    pub(super) fn decide(&mut self, target: usize, verdict: Verdict) -> bool {
        match self.targets.get_mut(target) {
            Some(outcome) if outcome.verdict.is_none() => {
                outcome.verdict = Some(verdict);
                true
            }
            Some(_) | None => false,
        }
    }

    /// What was kept of every target.
    pub(super) fn said(&self) -> Vec<(&Outcome, Said<'_>)> {
        self.targets
            .iter()
            .map(|o| (o, Said { stdout: &o.stdout, stderr: &o.stderr, truncated: o.truncated }))
            .collect()
    }

    /// Gives every target that has none yet the verdict `lost`; returns which.
    pub(super) fn close(&mut self, reason: &str) -> Vec<usize> {
        let open: Vec<usize> =
            self.targets.iter().enumerate().filter(|(_, t)| t.verdict.is_none()).map(|(i, _)| i).collect();
        for target in &open {
            self.decide(*target, Verdict::Lost { reason: reason.to_owned() });
        }
        open
    }

    /// What is known of a target as JSON; lets go of its output.
    pub(super) fn take_json(&mut self, target: usize) -> Option<String> {
        let outcome = self.targets.get_mut(target)?;
        let (stdout, stderr) = (std::mem::take(&mut outcome.stdout), std::mem::take(&mut outcome.stderr));
        self.kept -= stdout.len() + stderr.len();
        let verdict = outcome.verdict.as_ref()?;
        let row = Row {
            device: &outcome.name,
            verdict: word(verdict),
            exit_code: exit_code(verdict),
            reason: reason(verdict),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            truncated: outcome.truncated,
        };
        serde_json::to_string(&row).ok()
    }
}

/// The verdict in one word, as on the wire.
const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Failed { .. } => "failed",
        Verdict::Timeout => "timeout",
        Verdict::Offline => "offline",
        Verdict::Refused { .. } => "refused",
        Verdict::Lost { .. } => "lost",
        Verdict::Cancelled { .. } => "cancelled",
        Verdict::Expired => "expired",
    }
}

const fn exit_code(verdict: &Verdict) -> Option<i32> {
    match verdict {
        Verdict::Ok => Some(0),
        Verdict::Failed { code } => Some(*code),
        Verdict::Timeout
        | Verdict::Offline
        | Verdict::Refused { .. }
        | Verdict::Lost { .. }
        | Verdict::Cancelled { .. }
        | Verdict::Expired => None,
    }
}

fn reason(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Refused { reason } | Verdict::Lost { reason } | Verdict::Cancelled { reason } => Some(reason),
        Verdict::Ok | Verdict::Failed { .. } | Verdict::Timeout | Verdict::Offline | Verdict::Expired => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(names: &[&str]) -> Outcomes {
        Outcomes::new(names.iter().map(|n| DeviceTarget { name: (*n).to_owned(), device: None }).collect())
    }

    #[test]
    fn every_target_ends_with_one_verdict() {
        let mut outcomes = targets(&["a", "b", "c"]);
        assert!(outcomes.decide(1, Verdict::Failed { code: 7 }));
        assert!(!outcomes.decide(1, Verdict::Ok), "the first verdict counts");
        assert!(!outcomes.decide(9, Verdict::Ok), "a number that is no target's");
        assert!(!outcomes.are_complete());
        assert_eq!(outcomes.close("cut"), [0, 2]);
        let texts: Vec<String> = outcomes.all().iter().map(|t| t.verdict.as_ref().unwrap().to_string()).collect();
        assert_eq!(texts, ["lost: cut", "exit 7", "lost: cut"]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_told_once() {
        let mut outcomes = targets(&["a"]);
        for _ in 0..40 {
            outcomes.keep(0, Stream::Stdout, &[b'x'; 32 * 1024]);
        }
        outcomes.keep(0, Stream::Stderr, b"\xffoops");
        outcomes.keep(7, Stream::Stderr, b"nobody");
        assert_eq!(outcomes.kept, MAX_KEPT + 5);
        outcomes.decide(0, Verdict::Failed { code: 3 });
        let row: serde_json::Value = serde_json::from_str(&outcomes.take_json(0).unwrap()).unwrap();
        assert_eq!(row["stdout"].as_str().unwrap().len(), MAX_KEPT);
        assert_eq!(row["stderr"], "\u{fffd}oops");
        assert_eq!(
            (&row["verdict"], &row["exit_code"], &row["truncated"]),
            (&"failed".into(), &3.into(), &true.into())
        );
        assert_eq!(outcomes.kept, 0);
    }
}
