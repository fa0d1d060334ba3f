//! Every valid graph and instances file, cut into tokens and laid out by the formatter.

use robo_dsl::{TokenKind, format, tokens};

use super::verdict::Problem;

/// What compiling a text gives, as far as it can be compared.
pub(super) type Meaning = (Option<robo_model::graph::Application>, Vec<&'static str>);

/// Tokens cover every byte; the formatter keeps comments and meaning, and does nothing the second time.
pub(super) fn check(text: &str, meaning: impl Fn(&str) -> Meaning) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut bad_if = |bad: bool, what: &str| problems.extend(bad.then(|| Problem::other(what)));
    let put_together: String = tokens(text).iter().map(|token| token.span.of(text)).collect();
    bad_if(put_together != text, "the tokens do not give the text");
    match format(text) {
        Err(mistakes) => bad_if(true, &format!("it cannot be formatted: {mistakes:?}")),
        Ok(formatted) => {
            bad_if(format(&formatted).as_ref() != Ok(&formatted), "formatted again it changes");
            bad_if(comments(text) != comments(&formatted), "a comment is lost, or another one");
            bad_if(meaning(text) != meaning(&formatted), "formatted it means something else");
        }
    }
    problems
}

/// The words of all comments, in order.
fn comments(text: &str) -> Vec<&str> {
    let comments = tokens(text).into_iter().filter(|token| token.kind == TokenKind::Comment);
    comments.flat_map(|token| token.span.of(text).split_whitespace()).collect()
}
