//! Users, roles, projects and the audit log as tables.

use comfy_table::Cell;
use jiff::tz::TimeZone;
use robo_model::name::ProjectName;
use robo_model::quantity::UnixMillis;
use robo_wire::api::{
    AuditEntry, AuditOutcome, GrantView, GroupView, Me, ProjectView, UserKind, UserTokenView, UserView,
};

use super::table::{Look, judged, plain, with_notes};
use super::when;

/// The users.
pub(crate) fn users(users: &[UserView], look: Look) -> String {
    let row = |user: &UserView| {
        let kind = match user.kind {
            UserKind::Person => "person",
            UserKind::Machine => "machine",
        };
        let used = user.last_used.map_or_else(|| "never".to_owned(), |at| format!("{} ago", when::ago(at, look.now)));
        let may: Vec<String> = user.grants.iter().map(|view| view.grant.to_string()).collect();
        let may = if may.is_empty() { "nothing".to_owned() } else { may.join("; ") };
        let cells = [user.name.to_string(), kind.to_owned(), user.tokens.to_string(), used, may];
        cells.map(Cell::new).to_vec()
    };
    let rows: Vec<_> = users.iter().map(row).collect();
    let none = vec![String::new(); rows.len()];
    with_notes(&["USER", "KIND", "TOKENS", "LAST USED", "MAY"], rows, &none, look)
}

