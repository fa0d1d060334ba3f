//! Jobs as tables.

use comfy_table::Cell;
use jiff::tz::TimeZone;
use robo_model::quantity::Millis;
use robo_wire::job::{JobState, JobView, RunState, RunView};
use robo_wire::stream::Verdict;

use super::table::{Look, judged, plain};
use super::{shell_word, when};

/// Most columns of a command.
const MAX_COMMAND: usize = 40;

/// The table of jobs.
pub(crate) fn table(jobs: &[JobView], look: Look) -> String {
    table_in(jobs, look, &TimeZone::system())
}

fn table_in(jobs: &[JobView], look: Look, zone: &TimeZone) -> String {
    let header = ["JOB", "BY", "BEGAN", "DEVICES", "OK", "NOT", "STATE", "COMMAND"];
    let row = |view: &JobView| {
        let began = if look.wide {
            when::full(view.created_at, zone)
        } else {
            format!("{} ago", when::ago(view.created_at, look.now))
        };
        vec![
            Cell::new(&view.id),
            Cell::new(&view.by),
            Cell::new(began),
            Cell::new(view.targets),
            Cell::new(view.ok),
            Cell::new(view.not_ok),
            state(view),
            Cell::new(command(view, look.wide)),
        ]
    };
    plain(&header, jobs.iter().map(row).collect(), look.palette)
}

/// The table of a job's targets.
pub(crate) fn runs(runs: &[RunView], look: Look) -> String {
    let row = |run: &RunView| {
        let lasted =
            run.began_at.zip(run.ended_at).map(|(began, ended)| when::short(Millis(ended.0.saturating_sub(began.0))));
        let missing = if run.missing == 0 { String::new() } else { format!("{} bytes", run.missing) };
        vec![Cell::new(&run.device), verdict(run), Cell::new(lasted.unwrap_or_default()), Cell::new(missing)]
    };
    plain(&["DEVICE", "STATE", "LASTED", "NOT KEPT"], runs.iter().map(row).collect(), look.palette)
}

fn state(view: &JobView) -> Cell {
    let state = view.state();
    judged(state.name(), matches!(state, JobState::Going | JobState::Ok))
}

fn verdict(run: &RunView) -> Cell {
    match (&run.outcome, run.state) {
        (Some(verdict), _) => judged(&verdict.to_string(), *verdict == Verdict::Ok),
        (None, RunState::Queued) => Cell::new("queued"),
        (None, RunState::Sent) => Cell::new("sent"),
        (None, RunState::Running) => Cell::new("running"),
        (None, RunState::Ended) => Cell::new("ended"),
    }
}

/// The words of a job's command, as a shell would read them; in place of a text of several lines `…`, unless it is whole.
pub(crate) fn command(view: &JobView, whole: bool) -> String {
    let shown = |word: &String| if !whole && word.contains('\n') { "…".to_owned() } else { shell_word(word) };
    let words: Vec<String> = view.command.iter().map(shown).collect();
    let line = words.join(" ").replace(char::is_control, " ");
    if whole { line } else { console::truncate_str(&line, MAX_COMMAND, "…").into_owned() }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::UnixMillis;

    use super::super::paint::Palette;
    use super::*;

    fn view(id: &str, ended: bool, not_ok: u32) -> JobView {
        JobView {
            id: id.parse().unwrap(),
            by: "ann".into(),
            command: vec!["echo".into(), "a b".into()],
            user: None,
            cwd: None,
            within: None,
            env: Vec::new(),
            created_at: UnixMillis(1_000),
            expires_at: None,
            ended_at: ended.then_some(UnixMillis(61_000)),
            cancelled_by: None,
            targets: 3,
            ok: 1,
            not_ok,
            runs: Vec::new(),
        }
    }

    #[test]
    fn a_job_is_told_in_a_line() {
        let jobs = [
            view("j1", false, 0),
            view("j2", true, 0),
            view("j3", true, 2),
            JobView { cancelled_by: Some("bob".into()), ..view("j4", true, 2) },
        ];
        let look = Look { palette: Palette::new(false), now: UnixMillis(121_000), width: None, wide: false };
        insta::assert_snapshot!(table_in(&jobs, look, &TimeZone::UTC), @"
        JOB  BY   BEGAN   DEVICES  OK  NOT  STATE      COMMAND
        j1   ann  2m ago  3        1   0    going      echo 'a b'
        j2   ann  2m ago  3        1   0    ok         echo 'a b'
        j3   ann  2m ago  3        1   2    failed     echo 'a b'
        j4   ann  2m ago  3        1   2    cancelled  echo 'a b'
        ");
    }

    #[test]
    fn each_target_has_its_line() {
        let run = |device: &str, state, outcome| RunView {
            device: device.into(),
            state,
            outcome,
            began_at: None,
            ended_at: None,
            missing: 0,
        };
        let all = [
            run("robot-1", RunState::Queued, None),
            run("robot-2", RunState::Sent, None),
            run("robot-3", RunState::Running, None),
            RunView {
                began_at: Some(UnixMillis(1_000)),
                ended_at: Some(UnixMillis(6_000)),
                missing: 70_000,
                ..run("robot-4", RunState::Ended, Some(Verdict::Failed { code: 7 }))
            },
            run("robot-5", RunState::Ended, Some(Verdict::Expired)),
        ];
        let look = Look { palette: Palette::new(false), now: UnixMillis(121_000), width: None, wide: false };
        insta::assert_snapshot!(runs(&all, look), @"
        DEVICE   STATE                                     LASTED  NOT KEPT
        robot-1  queued
        robot-2  sent
        robot-3  running
        robot-4  exit 7                                    5s      70000 bytes
        robot-5  expired: the device did not come in time
        ");
    }
}
