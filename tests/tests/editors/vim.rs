//! The Vim file, in Vim itself, where there is one.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use super::{Family, Piece, editors, hold, pieces, samples};

/// Which groups belong to which family; a value's groups stand inside of it.
const GROUPS: [(&str, Family); 13] = [
    ("roboComment", Family::Comment),
    ("roboKeyword", Family::Keyword),
    ("roboImport", Family::Keyword),
    ("roboName", Family::Name),
    ("roboBlockName", Family::Name),
    ("roboProperty", Family::Property),
    ("roboValue", Family::Value),
    ("roboLines", Family::Value),
    ("roboUnfinished", Family::Value),
    ("roboPath", Family::Value),
    ("roboColon", Family::Punctuation),
    ("roboEnd", Family::Punctuation),
    ("roboBrace", Family::Punctuation),
];

#[test]
fn vim_shows_every_token() {
    if !is_there() {
        println!("vim is not installed, or cannot highlight: the Vim file was not tried");
        return;
    }
    for (name, text) in samples() {
        let shown = shown(&text);
        let mut each = shown.lines();
        hold(&name, &text, |_| each.next().unwrap_or_default().split(' ').map(family).collect());
    }
}

/// A graph is known by its name, and commented and indented as the language is.
#[test]
fn vim_knows_the_files() {
    if !is_there() {
        println!("vim is not installed: the Vim files were not tried");
        return;
    }
    let told = run("a.graph", "", "call writefile([&filetype . ' ' . &commentstring . ' ' . &expandtab], $OUT)\n");
    assert_eq!(told.trim_end(), "robo # %s 0");
}

fn is_there() -> bool {
    let version = Command::new("vim").arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("+syntax"))
}

/// For each piece a line: the groups of each of its bytes, outermost first, as `roboLines/roboComment`.
fn shown(text: &str) -> String {
    let mut script = String::from("let out = []\n");
    for piece in pieces(text) {
        let Piece { line, start, .. } = piece;
        let columns: Vec<usize> = (start + 1..=start + piece.text.len()).collect();
        writeln!(script, "call add(out, join(map({columns:?}, 'join(map(synstack({}, v:val), ''synIDattr(v:val, \"name\")''), \"/\")')))", line + 1)
            .expect("a string takes it");
    }
    script.push_str("call writefile(out, $OUT)\n");
    run("a.instances", text, &script)
}

/// Opens a file with the plug-in, runs a script on it, and gives what the script wrote.
fn run(name: &str, text: &str, script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (file, commands, out) = (folder.path().join(name), folder.path().join("script.vim"), folder.path().join("out"));
    fs::write(&file, text).unwrap();
    fs::write(&commands, script).unwrap();
    let plugin = format!("set runtimepath^={}", editors("vim").display());
    let status = Command::new("vim")
        .args(["-u", "NONE", "-i", "NONE", "-n", "-N", "-es", "--cmd", &plugin])
        .args(["--cmd", "filetype plugin on", "--cmd", "syntax on"])
        .arg(&file)
        .args(["-S".as_ref(), commands.as_os_str(), "-c".as_ref(), "qall!".as_ref()])
        .env("OUT", &out)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let written = fs::read_to_string(&out);
    written.unwrap_or_else(|error| panic!("vim ended with {status} and wrote nothing: {error}"))
}

/// A comment is one wherever it stands; otherwise the outermost group counts.
fn family(groups: &str) -> Option<Family> {
    let comment = groups.split('/').find(|group| *group == "roboComment");
    let group = comment.or_else(|| groups.split('/').next())?;
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, family)| *family)
}
