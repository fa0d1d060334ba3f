//! `robo device upgrade`: agents become the program that the manager gives away, over their links.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use robo_wire::api::{MAX_UPGRADES_AT_A_TIME, UpgradeLine, UpgradeRequest, UpgradeVerdict};
use robo_wire::code::Code;
use robo_wire::upgrade::UpgradeStage;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Env, Format};
use crate::commands::exec::fit;
use crate::commands::place::Place;
use crate::error::{CliError, Exit};
use crate::output::{Ui, table};

/// Digits of a program's SHA-256 that people are shown: enough to tell it from others.
const SHOWN_DIGITS: usize = 12;

/// Of so many devices for which the same is told each is named.
const MAX_NAMED: usize = 5;

/// How often the line that shows how it goes is drawn at most.
const EVERY: Duration = Duration::from_millis(100);

/// Erases the line that the cursor is in.
const ERASE: &[u8] = b"\r\x1b[K";

/// Brings the agent's program on devices up to the one that the manager gives away, over the links that are there.
///
/// Each agent fetches the program, checks it, and tries it in its own place: when the manager does not welcome it within two
/// minutes, the one before goes on and says why. What runs on the devices runs on. An agent in use by somebody's shell,
/// command or forward is left alone, unless `--force` says otherwise. Asking again is harmless.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo device upgrade robot-7
  robo device upgrade -l site=tokyo --dry-run       who would get what
  robo device upgrade --all --concurrency 20 --max-failures 3

Exit codes: 0 each device runs that program, 3 when some does not.")]
pub(super) struct UpgradeArgs {
    #[command(flatten)]
    place: Place,
    /// So many devices at a time; 4 where nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_UPGRADES_AT_A_TIME)))]
    concurrency: Option<u32>,
    /// After so many devices on which it failed, begin it on no other one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_failures: Option<u32>,
    /// Also where somebody has a shell, a command or a forward, which then ends.
    #[arg(long)]
    force: bool,
    /// Only show who would get what.
    #[arg(long)]
    dry_run: bool,
}

/// One device, for programs.
#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    #[serde(flatten)]
    verdict: &'a UpgradeVerdict,
}

/// How far all of them are.
#[derive(Default)]
struct Board {
    /// In the manager's order.
    names: Vec<String>,
    verdicts: BTreeMap<String, UpgradeVerdict>,
    stages: BTreeMap<String, (UpgradeStage, u8)>,
}

pub(super) async fn run(args: UpgradeArgs, env: &Env) -> Result<Exit, CliError> {
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| CliError::new(format!("signals cannot be caught: {error}")))?;
    let request = request(args)?;
    let ui = &env.ui;
    let mut lines = env.client()?.upgrade(&request).await?;
    let (mut board, mut line) = (Board::default(), ProgressLine::new(ui));
    let broke = loop {
        let next = tokio::select! {
            next = lines.next() => next,
            _ = interrupts.recv() => {
                line.clear()?;
                ui.note("Nothing more is begun. A device that tries the program goes on by itself: `robo device inspect` shows how it ended.");
                return Ok(Exit::Interrupted);
            }
        };
        match next {
            Some(Ok(told)) => board.take(told),
            Some(Err(error)) => break Some(error.to_string()),
            None => break None,
        }
        line.draw(&board)?;
    };
    line.clear()?;
    if board.names.is_empty() && broke.is_none() {
        return Err(CliError::new("no device matches").help("see which there are: `robo device list`"));
    }
    if board.give_up() {
        let why = broke.unwrap_or_else(|| "it ended its answer too early".to_owned());
        ui.note(format!(
            "The manager went away in the middle: {why}. Ask again: where it was done already, nothing is."
        ));
    }
    show(&board, ui)?;
    let is_good = board.verdicts.values().all(UpgradeVerdict::is_good);
    Ok(if is_good && !board.names.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

fn request(args: UpgradeArgs) -> Result<UpgradeRequest, CliError> {
    let UpgradeArgs { place, concurrency, max_failures, force, dry_run } = args;
    let targets = place.targets("name one or more, as in `robo device upgrade robot-7`")?;
    Ok(UpgradeRequest { targets, concurrency, max_failures, force, dry_run })
}

impl Board {
    fn take(&mut self, line: UpgradeLine) {
        match line {
            UpgradeLine::Targets { targets } => self.names.extend(targets),
            UpgradeLine::Progress { device, stage, percent } => {
                self.stages.insert(device, (stage, percent));
            }
            UpgradeLine::Verdict { device, verdict } => {
                self.verdicts.insert(device, verdict);
            }
            UpgradeLine::Unknown => {}
        }
    }

    /// The answer is over: who has no verdict gets one. True when there was somebody.
    fn give_up(&mut self) -> bool {
        let before = self.verdicts.len();
        for name in &self.names {
            self.verdicts.entry(name.clone()).or_insert_with(|| UpgradeVerdict::Lost {
                reason: "the manager went away before it said how it ended".to_owned(),
            });
        }
        self.verdicts.len() > before
    }

    /// `1/3 devices, waiting for robot-7 (trying), robot-8 (downloading 40 %)`, in so many columns.
    fn line(&self, width: usize) -> String {
        let waiting = self.names.iter().filter(|name| !self.verdicts.contains_key(*name));
        let told = |name: &String| match self.stages.get(name) {
            Some((UpgradeStage::Downloading, percent)) => format!("{name} (downloading {percent} %)"),
            Some((stage, _)) => format!("{name} ({stage})"),
            None => name.clone(),
        };
        // Those that are under way are of more interest than those that wait for their turn.
        let (begun, rest): (Vec<_>, Vec<_>) = waiting.partition(|name| self.stages.contains_key(*name));
        let waiting: Vec<String> = begun.into_iter().chain(rest).map(told).collect();
        let waiting: Vec<&str> = waiting.iter().map(String::as_str).collect();
        let begin = format!("{}/{} devices", self.names.len() - waiting.len(), self.names.len());
        if waiting.is_empty() {
            return begin;
        }
        let begin = format!("{begin}, waiting for ");
        let text = format!("{begin}{}", fit(&waiting, width.saturating_sub(begin.len() + 1)));
        console::truncate_str(&text, width.saturating_sub(1), "…").into_owned()
    }

    fn outcomes(&self) -> impl Iterator<Item = (&str, &UpgradeVerdict)> {
        self.names.iter().filter_map(|name| Some((name.as_str(), self.verdicts.get(name)?)))
    }
}

/// A line on a terminal that says who is missing.
struct ProgressLine<'a> {
    ui: &'a Ui,
    drawn: Option<Instant>,
}

