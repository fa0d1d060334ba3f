//! Instances that wait for one another, so that none of them ever starts.

use robo_wire::api::{Circle, CircleMember};

use super::paint::Palette;

/// Most instances of a circle that are named.
const NAMED: usize = 8;

/// Most circles that are told: the first will do to begin with.
const TOLD: usize = 5;

/// Says of each circle who waits for whom; empty when there are none.
pub(crate) fn told<'a>(circles: impl IntoIterator<Item = &'a Circle>, palette: Palette) -> String {
    let lines: Vec<String> = circles.into_iter().map(|circle| round(circle, palette)).collect();
    let more = lines.len().saturating_sub(TOLD);
    let mut text: String = lines.iter().take(TOLD).map(|line| format!("{line}\n")).collect();
    if more > 0 {
        text.push_str(&format!("{} and {more} more such circles: `robo status -o json`\n", palette.busy("warning:")));
    }
    if !lines.is_empty() {
        let help = "make one import of each circle `(optional)`, so that one of them can start";
        text.push_str(&format!("  {} {help}\n", palette.hint("→")));
    }
    text
}

/// Once round.
fn round(circle: &Circle, palette: Palette) -> String {
    let alone =
        circle.members.iter().all(|one| circle.members.first().is_some_and(|f| f.application == one.application));
    let name = |one: &CircleMember| {
        if alone { one.path.to_string() } else { format!("{}{}", one.application, one.path) }
    };
    let next = circle.members.iter().cycle().skip(1);
    let mut waits: Vec<String> = circle
        .members
        .iter()
        .zip(next)
        .take(NAMED)
        .enumerate()
        .map(|(at, (one, next))| {
            let verb = if at == 0 { "waits for" } else { "for" };
            let why = one.prefix.as_ref().map_or("which it stands on", |prefix| prefix.as_str());
            format!("{} {verb} {} ({why})", name(one), name(next))
        })
        .collect();
    if let Some(more) = circle.members.len().checked_sub(NAMED).filter(|more| *more > 0) {
        waits.push(format!("and {more} more on the way back"));
    }
    format!("{} these wait for one another: {}", palette.busy("warning:"), waits.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each member as `app/path Prefix`, without a prefix for one that waits for its parent.
    fn circle(members: &[&str]) -> Circle {
        let member = |text: &&str| {
            let (name, prefix) = text.split_once(' ').unwrap_or((text, ""));
            let (application, path) = name.split_once('/').unwrap();
            CircleMember {
                application: application.parse().unwrap(),
                path: format!("/{path}").parse().unwrap(),
                prefix: prefix.parse().ok(),
            }
        };
        Circle { members: members.iter().map(member).collect() }
    }

    #[test]
    fn who_waits_for_whom_is_said_of_all_circles() {
        let palette = Palette::new(false);
        assert_eq!(told(&[], palette), "");
        let circles = [circle(&["s/vm/a B", "s/vm/b A"]), circle(&["s/x Wh", "t/y Sh"]), circle(&["s/p Q", "s/p/q"])];
        insta::assert_snapshot!(told(&circles, palette), @r"
        warning: these wait for one another: /vm/a waits for /vm/b (B), /vm/b for /vm/a (A)
        warning: these wait for one another: s/x waits for t/y (Wh), t/y for s/x (Sh)
        warning: these wait for one another: /p waits for /p/q (Q), /p/q for /p (which it stands on)
          → make one import of each circle `(optional)`, so that one of them can start
        ");
        let long: Vec<String> = (0..20).map(|at| format!("s/a{at} A")).collect();
        let long = circle(&long.iter().map(String::as_str).collect::<Vec<_>>());
        let text = told(&vec![long; 7], palette);
        assert!(text.contains("/a7 for /a8 (A), and 12 more on the way back\n"), "{text}");
        assert!(text.contains("and 2 more such circles"), "{text}");
    }
}
