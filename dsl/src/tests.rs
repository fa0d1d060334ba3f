//! The whole language through its public functions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use robo_model::graph::{Application, Component, Instance};

use crate::{Compiled, compile_file};

mod accepted;
mod extensions;
mod format;
mod original;
mod project;
mod properties;
mod reference;
mod refused;
mod rendering;
mod together;

fn compile(text: impl AsRef<[u8]>) -> Compiled {
    compile_all(&[("app.graph", text.as_ref())])
}

/// Compiles the first of some files.
fn compile_all(files: &[(&str, &[u8])]) -> Compiled {
    let mut map: BTreeMap<String, Vec<u8>> = files.iter().map(|(n, t)| ((*n).to_owned(), t.to_vec())).collect();
    compile_file(files[0].0, &mut map)
}

/// `NAME@line` for each diagnostic, in order; the original's name where it has one.
fn summary(compiled: &Compiled) -> String {
    let each = compiled.diagnostics.iter().map(|d| {
        let line = compiled.sources[d.file.0].position(d.span.start).line;
        format!("{}@{line}", d.code.alias().unwrap_or(d.code.as_str()))
    });
    each.collect::<Vec<_>>().join(" ")
}

/// A source, and the codes and lines that it gives. With errors there is no application, without there is.
fn check(text: impl AsRef<[u8]>, expect: &str) -> Compiled {
    let compiled = compile(text.as_ref());
    let text = String::from_utf8_lossy(text.as_ref()).into_owned();
    assert_eq!(summary(&compiled), expect, "{text}\n{:#?}", compiled.diagnostics);
    let errors = compiled.diagnostics.iter().any(|d| d.severity == crate::Severity::Error);
    assert_eq!(compiled.application.is_none(), errors, "{text}");
    for diagnostic in &compiled.diagnostics {
        assert!(!diagnostic.message.is_empty());
        assert!(
            diagnostic.span.end as usize <= compiled.sources[diagnostic.file.0].text.len().max(3),
            "{diagnostic:?}"
        );
    }
    compiled
}

fn application(text: &str) -> Application {
    let compiled = compile(text);
    compiled.application.unwrap_or_else(|| panic!("{text}\n{:#?}", compiled.diagnostics))
}

fn component<'a>(application: &'a Application, name: &str) -> &'a Component {
    &application.components[name]
}

fn instance<'a>(application: &'a Application, path: &str) -> &'a Instance {
    &application.instances[&path.parse().unwrap()]
}

/// `Prefix.name=value` for each export; `?` is an open one, `@` the address, `@V4` and such other ones, `#` a random port.
fn exports<'a>(
    all: impl IntoIterator<Item = (&'a robo_model::name::Variable, &'a robo_model::graph::ExportValue)>,
) -> String {
    use robo_model::graph::ExportValue;
    let each = all.into_iter().map(|(variable, value)| match value {
        ExportValue::Text(text) => format!("{variable}={text}"),
        ExportValue::Address => format!("{variable}@"),
        ExportValue::Addresses(kind) => format!("{variable}@{kind:?}"),
        ExportValue::RandomPort => format!("{variable}#"),
        ExportValue::Missing => format!("{variable}?"),
    });
    each.collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn any_bytes_compile_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let compiled = compile(&bytes);
        prop_assert!(compiled.application.is_some() || !compiled.diagnostics.is_empty());
        for diagnostic in &compiled.diagnostics {
            let drawn = crate::report(diagnostic, &compiled.sources);
            prop_assert!(!drawn.to_string().is_empty());
        }
    }

    /// Lines that mean something, in any order: what compiles is consistent, and nothing panics.
    #[test]
    fn any_lines_compile_or_are_refused(lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..40)) {
        let text = lines.join("\n");
        let compiled = compile(&text);
        if let Some(application) = compiled.application {
            for (path, instance) in &application.instances {
                prop_assert!(application.components.contains_key(&instance.component));
                prop_assert!(path.parent().is_none_or(|parent| application.instances.contains_key(&parent)));
            }
        } else {
            prop_assert!(!compiled.diagnostics.is_empty(), "{text}");
        }
    }
}

const LINES: [&str; 35] = [
    "VM {",
    "A {",
    "B {",
    "facet f {",
    "facet g {",
    "instance of VM {",
    " instance of A {",
    "}",
    "}",
    "}",
    "}",
    " installer: target;",
    " installer: script;",
    " extends: A;",
    " extends: B;",
    " facets: f, g;",
    " extends: f;",
    " children: A, f;",
    " exports: ip, x = $(ip), random[port] p;",
    " imports: VM.*, A.x (optional),",
    " name: n;",
    " count: 3;",
    " x: 1;",
    " device: d;",
    "application a {",
    " run: x",
    " installer: container;",
    " image: a.b:1/c:d;",
    " volume.a: /x;",
    " env.A: $(secret:x) $(p);",
    " devices: gpu, !a;",
    " name: n-{device};",
    " memory: 1.5MiB;",
    " rollout: 1 then 2% pause 1s;",
    " check: tcp $(p) every 1s;",
];
