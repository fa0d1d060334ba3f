//! Enrolment tokens as a table.

use comfy_table::Cell;
use robo_model::name::DeviceName;
use robo_model::quantity::UnixMillis;
use robo_wire::api::EnrollTokenView;

use super::table::{self, Look};
use super::when;

pub(crate) fn table(tokens: &[EnrollTokenView], look: Look) -> String {
    let header = ["TOKEN", "FOR", "USED", "STATE", "LABELS", "MADE BY"];
    let rows = tokens.iter().map(|token| row(token, look)).collect();
    table::with_notes(&header, rows, &vec![String::new(); tokens.len()], look)
}

fn row(token: &EnrollTokenView, look: Look) -> Vec<Cell> {
    let whom = token.name.as_ref().map_or("any device", DeviceName::as_str);
    let whom = if token.replace { format!("{whom}, again") } else { whom.to_owned() };
    let state = state(token, look.now);
    let is_good = token.used < token.uses && token.expires_at > look.now;
    vec![
        Cell::new(&token.id),
        Cell::new(whom),
        Cell::new(format!("{}/{}", token.used, token.uses)),
        if look.palette.is_on() { table::judged(&state, is_good) } else { Cell::new(state) },
        Cell::new(table::labels_of(&token.labels)),
        Cell::new(&token.created_by),
    ]
}

/// `ends in 5m`, `used up`, `ended 2h ago`; with what comes after it.
fn state(token: &EnrollTokenView, now: UnixMillis) -> String {
    if token.used >= token.uses {
        return "used up".to_owned();
    }
    if token.expires_at <= now {
        return format!("ended {} ago", when::ago(token.expires_at, now));
    }
    let left = when::ago(now, token.expires_at);
    if token.approve { format!("ends in {left}, needs approval") } else { format!("ends in {left}") }
}

#[cfg(test)]
mod tests {
    use robo_model::quantity::Millis;

    use super::*;
    use crate::output::paint::Palette;
    use crate::output::table::tests::NOW;

    #[test]
    fn tokens_say_what_they_are_still_good_for() {
        let token = |id: &str| EnrollTokenView {
            id: id.to_owned(),
            name: None,
            labels: [("site".to_owned(), "tokyo".to_owned())].into(),
            replace: false,
            approve: false,
            uses: 1,
            used: 0,
            last_used_by: None,
            created_at: NOW,
            created_by: "ann".to_owned(),
            expires_at: NOW.plus(Millis::from_secs(3600)),
        };
        let name = Some("robot-7".parse().unwrap());
        let all = [
            token("0a1b2c3d4e5f"),
            EnrollTokenView { name, replace: true, used: 1, ..token("1a1b2c3d4e5f") },
            EnrollTokenView { uses: 50, used: 3, approve: true, ..token("2a1b2c3d4e5f") },
            EnrollTokenView { expires_at: UnixMillis(NOW.0 - 7_200_000), ..token("3a1b2c3d4e5f") },
        ];
        let look = Look { palette: Palette::new(false), width: Some(100), wide: false, now: NOW };
        insta::assert_snapshot!(table(&all, look), @r"
        TOKEN         FOR             USED  STATE                       LABELS      MADE BY
        0a1b2c3d4e5f  any device      0/1   ends in 1h                  site=tokyo  ann
        1a1b2c3d4e5f  robot-7, again  1/1   used up                     site=tokyo  ann
        2a1b2c3d4e5f  any device      3/50  ends in 1h, needs approval  site=tokyo  ann
        3a1b2c3d4e5f  any device      0/1   ended 2h ago                site=tokyo  ann
        ");
    }
}
