//! What the original found, what we found, and how the two are compared.

use robo_dsl::{Diagnostic, Severity, SourceFile, Stage};

/// A mistake that the original finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) code: String,
    /// Nothing where the original knows no line: it then says 0 or -1.
    pub(super) line: Option<usize>,
    /// The component, facet or instance that it is about.
    pub(super) object: Option<String>,
}

/// A mistake that we find.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The original's code, or ours where the original has none.
    pub(super) code: &'static str,
    pub(super) stage: Stage,
    pub(super) error: bool,
    pub(super) file: String,
    pub(super) line: usize,
    /// All that it says.
    pub(super) text: String,
}

/// Where we and the original differ.
#[derive(Debug)]
pub(super) struct Problem {
    /// The code that is missing or too many; `-` when it is about something else.
    pub(super) code: String,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self { code: "-".to_owned(), text: text.into() }
    }
}

/// Reads `CODE`, `CODE@line` and `CODE[object]`, separated by commas; `-` is nothing.
pub(super) fn wants(list: &str) -> Vec<Want> {
    list.split(',').map(str::trim).filter(|item| !matches!(*item, "" | "-")).map(want).collect()
}

fn want(item: &str) -> Want {
    let (item, object) = match item.split_once('[') {
        Some((item, object)) => (item, Some(object.trim_end_matches(']').to_owned())),
        None => (item, None),
    };
    let (code, line) = match item.split_once('@') {
        Some((code, line)) => (code, line.parse().ok().filter(|line| *line > 0)),
        None => (item, None),
    };
    Want { code: code.to_owned(), line, object }
}

pub(super) fn seen(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> Vec<Seen> {
    let one = |diagnostic: &Diagnostic| {
        let source = sources.get(diagnostic.file.0).expect("the diagnostic's file is among the sources");
        let text = [&diagnostic.message, &diagnostic.label].map(String::as_str).join("; ");
        Seen {
            code: diagnostic.code.alias().unwrap_or(diagnostic.code.as_str()),
            stage: diagnostic.stage,
            error: diagnostic.severity == Severity::Error,
            file: source.name.clone(),
            line: source.position(diagnostic.span.start).line,
            text,
        }
    };
    diagnostics.iter().map(one).collect()
}

/// Each wanted mistake is among ours, as often as it is wanted.
pub(super) fn hold(wants: &[Want], seen: &[Seen]) -> Vec<Problem> {
    let mut free = vec![true; seen.len()];
    let mut problems = Vec::new();
    // Those with a line first: the others take what is left.
    let (with_line, without): (Vec<&Want>, Vec<&Want>) = wants.iter().partition(|want| want.line.is_some());
    for want in with_line.into_iter().chain(without) {
        let fits =
            |seen: &Seen| seen.code == want.code && want.line.is_none_or(|line| line == seen.line) && told(want, seen);
        match seen.iter().zip(&free).position(|(seen, free)| *free && fits(seen)) {
            Some(at) => free[at] = false,
            None => problems.push(Problem { code: want.code.clone(), text: format!("{} is missing", spelled(want)) }),
        }
    }
    problems
}

/// The message names the thing. The original names the holder of a variable, we name the variable; and `Graphs` is its
/// word for the whole.
fn told(want: &Want, seen: &Seen) -> bool {
    const ABOUT_VARIABLES: [&str; 4] =
        ["RM_INVALID_RANDOM_KIND", "RM_NO_VALUE_FOR_RANDOM", "RM_MAGIC_INSTANCE_VARIABLE", "RM_AMBIGUOUS_OVERRIDING"];
    let Some(object) = &want.object else { return true };
    object == "Graphs"
        || ABOUT_VARIABLES.contains(&want.code.as_str())
        || seen.text.contains(&format!("`{object}`"))
        || seen.file.split('/').any(|folder| folder == object)
}

/// Nothing is refused in these stages.
pub(super) fn clean(stages: &[Stage], seen: &[Seen]) -> Vec<Problem> {
    let some: Vec<Seen> = seen.iter().filter(|seen| stages.contains(&seen.stage)).cloned().collect();
    no_errors(&some)
}

/// Nothing is refused.
pub(super) fn no_errors(seen: &[Seen]) -> Vec<Problem> {
    let problem = |seen: &Seen| Problem { code: seen.code.to_owned(), text: format!("valid, but: {}", shown(seen)) };
    seen.iter().filter(|seen| seen.error).map(problem).collect()
}

/// Something is.
pub(super) fn refused(seen: &[Seen]) -> Vec<Problem> {
    if seen.iter().any(|seen| seen.error) { Vec::new() } else { vec![Problem::other("no error at all")] }
}

/// Adds what we found instead.
pub(super) fn with_ours(mut problems: Vec<Problem>, seen: &[Seen]) -> Vec<Problem> {
    if let Some(last) = problems.last_mut() {
        let ours: Vec<String> = seen.iter().map(shown).collect();
        last.text = format!("{}\n    ours: {}", last.text, ours.join("\n          "));
    }
    problems
}

/// A count in the row's notes.
pub(super) fn counted(what: &str, noted: Option<usize>, ours: usize) -> Option<Problem> {
    let noted = noted.filter(|noted| *noted != ours)?;
    Some(Problem::other(format!("{ours} {what}, not {noted}")))
}

pub(super) fn shown(seen: &Seen) -> String {
    format!("{}@{}:{} ({})", seen.code, seen.file, seen.line, seen.text)
}

fn spelled(want: &Want) -> String {
    let line = want.line.map(|line| format!("@{line}")).unwrap_or_default();
    let object = want.object.as_deref().map(|object| format!("[{object}]")).unwrap_or_default();
    format!("{}{line}{object}", want.code)
}

#[test]
fn a_wrong_verdict_is_seen() {
    let seen = |code, line| Seen {
        code,
        stage: Stage::Blocks,
        error: true,
        file: "a.graph".into(),
        line,
        text: "`A` is wrong".into(),
    };
    let ours = [seen("PM_INVALID_NAME", 2), seen("PM_INVALID_NAME", 4)];
    let problems = |list: &str| hold(&wants(list), &ours).len();
    assert_eq!(problems("PM_INVALID_NAME,PM_INVALID_NAME@4"), 0);
    assert_eq!(problems("PM_INVALID_NAME@0,PM_INVALID_NAME[A]"), 0);
    assert_eq!(problems("PM_INVALID_NAME@3"), 1);
    assert_eq!(problems("PM_INVALID_NAME[B]"), 1);
    assert_eq!(problems("PM_INVALID_NAME,PM_INVALID_NAME,PM_INVALID_NAME"), 1);
    assert_eq!(clean(&[Stage::Parse], &ours).len() + 2 * clean(&[Stage::Parse, Stage::Blocks], &ours).len(), 4);
    assert_eq!(refused(&[]).len() + refused(&ours).len(), 1);
}
