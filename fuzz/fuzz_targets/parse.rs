//! Any text as a graph: its tokens put together are the text, and every mistake lies in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use robo_dsl::{syntax_errors, tokens};

fuzz_target!(|text: &str| {
    let mut end = 0;
    for token in tokens(text) {
        assert_eq!(token.span.start, end, "{token:?}");
        assert!(token.span.end > end, "{token:?}");
        assert!(text.get(token.span.range()).is_some(), "{token:?}");
        end = token.span.end;
    }
    assert_eq!(end as usize, text.len());
    for error in syntax_errors(text) {
        assert!(text.get(error.span.range()).is_some(), "{error:?}");
        assert!(error.related.iter().all(|other| text.get(other.span.range()).is_some()), "{error:?}");
    }
});
