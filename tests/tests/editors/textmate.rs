//! The TextMate grammar, run by an engine that gives what VS Code gives.

use std::fs;

use giallo::{HighlightOptions, Registry, ThemeVariant};
use serde_json::{Value, json};

use super::{Family, editors, hold, samples};

/// Which scopes are shown as which family; the colour is only a number.
const SCOPES: [(&str, &str, Option<Family>); 8] = [
    ("comment", "#000001", Some(Family::Comment)),
    ("keyword.declaration, keyword.control", "#000002", Some(Family::Keyword)),
    ("entity.name.type", "#000003", Some(Family::Name)),
    ("support.type.property-name", "#000004", Some(Family::Property)),
    ("meta.value", "#000005", Some(Family::Value)),
    (
        "punctuation.section.block, punctuation.separator.key-value, punctuation.terminator",
        "#000006",
        Some(Family::Punctuation),
    ),
    ("invalid", "#000007", None),
    ("meta.embedded", "#000008", None),
];

#[test]
fn the_grammar_shows_every_token() {
    let registry = registry();
    let options = HighlightOptions::new("robo", ThemeVariant::Single("families"))
        .merge_whitespace(false)
        .merge_same_style_tokens(false);
    for (name, text) in samples() {
        let shown = registry.highlight(&text, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        // The family of each byte of each line.
        let mut lines: Vec<Vec<Option<Family>>> = Vec::new();
        for line in shown.tokens {
            let mut bytes = Vec::new();
            for token in line {
                let ThemeVariant::Single(style) = token.style else { panic!("there is one theme") };
                let family = family(&style.foreground.as_hex());
                bytes.extend(std::iter::repeat_n(family, token.text.len()));
            }
            lines.push(bytes);
        }
        hold(&name, &text, |piece| {
            let line = lines.get(piece.line).map(Vec::as_slice).unwrap_or_default();
            line.get(piece.start..piece.start + piece.text.len()).unwrap_or_default().to_vec()
        });
    }
}

/// The extension names files that are there, and JSON that is right.
#[test]
fn the_extension_is_whole() {
    let read = |path: &str| -> Value {
        let text = fs::read_to_string(editors("vscode").join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let package = read("package.json");
    let (language, grammar) = (&package["contributes"]["languages"][0], &package["contributes"]["grammars"][0]);
    assert_eq!(language["extensions"], json!([".graph", ".instances"]));
    assert_eq!(language["id"], grammar["language"]);
    assert_eq!(read(language["configuration"].as_str().unwrap())["comments"]["lineComment"], "#");
    assert_eq!(read(grammar["path"].as_str().unwrap())["scopeName"], grammar["scopeName"]);
}

fn registry() -> Registry {
    let folder = tempfile::tempdir().unwrap();
    let theme = folder.path().join("families.json");
    let colors: Vec<Value> = SCOPES
        .iter()
        .map(|(scopes, color, _)| {
            let scopes: Vec<&str> = scopes.split(", ").collect();
            json!({ "scope": scopes, "settings": { "foreground": color } })
        })
        .collect();
    let all = json!({
        "name": "families",
        "type": "dark",
        "colors": { "editor.foreground": "#ffffff", "editor.background": "#000000" },
        "tokenColors": colors,
    });
    fs::write(&theme, all.to_string()).unwrap();
    let mut registry = Registry::default();
    registry.add_theme_from_path(&theme).unwrap();
    registry.add_grammar_from_path(editors("vscode/robo.tmLanguage.json")).unwrap();
    registry.link_grammars();
    registry
}

fn family(color: &str) -> Option<Family> {
    SCOPES.iter().find(|(_, own, _)| color.eq_ignore_ascii_case(own)).and_then(|(_, _, family)| *family)
}
