//! Labels of devices, and selectors in the syntax of Kubernetes.
//!
//! `site=tokyo, arch!=arm, gpu, !spare, rack in (a, b), rack notin (c)`: a device matches when it
//! meets every requirement. As there, `!=` and `notin` are also met by a device without the label.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A device's labels.
pub type Labels = BTreeMap<String, String>;

/// Requirements that must all be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Has(String),
    HasNot(String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Nothing between two commas, or nothing at all.
    #[error("a selector needs a requirement between its commas, as in `site=tokyo, gpu`")]
    Empty,
    /// A label's key breaks the rule.
    #[error("`{0}` is not a label key: letters, digits, `_`, `-`, `.` and `/`")]
    Key(String),
    /// A label's value breaks the rule.
    #[error("`{0}` is not a label value: letters, digits, `_`, `-` and `.`")]
    Value(String),
    /// `in` or `notin` without a list in parentheses.
    #[error("`{0}` needs a list after it, as in `rack in (a, b)`")]
    List(String),
}

impl Selector {
    /// True when `labels` meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::HasNot(key) => !labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
        })
    }
}

/// Checks one label.
///
/// # Errors
/// Says whether key or value breaks its rule.
pub fn check_label(key: &str, value: &str) -> Result<(), SelectorError> {
    key_of(key)?;
    value_of(value)?;
    Ok(())
}

impl Selector {
    /// Reads a selector, as [`FromStr`] does.
    ///
    /// # Errors
    /// Says which requirement is wrong, as bytes of `text`, and why.
    pub fn parse(text: &str) -> Result<Self, (Range<usize>, SelectorError)> {
        let mut end = 0;
        let requirements = split_outside_parentheses(text).map(|part| {
            let start = end;
            // One more for the comma.
            end = start + part.len() + 1;
            let blanks = part.len() - part.trim_start().len();
            let range = start + blanks..start + blanks + part.trim().len();
            requirement(part).map_err(|error| (range, error))
        });
        requirements.collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text).map_err(|(_, error)| error)
    }
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SelectorError::Empty);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key_of(key)?, BTreeSet::from([value_of(value)?])));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key_of(key)?, BTreeSet::from([value_of(value)?])));
    }
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Requirement::HasNot(key_of(key)?));
    }
    match text.split_once(char::is_whitespace) {
        None => Ok(Requirement::Has(key_of(text)?)),
        Some((key, rest)) => membership(key_of(key)?, rest.trim()),
    }
}

fn membership(key: String, rest: &str) -> Result<Requirement, SelectorError> {
    let (word, list) = rest.split_once('(').ok_or_else(|| SelectorError::List(rest.to_owned()))?;
    let list = list.strip_suffix(')').ok_or_else(|| SelectorError::List(rest.to_owned()))?;
    let values = list.split(',').map(value_of).collect::<Result<BTreeSet<_>, _>>()?;
    match word.trim() {
        "in" => Ok(Requirement::In(key, values)),
        "notin" => Ok(Requirement::NotIn(key, values)),
        other => Err(SelectorError::Key(format!("{key} {other}"))),
    }
}

fn key_of(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    let good =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    if good { Ok(text.to_owned()) } else { Err(SelectorError::Key(text.to_owned())) }
}

fn value_of(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good { Ok(text.to_owned()) } else { Err(SelectorError::Value(text.to_owned())) }
}

fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match self {
            Self::Has(key) => f.write_str(key),
            Self::HasNot(key) => write!(f, "!{key}"),
            Self::In(key, values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Self::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Self::In(key, values) => write!(f, "{key} in ({})", list(values)),
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", list(values)),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;
    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &[(&str, &str)], expect: bool) {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.matches(&labels), expect, "{selector} on {labels:?}");
        let again: Selector = parsed.to_string().parse().unwrap();
        assert_eq!(again, parsed, "{selector} printed and read again");
    }

    #[test]
    fn selectors_match_like_those_of_kubernetes() {
        check("site=tokyo", &[("site", "tokyo")], true);
        check("site==tokyo, gpu", &[("site", "tokyo")], false);
        check("site=tokyo,gpu", &[("site", "tokyo"), ("gpu", "")], true);
        check("arch!=arm", &[], true);
        check("!spare", &[("spare", "yes")], false);
        check("rack in (a, b)", &[("rack", "b")], true);
        check("rack notin (a, b)", &[("rack", "b")], false);
        check("rack notin (a),gpu", &[("gpu", "1")], true);
    }

    #[test]
    fn wrong_selectors_are_refused() {
        for bad in ["", "a,,b", "a b", "a in b", "a in (b", "=x", "a=b=c", "a=ü", "!"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        let wrong = |text: &str| text.get(Selector::parse(text).unwrap_err().0).map(str::to_owned);
        assert_eq!(wrong("rack in (a, b),  c d ,e").as_deref(), Some("c d"));
        assert_eq!(wrong("a,,b").as_deref(), Some(""));
        assert_eq!(wrong("ü").as_deref(), Some("ü"));
    }
}
