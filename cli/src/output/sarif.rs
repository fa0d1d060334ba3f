//! Diagnostics as SARIF 2.1.0, which code review tools read:
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::HashMap;

use robo_dsl::{Code, Compiled, Diagnostic, EditorPosition, FileId, Severity, Span, Stage, explain};
use serde::Serialize;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Where people read about robo, and about a code.
const HOME: &str = env!("CARGO_PKG_REPOSITORY");

/// A log with one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    semantic_version: &'static str,
    information_uri: &'static str,
    /// The codes that occur.
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: Code,
    name: String,
    short_description: Text,
    full_description: Text,
    help: Help,
    help_uri: String,
    default_configuration: Configuration,
    properties: RuleProperties,
}

#[derive(Debug, Serialize)]
struct Text {
    text: String,
}

#[derive(Debug, Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Debug, Serialize)]
struct RuleProperties {
    stage: Stage,
    /// Roboconf's name of the mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'static str>,
}

/// What SARIF calls a result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: Code,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

/// Lines and columns from 1, in UTF-16 code units; the end column is the one after the last character.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
    byte_offset: u32,
    byte_length: u32,
}

impl Log {
    pub(crate) const fn new() -> Self {
        let driver = Driver {
            name: "robo",
            version: env!("CARGO_PKG_VERSION"),
            semantic_version: env!("CARGO_PKG_VERSION"),
            information_uri: HOME,
            rules: Vec::new(),
        };
        let run = Run { tool: Tool { driver }, column_kind: "utf16CodeUnits", results: Vec::new() };
        Self { schema: SCHEMA, version: "2.1.0", runs: [run] }
    }

    /// Adds what is wrong with one graph.
    pub(crate) fn add(&mut self, compiled: &Compiled) {
        let [run] = &mut self.runs;
        let rules = &mut run.tool.driver.rules;
        let mut known: HashMap<Code, usize> = rules.iter().enumerate().map(|(i, rule)| (rule.id, i)).collect();
        for diagnostic in &compiled.diagnostics {
            let code = diagnostic.code;
            let rule_index = *known.entry(code).or_insert_with(|| {
                rules.push(Rule::of(code));
                rules.len() - 1
            });
            run.results.push(Outcome::of(diagnostic, rule_index, compiled));
        }
    }
}

impl Rule {
    fn of(code: Code) -> Self {
        let page = explain(code);
        let mut markdown = page.meaning.clone();
        for (mark, examples) in [("Wrong", page.wrong), ("Right", page.right)] {
            for example in examples {
                markdown += &format!("\n\n{mark}, `{}`:\n\n```\n{}```", example.file, example.text);
            }
        }
        Self {
            id: code,
            name: format!("{code:?}"),
            short_description: Text { text: format!("{}.", code.title().replace('`', "'")) },
            full_description: Text { text: page.meaning.clone() },
            help: Help { text: format!("{}\n\nSee `robo explain {code}`.", page.meaning), markdown },
            help_uri: format!("{HOME}/blob/main/docs/errors.md#{}", code.as_str().to_lowercase()),
            default_configuration: Configuration { level: level(code.severity()) },
            properties: RuleProperties { stage: code.stage(), alias: code.alias() },
        }
    }
}

impl Outcome {
    fn of(diagnostic: &Diagnostic, rule_index: usize, compiled: &Compiled) -> Self {
        let place = |file: FileId, span: Span| place(file, span, compiled);
        let mut text = diagnostic.message.clone();
        if let Some(help) = &diagnostic.help {
            text += &format!("\n{help}");
        }
        let label = Some(&diagnostic.label).filter(|label| !label.is_empty());
        let related = diagnostic.related.iter().enumerate().map(|(i, related)| Location {
            id: Some(i + 1),
            physical_location: place(related.file, related.span),
            message: Some(Text { text: related.label.clone() }),
        });
        Self {
            rule_id: diagnostic.code,
            rule_index,
            level: level(diagnostic.severity),
            message: Text { text },
            locations: [Location {
                id: None,
                physical_location: place(diagnostic.file, diagnostic.span),
                message: label.map(|label| Text { text: label.clone() }),
            }],
            related_locations: related.collect(),
        }
    }
}

fn place(file: FileId, span: Span, compiled: &Compiled) -> PhysicalLocation {
    let source = compiled.sources.get(file.0);
    let at = |offset| source.map_or(EditorPosition { line: 0, character: 0 }, |source| source.editor_position(offset));
    let (start, end) = (at(span.start), at(span.end));
    let name = source.map_or("", |source| source.name.as_str());
    PhysicalLocation {
        artifact_location: ArtifactLocation { uri: uri(name) },
        region: Region {
            start_line: start.line + 1,
            start_column: start.character + 1,
            end_line: end.line + 1,
            end_column: end.character + 1,
            byte_offset: span.start,
            byte_length: span.end.saturating_sub(span.start),
        },
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A path as a reference: relative as it is, or `file://` when it is absolute.
fn uri(path: &str) -> String {
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let mut uri = scheme.to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("a b/é:%.graph"), "a%20b/%C3%A9%3A%25.graph");
        assert_eq!(uri("/x/../y.graph"), "file:///x/../y.graph");
    }

    #[test]
    fn a_log_has_rules_and_results() {
        let text = "VM {\n\tinstaller: target; # 😀é\n\tinstaller: \"😀\";\n\tchildren: Dbb;\n}\n";
        let mut files = BTreeMap::from([("shop.graph".to_owned(), text.as_bytes().to_vec())]);
        let compiled = robo_dsl::compile_file("shop.graph", &mut files);
        let mut log = Log::new();
        log.add(&compiled);
        log.add(&compiled);
        let log = serde_json::to_value(&log).unwrap();
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 2 * compiled.diagnostics.len());
        assert!(rules.len() < results.len());
        for result in results {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
        }
        let twice = results.iter().find(|result| result["ruleId"] == "E0221").unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&twice["locations"][0]["physicalLocation"]).unwrap(), @r#"
        {
          "artifactLocation": {
            "uri": "shop.graph"
          },
          "region": {
            "byteLength": 9,
            "byteOffset": 35,
            "endColumn": 11,
            "endLine": 3,
            "startColumn": 2,
            "startLine": 3
          }
        }
        "#);
        assert_eq!(twice["relatedLocations"][0]["physicalLocation"]["region"]["startLine"], 2);
    }
}
