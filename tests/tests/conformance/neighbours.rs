//! Rows of kind commands, rule, measures, target and descriptor: the files beside a graph.

use std::fs;
use std::path::Path;

use robo_dsl::{
    Action, CommandContext, Diagnostic, SourceFile, check_commands, check_descriptor, check_measures, check_rule,
    check_target,
};

use super::fixtures;
use super::folder::below;
use super::projects;
use super::table::Row;
use super::verdict::{self, Problem, Seen, Want};

/// What is wrong with our verdict on a row.
pub(super) fn check(row: &Row, corpus: &Path) -> Vec<Problem> {
    let place = row.place(corpus);
    match row.kind.as_str() {
        "commands" => commands(row, &place),
        "rule" => rule(row, &text(&place)),
        "measures" => measures(row, &place),
        "target" => target(row, &place),
        "descriptor" => descriptor(row, &place),
        other => vec![Problem::other(format!("no check for the kind `{other}`"))],
    }
}

fn commands(row: &Row, place: &Path) -> Vec<Problem> {
    let text = text(place);
    let name = place.file_name().expect("a row names a file").to_string_lossy();
    let context = match row.context.strip_prefix("application applications/") {
        // The application that the file belongs to.
        Some(_) => {
            let project = place.ancestors().nth(2).expect("it lies in a project");
            CommandContext::of(&projects::application(project))
        }
        None => fixtures::test_application(),
    };
    let (commands, found) =
        check_commands(&text, &context.file(&name).sibling("single-line-commands", "create vm as x\n"));
    let mut problems = judged(row, &seen(&found, &text));
    let emails = commands.instructions.iter().filter(|i| matches!(i.action, Action::Email { .. })).count();
    problems.extend(verdict::counted("instructions", row.noted("instructions"), commands.recognized));
    problems.extend(verdict::counted("mails", row.noted("e-mails"), emails));
    let message = |action: &Action| matches!(action, Action::Email { message, .. } if message.contains('\n'));
    if row.notes.contains("real newline") && !commands.instructions.iter().any(|i| message(&i.action)) {
        problems.push(Problem::other("the message has no line end"));
    }
    problems
}

fn rule(row: &Row, text: &str) -> Vec<Problem> {
    let (rule, found) = check_rule(text);
    let mut problems = judged(row, &seen(&found, text));
    if row.valid != rule.is_some() {
        problems.push(Problem::other(format!("a rule came out: {}", rule.is_some())));
    }
    let Some(rule) = rule else { return problems };
    let seconds = |time: std::time::Duration| usize::try_from(time.as_secs()).expect("a small number");
    problems.extend(verdict::counted("s of sleep", noted_after(row, "sleep "), seconds(rule.sleep)));
    problems.extend(verdict::counted(
        "s of window",
        noted_after(row, "timing window "),
        rule.window.map_or(0, seconds),
    ));
    let told = format!("event {}, commands [{}]", rule.event, rule.commands.join(", "));
    if row.notes.contains("commands [") && !row.notes.contains(&told) {
        problems.push(Problem::other(told));
    }
    problems
}

/// The number behind some words of the notes.
fn noted_after(row: &Row, words: &str) -> Option<usize> {
    let (_, after) = row.notes.split_once(words)?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn measures(row: &Row, place: &Path) -> Vec<Problem> {
    let text = text(place);
    let properties = fs::read_to_string(place.with_extension("properties")).ok();
    let (measures, found) = check_measures(&text, properties.as_deref());
    let mut problems = judged(row, &seen(&found, &text));
    problems.extend(verdict::counted("sections", row.noted("sections"), measures.len()));
    problems
}

/// A file, or the one in a folder.
fn target(row: &Row, place: &Path) -> Vec<Problem> {
    let inside = below(place).into_iter().find(|file| file.ends_with(".properties") && !file.contains('/'));
    let place = inside.map_or(place.to_owned(), |file| place.join(file));
    let text = text(&place);
    let (target, found) = check_target(text.as_bytes());
    let mut problems = judged(row, &seen(&found, &text));
    if row.valid != target.is_some() {
        problems.push(Problem::other(format!("a target came out: {}", target.is_some())));
    }
    problems
}

fn descriptor(row: &Row, place: &Path) -> Vec<Problem> {
    let bytes = fs::read(place).unwrap_or_else(|e| panic!("cannot read {}: {e}", place.display()));
    let project = place.ancestors().nth(2).expect("a descriptor lies in a project");
    let check = |bytes: &[u8], filtered: bool| {
        let values = if filtered { projects::filter(project) } else { Default::default() };
        let (source, found) = check_descriptor(bytes, &values);
        verdict::seen(&found, &[source])
    };
    let mut problems = judged(row, &check(&bytes, true));
    // As it lies there, before Maven filled it in.
    let unfiltered = row.notes.split_once("unfiltered: ").map_or(Vec::new(), |(_, codes)| verdict::wants(codes));
    problems.extend(verdict::hold(&unfiltered, &check(&bytes, false)));
    for (key, code) in [("name", "RM_INVALID_APPLICATION_NAME"), ("version", "RM_INVALID_APPLICATION_VERSION")] {
        if let Some(line) = line_of(row, key) {
            let broken = with_line(&String::from_utf8_lossy(&bytes), line, &format!("{key} = !"));
            let want = Want { code: code.to_owned(), line: Some(line), object: None };
            problems.extend(verdict::hold(&[want], &check(broken.as_bytes(), true)));
        }
    }
    problems
}

/// The line of a property, where the notes list them.
fn line_of(row: &Row, key: &str) -> Option<usize> {
    row.notes.strip_prefix("property lines asserted: ")?;
    noted_after(row, &format!("{key} "))
}

fn with_line(text: &str, line: usize, other: &str) -> String {
    let each = text.lines().zip(1..).map(|(old, number)| if number == line { other } else { old });
    each.collect::<Vec<_>>().join("\n")
}

/// A valid row has no error, an invalid one the codes that it names.
fn judged(row: &Row, seen: &[Seen]) -> Vec<Problem> {
    let mut problems = verdict::hold(&row.expected, seen);
    if row.valid {
        problems.extend(verdict::no_errors(seen));
    } else {
        problems.extend(verdict::refused(seen));
    }
    verdict::with_ours(problems, seen)
}

fn seen(found: &[Diagnostic], text: &str) -> Vec<Seen> {
    verdict::seen(found, &[SourceFile::new("", text)])
}

fn text(place: &Path) -> String {
    fs::read_to_string(place).unwrap_or_else(|e| panic!("cannot read {}: {e}", place.display()))
}
