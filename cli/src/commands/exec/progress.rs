//! A line on a terminal that counts the verdicts and names who is missing.

use std::time::{Duration, Instant};

use super::group::fit;
use super::outcome::Outcomes;
use crate::error::CliError;
use crate::output::Ui;

/// How often it is drawn at most.
const EVERY: Duration = Duration::from_millis(100);

/// Nobody needs to see how it goes before that.
const QUICK: Duration = Duration::from_millis(400);

/// Erases the line that the cursor is in.
const ERASE: &[u8] = b"\r\x1b[K";

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    width: usize,
    began: Instant,
    drawn: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// One that is shown where somebody sees it.
    pub(super) fn new(ui: &Ui, targets: usize) -> Self {
        let on = targets > 1 && console::user_attended_stderr();
        Self { on, width: ui.width, began: Instant::now(), drawn: None, visible: false }
    }

    /// Takes it away, so that something else can be printed.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn clear(&mut self, ui: &Ui) -> Result<(), CliError> {
        if !self.visible {
            return Ok(());
        }
        self.visible = false;
        ui.error_bytes(ERASE)
    }

    /// Draws it, if that is due.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn draw(&mut self, ui: &Ui, outcomes: &Outcomes) -> Result<(), CliError> {
        let due = self.began.elapsed() >= QUICK && self.drawn.is_none_or(|at| at.elapsed() >= EVERY || !self.visible);
        if !self.on || !due {
            return Ok(());
        }
        (self.drawn, self.visible) = (Some(Instant::now()), true);
        let text = [ERASE, line(outcomes, self.width).as_bytes()].concat();
        ui.error_bytes(&text)
    }
}

/// `3/5 devices, waiting for robot-1, robot-2`, in so many columns.
fn line(outcomes: &Outcomes, width: usize) -> String {
    let missing: Vec<&str> = outcomes.all().iter().filter(|o| o.verdict.is_none()).map(|o| o.name.as_str()).collect();
    let all = outcomes.all().len();
    let begin = format!("{}/{all} devices", all - missing.len());
    if missing.is_empty() {
        return begin;
    }
    let begin = format!("{begin}, waiting for ");
    let text = format!("{begin}{}", fit(&missing, width.saturating_sub(begin.len() + 1)));
    console::truncate_str(&text, width.saturating_sub(1), "…").into_owned()
}

#[cfg(test)]
mod tests {
    use robo_wire::stream::{DeviceTarget, Verdict};

    use super::*;

    #[test]
    fn it_names_who_is_missing_in_the_width_there_is() {
        let mut outcomes =
            Outcomes::new((0..30).map(|i| DeviceTarget { name: format!("robot-{i}"), device: None }).collect());
        outcomes.decide(0, Verdict::Ok);
        assert_eq!(line(&outcomes, 60), "1/30 devices, waiting for robot-1, robot-2 and 27 more");
        assert!(line(&outcomes, 20).chars().count() < 20);
        for i in 1..29 {
            outcomes.decide(i, Verdict::Ok);
        }
        assert_eq!(line(&outcomes, 60), "29/30 devices, waiting for robot-29");
        outcomes.decide(29, Verdict::Offline);
        assert_eq!(line(&outcomes, 60), "30/30 devices");
    }
}
