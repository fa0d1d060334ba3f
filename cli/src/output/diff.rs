//! What differs between two texts, as `diff -u` shows it.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::paint::Palette;

/// Lines around each change.
const CONTEXT: usize = 3;

/// Longest search for the smallest difference; after it a larger one is shown, which is as true.
const SEARCH: Duration = Duration::from_secs(2);

/// The difference as `patch -p0` takes it; nothing when there is none. On a terminal characters that would command it
/// are shown instead.
pub(crate) fn unified(name: &str, old: &str, new: &str, palette: Palette, terminal: bool) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let diff = TextDiff::configure().timeout(SEARCH).diff_slices(&old, &new);
    let shown = |text: &str| if terminal { printable(text) } else { text.to_owned() };
    let mut out = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        if out.is_empty() {
            let name = shown(name);
            out = format!("{}\n{}\n", palette.bold(&format!("--- {name}")), palette.bold(&format!("+++ {name}")));
        }
        out.push_str(&palette.hint(&hunk.header().to_string()));
        out.push('\n');
        for change in hunk.iter_changes() {
            let line = change.value();
            let text = shown(&format!("{}{}", change.tag(), line.strip_suffix('\n').unwrap_or(line)));
            out.push_str(&match change.tag() {
                ChangeTag::Equal => text,
                ChangeTag::Delete => palette.bad(&text),
                ChangeTag::Insert => palette.good(&text),
            });
            out.push_str(if line.ends_with('\n') { "\n" } else { "\n\\ No newline at end of file\n" });
        }
    }
    out
}

/// A CR becomes visible, other control characters become `?`; tabs stay.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => c,
        '\r' => '␍',
        _ if c.is_control() => '?',
        _ => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_stand_among_their_neighbours() {
        let old = "a\nb\nc\nd\nx \re\u{1b}\nf\ng\nh\ni";
        let new = "a\nb\nc\nd\nx\nf\ng\nh\ni\n";
        insta::assert_snapshot!(unified("a.graph", old, new, Palette::new(false), true), @r"
        --- a.graph
        +++ a.graph
        @@ -2,8 +2,8 @@
         b
         c
         d
        -x ␍e?
        +x
         f
         g
         h
        -i
        \ No newline at end of file
        +i
        ");
        let coloured = unified("a.graph", old, new, Palette::new(true), false);
        assert!(coloured.contains("\u{1b}[31m-x \re\u{1b}") && coloured.contains("\u{1b}[32m+x"), "{coloured:?}");
        assert_eq!(unified("a.graph", new, new, Palette::new(false), true), "");
    }
}
