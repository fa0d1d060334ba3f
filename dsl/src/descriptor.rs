//! `descriptor/application.properties` of a Roboconf project folder: a Java properties file.

use std::collections::BTreeMap;

use crate::block::{AliasDecl, ApplicationDecl};
use crate::check::is_version;
use crate::code::Code;
use crate::convert::Files;
use crate::diagnostic::{Diagnostic, Sink};
use crate::source::{FileId, Place, Span, Spanned, narrow};
use crate::syntax::{Text, short};

mod properties;

const PATH: &str = "descriptor/application.properties";

/// What a descriptor says.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) application: ApplicationDecl,
    pub(crate) graph: Option<Spanned<String>>,
    pub(crate) instances: Option<Spanned<String>>,
}

/// Reads and checks the descriptor; nothing, and reported, when there is none.
pub(crate) fn read(files: &mut Files<'_>, values: &BTreeMap<String, String>, sink: &mut Sink) -> Option<Descriptor> {
    let bytes = match files.bytes(PATH) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let file = files.add(PATH, String::new());
            let place = Place { file, span: Span::default() };
            let code = if files.has_folder("descriptor") { Code::NoDescriptor } else { Code::NoDescriptorFolder };
            sink.push(
                Diagnostic::new(code, place, format!("the descriptor `{PATH}` cannot be read: {reason}"))
                    .help("a project folder has a descriptor with `application-name`, `application-version` and `graph-entry-point`; a single file is applied by its own name"),
            );
            return None;
        }
    };
    // The original reads ISO-8859-1. What is UTF-8 is kept for showing it; its accents are wrong all the same.
    let (text, latin) = match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (error.as_bytes().iter().map(|byte| char::from(*byte)).collect(), true),
    };
    let text = substitute(&text, values);
    let file = files.add(PATH, text.clone());
    Some(Reader { file, latin, source: &text, entries: properties::entries(&text), sink }.descriptor())
}

/// Replaces `${key}`; what is not known stays.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        match after.split_once('}').and_then(|(key, after)| values.get(key).map(|value| (value, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

struct Reader<'r> {
    file: FileId,
    latin: bool,
    source: &'r str,
    entries: Vec<properties::Entry>,
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
        let graph = self.get("graph-entry-point").filter(|entry| !entry.value.is_empty());
        if graph.is_none() {
            let found =
                self.missing(Code::MissingGraphEntryPoint, "the descriptor names no graph", "graph-entry-point");
            self.sink.push(found.help("write `graph-entry-point = main.graph` for `graph/main.graph`"));
        }
        let instances = self.get("instance-entry-point").filter(|entry| !entry.value.is_empty());
        let description = self.get("description").map(|text| text.value).filter(|text| !text.is_empty());
        let tags = self.get("tags").map(|tags| tags.value).unwrap_or_default();
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let exports_prefix = self.get("exports-prefix").filter(|prefix| !prefix.value.is_empty());
        let exports = self.exports();
        Descriptor {
            application: ApplicationDecl { name, version, description, tags, exports_prefix, exports },
            graph,
            instances,
        }
    }

    /// The value of a key, or of its older form `application-KEY`; the last one counts.
    fn get(&self, key: &str) -> Option<Spanned<String>> {
        let old = format!("application-{key}");
        let find = |key: &str| self.entries.iter().rev().find(|entry| entry.key == key);
        let entry = find(key).or_else(|| find(&old))?;
        Some(Spanned { value: entry.value.trim().to_owned(), place: Place { file: self.file, span: entry.value_span } })
    }

    fn missing(&self, code: Code, message: &str, key: &str) -> Diagnostic {
        let end = narrow(self.source.trim_end().len());
        let place = Place { file: self.file, span: Span::new(end, end) };
        Diagnostic::new(code, place, message).label(format!("`{key}` is missing"))
    }

    fn name(&mut self) -> Spanned<String> {
        let Some(mut name) = self.get("name").filter(|name| !name.value.is_empty()) else {
            let found = self.missing(Code::MissingApplicationName, "the application has no name", "application-name");
            self.sink.push(found.help("write `application-name = the-name`"));
            return Spanned {
                value: "application".to_owned(),
                place: Place { file: self.file, span: Span::default() },
            };
        };
        let raw_accents = !name.place.span.of(self.source).is_ascii();
        if self.latin || !raw_accents {
            name.value = name.value.chars().map(without_accent).collect();
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
            name.value = "application".to_owned();
        }
        name
    }

    fn version(&mut self) -> Option<Spanned<String>> {
        let Some(version) = self.get("version").filter(|version| !version.value.is_empty()) else {
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
        for item in exports.value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let words: Vec<&str> = item.split_whitespace().collect();
            let at = text.as_str().find(item).map_or(exports.place.span, |start| text.span(start..start + item.len()));
            let place = Place { file: self.file, span: at };
            let spanned = |word: &str| Spanned { value: word.to_owned(), place };
            match words.as_slice() {
                [variable, word, alias] if word.eq_ignore_ascii_case("as") && !item.contains('=') => {
                    out.push(AliasDecl { variable: spanned(variable), alias: spanned(alias) });
                }
                _ => {
                    let message = format!("`{}` does not say what is exported under which name", short(item));
                    let found = Diagnostic::new(Code::InvalidExternalExports, place, message)
                        .label("expected `Component.variable as name`")
                        .help("write it as in `Db.ip as db-ip`");
                    self.sink.push(found);
                }
            }
        }
        out
    }
}

/// A Latin-1 letter without its accent, as the original makes it before it checks a name.
fn without_accent(c: char) -> char {
    match c {
        'À'..='Å' => 'A',
        'Ç' => 'C',
        'È'..='Ë' => 'E',
        'Ì'..='Ï' => 'I',
        'Ñ' => 'N',
        'Ò'..='Ö' => 'O',
        'Ù'..='Ü' => 'U',
        'Ý' => 'Y',
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        c => c,
    }
}