impl<'a> ProgressLine<'a> {
    const fn new(ui: &'a Ui) -> Self {
        Self { ui, drawn: None }
    }

    fn draw(&mut self, board: &Board) -> Result<(), CliError> {
        if !self.ui.can_animate || self.drawn.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        let line = crate::output::harmless::harmless(&board.line(self.ui.width)).into_owned();
        self.ui.error_bytes(&[ERASE, line.as_bytes()].concat())
    }

    fn clear(&mut self) -> Result<(), CliError> {
        if self.drawn.take().is_none() { Ok(()) } else { self.ui.error_bytes(ERASE) }
    }
}

fn show(board: &Board, ui: &Ui) -> Result<(), CliError> {
    match ui.format {
        Format::Json | Format::Yaml => {
            let rows: Vec<Row<'_>> = board.outcomes().map(|(device, verdict)| Row { device, verdict }).collect();
            ui.value(&rows)
        }
        Format::Name => {
            let good = board.outcomes().filter(|(_, verdict)| verdict.is_good());
            good.map(|(device, _)| device).try_for_each(|device| ui.line(device))
        }
        Format::Table | Format::Wide => {
            let rows = board.outcomes().map(|(device, verdict)| row(device, verdict)).collect();
            ui.text(&table::plain(&["DEVICE", "RESULT", "PROGRAM"], rows, ui.out))?;
            let reasons = reasons(board.outcomes());
            if reasons.is_empty() { Ok(()) } else { ui.text(&reasons) }
        }
    }
}

fn row(device: &str, verdict: &UpgradeVerdict) -> Vec<String> {
    let short = |sha256: &str| sha256.chars().take(SHOWN_DIGITS).collect::<String>();
    let (result, program) = match verdict {
        UpgradeVerdict::Upgraded { from, to } | UpgradeVerdict::WouldUpgrade { from, to } => {
            let from = if from.is_empty() { "unknown".to_owned() } else { short(from) };
            (verdict.to_string(), format!("{from} -> {}", short(to)))
        }
        UpgradeVerdict::Failed { code, .. } => (format!("failed {code}"), String::new()),
        UpgradeVerdict::Refused { code, .. } => (format!("refused {code}").trim_end().to_owned(), String::new()),
        UpgradeVerdict::Lost { .. } => ("lost".to_owned(), String::new()),
        UpgradeVerdict::Cancelled { .. } => ("cancelled".to_owned(), String::new()),
        UpgradeVerdict::Same | UpgradeVerdict::Offline => (verdict.to_string(), String::new()),
    };
    vec![device.to_owned(), result, program]
}

