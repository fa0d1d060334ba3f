//! Any text as a rule and as measures: no panic, and every mistake lies in its text.
//!
//! A line `%%` begins the values of the measures.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_dsl::{Diagnostic, Severity, check_measures, check_rule};

fuzz_target!(|text: &str| {
    let (rule, diagnostics) = check_rule(text);
    assert_eq!(rule.is_none(), diagnostics.iter().any(|d| d.severity == Severity::Error), "{diagnostics:?}");
    inside(text, &diagnostics);
    let (measures, values) = text.split_once("\n%%\n").map_or((text, None), |(text, values)| (text, Some(values)));
    let (_, diagnostics) = check_measures(measures, values);
    inside(measures, &diagnostics);
});

fn inside(text: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        assert!(text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
        assert!(diagnostic.related.iter().all(|r| text.get(r.span.range()).is_some()), "{diagnostic:?}");
    }
}
