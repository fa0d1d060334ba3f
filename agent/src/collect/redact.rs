//! Takes secrets out of what leaves the device: in doubt it takes too much.
//!
//! - what stands behind a name that looks like that of a secret (`DB_PASSWORD=…`, `"token": "…"`, `--api-key …`);
//! - values that are known to be secrets, because somewhere on this device they stand behind such a name: wherever they
//!   stand;
//! - what looks like a secret by itself: private keys, tokens of usual forms, passwords in addresses.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use crate::code::Code;

/// What stands in the place of a secret.
pub(super) const TAKEN: &str = "[redacted]";

/// A known secret has at least so many bytes: shorter ones are words that stand everywhere.
const MIN_KNOWN: usize = 6;

/// By so many of their first bytes known secrets are found.
const FIRST: usize = 4;

/// Most known secrets: more than the instances of any device have.
const MAX_KNOWN: usize = 10_000;

/// Most bytes in front of a value that are looked at for its name.
const MAX_NAME: usize = 100;

/// Most lines of a private key: those of the largest RSA keys have some hundred.
const MAX_KEY_LINES: usize = 300;

/// A line of so many letters of base64, and nothing else, is a piece of a key.
const KEY_LINE: usize = 40;

/// Names with one of these in them are names of secrets.
const IN_NAME: [&str; 9] =
    ["passw", "passphrase", "passcode", "secret", "token", "credential", "apikey", "privatekey", "authorization"];

/// Names with one of these as a word of its own are, too.
const WORDS: [&str; 9] = ["pass", "pwd", "pw", "psk", "auth", "cookie", "jwt", "otp", "accesskey"];

/// Variables of every shell, which are no passwords.
const FOLDERS: [&str; 2] = ["PWD", "OLDPWD"];

/// How tokens begin, and the fewest bytes that they have.
const TOKENS: [(&str, usize); 12] = [
    ("rbt1.", 16),
    ("rbe1.", 16),
    ("eyJ", 30),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("xox", 20),
    ("AKIA", 20),
    ("AIza", 35),
    ("sk-", 20),
];

/// Takes secrets out, and counts them.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    known: HashMap<[u8; FIRST], Vec<String>>,
    count: usize,
    taken: u64,
}

impl Redactor {
    /// How often something was taken out.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Notes a secret, to be taken out wherever it stands.
    pub(super) fn know(&mut self, secret: &str) {
        for line in secret.lines().map(str::trim).filter(|line| line.len() >= MIN_KNOWN) {
            let Some(first) = line.as_bytes().first_chunk::<FIRST>() else { continue };
            let same = self.known.entry(*first).or_default();
            if self.count < MAX_KNOWN && !same.iter().any(|known| known == line) {
                same.push(line.to_owned());
                // One may be the beginning of another.
                same.sort_by_key(|known| std::cmp::Reverse(known.len()));
                self.count += 1;
            }
        }
    }

    /// Notes the secrets of a variable, where it has any.
    pub(super) fn know_variable(&mut self, name: &str, value: &str) {
        if is_secret(name) {
            self.know(value);
        }
        let spans = addresses(value);
        for password in spans.into_iter().filter_map(|span| value.get(span)?.split_once(':')) {
            self.know(password.1);
        }
    }

