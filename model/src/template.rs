//! `$(name)` in values: found, and replaced.

use std::fmt::{self, Write as _};

/// A `$(name)` that nothing gives a value to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing gives `$({0})` a value")]
pub struct Unresolved(pub String);

/// What stands between `$(` and `)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'t> {
    /// `$(name)`: an export, an import, or one of [`instance_variable`].
    Variable(&'t str),
    /// `$(secret:NAME)`; whether it is a [`crate::name::SecretName`] is not checked here.
    Secret(&'t str),
}

impl<'t> Reference<'t> {
    /// What stands before a secret's name.
    pub const SECRET: &'static str = "secret:";

    fn of(text: &'t str) -> Self {
        text.strip_prefix(Self::SECRET).map_or(Self::Variable(text), Self::Secret)
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Secret(name) => write!(f, "{}{name}", Self::SECRET),
        }
    }
}

/// What stands between `$(` and `)` in `text`, in order, with the byte ranges (from `$` to after `)`).
pub fn references(text: &str) -> impl Iterator<Item = (Reference<'_>, std::ops::Range<usize>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find("$(")?;
        let length = text.get(start + 2..)?.find(')')?;
        let end = start + 2 + length + 1;
        from = end;
        Some((Reference::of(text.get(start + 2..end - 1)?.trim()), start..end))
    })
}

/// `text` with each `$(name)` replaced by what `value` gives for it. A `$` that no `(` follows, and a `$(`
/// without `)`, stay as they are. A secret is never asked for: whoever has it fills it in where nobody sees it.
///
/// # Errors
/// Names the first `$(name)` that `value` does not know, or that is a secret.
pub fn expand(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, Unresolved> {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (reference, range) in references(text) {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        let found = match reference {
            Reference::Variable(name) => value(name),
            Reference::Secret(_) => None,
        };
        out.push_str(&found.ok_or_else(|| Unresolved(reference.to_string()))?);
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Ok(out)
}

/// The original's substitution variables for an instance: `ROBOCONF_INSTANCE_NAME`, `_PATH`, both cleaned
/// forms, and the component's name (DockerAndScriptUtils.java).
#[must_use]
pub fn instance_variable(name: &str, spec: &crate::spec::InstanceSpec) -> Option<String> {
    let path = &spec.key.path;
    match name {
        "ROBOCONF_INSTANCE_NAME" => Some(path.leaf().to_owned()),
        "ROBOCONF_INSTANCE_PATH" => Some(path.to_string()),
        "ROBOCONF_COMPONENT_NAME" => Some(spec.component.to_string()),
        "ROBOCONF_CLEAN_INSTANCE_PATH" => Some(clean(path.segments())),
        "ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH" => Some(clean(path.segments().rev())),
        _ => None,
    }
}

/// Segments joined by `_`, every character that is not `[A-Za-z0-9_]` made a `_`.
fn clean<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (i, segment) in segments.enumerate() {
        if i > 0 {
            out.push('_');
        }
        for c in segment.chars() {
            let c = if c.is_ascii_alphanumeric() { c } else { '_' };
            out.write_char(c).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let value = |name: &str| (name == "port" || name == "secret:x").then(|| "80".to_owned());
        let got = expand(text, value);
        assert_eq!(got, expect.map(str::to_owned).map_err(|n| Unresolved(n.to_owned())), "{text}");
    }

    #[test]
    fn names_in_parentheses_are_replaced() {
        check("http://x:$(port)/$( port )", Ok("http://x:80/80"));
        check("$HOME $ $(", Ok("$HOME $ $("));
        check("$(port", Ok("$(port"));
        check("a$(nope)b", Err("nope"));
        check("ü$(port)ü", Ok("ü80ü"));
        check("$(port)$( secret:x )", Err("secret:x"));
    }
}
