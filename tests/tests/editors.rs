//! `docs/editors/`: what editors show is held against the parser's tokens.
//!
//! Every token of every example, and of lines that are easily shown wrong, gets the colour of its kind.

use std::fs;
use std::path::{Path, PathBuf};

use robo_dsl::{TokenKind, tokens};

mod textmate;
mod vim;

/// What an editor tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Comment,
    Keyword,
    Name,
    Property,
    Value,
    Punctuation,
}

/// A piece of a line that is one of them.
struct Piece {
    /// From 0.
    line: usize,
    /// Bytes from the line's start.
    start: usize,
    text: String,
    family: Family,
}

/// Lines that are right and unusual.
const ODD: &str = "import parts/machines.graph;# at once
IMPORT other.graph;
FACET f {
}
facetX {
	installer : target; # a `;` and a : in here
	exports: a, b = \"x; y, #z\", c=, RANDOM[port] p, url = \"http://$(ip):$(p)/#top\";
	imports: f.*, # why
# and why not

		external Other.ip (optional), g.port;
	check: http 8080 /healthz every 5s;
	env.KEY: $(secret:key) 10% 512MiB;
} # the end
import-like {{
	children: facetX,;
}
application shop (1) {
	version: 1.4.0;
	tags: a, b;
}
application {
}
Instance of facetX {
	name: with blank ;
	count: 3;
	data.ec2.elastic.ip: 1.2.3.4;
	facetX.url: \"a; b\";
	instance of f.x{
		Name:x;
		device: robot-42;
	}
}
";

/// Every example's name and text, and the odd lines.
fn samples() -> Vec<(String, String)> {
    let mut samples = vec![("odd lines".to_owned(), ODD.to_owned())];
    let mut folders = vec![root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the examples are there") {
            let path = entry.expect("the examples can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "graph" || ending == "instances") {
                samples.push((path.display().to_string(), fs::read_to_string(&path).expect("an example is text")));
            }
        }
    }
    assert!(samples.len() > 2, "there are no examples");
    samples
}

/// The tokens that an editor has to show.
fn pieces(text: &str) -> Vec<Piece> {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut out = Vec::new();
    for token in tokens(text) {
        let word = token.span.of(text);
        let keyword = ["import", "facet", "instance", "of", "application"].iter().any(|k| word.eq_ignore_ascii_case(k));
        let family = match token.kind {
            TokenKind::Comment => Family::Comment,
            TokenKind::Word if keyword => Family::Keyword,
            TokenKind::Name => Family::Name,
            TokenKind::Property => Family::Property,
            TokenKind::Value => Family::Value,
            TokenKind::Punctuation => Family::Punctuation,
            TokenKind::Word | TokenKind::Blank | TokenKind::LineEnd => continue,
            kind => panic!("`{word}` is {kind:?}: the samples are right"),
        };
        let at = token.span.range().start;
        let line = starts.partition_point(|start| *start <= at) - 1;
        // The blank before a `;` is the value's; nobody sees its colour.
        out.push(Piece { line, start: at - starts[line], text: word.trim_end().to_owned(), family });
    }
    out
}

/// Holds what `shown` tells of each byte of a piece.
fn hold(name: &str, text: &str, mut shown: impl FnMut(&Piece) -> Vec<Option<Family>>) {
    let pieces = pieces(text);
    assert!(pieces.len() > 20, "{name} has only {} tokens", pieces.len());
    let wrong = pieces.iter().filter_map(|piece| {
        let shown = shown(piece);
        let all = !shown.is_empty() && shown.iter().all(|family| *family == Some(piece.family));
        (!all && !piece.text.is_empty()).then(|| {
            format!(
                "{}:{}: `{}` is {:?}, shown as {shown:?}",
                piece.line + 1,
                piece.start + 1,
                piece.text,
                piece.family
            )
        })
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{name}: {} tokens are shown wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A file below `docs/editors`.
fn editors(path: &str) -> PathBuf {
    root().join("docs/editors").join(path)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}