    /// Notes all secrets in `value`.
    pub(super) fn learn(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let named = fields.get("name").and_then(Value::as_str).unwrap_or_default();
                for (name, inner) in fields {
                    let name = if name == "value" { named } else { name };
                    match inner {
                        Value::String(text) => self.know_variable(name, text),
                        Value::Number(number) => self.know_variable(name, &number.to_string()),
                        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => self.learn(inner),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// `value` without secrets.
    pub(super) fn value(&mut self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let named = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let fields = fields.into_iter().map(|(name, inner)| {
                    let is_secret = is_secret(if name == "value" { &named } else { &name });
                    let inner = if is_secret && !matches!(inner, Value::Null | Value::Bool(_)) {
                        self.taken += 1;
                        TAKEN.into()
                    } else {
                        self.value(inner)
                    };
                    (self.text(&name), inner)
                });
                Value::Object(fields.collect())
            }
            Value::Array(items) => {
                let mut is_next = false;
                let items = items.into_iter().map(|item| {
                    let is_taken = is_next && item.as_str().is_some_and(|word| !word.starts_with('-'));
                    is_next = item.as_str().is_some_and(is_flag);
                    if is_taken {
                        self.taken += 1;
                    }
                    if is_taken { TAKEN.into() } else { self.value(item) }
                });
                Value::Array(items.collect())
            }
            Value::String(text) => Value::String(self.text(&text)),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
        }
    }

    /// `text` without secrets.
    pub(super) fn text(&mut self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let keys = key_lines(&lines);
        // Under a secret's name without a value: how far that is indented. What is indented more is the value.
        let mut above = None;
        for (line, is_key) in lines.into_iter().zip(keys) {
            let content = line.trim_end_matches(['\n', '\r']);
            let indent = content.len() - content.trim_start().len();
            let is_empty = indent == content.len();
            above = above.filter(|above| is_empty || indent > *above);
            if (is_key || above.is_some()) && !is_empty {
                self.taken += 1;
                clean.push_str(TAKEN);
            } else {
                self.line(content, &mut clean);
            }
            above = above.or_else(|| opens_value(content).then_some(indent));
            clean.push_str(line.get(content.len()..).unwrap_or_default());
        }
        clean
    }

    fn line(&mut self, line: &str, clean: &mut String) {
        let mut spans = self.known_in(line);
        for rule in [pairs, flags, bearers, addresses, tokens] {
            spans.extend(rule(line));
        }
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        let mut kept = 0;
        for span in spans {
            if span.start >= kept {
                clean.push_str(line.get(kept..span.start).unwrap_or_default());
                clean.push_str(TAKEN);
                self.taken += 1;
            }
            kept = kept.max(span.end);
        }
        clean.push_str(line.get(kept..).unwrap_or_default());
    }

    fn known_in(&self, line: &str) -> Vec<Range<usize>> {
        let (mut spans, mut at) = (Vec::new(), 0);
        if self.known.is_empty() {
            return spans;
        }
        while let Some(rest) = line.as_bytes().get(at..)
            && let Some(first) = rest.first_chunk::<FIRST>()
        {
            let same = self.known.get(first).map(Vec::as_slice).unwrap_or_default();
            match same.iter().find(|known| rest.starts_with(known.as_bytes())) {
                Some(known) => {
                    spans.push(at..at + known.len());
                    at += known.len();
                }
                None => at += 1,
            }
        }
        spans
    }
}

/// Whether a name looks like that of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    if FOLDERS.contains(&name) || Code::ALL.iter().any(|code| code.as_str() == name) {
        return false;
    }
    let words = words(name);
    let joined = words.concat();
    let has = |word: &str| words.iter().any(|own| own == word);
    // `key` alone is the name of anything.
    let is_key = words.len() > 1 && words.last().is_some_and(|last| last == "key" || last == "keys");
    IN_NAME.iter().any(|part| joined.contains(part))
        || WORDS.iter().any(|word| has(word))
        || (is_key && !has("public") && !has("pub"))
}

/// The words of a name in small letters: `dbPassword` and `DB_PASSWORD` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (was_small && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The name that ends before `at`, as it stands in front of `=` or `:`, and where it begins.
fn name_before(line: &str, at: usize) -> Option<(usize, &str)> {
    let window = line.floor_char_boundary(at.saturating_sub(MAX_NAME));
    let before = line.get(window..at)?.trim_end_matches([':', ' ', '\t']);
    let before = before.trim_end_matches(['"', '\'']).trim_end_matches('\\');
    let length = before.bytes().rev().take_while(|byte| is_name(*byte)).count();
    let start = before.len() - length;
    // A module's path is no name: `robo_agent::credentials: …`.
    if length == 0 || before.get(..start)?.ends_with("::") {
        return None;
    }
    Some((window + start, before.get(start..)?))
}

/// Values behind names of secrets.
fn pairs(line: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (at, _) in line.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'=' | b':')) {
        if spans.last().is_some_and(|last| at < last.end) {
            continue;
        }
        let Some((start, _)) = name_before(line, at).filter(|(_, name)| is_secret(name)) else { continue };
        let behind = line.get(at + 1..).unwrap_or_default().trim_start_matches(['=', '>', ':']);
        let value = behind.trim_start();
        // A variable as it stands in a list of them has a whole line.
        let is_alone = matches!(line.get(..start).map(str::trim), Some("" | "export" | "-" | "+"));
        let whole = is_alone || value.len() < behind.len();
        let begin = line.len() - value.len();
        let span = extent(value, whole);
        if !span.is_empty() {
            spans.push(begin + span.start..begin + span.end);
        }
    }
    spans
}

