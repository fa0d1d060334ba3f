//! Shell sessions as a table.

use comfy_table::Cell;
use jiff::tz::TimeZone;
use robo_model::quantity::Millis;
use robo_wire::shell::SessionView;
use robo_wire::stream::Verdict;

use super::table::{Look, judged, plain};
use super::{shell_word, when};

/// Most columns of a command.
const MAX_COMMAND: usize = 40;

/// The table of sessions.
pub(crate) fn table(sessions: &[SessionView], look: Look) -> String {
    table_in(sessions, look, &TimeZone::system())
}

fn table_in(sessions: &[SessionView], look: Look, zone: &TimeZone) -> String {
    let mut header = vec!["SESSION", "DEVICE", "BY", "BEGAN", "LASTED", "STATE", "COMMAND"];
    if look.wide {
        header.push("RECORDED");
    }
    let row = |view: &SessionView| {
        let began = if look.wide {
            when::full(view.started_at, zone)
        } else {
            format!("{} ago", when::ago(view.started_at, look.now))
        };
        let lasted = Millis(view.ended_at.unwrap_or(look.now).0.saturating_sub(view.started_at.0));
        let mut row = vec![
            Cell::new(&view.id),
            Cell::new(&view.device),
            Cell::new(&view.by),
            Cell::new(began),
            Cell::new(when::short(lasted)),
            state(view),
            Cell::new(command(view, look.wide)),
        ];
        if look.wide {
            row.push(Cell::new(format!("{} KiB", view.recorded.div_ceil(1024))));
        }
        row
    };
    plain(&header, sessions.iter().map(row).collect(), look.palette)
}

fn state(view: &SessionView) -> Cell {
    match (&view.verdict, &view.ended_by) {
        (None, _) if !view.reachable => judged("out of reach", false),
        (None, _) => judged(&people(view), true),
        (Some(_), Some(by)) => Cell::new(format!("ended by {by}")),
        (Some(Verdict::Ok), None) => Cell::new("ended"),
        (Some(verdict), None) => Cell::new(format!("ended: {verdict}")),
    }
}

fn people(view: &SessionView) -> String {
    let users = match view.users {
        0 => "nobody there".to_owned(),
        1 => "used".to_owned(),
        many => format!("used by {many}"),
    };
    if view.watchers == 0 { users } else { format!("{users}, {} watching", view.watchers) }
}

fn command(view: &SessionView, whole: bool) -> String {
    if view.command.is_empty() {
        return "shell".to_owned();
    }
    let words: Vec<String> = view.command.iter().map(|word| shell_word(word)).collect();
    let line = words.join(" ").replace(char::is_control, " ");
    if whole { line } else { console::truncate_str(&line, MAX_COMMAND, "…").into_owned() }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::UnixMillis;

    use super::super::paint::Palette;
    use super::*;

    fn view(id: &str, verdict: Option<Verdict>) -> SessionView {
        SessionView {
            id: id.parse().unwrap(),
            device: "robot-7".parse().unwrap(),
            by: "ann".into(),
            command: Vec::new(),
            user: None,
            started_at: UnixMillis(1_000),
            ended_at: verdict.is_some().then_some(UnixMillis(61_000)),
            verdict,
            ended_by: None,
            users: 1,
            watchers: 0,
            reachable: true,
            recorded: 2_000,
        }
    }

    #[test]
    fn a_session_is_told_in_a_line() {
        let sessions = [
            view("s1", None),
            SessionView { users: 0, watchers: 2, command: vec!["vim".into(), "a b".into()], ..view("s2", None) },
            SessionView { reachable: false, ..view("s3", None) },
            view("s4", Some(Verdict::Ok)),
            view("s5", Some(Verdict::Failed { code: 130 })),
            SessionView { ended_by: Some("bob".into()), ..view("s6", Some(Verdict::Failed { code: 129 })) },
        ];
        let look = Look { palette: Palette::new(false), now: UnixMillis(121_000), width: None, wide: false };
        insta::assert_snapshot!(table_in(&sessions, look, &TimeZone::UTC), @"
        SESSION  DEVICE   BY   BEGAN   LASTED  STATE                     COMMAND
        s1       robot-7  ann  2m ago  2m      used                      shell
        s2       robot-7  ann  2m ago  2m      nobody there, 2 watching  vim 'a b'
        s3       robot-7  ann  2m ago  2m      out of reach              shell
        s4       robot-7  ann  2m ago  1m      ended                     shell
        s5       robot-7  ann  2m ago  1m      ended: exit 130           shell
        s6       robot-7  ann  2m ago  1m      ended by bob              shell
        ");
        let wide = table_in(&sessions[..1], Look { wide: true, ..look }, &TimeZone::UTC);
        insta::assert_snapshot!(wide, @"
        SESSION  DEVICE   BY   BEGAN                LASTED  STATE  COMMAND  RECORDED
        s1       robot-7  ann  1970-01-01 00:00:01  2m      used   shell    2 KiB
        ");
    }
}
