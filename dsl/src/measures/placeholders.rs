//! `{{ name }}` in measures.

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::Properties;
use crate::source::{Place, Span, narrow, widen};
use crate::suggest::did_you_mean;
use crate::syntax::short;

/// A line with its placeholders replaced; one that nothing gives a value to stays, and is warned of.
pub(super) fn expanded(line: &str, place: Place, values: Option<&Properties>, sink: &mut Sink) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once("}}") else {
            out.push_str("{{");
            out.push_str(after);
            return out;
        };
        let name = inside.trim();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains("{{") {
            out.push_str("{{");
            rest = after;
            continue;
        }
        if let Some(value) = values.and_then(|values| values.get(name)) {
            out.push_str(value.value);
        } else {
            let start = widen(place.span.start) + (line.len() - after.len()) - "{{".len();
            let length = inside.len() + "{{}}".len();
            let span = Span::new(narrow(start), narrow(start + length));
            sink.push(unknown(name, Place { span, ..place }, values));
            out.push_str("{{");
            out.push_str(inside);
            out.push_str("}}");
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn unknown(name: &str, place: Place, values: Option<&Properties>) -> Diagnostic {
    let names = values.map(Properties::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str());
    let help = did_you_mean(name, names, || {
        format!("write `{} = …` into the file beside it whose name ends in `.measures.properties`", short(name))
    });
    Diagnostic::new(Code::ProbePlaceholder, place, format!("nothing gives `{}` a value", short(name)))
        .label("stays as it is")
        .help(help)
}
