//! `descriptor/application.properties` of a Roboconf project folder: a Java properties file.

use std::collections::BTreeMap;

mod accents;

use crate::block::{AliasDecl, ApplicationDecl};
use crate::check::{export_names, is_version};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Sink};
use crate::properties::{self, Properties};
use crate::source::{FileId, Place, SourceFile, Span, Spanned, narrow};
use crate::syntax::{Text, short};

/// Where a project has its descriptor.
pub(crate) const PATH: &str = "descriptor/application.properties";

/// The name of an application whose own is none, so that what follows can be checked.
const STAND_IN: &str = "application";

/// What a descriptor says.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) application: ApplicationDecl,
    pub(crate) graph: Option<Spanned<String>>,
    pub(crate) instances: Option<Spanned<String>>,
    /// It is an application's, made from the template of this name: there is no graph in its folder.
    pub(crate) template: Option<Spanned<String>>,
}

/// Checks one descriptor by itself. `values` replaces `${key}` before it is read, as Maven does; the diagnostics are
/// about the text after that, which comes first, as [`FileId`] 0.
#[must_use]
pub fn check_descriptor(bytes: &[u8], values: &BTreeMap<String, String>) -> (SourceFile, Vec<Diagnostic>) {
    let mut sink = Sink::default();
    let source = Source::new(bytes.to_vec(), values);
    source.read(FileId(0), &mut sink);
    (SourceFile::new(PATH.to_owned(), source.text), sink.finish())
}

/// A descriptor's text.
pub(crate) struct Source {
    pub(crate) text: String,
    latin: bool,
}

impl Source {
    /// The text, with `${key}` replaced.
    pub(crate) fn new(bytes: Vec<u8>, values: &BTreeMap<String, String>) -> Self {
        let (text, latin) = properties::decode(bytes);
        Self { text: substitute(&text, values), latin }
    }

    /// Reads and checks it; nothing, and reported, when it is no properties file.
    pub(crate) fn read(&self, file: FileId, sink: &mut Sink) -> Option<Descriptor> {
        let read = Properties::read(&self.text, file);
        if let Some(place) = read.malformed() {
            sink.push(
                Diagnostic::new(
                    Code::UnreadableDescriptor,
                    place,
                    "the descriptor is not well formed: `\\u` needs four digits",
                )
                .label("not four hexadecimal digits")
                .help("write `\\u00e9` for a letter, or `\\\\` for a backslash"),
            );
            return None;
        }
        let reader = Reader { file, latin: self.latin, source: &self.text, read, sink };
        let descriptor = match reader.template() {
            Some(template) => reader.application(template),
            None => reader.descriptor(),
        };
        export_names(&descriptor.application, sink);
        Some(descriptor)
    }
}

/// Replaces `${key}`; what is not known stays.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    // Up to where `text` is in `out`; the next `}` behind that, looked for once however many `${` come before it.
    let (mut at, mut close) = (0, 0);
    while let Some(open) = text.get(at..).and_then(|rest| rest.find("${")).map(|open| at + open) {
        let begin = open + "${".len();
        if close < begin {
            let Some(next) = text.get(begin..).and_then(|rest| rest.find('}')) else { break };
            close = begin + next;
        }
        let value = text.get(begin..close).and_then(|key| values.get(key));
        let (kept, next) = if value.is_some() { (open, close + 1) } else { (begin, begin) };
        out.push_str(text.get(at..kept).unwrap_or_default());
        out.push_str(value.map_or("", String::as_str));
        at = next;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

struct Reader<'r> {
    file: FileId,
    latin: bool,
    source: &'r str,
    read: Properties,
    sink: &'r mut Sink,
}

