//! Any text as a graph: it is refused, or its layout is stable, has every comment, and means the same.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use robo_dsl::{Compiled, TokenKind, compile_file, format, tokens};

fuzz_target!(|text: &str| {
    match format(text) {
        Err(mistakes) => assert!(!mistakes.is_empty()),
        Ok(formatted) => {
            assert_eq!(format(&formatted).as_ref(), Ok(&formatted));
            assert_eq!(comments(&text.replace('\r', "")), comments(&formatted));
            let (before, after) = (compile(text), compile(&formatted));
            assert_eq!(before.application, after.application);
            assert_eq!(mistakes(&before), mistakes(&after));
        }
    }
});

fn compile(text: &str) -> Compiled {
    compile_file("app.graph", &mut BTreeMap::from([("app.graph".to_owned(), text.as_bytes().to_vec())]))
}

fn comments(text: &str) -> Vec<&str> {
    let all = tokens(text).into_iter().filter(|token| token.kind == TokenKind::Comment);
    all.map(|token| text[token.span.range()].trim_matches(|c| c <= ' ')).collect()
}

/// What is said, in any order and each once: the places move, and with them which of two comes first. In a value with a
/// CR in it they are its whole, so that two of one kind are one.
fn mistakes(compiled: &Compiled) -> Vec<&'static str> {
    let mut codes: Vec<_> = compiled.diagnostics.iter().map(|d| d.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
