//! Any bytes as a descriptor and as a target: no panic, and every mistake lies in its text.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use robo_dsl::{Severity, check_descriptor, check_target};

fuzz_target!(|bytes: &[u8]| {
    let values = BTreeMap::from([("a".to_owned(), "1.0".to_owned()), ("b".to_owned(), "${a}\n#é".to_owned())]);
    for values in [values, BTreeMap::new()] {
        let (source, diagnostics) = check_descriptor(bytes, &values);
        for diagnostic in &diagnostics {
            assert!(source.text.get(diagnostic.span.range()).is_some(), "{diagnostic:?}");
            assert!(diagnostic.related.iter().all(|r| source.text.get(r.span.range()).is_some()), "{diagnostic:?}");
        }
    }
    let (target, diagnostics) = check_target(bytes);
    assert_eq!(target.is_none(), diagnostics.iter().any(|d| d.severity == Severity::Error), "{diagnostics:?}");
});
