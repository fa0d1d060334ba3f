//! What an application block or a descriptor says of the application itself.

use std::collections::{BTreeMap, HashMap};

use robo_model::graph::Application;
use robo_model::name::{ApplicationName, ComponentName, Variable, VariableName, is_id};

use super::offered::Offered;
use crate::block::{AliasDecl, ApplicationDecl, Part};
use crate::code::Code;
use crate::convert::Graph;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{Place, Spanned};
use crate::suggest::{MAX_CANDIDATES, did_you_mean};
use crate::syntax::short;

/// An application without components and instances.
pub(crate) type Head = Application;

/// Checks the block. `default_name` is for an application that has none.
pub(crate) fn head(decl: Option<&ApplicationDecl>, default_name: &str, graph: &Graph, sink: &mut Sink) -> Head {
    let mut head = Application {
        name: valid_name(default_name),
        version: None,
        description: None,
        tags: Vec::new(),
        exports_prefix: None,
        exports: BTreeMap::new(),
        rollout: None,
        components: BTreeMap::new(),
        instances: BTreeMap::new(),
    };
    let Some(decl) = decl else { return head };
    match ApplicationName::new(&decl.name.value) {
        Ok(name) => head.name = name,
        Err(error) => sink.push(
            Diagnostic::new(Code::InvalidApplicationName, decl.name.place, error.to_string())
                .label("not an application's name")
                .help(format!("write `{}`", valid_name(&decl.name.value))),
        ),
    }
    if let Some(version) = &decl.version {
        check_version(version, sink);
        head.version = Some(version.value.clone());
    }
    head.description.clone_from(&decl.description);
    head.tags.clone_from(&decl.tags);
    head.rollout.clone_from(&decl.rollout);
    head.exports_prefix = decl.exports_prefix.as_ref().and_then(|prefix| exports_prefix(prefix, sink));
    head.exports = exports(decl, graph, sink);
    head
}

fn check_version(version: &Spanned<String>, sink: &mut Sink) {
    if !is_version(&version.value) {
        sink.push(
            Diagnostic::new(
                Code::InvalidApplicationVersion,
                version.place,
                format!("`{}` is not a version", short(&version.value)),
            )
            .label("at least two numbers with a dot between them are needed")
            .help("write it as in `1.0`, `1.4.2` or `2.0-beta`"),
        );
    }
}

/// `major.minor[.patch][(. or -)qualifier]`
pub(crate) fn is_version(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let Some((major, rest)) = text.split_once('.') else { return false };
    let minor = digits(rest);
    if major.is_empty() || digits(major) != major.len() || minor == 0 {
        return false;
    }
    let rest = rest.get(minor..).unwrap_or_default();
    rest.is_empty() || (rest.len() > 1 && rest.starts_with(['.', '-']))
}

fn exports_prefix(prefix: &Spanned<String>, sink: &mut Sink) -> Option<ComponentName> {
    let name = ComponentName::new(&prefix.value);
    if let Err(error) = &name {
        sink.push(
            Diagnostic::new(Code::InvalidExportsPrefix, prefix.place, error.to_string())
                .label("not a prefix")
                .help("write a name without blanks, as in `exports-prefix: Warehouse;`"),
        );
    }
    name.ok()
}

/// What can be said of external exports without a graph: the prefix, and the names by themselves.
pub(crate) fn export_names(decl: &ApplicationDecl, sink: &mut Sink) {
    if let Some(prefix) = &decl.exports_prefix {
        exports_prefix(prefix, sink);
    }
    let Some(first) = decl.exports.first() else { return };
    if decl.exports_prefix.is_none() && !decl.unread {
        sink.push(
            Diagnostic::new(
                Code::MissingExportsPrefix,
                first.variable.place,
                "the application exports without a prefix",
            )
            .label("under which prefix do others import it?")
            .help("write `exports-prefix: Name;`"),
        );
    }
    let mut aliases: HashMap<&str, Place> = HashMap::new();
    for export in in_force(&decl.exports) {
        if let Some(first) = aliases.get(export.alias.value.as_str()) {
            let message = format!("two external exports are called `{}`", export.alias.value);
            sink.push(
                Diagnostic::new(Code::DuplicateExternalExport, export.alias.place, message)
                    .label("used again")
                    .help("choose another name")
                    .related(*first, "first used here"),
            );
        } else {
            aliases.insert(&export.alias.value, export.alias.place);
        }
        if VariableName::new(&export.alias.value).is_err() {
            sink.push(invalid_name(&export.alias, "write a name as in `db-ip`"));
        }
        if !is_id(&export.variable.value) {
            sink.push(invalid_name(&export.variable, "write it as in `Db.ip`"));
        }
    }
}