/// How far a value goes: what is in its quotes, a word, or the whole line.
fn extent(value: &str, whole: bool) -> Range<usize> {
    let escapes = value.len() - value.trim_start_matches('\\').len();
    let quote = value.get(escapes..).and_then(|rest| rest.chars().next()).filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        let is_list = value.starts_with(['[', '{', '(']);
        let end = if whole || is_list { None } else { value.find(char::is_whitespace) };
        return 0..end.unwrap_or(value.len());
    };
    let begin = escapes + 1;
    let inner = value.get(begin..).unwrap_or_default();
    let mut slashes = 0;
    for (at, c) in inner.char_indices() {
        // As many escapes in front of it as the first one has.
        if c == quote && (slashes == escapes || quote == '\'') {
            return begin..begin + at - slashes;
        }
        slashes = if c == '\\' { slashes + 1 } else { 0 };
    }
    begin..value.len()
}

/// True when the value of a secret's name is on the lines below.
fn opens_value(line: &str) -> bool {
    let text = line.trim_end().trim_end_matches(['|', '>', '-', '+']).trim_end();
    text.strip_suffix(':').and_then(|_| name_before(line, text.len())).is_some_and(|(_, name)| is_secret(name))
}

/// True for an option that a secret follows.
fn is_flag(word: &str) -> bool {
    word.starts_with('-') && !word.contains(['=', ':', ' ']) && is_secret(word)
}

/// Words that follow options of secrets.
fn flags(line: &str) -> Vec<Range<usize>> {
    let (mut spans, mut is_next, mut at) = (Vec::new(), false, 0);
    for piece in line.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let option = word.trim_matches(['"', '\'', ',', '[', ']', '(', ')']);
        let is_covered = spans.last().is_some_and(|last: &Range<usize>| at < last.end);
        if is_next && !is_covered && !word.is_empty() && !option.starts_with('-') {
            let rest = line.get(at..).unwrap_or_default();
            let span = extent(rest, false);
            spans.push(at + span.start..at + span.end);
        }
        is_next = is_flag(option) || (is_next && word.is_empty());
        at += piece.len();
    }
    spans
}

/// `Bearer …`, as in headers of HTTP.
fn bearers(line: &str) -> Vec<Range<usize>> {
    let (mut spans, mut is_next, mut at) = (Vec::new(), false, 0);
    for piece in line.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        if is_next && word.len() >= 8 {
            spans.push(at..at + word.len());
        }
        is_next = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).eq_ignore_ascii_case("bearer");
        at += piece.len();
    }
    spans
}

/// Users and passwords in addresses: `amqp://me:pass@host`.
fn addresses(line: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (at, scheme) in line.match_indices("://") {
        let begin = at + scheme.len();
        let rest = line.get(begin..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '<' | '>')).unwrap_or(rest.len());
        if let Some(length) = rest.get(..end).and_then(|host| host.rfind('@')) {
            spans.push(begin..begin + length);
        }
    }
    spans
}

/// Tokens of usual forms.
fn tokens(line: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (form, least) in TOKENS {
        for (at, _) in line.match_indices(form) {
            if spans.last().is_some_and(|last| last.contains(&at)) {
                continue;
            }
            let is_begin = line.as_bytes().get(at.wrapping_sub(1)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
            let rest = line.as_bytes().get(at..).unwrap_or_default();
            let fits = |byte: &&u8| is_name(**byte) || matches!(**byte, b'~' | b'+' | b'/' | b'=');
            let length = rest.iter().take_while(fits).count();
            if is_begin && length >= least {
                spans.push(at..at + length);
            }
        }
    }
    spans
}

/// Which lines are of private keys, also of those whose beginning or end was cut off.
fn key_lines(lines: &[&str]) -> Vec<bool> {
    let mut keys: Vec<bool> =
        lines.iter().map(|line| is_base64(line, KEY_LINE) || begins(line) || ends(line)).collect();
    for (at, line) in lines.iter().enumerate() {
        if begins(line) && !ends(line) {
            let rest = lines.iter().skip(at + 1).take(MAX_KEY_LINES);
            // Without its end, as far as it goes.
            let length = rest.clone().position(|line| ends(line));
            let length = length.unwrap_or_else(|| rest.take_while(|line| is_base64(line, 1)).count());
            keys.iter_mut().skip(at).take(length + 1).for_each(|key| *key = true);
        }
        if ends(line) {
            let before = lines.iter().take(at).rev().take(MAX_KEY_LINES);
            let length = before.take_while(|line| is_base64(line, 1)).count();
            keys.iter_mut().take(at).rev().take(length).for_each(|key| *key = true);
        }
    }
    keys
}

fn begins(line: &str) -> bool {
    line.contains("-----BEGIN ") && line.contains("PRIVATE KEY")
}

fn ends(line: &str) -> bool {
    line.contains("-----END ") && line.contains("PRIVATE KEY")
}

fn is_base64(line: &str, least: usize) -> bool {
    let line = line.trim();
    line.len() >= least && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

#[cfg(test)]
mod tests;