/// What happened where all is not well; once for all devices of which the same is to be told.
fn reasons<'a>(outcomes: impl Iterator<Item = (&'a str, &'a UpgradeVerdict)>) -> String {
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for (device, verdict) in outcomes {
        let Some(text) = reason(verdict) else { continue };
        match told.iter_mut().find(|(same, _)| *same == text) {
            Some((_, devices)) => devices.push(device),
            None => told.push((text, vec![device])),
        }
    }
    told.into_iter().map(|(text, devices)| format!("{}: {text}", named(&devices))).collect()
}

/// The devices, or the first of them and how many more there are.
fn named(devices: &[&str]) -> String {
    match devices.split_at_checked(MAX_NAMED) {
        Some((first, more)) if !more.is_empty() => format!("{} and {} more", first.join(", "), more.len()),
        Some(_) | None => devices.join(", "),
    }
}

/// What happened on a device, and what to do about it; nothing where all is well.
fn reason(verdict: &UpgradeVerdict) -> Option<String> {
    let (code, reason) = match verdict {
        UpgradeVerdict::Failed { code, reason } | UpgradeVerdict::Refused { code, reason } => (code.as_str(), reason),
        UpgradeVerdict::Lost { reason } | UpgradeVerdict::Cancelled { reason } => ("", reason),
        UpgradeVerdict::Offline
        | UpgradeVerdict::Same
        | UpgradeVerdict::Upgraded { .. }
        | UpgradeVerdict::WouldUpgrade { .. } => return None,
    };
    let reason = reason.replace('\n', "\n    ");
    let remedy = Code::named(code).map(|code| format!("    what to do: {}\n", code.remedy())).unwrap_or_default();
    Some(format!("{reason}\n{remedy}"))
}

#[cfg(test)]
mod tests {
    use robo_wire::stream::Targets;

    use super::*;

    fn board() -> Board {
        let mut board = Board::default();
        let device = |name: &str| name.to_owned();
        for line in [
            UpgradeLine::Targets { targets: ["a", "b", "c", "d"].map(device).to_vec() },
            UpgradeLine::Progress { device: device("c"), stage: UpgradeStage::Downloading, percent: 40 },
            UpgradeLine::Progress { device: device("d"), stage: UpgradeStage::Trying, percent: 0 },
            UpgradeLine::Unknown,
            UpgradeLine::Verdict { device: device("a"), verdict: UpgradeVerdict::Same },
        ] {
            board.take(line);
        }
        board
    }

    #[test]
    fn the_line_names_who_is_missing_and_how_far_they_are() {
        let mut board = board();
        assert_eq!(board.line(80), "1/4 devices, waiting for c (downloading 40 %), d (trying), b");
        assert!(board.line(30).chars().count() < 30);
        assert!(board.give_up() && !board.give_up());
        assert_eq!((board.line(80).as_str(), board.outcomes().count()), ("4/4 devices", 4));
    }

    #[test]
    fn each_device_has_a_row_and_what_is_wrong_a_reason() {
        let failed = UpgradeVerdict::Failed { code: "AGT_UPGRADE_TRIAL".into(), reason: "it ended\nlast".into() };
        assert_eq!(row("a", &failed), ["a", "failed AGT_UPGRADE_TRIAL", ""]);
        let text = reasons([("a", &failed)].into_iter());
        assert!(text.starts_with("a: it ended\n    last\n    what to do: "), "{text}");
        let upgraded = UpgradeVerdict::Upgraded { from: String::new(), to: "ab".repeat(32) };
        assert_eq!(row("b", &upgraded), ["b", "upgraded", "unknown -> abababababab"]);
        assert_eq!(reasons([("b", &upgraded)].into_iter()), "");
        let refused = UpgradeVerdict::Refused { code: String::new(), reason: "too old".into() };
        assert_eq!(row("c", &refused)[1], "refused");
        let many = ["c", "d", "e", "f", "g", "h", "i"].map(|device| (device, &refused));
        let text = reasons([("a", &failed)].into_iter().chain(many));
        assert!(text.ends_with("\nc, d, e, f, g and 2 more: too old\n"), "{text}");
        assert_eq!(reasons(many.into_iter().take(5)), "c, d, e, f, g: too old\n");
    }

    #[test]
    fn no_device_at_all_is_a_mistake() {
        let args = |targets: &[&str], all| UpgradeArgs {
            place: Place { names: targets.iter().map(|name| (*name).to_owned()).collect(), selector: None, all },
            concurrency: None,
            max_failures: None,
            force: false,
            dry_run: false,
        };
        assert!(request(args(&[], false)).unwrap_err().what().contains("no device is given"));
        assert_eq!(request(args(&[], true)).unwrap().targets, Targets::All);
        let names = request(args(&["b", "a", "b"], false)).unwrap().targets;
        assert_eq!(names, Targets::Names(vec!["b".into(), "a".into()]));
    }
}
