//! Rows of kind command-line: one instruction of a commands file.

use robo_dsl::{Action, CommandContext, Instruction, SourceFile, check_commands};
use robo_model::name::{ComponentName, InstancePath};

use super::fixtures;
use super::verdict::{self, Problem};

/// The name that the checked file has.
const OWN: &str = "own.commands";

/// What is wrong with our verdict on a row.
pub(super) fn check(input: &str, expected: &str) -> Vec<Problem> {
    let text = text(input);
    let context = context(input);
    let (commands, found) = check_commands(&text, &context);
    let seen = verdict::seen(&found, &[SourceFile::new(OWN, text.as_str())]);
    let (codes, more) = expected.split_once("; ").unwrap_or((expected, ""));
    let problems = match codes {
        "(none)" => {
            let mut problems = verdict::no_errors(&seen);
            problems.extend(commands.instructions.first().map_or_else(
                || Some(Problem::other("no instruction came out")),
                |instruction| value(instruction, more),
            ));
            problems
        }
        "not a bulk instruction" => verdict::hold(&verdict::wants("CMD_UNRECOGNIZED_INSTRUCTION"), &seen),
        codes => verdict::hold(&verdict::wants(codes), &seen),
    };
    verdict::with_ours(problems, &seen)
}

/// The line, with its placeholders filled in. A comment keeps the blanks at its end, which lines are trimmed of.
fn text(input: &str) -> String {
    let line = input
        .replace("   [same]", "")
        .replace(" (file exists)", "")
        .replace("<own file name>", OWN)
        .replace("<own name without extension>", OWN.trim_end_matches(".commands"))
        .replace("<other, missing file>", "missing")
        .replace("<other>", "other");
    if line.ends_with(' ') { format!("{line}# a comment\n") } else { format!("{line}\n") }
}

fn context(input: &str) -> CommandContext {
    let mut context = fixtures::test_application().file(OWN).sibling("other", "create vm as x\n").sibling(OWN, "");
    // The indexes that are looked for there.
    if input.contains("oops $(EXISTING_INDEX") {
        let component: ComponentName = "tomcat".parse().expect("a name");
        for index in 1..=3 {
            let path: InstancePath = format!("/tomcat-vm/oops {index}").parse().expect("a path");
            context = context.instance(path, component.clone());
        }
    }
    context
}

/// The value that a `define` gives: `'t 1 t'`, `disabled, 'fake'` or `letters`.
fn value(instruction: &Instruction, expected: &str) -> Option<Problem> {
    let Action::Define { value, .. } = &instruction.action else { return None };
    let same = match expected {
        "" => true,
        "letters" => value.chars().all(char::is_alphabetic),
        quoted => quoted.split('\'').nth(1) == Some(value.as_str()),
    };
    (!same).then(|| Problem::other(format!("the value is `{value}`, not {expected}")))
}
