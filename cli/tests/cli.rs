//! The program as a shell sees it: streams, exit codes, and the generated completions.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GRAPH: &str = "\
VM {\n\tinstaller: target;\n\tchildren: Db;\n}\n\
Db {\n\tinstaller: logger;\n}\n\
instance of VM {\n\tname: vm;\n\tinstance of Db {\n\t\tname: db;\n\t}\n}\n";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn robo(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robo"));
        command.args(args).current_dir(self.0.path()).env_clear();
        command.env("ROBO_CONFIG_DIR", self.0.path().join("config"));
        command.env("ROBO_STATE_DIR", self.0.path().join("state"));
        command.output().unwrap()
    }

    /// Runs it, and gives exit code, standard output and standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.robo(args);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

#[test]
fn a_good_graph_passes_and_a_bad_one_is_drawn() {
    let home = Home::new();
    home.file("shop.graph", GRAPH);
    let (code, out, err) = home.run(&["check", "shop.graph"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "shop.graph: no errors\n"));

    home.file("bad.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    let (code, out, err) = home.run(&["check", "bad.graph"]);
    assert_eq!(code, 1);
    assert!(out.contains("bad.graph:3") && out.contains("children: Dbb;"), "{out}");
    assert!(err.starts_with("bad.graph: ") && err.contains("error"), "{err}");

    let (code, out, err) = home.run(&["check", "-o", "json", "bad.graph", "shop.graph"]);
    assert_eq!((code, err.as_str()), (1, ""));
    for line in out.lines() {
        let one: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&one["file"], &one["line"]), (&"bad.graph".into(), &3.into()));
    }
}

#[test]
fn a_graph_with_errors_is_not_sent_anywhere() {
    let home = Home::new();
    home.file("bad.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    let (code, out, err) = home.run(&["apply", "bad.graph", "--yes"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("nothing was sent") && err.contains("children: Dbb;"), "{err}");
}

#[test]
fn without_a_context_there_is_advice() {
    let home = Home::new();
    let (code, out, err) = home.run(&["status"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("error: robo does not know which manager to talk to"), "{err}");
    assert!(err.contains("robo up"), "{err}");
}

#[test]
fn contexts_are_added_chosen_and_forgotten() {
    let home = Home::new();
    home.file("ca.pem", include_str!("../src/client/tls/test-ca.pem"));
    home.file("token", "secret-token\n");
    let add = ["context", "add", "lab", "--url", "https://manager.lab:7626", "--ca", "ca.pem", "--token-file", "token"];
    let (code, _, err) = home.run(&add);
    assert_eq!((code, err.as_str()), (0, "Now using lab: https://manager.lab:7626\n"));
    assert_eq!(home.run(&["context", "list", "-o", "name"]).1, "lab\n");
    let (_, out, _) = home.run(&["context", "show"]);
    assert!(out.contains("https://manager.lab:7626") && !out.contains("secret-token"), "{out}");
    assert_eq!(home.run(&["context", "use", "nowhere"]).0, 1);
    assert_eq!(home.run(&["context", "remove", "lab"]).0, 0);
    assert_eq!(home.run(&["context", "list", "-o", "name"]).1, "");

    home.file("ca.pem", "no certificate");
    let (code, _, err) = home.run(&add);
    assert_eq!(code, 1);
    assert!(err.contains("the CA of the context `lab` cannot be used"), "{err}");
}

#[test]
fn a_manager_that_is_down_has_its_own_exit_code() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    home.file("ca.pem", include_str!("../src/client/tls/test-ca.pem"));
    home.file("token", "t");
    let add = ["context", "add", "lab", "--url", &url, "--ca", "ca.pem", "--token-file", "token"];
    assert_eq!(home.run(&add).0, 0);
    let (code, _, err) = home.run(&["status"]);
    assert_eq!(code, 4);
    assert!(err.contains(&url) && err.contains("robo up"), "{err}");
}

#[test]
fn mistakes_on_the_command_line_end_with_one() {
    let home = Home::new();
    assert_eq!(home.run(&["frobnicate"]).0, 1);
    assert_eq!(home.run(&["apply"]).0, 1);
    assert_eq!(home.run(&["apply", "x", "--no-wait", "--timeout", "5m"]).0, 1);
    assert_eq!(home.run(&["--version"]).0, 0);
    let (code, out, _) = home.run(&["--help"]);
    assert!(code == 0 && out.contains("robo apply app.graph"), "{out}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_robo"))
        .args(["completions", "bash"])
        .env("ROBO_CONFIG_DIR", home.0.path())
        .env("ROBO_STATE_DIR", home.0.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

/// `ROBO_BLESS=1 cargo test -p robo-cli` writes them anew.
#[test]
fn the_kept_completions_are_those_of_the_program() {
    let home = Home::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../completions");
    for (shell, file) in [("bash", "robo.bash"), ("zsh", "_robo"), ("fish", "robo.fish")] {
        let (code, script, _) = home.run(&["completions", shell]);
        assert_eq!(code, 0);
        let path = kept.join(file);
        if std::env::var_os("ROBO_BLESS").is_some() {
            std::fs::write(&path, &script).unwrap();
        }
        let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == script);
        assert!(same, "{file} is not what the program prints; write it anew with ROBO_BLESS=1");
    }
}
