//! Logs on the screen, or as data.

use jiff::tz::TimeZone;
use robo_model::quantity::UnixMillis;
use robo_wire::tail::Line;
use serde::Serialize;

use super::share::Told;
use crate::error::CliError;
use crate::output::harmless::Harmless;
use crate::output::{Ui, when};

/// What a time is wide, for lines that have none.
const NO_TIME: &str = "-                  ";

/// How lines are shown.
pub(super) struct Show<'a> {
    ui: &'a Ui,
    times: bool,
    names: bool,
    zone: TimeZone,
    failed: bool,
}

/// A line, for programs.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    device: Option<&'a str>,
    source: &'a str,
    at: Option<UnixMillis>,
    text: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl<'a> Show<'a> {
    /// With times and names in front of each line, where they are wished.
    pub(super) fn new(ui: &'a Ui, times: bool, names: bool) -> Self {
        Self { ui, times, names, zone: TimeZone::system(), failed: false }
    }

    /// True when something that was asked for could not be shown.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn told(&mut self, told: Told) -> Result<(), CliError> {
        match told {
            Told::Lines { device, source, lines } if self.ui.is_machine() => {
                lines.iter().try_for_each(|line| self.element(device.as_deref(), &source, line))
            }
            Told::Lines { source, lines, .. } => {
                let mut bytes = Vec::new();
                for line in &lines {
                    self.line(&source, line, &mut bytes);
                }
                // Each piece is whole lines, so nothing that one of them begins goes on in the next piece.
                let mut stream = Harmless::with_whole_lines();
                self.ui.printed(&mut stream, &bytes)?;
                self.ui.bytes(&stream.end())
            }
            Told::Refused { source, reason } => {
                self.failed = true;
                self.ui.error(&CliError::new(format!("no log of {source}: {reason}")));
                Ok(())
            }
            Told::Note(text) => {
                self.ui.note(text);
                Ok(())
            }
        }
    }

    fn element(&self, device: Option<&str>, source: &str, line: &Line) -> Result<(), CliError> {
        let text = String::from_utf8_lossy(&line.text.0).into_owned();
        self.ui.element(&Shown { device, source, at: line.at, text, cut: line.cut })
    }

    fn line(&self, source: &str, line: &Line, bytes: &mut Vec<u8>) {
        let mut front = String::new();
        if self.times {
            let time = line.at.map_or_else(|| NO_TIME.to_owned(), |at| when::full(at, &self.zone));
            front.push_str(&time);
            front.push(' ');
        }
        if self.names {
            front.push_str(source);
            front.push_str(" | ");
        }
        // An entry of the journal may have several.
        for part in line.text.0.split(|byte| *byte == b'\n') {
            bytes.extend_from_slice(front.as_bytes());
            bytes.extend_from_slice(part);
            bytes.push(b'\n');
        }
        if line.cut && front.is_empty() {
            // It goes on in the next one.
            bytes.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::tail::Text;

    use super::*;
    use crate::output::tests::ui;

    fn shown(times: bool, names: bool, lines: &[(Option<u64>, &str, bool)]) -> String {
        let ui = ui();
        let show = Show { zone: TimeZone::UTC, ..Show::new(&ui, times, names) };
        let mut bytes = Vec::new();
        for (at, text, cut) in lines {
            let line = Line { at: at.map(UnixMillis), text: Text(text.as_bytes().to_vec()), cut: *cut };
            show.line("/a", &line, &mut bytes);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_in_front_what_is_wished() {
        let lines = [(Some(1_000), "one", false), (None, "two\nthree", false)];
        assert_eq!(shown(false, false, &lines), "one\ntwo\nthree\n");
        assert_eq!(shown(false, true, &lines), "/a | one\n/a | two\n/a | three\n");
        let times = "1970-01-01 00:00:01 one\n-                   two\n-                   three\n";
        assert_eq!(shown(true, false, &lines), times);
        let long = [(None, "begin", true), (None, "end", false)];
        assert_eq!(shown(false, false, &long), "beginend\n");
        assert_eq!(shown(false, true, &long), "/a | begin\n/a | end\n");
    }
}
