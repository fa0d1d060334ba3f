//! Any text as an entry file: an application or errors, and every diagnostic lies in its file.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use robo_dsl::compile_file;

fuzz_target!(|bytes: &[u8]| {
    let mut files = BTreeMap::from([("app.graph".to_owned(), bytes.to_vec())]);
    let compiled = compile_file("app.graph", &mut files);
    let failed = compiled.diagnostics.iter().any(|d| d.severity == robo_dsl::Severity::Error);
    assert_eq!(compiled.application.is_none(), failed);
    for diagnostic in &compiled.diagnostics {
        let source = &compiled.sources[diagnostic.file.0];
        assert!(source.text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
    }
});
