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
        told(output)
    }

    /// [`Self::run`] with something on standard input.
    fn feed(&self, args: &[&str], input: &[u8]) -> (i32, String, String) {
        use std::io::Write as _;
        use std::process::Stdio;
        let mut command = Command::new(env!("CARGO_BIN_EXE_robo"));
        command.args(args).current_dir(self.0.path()).env_clear().env("ROBO_STATE_DIR", self.0.path().join("state"));
        command.env("ROBO_CONFIG_DIR", self.0.path().join("config"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        told(child.wait_with_output().unwrap())
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
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

const ODD: &str = "VM{\r\n  installer:target ;# c\r\n}\r\n";
const EVEN: &str = "VM {\n\tinstaller: target ;  # c\n}\n";

#[test]
fn files_are_formatted_in_place() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = Home::new();
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    std::fs::create_dir_all(home.0.path().join("below/.hidden")).unwrap();
    let (one, two) = (home.file("a.graph", ODD), home.file("below/b.instances", ODD));
    let (even, other) = (home.file("below/c.graph", EVEN), home.file("below/d.txt", ODD));
    let hidden = home.file("below/.hidden/e.graph", ODD);
    std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o666)).unwrap();
    symlink("below", home.0.path().join("loop")).unwrap();

    let (code, out, err) = home.run(&["fmt", "--check"]);
    assert_eq!((code, err.as_str()), (1, "2 files would change, 1 unchanged\n"));
    assert!(out.starts_with("--- a.graph\n+++ a.graph\n@@ -1,3 +1,3 @@\n-VM{\r\n"), "{out}");
    assert_eq!(text(&one), ODD, "nothing is written");
    let names = "a.graph\nbelow/b.instances\n";
    assert_eq!(home.run(&["fmt", "--check", "-o", "name"]).1, names);

    let (code, out, err) = home.run(&["fmt", "a.graph", "."]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, "formatted a.graph\nformatted below/b.instances\nformatted 2 files, 1 unchanged\n");
    assert_eq!([&one, &two, &even, &other, &hidden].map(|path| text(path) == EVEN), [true, true, true, false, false]);
    assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o666);
    let (code, out, err) = home.run(&["fmt", "--check"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "formatted 0 files, 3 unchanged\n"));

    // A link stays one, and what it leads to is formatted.
    let odd = home.file("odd", ODD);
    symlink(&odd, home.0.path().join("f.graph")).unwrap();
    assert_eq!(home.run(&["fmt", "f.graph", "-o", "json"]).1, "{\"file\":\"f.graph\",\"outcome\":\"formatted\"}\n");
    assert_eq!(text(&odd), EVEN);
    assert!(home.0.path().join("f.graph").is_symlink());
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let home = Home::new();
    assert_eq!(home.feed(&["fmt", "-"], ODD.as_bytes()), (0, EVEN.into(), String::new()));
    assert_eq!(home.feed(&["fmt", "-", "--check"], EVEN.as_bytes()), (0, String::new(), String::new()));
    let (code, out, _) = home.feed(&["fmt", "-", "--check"], ODD.as_bytes());
    assert!(code == 1 && out.contains("+VM {"), "{out}");
    let (code, out, err) = home.feed(&["fmt", "-"], b"VM {\n\tx y\n");
    assert!(code == 1 && out.is_empty() && err.contains("x y") && err.contains("-:2:"), "{err}");
}

#[test]
fn what_cannot_be_formatted_is_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let good = home.file("good.graph", ODD);
    let bad = home.file("bad.graph", "VM{\n");
    let binary = home.0.path().join("binary.graph");
    std::fs::write(&binary, b"VM{\n}\n\xff").unwrap();
    let kept = home.file("kept.graph", ODD);
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::create_dir(home.0.path().join("empty")).unwrap();
    let (code, out, err) = home.run(&["fmt", "none.graph", "empty", "/dev/null", "."]);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in [
        "there is no file or folder none.graph\n",
        "there is no *.graph and no *.instances in the folder empty\n",
        "/dev/null is no file that can be rewritten\n",
        "bad.graph:2:",
        "the file is not UTF-8",
        "kept.graph is read-only\n",
        "formatted good.graph\nerror:",
        "formatted 1 file, 2 with mistakes, 4 failed\n",
    ] {
        assert!(err.contains(part), "{part} is not in\n{err}");
    }
    assert_eq!([&good, &bad, &kept].map(|path| std::fs::read_to_string(path).unwrap()), [EVEN, "VM{\n", ODD]);
    assert_eq!(home.run(&["fmt", "-", "good.graph"]).0, 1);
    let (_, out, err) = home.run(&["fmt", "-o", "json", "bad.graph"]);
    assert!(out.contains("\"outcome\":\"refused\"") && out.contains("\"line\":2") && err.is_empty(), "{out}{err}");
}

/// The bound on a file's size stands for a full disk: writing fails half way.
#[test]
fn a_full_disk_costs_no_file() {
    let home = Home::new();
    let path = home.file("a.graph", &format!("{ODD}{}", "# comment\n".repeat(10_000)));
    let before = std::fs::read(&path).unwrap();
    let line = format!("trap '' XFSZ; ulimit -f 8; exec {} fmt a.graph", env!("CARGO_BIN_EXE_robo"));
    let output = Command::new("sh").args(["-c", &line]).current_dir(home.0.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("cannot write a.graph"), "{err}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let names: Vec<_> = std::fs::read_dir(home.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.graph"], "nothing half written stays");
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
