//! How fast text becomes a tree, and an application: a generated graph of 10 MB. Prints MB/s.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use divan::counter::BytesCount;

fn main() {
    divan::main();
}

const BYTES: usize = 10_000_000;

/// Components as people write them, each importing from the one before it, up to `bytes`.
fn graph(bytes: usize) -> String {
    let mut text = String::from("Machine {\n\tinstaller: target;\n\tchildren: part;\n}\n\nfacet part {\n}\n");
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        let import = if number > 1 {
            format!("\timports: Part{}.port, Part{}.ip (optional);\n", number - 1, number - 1)
        } else {
            String::new()
        };
        writeln!(
            text,
            "# What part {number} is for.\nPart{number} {{\n\tinstaller: script;        # runs scripts\n\tfacets: part;\n\
             \texports: ip, port = {port}, banner = \"hello; there, all\";\n{import}}}\n",
            port = 1024 + number % 60_000,
        )
        .unwrap_or_default();
    }
    text
}

#[divan::bench(sample_count = 10)]
fn tokens(bencher: divan::Bencher<'_, '_>) {
    let text = graph(BYTES);
    bencher.counter(BytesCount::of_str(&text)).bench(|| robo_dsl::tokens(&text).len());
}

#[divan::bench(sample_count = 10)]
fn tree(bencher: divan::Bencher<'_, '_>) {
    let text = graph(BYTES);
    bencher.counter(BytesCount::of_str(&text)).bench(|| robo_dsl::syntax_errors(&text).len());
}

#[divan::bench(sample_count = 3)]
fn application(bencher: divan::Bencher<'_, '_>) {
    let text = graph(BYTES / 10);
    let files = BTreeMap::from([("app.graph".to_owned(), text.into_bytes())]);
    let bytes: usize = files.values().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).with_inputs(|| files.clone()).bench_values(|mut files| {
        let compiled = robo_dsl::compile_file("app.graph", &mut files);
        assert!(compiled.application.is_some(), "{:?}", compiled.diagnostics.first());
    });
}
