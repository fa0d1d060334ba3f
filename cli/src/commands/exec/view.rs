//! What a command's output looks like: as it is, line by line with names, or as JSON.

use console::{Color, Style};
use robo_wire::stream::{StreamFrame, Verdict};

use super::group::groups;
use super::lines::Lines;
use super::outcome::{Outcome, Outcomes, Stream};
use super::progress::Progress;
use crate::error::{CliError, Exit};
use crate::output::Ui;
use crate::output::harmless::Harmless;

/// Up to this many targets each stands in the table at the end; of more only those where it went wrong.
const MAX_TABLE: usize = 50;

/// Names longer than this are not waited for when names are aligned.
const MAX_ALIGNED: usize = 32;

/// Colours of names, in turn.
const COLOURS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];

/// Where output goes, and how it looks there.
#[derive(Debug)]
pub(super) struct View<'a> {
    ui: &'a Ui,
    look: Look,
    progress: Progress,
    /// Output and error output, on their way to a terminal.
    streams: (Harmless, Harmless),
}

/// One of the looks, with what it must remember.
#[derive(Debug)]
enum Look {
    /// One target: its output is ours.
    Plain,
    /// Many targets: for each, output and error output.
    Named(Vec<(Lines, Lines)>),
    /// One object per target.
    Json,
    /// Many targets, at the end, by what they printed.
    Grouped,
}

impl<'a> View<'a> {
    /// One target.
    pub(super) fn plain(ui: &'a Ui) -> Self {
        Self { ui, look: Look::Plain, progress: Progress::new(ui, 1), streams: Default::default() }
    }

    /// One object per target.
    pub(super) fn json(ui: &'a Ui, outcomes: &Outcomes) -> Self {
        Self { ui, look: Look::Json, progress: Progress::new(ui, outcomes.all().len()), streams: whole() }
    }

    /// Those together that printed the same.
    pub(super) fn grouped(ui: &'a Ui, outcomes: &Outcomes) -> Self {
        Self { ui, look: Look::Grouped, progress: Progress::new(ui, outcomes.all().len()), streams: whole() }
    }

    /// Many targets by name.
    pub(super) fn named(ui: &'a Ui, outcomes: &Outcomes) -> Self {
        let names = outcomes.all().iter().map(|o| o.name.as_str());
        let width = names.clone().map(|n| n.chars().count()).max().unwrap_or_default().min(MAX_ALIGNED);
        let lines = |(name, colour): (&str, &Color)| {
            let style = Style::new().fg(*colour);
            let prefix = |on: bool| {
                let name = style.clone().force_styling(on).apply_to(format!("{name:width$} |"));
                Lines::new(&format!("{name} "))
            };
            (prefix(ui.out.is_on()), prefix(ui.err.is_on()))
        };
        let progress = Progress::new(ui, outcomes.all().len());
        let look = Look::Named(names.zip(COLOURS.iter().cycle()).map(lines).collect());
        Self { ui, look, progress, streams: whole() }
    }

