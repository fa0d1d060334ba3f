//! A plan as people read it: `+ ~ - ↻`, one line each, and a summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use console::measure_text_width;
use robo_model::effect::Effect;
use robo_model::name::{ApplicationName, DeviceName, InstancePath};
use robo_model::state::Wanted;
use robo_wire::plan::{Action, Change, Consequence, Plan, Ripple, RippleKind};

use super::paint::Palette;

/// Widest column of paths; a longer one only moves its own line.
const MAX_PATH_WIDTH: usize = 40;

/// The whole plan; `wide` with every step.
pub(crate) fn render(plan: &Plan, wide: bool, palette: Palette) -> String {
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
    let ripples: Vec<String> = plan.ripple.iter().map(|r| full_name(r.application.as_ref(), &r.path)).collect();
    let asked = plan.overrides.iter().map(|asked| asked.path.as_str());
    let names = plan.changes.iter().map(|c| c.path.as_str()).chain(ripples.iter().map(String::as_str)).chain(asked);
    let path = widest(names);
    let component = widest(plan.changes.iter().map(|c| c.component.as_str()));
    line(&mut text, "");
    for one in &plan.changes {
        change(&mut text, one, (path, component), palette);
    }
    for (one, name) in plan.ripple.iter().zip(&ripples) {
        ripple(&mut text, one, &pad(name, path), palette);
    }
    overrides(&mut text, plan, path, palette);
    if wide {
        steps(&mut text, plan, palette);
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
    overrides(text, plan, 0, palette);
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

/// The lines of some changes.
pub(crate) fn changes(changes: &[Change], palette: Palette) -> String {
    let mut text = String::new();
    let widths =
        (widest(changes.iter().map(|c| c.path.as_str())), widest(changes.iter().map(|c| c.component.as_str())));
    for one in changes {
        change(&mut text, one, widths, palette);
    }
    text
}

/// What people asked for beside the application, and what becomes of it.
fn overrides(text: &mut String, plan: &Plan, path: usize, palette: Palette) {
    for asked in &plan.overrides {
        let what = match asked.wanted {
            Wanted::Started => "started",
            Wanted::Stopped => "stopped",
            Wanted::NotDeployed => "undeployed",
        };
        let after = if asked.kept { "kept" } else { "ends with this apply" };
        let name = pad(asked.path.as_str(), path);
        line(text, &format!("  {} {name}  {what} on request, {after}", palette.busy("!")));
    }
}

/// Every step, wave by wave: a line for each device.
fn steps(text: &mut String, plan: &Plan, palette: Palette) {
    if plan.steps.is_empty() {
        return;
    }
    line(text, "");
    line(text, &format!("{} those of one wave may run at the same time", palette.bold("Steps:")));
    let device = widest(plan.steps.iter().flatten().map(|step| step.device.as_str()));
    let number = plan.steps.len().to_string().len();
    for (at, wave) in plan.steps.iter().enumerate() {
        let mut devices: BTreeMap<&DeviceName, Vec<String>> = BTreeMap::new();
        for step in wave {
            let name = full_name(step.application.as_ref(), &step.path);
            devices.entry(&step.device).or_default().push(format!("{} {name}", step.step));
        }
        for (first, (name, steps)) in devices.into_iter().enumerate() {
            let wave = if first == 0 { (at + 1).to_string() } else { String::new() };
            line(text, &format!("  {wave:>number$}  {}  {}", pad(name.as_str(), device), steps.join(", ")));
        }
    }
}

/// The path, with the application's name before it where that is another one.
fn full_name(application: Option<&ApplicationName>, path: &InstancePath) -> String {
    application.map(ToString::to_string).unwrap_or_default() + path.as_str()
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(measure_text_width).max().unwrap_or_default().min(MAX_PATH_WIDTH)
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

fn ripple(text: &mut String, ripple: &Ripple, name: &str, palette: Palette) {
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
        Consequence::Start => "starts",
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
pub(crate) mod tests {
    use robo_model::name::{ComponentName, Variable};
    use robo_model::state::Step;
    use robo_wire::plan::{Ground, PlannedOverride, PlannedStep};

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
                provider_application: None,
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
        insta::assert_snapshot!(render(&plan(), false, Palette::new(false)), @r"
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
    fn others_overrides_and_steps_are_told() {
        let path = |text: &str| InstancePath::new(text).unwrap();
        let mut plan = plan();
        plan.changes.truncate(1);
        plan.ripple[0].application = Some(ApplicationName::new("billing").unwrap());
        let asked = |text, wanted, kept| PlannedOverride { path: path(text), wanted, kept };
        plan.overrides =
            vec![asked("/worker", Wanted::Stopped, false), asked("/web-1/cache", Wanted::NotDeployed, true)];
        let step = |text, device: &str, step| PlannedStep {
            path: path(text),
            application: (step == Step::Update).then(|| ApplicationName::new("billing").unwrap()),
            device: DeviceName::new(device).unwrap(),
            step,
        };
        plan.steps = vec![
            vec![step("/worker/a", "worker", Step::Stop), step("/worker/b", "worker", Step::Stop)],
            vec![step("/database/db", "database", Step::Start), step("/web-1/web", "web-1", Step::Update)],
        ];
        insta::assert_snapshot!(render(&plan, true, Palette::new(false)), @r"
        shop, on top of revision 3

          ~ /database/db       Database  on web-1, restarts
              port 3306 → 3307
          ↻ billing/web-1/web  sees Database.port of /database/db go 3306 → 3307, updates
          ! /worker            stopped on request, ends with this apply
          ! /web-1/cache       undeployed on request, kept

        Steps: those of one wave may run at the same time
          1  worker    stop /worker/a, stop /worker/b
          2  database  start /database/db
             web-1     update billing/web-1/web

        warning: /web-2 is offline

        Plan: 0 to create, 1 to change, 0 to delete; 1 other notices it.
        ");
        let kept = Plan { changes: vec![], ripple: vec![], warnings: vec![], ..plan };
        insta::assert_snapshot!(render(&kept, false, Palette::new(false)), @r"
          ! /worker  stopped on request, ends with this apply
          ! /web-1/cache  undeployed on request, kept
        Nothing changes: revision 3 of shop is what you have.
        ");
    }

    #[test]
    fn an_empty_plan_is_short() {
        let empty = Plan { changes: vec![], ripple: vec![], warnings: vec![], ..plan() };
        insta::assert_snapshot!(render(&empty, false, Palette::new(false)), @"Nothing changes: revision 3 of shop is what you have.");
    }
}
