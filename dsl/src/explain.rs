//! The page of each code: what it means, a wrong and a right example.
//!
//! A page is `explain/E0107.md`: some paragraphs, then fenced examples. A fence's first word is `wrong` or `right`,
//! its second the file's name, `app.graph` where none is given; several files make a folder. A test compiles every
//! example: a wrong one raises its code, a right one does not. A page without examples says, in a paragraph that
//! begins with `robo does not raise it`, or with `No example stands here`, why there are none.

use crate::code::Code;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What the code means, in Markdown.
    pub meaning: String,
    /// Files that have the mistake.
    pub wrong: Vec<Example>,
    /// The same without it.
    pub right: Vec<Example>,
}

/// One file of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its path in the example's folder.
    pub file: String,
    /// What it holds.
    pub text: String,
}

/// The file of an example that names none.
const DEFAULT_FILE: &str = "app.graph";

/// The page of a code.
#[must_use]
pub fn explain(code: Code) -> Page {
    let mut page = Page { meaning: String::new(), wrong: Vec::new(), right: Vec::new() };
    let mut example: Option<(bool, Example)> = None;
    for line in code.page().split_inclusive('\n') {
        let fence = line.trim_end().strip_prefix("```");
        match (fence, &mut example) {
            (None, Some((_, example))) => example.text.push_str(line),
            (None, None) => page.meaning.push_str(line),
            (Some(_), Some(_)) => {
                if let Some((wrong, example)) = example.take() {
                    if wrong { &mut page.wrong } else { &mut page.right }.push(example);
                }
            }
            (Some(info), None) => {
                let (kind, file) = info.split_once(' ').unwrap_or((info, DEFAULT_FILE));
                example = Some((kind == "wrong", Example { file: file.trim().to_owned(), text: String::new() }));
            }
        }
    }
    page.meaning = page.meaning.trim().to_owned();
    page
}

/// Most codes that are offered for a wrong one.
const MOST_SIMILAR: usize = 3;

/// Codes of one stage have the same hundreds.
const RANGE: u32 = 100;

/// The code that people mean by `E0107`, `e107`, `107` or the original's `P_O_C_BRACKET_MISSING`, in any case.
#[must_use]
pub fn find_code(text: &str) -> Option<Code> {
    let text = text.trim();
    let digits = text.strip_prefix(['e', 'E']).unwrap_or(text);
    let number =
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("E{digits:0>4}"));
    let alias = text.replace('-', "_");
    Code::ALL.iter().copied().find(|code| match &number {
        Some(number) => code.as_str() == number,
        None => code.alias().is_some_and(|name| name.eq_ignore_ascii_case(&alias)),
    })
}

/// Codes whose number or name is near to a text that is none, nearest first.
#[must_use]
pub fn similar_codes(text: &str) -> Vec<Code> {
    let text = text.trim().to_uppercase();
    let digits = text.strip_prefix('E').unwrap_or(&text);
    let number: Option<u32> = digits.parse().ok();
    let most = (text.chars().count() / 3).max(1);
    let distance = |code: &Code| match number {
        Some(number) => {
            let other = code.as_str().trim_start_matches('E').parse::<u32>().unwrap_or_default();
            (number / RANGE == other / RANGE).then_some(usize::try_from(number.abs_diff(other)).unwrap_or(usize::MAX))
        }
        None => code.alias().map(|name| strsim::osa_distance(&text, name)).filter(|distance| *distance <= most),
    };
    let mut near: Vec<(usize, Code)> = Code::ALL.iter().filter_map(|code| Some((distance(code)?, *code))).collect();
    near.sort_unstable();
    near.into_iter().map(|(_, code)| code).take(MOST_SIMILAR).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::compile::compile_any;

    /// What a page's text must have at least to say something.
    const FEWEST_WORDS: usize = 8;

    fn codes_of(examples: &[Example]) -> Vec<Code> {
        let mut files: BTreeMap<String, Vec<u8>> =
            examples.iter().map(|e| (e.file.clone(), e.text.clone().into_bytes())).collect();
        let entry = examples.first().map_or(DEFAULT_FILE, |example| example.file.as_str()).to_owned();
        compile_any(&entry, &crate::CompileOptions::default(), &mut files).diagnostics.iter().map(|d| d.code).collect()
    }

    fn check(range: &str) {
        let mut bad = Vec::new();
        for code in Code::ALL.iter().filter(|code| code.as_str().starts_with(range)) {
            let page = explain(*code);
            let mut bad_if = |wrong: bool, why: &str| {
                if wrong {
                    bad.push(format!("{code} {code:?}: {why}"));
                }
            };
            bad_if(page.meaning.split_whitespace().count() < FEWEST_WORDS, "says nothing");
            if ["robo does not raise it", "No example stands here"].iter().any(|said| page.meaning.contains(said)) {
                bad_if(!page.wrong.is_empty() || !page.right.is_empty(), "is said to have no example, but has one");
                continue;
            }
            bad_if(page.wrong.is_empty() || page.right.is_empty(), "has no wrong or no right example");
            let (wrong, right) = (codes_of(&page.wrong), codes_of(&page.right));
            bad_if(!wrong.contains(code), &format!("the wrong example gives {wrong:?}"));
            bad_if(right.contains(code), &format!("the right example gives {right:?}"));
            let errors = right.iter().any(|code| code.severity() == crate::Severity::Error);
            bad_if(errors, &format!("the right example is wrong: {right:?}"));
        }
        assert!(bad.is_empty(), "{} pages:\n{}", bad.len(), bad.join("\n"));
    }

    #[test]
    fn codes_are_found_by_number_and_name() {
        for text in ["E0107", "e0107", "107", "0107", " e107 ", "P_O_C_BRACKET_MISSING", "p_o_c_bracket_missing"] {
            assert_eq!(find_code(text), Some(Code::OpenMissing), "{text}");
        }
        assert_eq!(find_code("1001"), Some(Code::ProbeSection));
        for text in ["", "E", "E9999", "99999999999999999999", "OpenMissing", "E0107x", "é"] {
            assert_eq!(find_code(text), None, "{text}");
        }
        assert_eq!(similar_codes("PM_INVALID_CHILD_NAM").first(), Some(&Code::InvalidChildName));
        assert_eq!(similar_codes("E0199").first(), Some(&Code::EmptyFile));
        assert!(similar_codes("what is this").is_empty());
    }

    #[test]
    fn pages_of_lines_and_blocks() {
        check("E01");
        check("E02");
    }

    #[test]
    fn pages_of_names_and_the_whole() {
        check("E03");
        check("E04");
    }

    #[test]
    fn pages_of_projects_and_recipes() {
        check("E05");
        check("E06");
    }

    #[test]
    fn pages_of_commands() {
        check("E07");
    }

    #[test]
    fn pages_of_rules_and_measures() {
        check("E08");
        check("E10");
    }

    #[test]
    fn pages_of_what_only_robo_has() {
        check("E09");
    }
}
