//! A plan as people read it: `+ ~ - ↻`, one line each, and a summary.

use std::fmt::Write as _;

use console::measure_text_width;
use robo_model::effect::Effect;
use robo_wire::plan::{Action, Change, Consequence, Plan, Ripple, RippleKind};

use super::paint::Palette;

/// Widest column of paths; a longer one only moves its own line.
const MAX_PATH_WIDTH: usize = 40;

/// The whole plan.
pub(crate) fn render(plan: &Plan, palette: Palette) -> String {
    let mut text = String::new();
    if plan.is_empty() {
        nothing(&mut text, plan, palette);
        return text;
    }
    let revision = match plan.ground.revision {
        Some(revision) => format!("on top of revision {revision}"),
        None => "a new application".into(),
    };
    line(&mut text, &format!("{}, {revision}", palette.bold(plan.application.as_str())));
    let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or_default().min(MAX_PATH_WIDTH);
    let path = widest(
        &mut plan
            .changes
            .iter()
            .map(|c| c.path.as_str().len())
            .chain(plan.ripple.iter().map(|r| r.path.as_str().len())),
    );
    let component = widest(&mut plan.changes.iter().map(|c| c.component.as_str().len()));
    line(&mut text, "");
    for one in &plan.changes {
        change(&mut text, one, (path, component), palette);
    }
    for one in &plan.ripple {
        ripple(&mut text, one, path, palette);
    }
    if !plan.warnings.is_empty() {
        line(&mut text, "");
    }
    warnings(&mut text, plan, palette);
    line(&mut text, "");
    line(&mut text, &summary(plan));
    text
}

fn nothing(text: &mut String, plan: &Plan, palette: Palette) {
    warnings(text, plan, palette);
    let what = match plan.ground.revision {
        Some(revision) => format!("revision {revision} of {} is what you have.", plan.application),
        None => format!("{} has no instances.", plan.application),
    };
    line(text, &format!("{} {what}", palette.bold("Nothing changes:")));
}

fn warnings(text: &mut String, plan: &Plan, palette: Palette) {
    for warning in &plan.warnings {
        line(text, &format!("{} {warning}", palette.busy("warning:")));
    }
}

/// `Plan: 3 to create, 1 to change, 0 to delete; 2 others notice it.`
pub(crate) fn summary(plan: &Plan) -> String {
    let s = plan.summary();
    let notice = match s.ripple {
        0 => String::new(),
        1 => "; 1 other notices it".into(),
        more => format!("; {more} others notice it"),
    };
    format!("Plan: {} to create, {} to change, {} to delete{notice}.", s.create, s.change, s.delete)
}

fn change(text: &mut String, change: &Change, (path, component): (usize, usize), palette: Palette) {
    let sign = change.action.sign().to_string();
    let sign = match change.action {
        Action::Create => palette.good(&sign),
        Action::Change(_) | Action::Start => palette.busy(&sign),
        Action::Delete => palette.bad(&sign),
    };
    let (name, kind) = (pad(change.path.as_str(), path), pad(change.component.as_str(), component));
    let effect = effect(change.action);
    let comma = if effect.is_empty() { "" } else { ", " };
    line(text, &format!("  {sign} {name}  {kind}  on {}{comma}{effect}", change.device));
    for reason in &change.reasons {
        line(text, &format!("      {}", palette.dim(reason)));
    }
}

/// What happens, where the sign alone does not say it.
const fn effect(action: Action) -> &'static str {
    match action {
        Action::Create | Action::Delete => "",
        Action::Start => "starts again",
        Action::Change(Effect::None) => "stays as it is",
        Action::Change(Effect::Note) => "keeps running",
        Action::Change(Effect::Republish) => "keeps running, its exports change",
        Action::Change(Effect::Restart) => "restarts",
        Action::Change(Effect::Redeploy) => "is deployed again and restarts",
        Action::Change(Effect::Replace) => "is replaced: undeployed, then deployed",
    }
}

fn ripple(text: &mut String, ripple: &Ripple, path: usize, palette: Palette) {
    let name = pad(ripple.path.as_str(), path);
    let Ripple { variable, provider, .. } = ripple;
    let moves = match (ripple.kind, &ripple.before, &ripple.after) {
        (RippleKind::Appears, _, Some(after)) => format!("gets {variable} = {after} from {provider}"),
        (RippleKind::Appears, _, None) => format!("gets {variable} from {provider}"),
        (RippleKind::Changes, Some(before), Some(after)) => {
            format!("sees {variable} of {provider} go {before} → {after}")
        }
        (RippleKind::Changes, _, _) => format!("sees {variable} of {provider} change"),
        (RippleKind::Vanishes, _, _) => format!("loses {variable} of {provider}"),
    };
    let consequence = match ripple.consequence {
        Consequence::Update => "updates",
        Consequence::Restart => "restarts",
        Consequence::Wait => "stops and waits",
    };
    line(text, &format!("  {} {name}  {moves}, {consequence}", palette.hint("↻")));
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    if writeln!(text, "{}", line.trim_end()).is_err() {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use robo_model::name::{ApplicationName, ComponentName, DeviceName, InstancePath, Variable};
    use robo_wire::plan::Ground;

    use super::*;

    pub(crate) fn change(path: &str, component: &str, action: Action, reasons: &[&str]) -> Change {
        Change {
            path: InstancePath::new(path).unwrap(),
            component: ComponentName::new(component).unwrap(),
            device: DeviceName::new("web-1").unwrap(),
            action,
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    fn plan() -> Plan {
        Plan {
            id: "0".into(),
            application: ApplicationName::new("shop").unwrap(),
            ground: Ground { revision: Some(3), ..Ground::default() },
            changes: vec![
                change("/database/db", "Database", Action::Change(Effect::Restart), &["port 3306 → 3307"]),
                change("/web-1/cache", "Cache", Action::Create, &[]),
                change("/worker", "Machine", Action::Delete, &[]),
            ],
            ripple: vec![Ripple {
                application: None,
                path: InstancePath::new("/web-1/web").unwrap(),
                device: DeviceName::new("web-1").unwrap(),
                variable: Variable::parse("Database.port").unwrap(),
                provider: InstancePath::new("/database/db").unwrap(),
                before: Some("3306".into()),
                after: Some("3307".into()),
                kind: RippleKind::Changes,
                consequence: Consequence::Update,
            }],
            waves: vec![],
            steps: Vec::new(),
            overrides: Vec::new(),
            warnings: vec!["/web-2 is offline".into()],
        }
    }

    #[test]
    fn a_plan_is_one_line_for_each_thing() {
        insta::assert_snapshot!(render(&plan(), Palette::new(false)), @r"
        shop, on top of revision 3

          ~ /database/db  Database  on web-1, restarts
              port 3306 → 3307
          + /web-1/cache  Cache     on web-1
          - /worker       Machine   on web-1
          ↻ /web-1/web    sees Database.port of /database/db go 3306 → 3307, updates

        warning: /web-2 is offline

        Plan: 1 to create, 1 to change, 1 to delete; 1 other notices it.
        ");
    }

    #[test]
    fn an_empty_plan_is_short() {
        let empty = Plan { changes: vec![], ripple: vec![], warnings: vec![], ..plan() };
        insta::assert_snapshot!(render(&empty, Palette::new(false)), @"Nothing changes: revision 3 of shop is what you have.");
    }
}