impl Reader<'_> {
    fn descriptor(mut self) -> Descriptor {
        let name = self.name();
        let version = self.version();
        if self.get("dsl-id").is_none() {
            let found = self.missing(
                Code::MissingDslId,
                "the descriptor does not say which language it is in",
                "application-dsl-id",
            );
            self.sink.push(found.help("write `application-dsl-id = roboconf-1.0`"));
        }
        let graph = self.get("graph-entry-point");
        if graph.is_none() {
            let found =
                self.missing(Code::MissingGraphEntryPoint, "the descriptor names no graph", "graph-entry-point");
            self.sink.push(found.help("write `graph-entry-point = main.graph` for `graph/main.graph`"));
        }
        let instances = self.get("instance-entry-point");
        let description = self.trimmed("description").map(|text| text.value);
        let tags = self.trimmed("tags").map(|tags| tags.value).unwrap_or_default();
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let exports_prefix = self.get("exports-prefix");
        let exports = self.exports();
        let application =
            ApplicationDecl { name, version, description, tags, exports_prefix, exports, unread: false, rollout: None };
        Descriptor { application, graph, instances, template: None }
    }

    /// What the manager of the original writes for an application made from a template.
    fn application(mut self, template: Spanned<String>) -> Descriptor {
        let name = self.name();
        let description = self.trimmed("description").map(|text| text.value);
        let application = ApplicationDecl {
            name,
            version: None,
            description,
            tags: Vec::new(),
            exports_prefix: None,
            exports: Vec::new(),
            rollout: None,
            unread: false,
        };
        Descriptor { application, graph: None, instances: None, template: Some(template) }
    }

    /// The template's name, in a file that is no template itself.
    fn template(&self) -> Option<Spanned<String>> {
        let template = self.get("template-name")?;
        let own = self.read.get("graph-entry-point").is_some();
        (!own).then_some(template)
    }

    /// The value of a key, or of its older form `application-KEY`; the last one counts, and a blank one does not.
    fn get(&self, key: &str) -> Option<Spanned<String>> {
        let old = format!("application-{key}");
        let found = self.read.get(key).or_else(|| self.read.get(&old))?;
        let text = found.value;
        (!text.trim().is_empty()).then(|| Spanned { value: text.to_owned(), place: found.place })
    }

    /// [`Self::get`] without blanks around it, where they mean nothing.
    fn trimmed(&self, key: &str) -> Option<Spanned<String>> {
        self.get(key).map(|found| Spanned { value: found.value.trim().to_owned(), place: found.place })
    }

    /// At the key when it has no value, else at the file's end.
    fn missing(&self, code: Code, message: &str, key: &str) -> Diagnostic {
        let end = narrow(self.source.trim_end().len());
        let short = key.strip_prefix("application-").unwrap_or(key);
        let empty = self.read.key(short).or_else(|| self.read.key(key));
        let place = empty.unwrap_or(Place { file: self.file, span: Span::new(end, end) });
        let label = if empty.is_some() { "has no value".to_owned() } else { format!("`{key}` is missing") };
        Diagnostic::new(code, place, message).label(label)
    }

    fn name(&mut self) -> Spanned<String> {
        let Some(mut name) = self.trimmed("name") else {
            let found = self.missing(Code::MissingApplicationName, "the application has no name", "application-name");
            self.sink.push(found.help("write `application-name = the-name`"));
            return Spanned { value: STAND_IN.to_owned(), place: Place { file: self.file, span: Span::default() } };
        };
        let raw_accents = !name.place.span.of(self.source).is_ascii();
        if self.latin || !raw_accents {
            name.value = accents::removed(&name.value);
        }
        if !robo_model::name::is_app_name(&name.value) {
            let help = if name.value.contains("${") {
                "Maven fills this in; give its value, or write the name itself"
            } else if raw_accents {
                "descriptors are ISO-8859-1: write an accent as in `\\u00e9`"
            } else {
                "letters, digits, `_`, `-`, `.`, `(`, `)` and blanks, starting with a letter or `_`"
            };
            let message = format!("`{}` is not an application's name", short(&name.value));
            let found =
                Diagnostic::new(Code::InvalidApplicationName, name.place, message).label("not a name").help(help);
            self.sink.push(found);
            // Reported once: what follows goes on with a name that is one.
            name.value = STAND_IN.to_owned();
        }
        name
    }

    fn version(&mut self) -> Option<Spanned<String>> {
        let Some(version) = self.get("version") else {
            let found =
                self.missing(Code::MissingApplicationVersion, "the application has no version", "application-version");
            self.sink.push(found.help("write `application-version = 1.0`"));
            return None;
        };
        if is_version(&version.value) {
            return Some(version);
        }
        let help = if version.value.contains("${") {
            "Maven fills this in; give its value, or write the version itself"
        } else if is_version(version.value.trim()) {
            "a blank at the end belongs to the version: take it away"
        } else {
            "write it as in `1.0`, `1.4.2` or `2.0-beta`"
        };
        let message = format!("`{}` is not a version", short(&version.value));
        let found = Diagnostic::new(Code::InvalidApplicationVersion, version.place, message)
            .label("at least two numbers with a dot between them are needed")
            .help(help);
        self.sink.push(found);
        None
    }

    fn exports(&mut self) -> Vec<AliasDecl> {
        let Some(exports) = self.get("exports") else { return Vec::new() };
        let mut out = Vec::new();
        let text = Text::new(self.source, exports.place.span);
        let mut rest = text.as_str();
        // As Java splits: empty items at the end do not count, others do.
        for item in exports.value.trim_end_matches(',').split(',').map(str::trim) {
            // The text as written has the same words in the same order, between its line breaks.
            let words: Vec<&str> = item.split_whitespace().collect();
            let [variable, word, alias] = words.as_slice() else {
                let place = Place { file: self.file, span: item_span(&text, &mut rest, &words) };
                self.invalid_export(item, place);
                continue;
            };
            let mut spanned = |value: &str| Spanned {
                value: value.to_owned(),
                place: Place { file: self.file, span: item_span(&text, &mut rest, &[value]) },
            };
            let (variable, alias) = (spanned(variable), spanned(alias));
            if word.eq_ignore_ascii_case("as") && !item.contains('=') {
                out.push(AliasDecl { variable, alias });
            } else {
                let span = Span::new(variable.place.span.start, alias.place.span.end);
                self.invalid_export(item, Place { file: self.file, span });
            }
        }
        out
    }

    fn invalid_export(&mut self, item: &str, place: Place) {
        let message = format!("`{}` does not say what is exported under which name", short(item));
        let found = Diagnostic::new(Code::InvalidExternalExports, place, message)
            .label("expected `Component.variable as name`")
            .help("write it as in `Db.ip as db-ip`");
        self.sink.push(found);
    }
}