/// The groups.
pub(crate) fn groups(groups: &[GroupView], look: Look) -> String {
    let row = |group: &GroupView| {
        let members: Vec<&str> = group.members.iter().map(|member| member.as_str()).collect();
        let may: Vec<String> = group.grants.iter().map(|view| view.grant.to_string()).collect();
        let may = if may.is_empty() { "nothing".to_owned() } else { may.join("; ") };
        [group.name.to_string(), members.join(" "), may].map(Cell::new).to_vec()
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    let none = vec![String::new(); rows.len()];
    with_notes(&["GROUP", "MEMBERS", "MAY"], rows, &none, look)
}

/// Roles.
pub(crate) fn grants(grants: &[GrantView], look: Look) -> String {
    let row = |view: &GrantView| {
        let project = view.grant.project.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        let devices = view.grant.selector.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        let by = if view.granted_by.is_empty() { "-" } else { &view.granted_by };
        let cells =
            [view.id.to_string(), view.user.to_string(), view.grant.role.to_string(), project, devices, by.to_owned()];
        cells.map(Cell::new).to_vec()
    };
    let rows: Vec<_> = grants.iter().map(row).collect();
    let none = vec![String::new(); rows.len()];
    with_notes(&["NO", "USER", "ROLE", "PROJECT", "DEVICES", "GIVEN BY"], rows, &none, look)
}

/// A user's tokens.
pub(crate) fn tokens(tokens: &[UserTokenView], look: Look) -> String {
    let row = |token: &UserTokenView| {
        let used = token.last_used.map_or_else(|| "never".to_owned(), |at| format!("{} ago", when::ago(at, look.now)));
        let (state, good) = ends(token, look.now);
        let only = token.narrowed.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        vec![
            Cell::new(&token.id),
            if look.palette.is_on() { judged(&state, good) } else { Cell::new(state) },
            Cell::new(used),
            Cell::new(only),
            Cell::new(&token.note),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    let none = vec![String::new(); rows.len()];
    with_notes(&["TOKEN", "STATE", "LAST USED", "ONLY FOR", "NOTE"], rows, &none, look)
}

fn ends(token: &UserTokenView, now: UnixMillis) -> (String, bool) {
    match token.expires_at {
        None => ("never ends".to_owned(), true),
        Some(end) if end > now => (format!("ends in {}", when::ago(now, end)), true),
        Some(end) => (format!("ended {} ago", when::ago(end, now)), false),
    }
}

/// Who one is, in a line.
pub(crate) fn who(me: &Me, now: UnixMillis) -> String {
    let narrowed = me.token.narrowed.as_ref().map(|grant| format!(", as {grant} at most")).unwrap_or_default();
    format!("You are {}, with the token {}, which {}{narrowed}.", me.user, me.token.id, ends(&me.token, now).0)
}

/// Projects; the one that commands work in is marked.
pub(crate) fn projects(projects: &[ProjectView], current: &ProjectName, look: Look) -> String {
    let row = |project: &ProjectView| {
        let mark = if project.name == *current { "*" } else { "" };
        let has = project.devices.map_or_else(|| "?".to_owned(), |devices| devices.to_string());
        let devices = project.max_devices.map_or_else(|| has.clone(), |max| format!("{has} of {max}"));
        vec![Cell::new(mark), Cell::new(&project.name), Cell::new(project.role), Cell::new(devices)]
    };
    plain(&["", "PROJECT", "YOU ARE", "DEVICES"], projects.iter().map(row).collect(), look.palette)
}

/// Lines of the audit log.
pub(crate) fn audit(lines: &[AuditEntry], look: Look) -> String {
    audit_in(lines, look, &TimeZone::system())
}

fn audit_in(lines: &[AuditEntry], look: Look, zone: &TimeZone) -> String {
    let row = |line: &AuditEntry| {
        let at = if look.wide { when::full(line.at, zone) } else { when::clock(line.at, look.now, zone) };
        let who = line.who.as_deref().unwrap_or("?");
        let times = if line.times > 1 { format!(" ({} times)", line.times) } else { String::new() };
        let outcome = format!("{}{times}", outcome(line.outcome));
        let well = matches!(line.outcome, AuditOutcome::Allowed);
        let mut cells = vec![Cell::new(line.id), Cell::new(at), Cell::new(who)];
        if look.wide {
            cells.push(Cell::new(line.from.as_deref().unwrap_or("-")));
            cells.push(Cell::new(line.token.as_deref().unwrap_or("-")));
        }
        let outcome = if look.palette.is_on() { judged(&outcome, well) } else { Cell::new(outcome) };
        cells.extend([Cell::new(&line.verb), outcome, Cell::new(&line.thing)]);
        cells
    };
    let header: &[&str] = if look.wide {
        &["LINE", "AT", "WHO", "FROM", "TOKEN", "VERB", "OUTCOME", "THING"]
    } else {
        &["LINE", "AT", "WHO", "VERB", "OUTCOME", "THING"]
    };
    let notes: Vec<String> = lines.iter().map(|line| line.detail.clone()).collect();
    with_notes(header, lines.iter().map(row).collect(), &notes, look)
}

const fn outcome(outcome: AuditOutcome) -> &'static str {
    match outcome {
        AuditOutcome::Allowed => "allowed",
        AuditOutcome::Refused => "refused",
        AuditOutcome::Failed => "failed",
        AuditOutcome::Cut => "cut off",
        AuditOutcome::Unknown => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::NOW;

    #[test]
    fn lines_say_who_did_what() {
        let line = |id, who: Option<&str>, verb: &str, thing: &str, outcome, times| AuditEntry {
            id,
            at: UnixMillis(NOW.0 - 1000),
            who: who.map(str::to_owned),
            token: None,
            from: None,
            project: None,
            verb: verb.to_owned(),
            thing: thing.to_owned(),
            outcome,
            detail: if times > 1 { "this token is not known here".to_owned() } else { String::new() },
            times,
            hash: String::new(),
        };
        let lines = [
            line(1, Some("ann"), "exec", "2 devices: a b", AuditOutcome::Allowed, 1),
            line(2, None, "token", "GET /v1/projects/default/status", AuditOutcome::Refused, 17),
        ];
        let look = Look { palette: Palette::new(false), width: Some(100), wide: false, now: NOW };
        insta::assert_snapshot!(audit_in(&lines, look, &TimeZone::UTC), @r"
        LINE  AT        WHO  VERB   OUTCOME             THING
        1     13:46:39  ann  exec   allowed             2 devices: a b
        2     13:46:39  ?    token  refused (17 times)  GET /v1/projects/default/status
            ↳ this token is not known here
        ");
    }
}