    /// Shows a frame from a target, or keeps it.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn show(&mut self, target: usize, frame: StreamFrame, outcomes: &mut Outcomes) -> Result<(), CliError> {
        self.progress.clear(self.ui)?;
        self.show_frame(target, frame, outcomes)?;
        if outcomes.are_complete() { Ok(()) } else { self.progress.draw(self.ui, outcomes) }
    }

    /// Draws how it goes, when it is not drawn.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn tick(&mut self, outcomes: &Outcomes) -> Result<(), CliError> {
        if outcomes.are_complete() { self.progress.clear(self.ui) } else { self.progress.draw(self.ui, outcomes) }
    }

    /// Tells something of ours.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn note(&mut self, text: &str) -> Result<(), CliError> {
        self.progress.clear(self.ui)?;
        self.ui.note(text);
        Ok(())
    }

    /// Shows what can only be shown at the end of all.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn finish(&mut self, outcomes: &Outcomes) -> Result<(), CliError> {
        self.progress.clear(self.ui)?;
        match &self.look {
            Look::Grouped => self.ui.printed(&mut self.streams.0, &groups(&outcomes.said())),
            Look::Plain | Look::Json | Look::Named(_) => Ok(()),
        }
    }

    fn show_frame(&mut self, target: usize, frame: StreamFrame, outcomes: &mut Outcomes) -> Result<(), CliError> {
        match frame {
            StreamFrame::Stdout(bytes) => self.output(target, Stream::Stdout, &bytes, outcomes),
            StreamFrame::Stderr(bytes) => self.output(target, Stream::Stderr, &bytes, outcomes),
            StreamFrame::Verdict(verdict) => {
                if outcomes.decide(target, verdict) {
                    self.end(target, outcomes)
                } else {
                    Ok(())
                }
            }
            StreamFrame::Stdin(_)
            | StreamFrame::StdinEnd
            | StreamFrame::Signal(_)
            | StreamFrame::Received(..)
            | StreamFrame::Seen(_)
            | StreamFrame::Taken(_)
            | StreamFrame::Unknown(_) => Ok(()),
        }
    }

    fn output(&mut self, target: usize, stream: Stream, bytes: &[u8], all: &mut Outcomes) -> Result<(), CliError> {
        match &mut self.look {
            Look::Plain => self.write(stream, bytes),
            Look::Json | Look::Grouped => {
                all.keep(target, stream, bytes);
                Ok(())
            }
            Look::Named(lines) => {
                let Some((stdout, stderr)) = lines.get_mut(target) else { return Ok(()) };
                let mut out = Vec::new();
                match stream {
                    Stream::Stdout => stdout.push(bytes, &mut out),
                    Stream::Stderr => stderr.push(bytes, &mut out),
                }
                self.write(stream, &out)
            }
        }
    }

    /// Shows what is left of a target that has its verdict now.
    ///
    /// # Errors
    /// When our output takes no more.
    pub(super) fn end(&mut self, target: usize, outcomes: &mut Outcomes) -> Result<(), CliError> {
        match &mut self.look {
            Look::Plain | Look::Grouped => Ok(()),
            Look::Json => match outcomes.take_json(target) {
                Some(line) => self.ui.line(line),
                None => Ok(()),
            },
            Look::Named(lines) => {
                let Some((stdout, stderr)) = lines.get_mut(target) else { return Ok(()) };
                let (mut out, mut err) = (Vec::new(), Vec::new());
                stdout.finish(&mut out);
                stderr.finish(&mut err);
                self.write(Stream::Stdout, &out)?;
                self.write(Stream::Stderr, &err)
            }
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        let (out, err) = &mut self.streams;
        match stream {
            _ if bytes.is_empty() => Ok(()),
            Stream::Stdout => self.ui.printed(out, bytes),
            Stream::Stderr => self.ui.error_printed(err, bytes),
        }
    }
}

/// For lines that begin with something of ours.
fn whole() -> (Harmless, Harmless) {
    (Harmless::with_whole_lines(), Harmless::with_whole_lines())
}

/// The table of verdicts, and a line that counts them.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let is_ok = |o: &&Outcome| o.verdict == Some(Verdict::Ok);
    let all = outcomes.len() <= MAX_TABLE;
    let width = outcomes.iter().map(|o| o.name.chars().count()).max().unwrap_or_default().max("DEVICE".len());
    let mut text = String::new();
    let mut rows = outcomes.iter().filter(|o| all || !is_ok(o)).peekable();
    if rows.peek().is_some() {
        text.push_str(&format!("{:width$}  VERDICT\n", "DEVICE"));
    }
    for outcome in rows {
        let verdict = outcome.verdict.as_ref().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("{:width$}  {verdict}\n", outcome.name));
    }
    let good = outcomes.iter().filter(is_ok).count();
    let (targets, bad) = (outcomes.len(), outcomes.len() - good);
    let noun = if targets == 1 { "device" } else { "devices" };
    match bad {
        0 => text.push_str(&format!("{targets} {noun}: all ok\n")),
        _ => text.push_str(&format!("{targets} {noun}: {good} ok, {bad} not\n")),
    }
    text
}

/// What the shell is told about many targets.
pub(super) fn exit_of_many(outcomes: &[Outcome]) -> Exit {
    if outcomes.iter().all(|o| o.verdict == Some(Verdict::Ok)) { Exit::Done } else { Exit::SomeFailed }
}