/// Where some words stand in the rest of a text, which then begins after them; all of the text where it is written
/// with escapes, and for all that follows: looking for each word through all of it would take too long.
fn item_span(text: &Text<'_>, rest: &mut &str, words: &[&str]) -> Span {
    let mut out: Option<Span> = None;
    for word in words {
        let Some((found, after)) = rest.find(word).and_then(|at| rest.get(at..)?.split_at_checked(word.len())) else {
            *rest = "";
            return text.whole();
        };
        let span = text.span_of(found);
        out = Some(Span::new(out.map_or(span.start, |first| first.start), span.end));
        *rest = after;
    }
    out.unwrap_or_else(|| text.whole())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor, and each mistake's name and the text under it.
    fn check(text: &str, expect: &[(&str, &str)]) {
        let (source, found) = check_descriptor(text.as_bytes(), &BTreeMap::new());
        let got: Vec<(&str, &str)> =
            found.iter().map(|d| (d.code.alias().unwrap_or_default(), d.span.of(&source.text))).collect();
        assert_eq!(got, expect, "{text:?}\n{found:#?}");
    }

    const HEAD: &str = "name=a\nversion=1.0\ndsl-id=x\ngraph-entry-point=main.graph\n";

    #[test]
    fn descriptors_are_checked_by_themselves() {
        check(HEAD, &[]);
        for (line, code, under) in [
            ("version = 1.0 \n", "RM_INVALID_APPLICATION_VERSION", "1.0 "),
            ("version=snapshot", "RM_INVALID_APPLICATION_VERSION", "snapshot"),
            ("version=${v}", "RM_INVALID_APPLICATION_VERSION", "${v}"),
            ("version=\n", "RM_MISSING_APPLICATION_VERSION", "version"),
            ("name = 1a", "RM_INVALID_APPLICATION_NAME", "1a"),
            ("name=é", "RM_INVALID_APPLICATION_NAME", "é"),
            ("dsl-id: ", "RM_MISSING_APPLICATION_DSL_ID", "dsl-id"),
            ("graph-entry-point", "RM_MISSING_APPLICATION_GEP", "graph-entry-point"),
            ("description = \\u12", "PROJ_READ_DESC_FILE", "\\u12"),
            ("exports = A.b as c", "RM_MISSING_APPLICATION_EXPORT_PREFIX", "A.b"),
            ("exports = A.b as c,,\nexports-prefix = P ", "RM_INVALID_APPLICATION_EXPORT_PREFIX", "P "),
            ("exports-prefix = P\nexports = A.b c", "PROJ_INVALID_EXTERNAL_EXPORTS", "A.b c"),
            (
                "exports-prefix = P\nexports = A.b as c, , A.c as d",
                "PROJ_INVALID_EXTERNAL_EXPORTS",
                "A.b as c, , A.c as d",
            ),
            ("exports-prefix = P\nexports = A.b as c,A.c=as d", "PROJ_INVALID_EXTERNAL_EXPORTS", "A.c=as d"),
            ("exports-prefix = P\nexports = A.b as c,A.b of d", "PROJ_INVALID_EXTERNAL_EXPORTS", "A.b of d"),
            ("exports-prefix = P\nexports = A.b as 1c", "RM_INVALID_VARIABLE_NAME", "1c"),
            ("exports-prefix = P\nexports = A! as c", "RM_INVALID_VARIABLE_NAME", "A!"),
            ("exports-prefix = P\nexports = A.b as c,\\\n\t A.d as c", "RM_ALREADY_DEFINED_EXTERNAL_EXPORT", "c"),
        ] {
            check(&format!("{HEAD}{line}"), &[(code, under)]);
        }
        // That nobody exports `A` is for the graph to say; of two names for one variable the last one counts.
        for line in ["exports = A as c", "exports = A.b as c, A.b as d, A.e as c", "exports = A.b as 1, A.b as b"] {
            check(&format!("{HEAD}exports-prefix = P\n{line}"), &[]);
        }
        check(
            "a=",
            &[
                ("RM_MISSING_APPLICATION_NAME", ""),
                ("RM_MISSING_APPLICATION_VERSION", ""),
                ("RM_MISSING_APPLICATION_DSL_ID", ""),
                ("RM_MISSING_APPLICATION_GEP", ""),
            ],
        );
    }

    #[test]
    fn older_keys_and_latin_accents_are_read() {
        let old = "application-name: \\u00e9t\\u00e9\napplication-version 1.0\napplication-dsl-id=x\n\
                   graph-entry-point=a\napplication-namespace = y\n";
        check(old, &[]);
        let (_, found) = check_descriptor(b"name=\xe9\nversion=1.0\ndsl-id=x\ngraph-entry-point=a", &BTreeMap::new());
        assert_eq!(found, []);
    }

    #[test]
    fn known_keys_are_replaced() {
        let values = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b.c".to_owned(), "${a}".to_owned())]);
        for (text, expect) in [
            ("x${a}y${b.c}z", "x1y${a}z"),
            ("${no}${a}", "${no}1"),
            ("${${a}}", "${1}"),
            ("${a", "${a"),
            ("}${a}${", "}1${"),
            ("é${a}é", "é1é"),
        ] {
            assert_eq!(substitute(text, &values), expect, "{text}");
        }
    }

    #[test]
    fn descriptors_of_applications_are_accepted() {
        check("application-name = a\napplication-template-name = t\ntemplate-version = 1\n", &[]);
        check("name = a\ntemplate-name: t\n", &[]);
        check("template-name: t\n", &[("RM_MISSING_APPLICATION_NAME", "")]);
        check(&format!("{HEAD}template-name: t"), &[]);
    }
}
