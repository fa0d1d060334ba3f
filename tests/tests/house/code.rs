//! Rust code as the rules see it: without comments, texts and tests.

/// `source` with comments, texts and characters blanked; as long as before, with the same lines.
pub(super) fn bare(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest, out.chars().next_back()) {
            0 => {
                out.push(first);
                first.len_utf8()
            }
            length => {
                out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                length
            }
        };
        rest = &rest[length..];
    }
    out
}

/// How many bytes of comment or literal stand at the start of `text`.
fn skipped(text: &str, before: Option<char>) -> usize {
    let inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |at| at + 2);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if !inside_word && (text.starts_with("r\"") || text.starts_with("r#") || text.starts_with("br")) {
        return raw(text);
    }
    if text.starts_with('\'') { character(text) } else { 0 }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r#"…"#` with any number of `#`; 0 for a raw identifier and for a word that only begins alike.
fn raw(text: &str) -> usize {
    let start = text.trim_start_matches('b').len();
    let Some(after) = text[text.len() - start..].strip_prefix('r') else { return 0 };
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let open = text.len() - after.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    text[open..].find(&close).map_or(text.len(), |at| open + at + close.len())
}

/// `'x'` and `'\n'`; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Bare code without the items under `#[cfg(test)]`, and the names of the modules among them that are files.
pub(super) fn without_tests(bare: &str) -> (String, Vec<String>) {
    let mut out = String::with_capacity(bare.len());
    let mut files = Vec::new();
    let mut rest = bare;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = end_of_item(item);
        if let Some((_, name)) = item[..end].trim_end_matches(';').split_once("mod ")
            && item[..end].ends_with(';')
        {
            files.push(name.trim().to_owned());
        }
        rest = &item[end..];
    }
    out.push_str(rest);
    (out, files)
}

/// The end of the item at the start of `code`: its `;`, or the brace that closes it.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Lines of code and comments, of which those under `#[cfg(test)]` are not counted.
pub(super) fn lines_without_tests(source: &str) -> usize {
    without_tests(&bare(source)).0.lines().count()
}

/// True when `path` (`std::fs`, `await`) is named in bare code: written out, or through a `use` with braces.
pub(super) fn names(bare: &str, path: &str) -> bool {
    let compact: String = bare.split_whitespace().collect::<Vec<_>>().join(" ").replace(" :: ", "::");
    occurs(&compact, path) || used(&compact).iter().any(|used| occurs(used, path))
}

/// `word` with no letter, digit, `_` or `:` right before it, and no letter, digit or `_` right after it.
fn occurs(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].trim_end_matches("::").chars().next_back();
        let qualified = text[..at].ends_with("::") && before.is_some_and(is_word);
        let after = text[at + word.len()..].chars().next();
        !qualified && !text[..at].ends_with(is_word) && !after.is_some_and(is_word)
    })
}

/// Every path that a `use` brings, written out: `use a::{b, c::d};` gives `a::b` and `a::c::d`.
fn used(compact: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in compact.match_indices("use ") {
        if compact[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let tree = &compact[at + "use ".len()..];
        expand("", tree.split(';').next().unwrap_or_default(), &mut found);
    }
    found
}

fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => found.push(format!("{prefix}{tree}")),
        Some((head, rest)) => {
            let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
            for part in split_at_commas(inner) {
                expand(&format!("{prefix}{}", head.trim()), part, found);
            }
        }
    }
}

/// Parts between commas outside of braces.
fn split_at_commas(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
    .collect()
}

#[test]
fn comments_and_texts_are_no_code() {
    let check = |source: &str, expect: &str| assert_eq!(bare(source), expect, "{source}");
    check("a // b\nc", "a     \nc");
    check("a /* b\n */ c", "a     \n    c");
    check(r#"f("std::fs \" x") + 1"#, "f(              ) + 1");
    check(r##"f(r#"a " b"#, b'x', '"', '\'')"##, "f(          , b   ,    ,     )");
    check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
    check("r#type + number\n", "r#type + number\n");
}

#[test]
fn tests_are_cut_out() {
    let source = "fn a() {}\n#[cfg(test)]\nmod x;\n#[cfg(test)]\nmod tests {\n fn b() { if c {} }\n}\nfn d() {}\n";
    let (code, files) = without_tests(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), "fn a() {} fn d() {}");
    assert_eq!(files, ["x"]);
    assert_eq!(lines_without_tests("//! a\nfn b() {}\n#[cfg(test)]\nmod tests {\n\n\n}\n"), 3);
}

#[test]
fn a_path_is_found_however_it_is_written() {
    for source in [
        "std::fs::read(x)",
        "use std::fs;",
        "use std::{fs::File, io};",
        "use std::{\n    collections::{BTreeMap, HashMap},\n    fs,\n};",
        "::std::fs::read(x)",
        "pub(crate) use std::fs as files;",
    ] {
        assert!(names(source, "std::fs"), "{source}");
    }
    for source in ["my_std::fs", "my::std::fs::x", "std::fsx", "use std::{io, fmt};", "use std::io; use x::{fs};"] {
        assert!(!names(source, "std::fs"), "{source}");
    }
    assert!(names("x.await?", "await"));
    assert!(!names("awaited", "await"));
}
