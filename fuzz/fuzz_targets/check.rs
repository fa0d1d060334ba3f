//! Any texts as a folder: an application or errors, every diagnostic lies in its file, and can be drawn.
//!
//! A line `%% PATH` begins a file. Text before the first such line is `app.graph`. The first file is the entry; in
//! `descriptor/` it stands for its whole folder.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use robo_dsl::{CompileOptions, Severity, compile_any, report};

fuzz_target!(|bytes: &[u8]| {
    let (entry, mut files) = folder(bytes);
    let compiled = compile_any(&entry, &CompileOptions::default(), &mut files);
    let failed = compiled.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert!(!failed || compiled.application.is_none());
    // Commands, rules and targets by themselves are right without being an application; so are recipes.
    assert!(failed || compiled.application.is_some() || entry != "app.graph");
    for diagnostic in &compiled.diagnostics {
        let places = diagnostic.related.iter().map(|other| (other.file, other.span));
        for (file, span) in places.chain([(diagnostic.file, diagnostic.span)]) {
            let source = &compiled.sources[file.0];
            assert!(source.text.get(span.range()).is_some(), "{diagnostic:?}");
        }
    }
    if let Some(first) = compiled.diagnostics.first() {
        assert!(!report(first, &compiled.sources).to_string().is_empty());
    }
});

fn folder(bytes: &[u8]) -> (String, BTreeMap<String, Vec<u8>>) {
    let mut entry = None;
    let mut name = "app.graph".to_owned();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let Some(path) = line.strip_prefix(b"%% ") {
            name = String::from_utf8_lossy(path).trim().to_owned();
        } else {
            entry.get_or_insert_with(|| name.clone());
            files.entry(name.clone()).or_default().extend_from_slice(line);
        }
    }
    (entry.unwrap_or(name), files)
}