/// What the shell is told about the only target.
///
/// # Errors
/// When the command did not run to its end.
pub(super) fn exit_of_one(outcome: &Outcome) -> Result<Exit, CliError> {
    let name = &outcome.name;
    let failed = |what: String| CliError::new(what).exit_with(Exit::SomeFailed);
    match &outcome.verdict {
        Some(Verdict::Ok) => Ok(Exit::Done),
        // A code that no shell can be told is still no success.
        Some(Verdict::Failed { code }) => Ok(Exit::Remote(u8::try_from(*code).ok().filter(|c| *c != 0).unwrap_or(1))),
        Some(Verdict::Timeout) => {
            let error = CliError::new(format!("{name}: the command's time was over, and it was killed"));
            Err(error.exit_with(Exit::TimedOut))
        }
        Some(Verdict::Offline) => {
            Err(failed(format!("{name} is offline")).help(format!("see since when: `robo device inspect {name}`")))
        }
        Some(Verdict::Refused { reason }) => {
            let error = failed(format!("{name}: the command was not run: {reason}"));
            Err(if outcome.is_known { error } else { error.help("`robo device list` shows all") })
        }
        Some(Verdict::Lost { reason }) => Err(failed(format!("{name}: the command's end is not known: {reason}"))
            .help("it may still run there, or have ended well")),
        Some(Verdict::Cancelled { reason }) => Err(failed(format!("{name}: the command was cancelled: {reason}"))),
        Some(Verdict::Expired) => Err(failed(format!("{name} did not come in time, and the command was not run"))
            .help(format!("see since when it is away: `robo device inspect {name}`"))),
        None => Err(failed(format!("{name}: no verdict came"))),
    }
}

#[cfg(test)]
mod tests {
    use robo_wire::stream::DeviceTarget;

    use super::*;

    fn outcomes(verdicts: Vec<Verdict>) -> Outcomes {
        let target = |i| DeviceTarget { name: format!("d{i}"), device: None };
        let mut outcomes = Outcomes::new((0..verdicts.len()).map(target).collect());
        for (i, verdict) in verdicts.into_iter().enumerate() {
            outcomes.decide(i, verdict);
        }
        outcomes
    }

    #[test]
    fn the_table_has_a_row_for_each_of_few_targets_and_for_each_failure_of_many() {
        let few = outcomes(vec![Verdict::Ok, Verdict::Failed { code: 7 }, Verdict::Offline]);
        let text = "DEVICE  VERDICT\nd0      ok\nd1      exit 7\nd2      offline\n3 devices: 1 ok, 2 not\n";
        assert_eq!(table(few.all()), text);
        assert_eq!(exit_of_many(few.all()), Exit::SomeFailed);
        let mut verdicts = vec![Verdict::Ok; 99];
        assert_eq!(table(outcomes(verdicts.clone()).all()), "99 devices: all ok\n");
        verdicts.push(Verdict::Timeout);
        let many = outcomes(verdicts);
        assert_eq!(table(many.all()), "DEVICE  VERDICT\nd99     timed out\n100 devices: 99 ok, 1 not\n");
        assert_eq!(exit_of_many(outcomes(vec![Verdict::Ok]).all()), Exit::Done);
    }

    #[test]
    fn one_target_gives_its_own_exit_code() {
        let check = |verdict: Verdict, expect: u8| {
            let outcomes = outcomes(vec![verdict.clone()]);
            let exit = exit_of_one(&outcomes.all()[0]).unwrap_or_else(|error| error.exit());
            assert_eq!(exit.code(), expect, "{verdict}");
        };
        check(Verdict::Ok, 0);
        check(Verdict::Failed { code: 7 }, 7);
        check(Verdict::Failed { code: 130 }, 130);
        check(Verdict::Failed { code: 256 }, 1);
        check(Verdict::Failed { code: -1 }, 1);
        check(Verdict::Timeout, 124);
        check(Verdict::Offline, 3);
        check(Verdict::Refused { reason: "no such device".into() }, 3);
        check(Verdict::Lost { reason: "the link ended".into() }, 3);
        check(Verdict::Cancelled { reason: "on request".into() }, 3);
        check(Verdict::Expired, 3);
    }
}