/// Of several names for one variable the last one counts, as in the original; the others are not looked at.
fn in_force(exports: &[AliasDecl]) -> impl Iterator<Item = &AliasDecl> {
    let last: HashMap<&str, usize> =
        exports.iter().enumerate().map(|(i, export)| (export.variable.value.as_str(), i)).collect();
    let is_last = move |i: usize, export: &AliasDecl| last.get(export.variable.value.as_str()) == Some(&i);
    exports.iter().enumerate().filter(move |(i, export)| is_last(*i, export)).map(|(_, export)| export)
}

fn invalid_name(name: &Spanned<String>, help: &str) -> Diagnostic {
    let message = format!("`{}` is not a variable's name", short(&name.value));
    Diagnostic::new(Code::InvalidVariableName, name.place, message)
        .label("letters, digits, `_`, `-` and `.`, starting with a letter or `_`")
        .help(help)
}

fn exports(decl: &ApplicationDecl, graph: &Graph, sink: &mut Sink) -> BTreeMap<Variable, VariableName> {
    export_names(decl, sink);
    if decl.exports.is_empty() {
        return BTreeMap::new();
    }
    let offered = Offered::new(graph, graph.component_ids());
    in_force(&decl.exports).filter_map(|export| external(export, graph, &offered, sink)).collect()
}

/// Whether somebody exports it.
fn external(
    export: &AliasDecl,
    graph: &Graph,
    offered: &Offered<'_>,
    sink: &mut Sink,
) -> Option<(Variable, VariableName)> {
    let text = export.variable.value.as_str();
    let variable = Variable::parse(text).ok();
    let known = variable.as_ref().is_some_and(|Variable { prefix, local }| {
        graph.is_open(prefix.as_str(), Part::Exports) || offered.has(prefix.as_str(), local.as_str())
    });
    // What is no name at all was reported.
    if graph.complete && !known && is_id(text) {
        let most = if sink.is_full() { 0 } else { MAX_CANDIDATES };
        let all: Vec<String> = offered.all().take(most).collect();
        let help = did_you_mean(text, all.iter().map(String::as_str), || {
            let whole = "write the component before it, as in `Db.ip`";
            let help = if text.contains('.') { "export it in a component first" } else { whole };
            help.to_owned()
        });
        let message = format!("no component exports `{}`", short(text));
        sink.push(
            Diagnostic::new(Code::InvalidExternalExport, export.variable.place, message)
                .label("nobody exports this")
                .help(help),
        );
    }
    Some((variable?, VariableName::new(&export.alias.value).ok()?))
}

/// A name for an application that has none: what cannot stand in a name becomes `-`.
fn valid_name(text: &str) -> ApplicationName {
    let mut name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '(' | ')') { c } else { '-' })
        .take(robo_model::limits::MAX_NAME_BYTES - 1)
        .collect();
    if !name.get(..1).is_some_and(is_id) {
        name.insert(0, '_');
    }
    ApplicationName::new(&name).unwrap_or_else(|_| FALLBACK.clone())
}

/// What no text leads to: the name above is always valid.
static FALLBACK: std::sync::LazyLock<ApplicationName> = std::sync::LazyLock::new(|| valid_name("application"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_numbers() {
        for good in ["1.0", "1.0.2", "1.0-SNAPSHOT", "1.2.3.final", "10.20"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1", "1.", "x", "1.x", ".1", "snapshot", "1.0x", "1.0-"] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in [("shop", "shop"), ("my@app", "my-app"), ("8bit", "_8bit"), ("", "_"), ("é", "_-")] {
            assert_eq!(valid_name(text).as_str(), name);
        }
    }
}
