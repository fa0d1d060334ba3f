//! The program as a shell sees it: streams, exit codes, and the generated completions.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
        self.command(args).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robo"));
        command.args(args).current_dir(self.0.path()).env_clear();
        command.env("ROBO_CONFIG_DIR", self.0.path().join("config"));
        command.env("ROBO_STATE_DIR", self.0.path().join("state"));
        command
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
fn several_graphs_are_checked_whatever_one_of_them_is() {
    let home = Home::new();
    home.file("shop.graph", GRAPH);
    home.file("bad.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    let (code, out, err) = home.run(&["check", "-o", "name", "nothing.graph", "bad.graph", "shop.graph"]);
    assert_eq!((code, out.as_str()), (1, "bad.graph:3:12 E0309\n"));
    assert!(err.contains("there is no file or folder nothing.graph") && err.contains("3 graphs: 1 error"), "{err}");
}

#[test]
fn warnings_can_count() {
    let home = Home::new();
    home.file("warn.graph", &format!("{GRAPH}facet unused {{\n}}\n"));
    assert_eq!(home.run(&["check", "warn.graph"]).0, 0);
    assert_eq!(home.run(&["check", "--deny-warnings", "warn.graph"]).0, 1);
}

#[test]
fn commands_are_checked_and_not_applied() {
    let home = Home::new();
    home.file("a.commands", "stop all /vm\n");
    home.file("b.commands", "stop all /vm\nstop /vm\n");
    let (code, out, _) = home.run(&["check", "-o", "name", "a.commands"]);
    assert_eq!((code, out.as_str()), (0, ""));
    let (code, out, _) = home.run(&["check", "-o", "name", "b.commands"]);
    assert_eq!((code, out.as_str()), (1, "b.commands:2:1 E0707\n"));
    let (code, _, err) = home.run(&["apply", "a.commands"]);
    assert!(code != 0 && err.contains("E0942"), "{code} {err}");
}

#[test]
fn instances_are_checked_with_their_graph() {
    let home = Home::new();
    let (graph, instances) = GRAPH.split_once("instance of").unwrap();
    let instances = format!("instance of{instances}");
    home.file("a.graph", graph);
    home.file("a.instances", &instances);
    home.file("b.instances", &instances.replace("of Db", "of Dbb"));
    let (code, out, _) = home.run(&["check", "-o", "name", "a.instances"]);
    assert_eq!((code, out.as_str()), (1, "a.instances:1:13 E0313\n"));
    let check = |file: &str| home.run(&["check", "-o", "name", "--graph", "a.graph", file]);
    assert_eq!((check("a.instances").0, check("a.instances").1.as_str()), (0, ""));
    assert_eq!((check("b.instances").0, check("b.instances").1.as_str()), (1, "b.instances:3:14 E0310\n"));
    let (code, _, err) = check(".");
    assert!(code == 1 && err.contains(". is a folder"), "{err}");

    std::fs::create_dir_all(home.0.path().join("p/descriptor")).unwrap();
    std::fs::create_dir_all(home.0.path().join("p/graph")).unwrap();
    std::fs::create_dir_all(home.0.path().join("p/instances/more")).unwrap();
    home.file("p/descriptor/application.properties", "name=p\nversion=1.0\ngraph-entry-point=g.graph\n");
    home.file("p/graph/g.graph", "import vm.graph;\n");
    home.file("p/graph/vm.graph", graph);
    home.file("p/instances/more/a.instances", "import b.instances;\n");
    home.file("p/instances/b.instances", &instances.replace("of Db", "of Dbb"));
    let (code, out, err) = home.run(&["check", "-o", "name", "p/instances/more/a.instances"]);
    assert_eq!((code, out.as_str()), (1, "p/instances/b.instances:3:14 E0310\n"));
    assert!(err.contains("checked with its project's graph p/graph/g.graph"), "{err}");
}

#[test]
fn standard_input_is_checked() {
    let home = Home::new();
    let mut command = home.command(&["check", "-o", "name", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(GRAPH.replace("children: Db", "children: Dbb").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "<stdin>:3:12 E0309\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "standard input: 1 error\n");
}

#[test]
fn sarif_is_one_log_for_all() {
    let home = Home::new();
    home.file("a b.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    home.file("good.graph", GRAPH);
    let (code, out, err) = home.run(&["check", "-o", "sarif", "a b.graph", "good.graph"]);
    assert_eq!((code, err.as_str()), (1, ""));
    let log: serde_json::Value = serde_json::from_str(&out).unwrap();
    let uri = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!((&log["version"], uri), (&"2.1.0".into(), &"a%20b.graph".into()));
    let (code, _, err) = home.run(&["status", "-o", "sarif"]);
    assert!(code == 1 && err.contains("invalid value 'sarif'"), "{err}");
}

#[test]
fn codes_are_explained() {
    let home = Home::new();
    let (code, page, _) = home.run(&["explain", "107"]);
    assert!(code == 0 && page.starts_with("E0107  A block without `{`\nerror"), "{page}");
    for name in ["E0107", "e0107", "p_o_c_bracket_missing"] {
        assert_eq!(home.run(&["explain", name]).1, page);
    }
    let (code, out, err) = home.run(&["explain", "PM_INVALID_CHILD_NAM"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("did you mean E0210 (PM_INVALID_CHILD_NAME)?"), "{err}");
    let (code, out, _) = home.run(&["explain", "-o", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && all.len() > 200 && all[0]["code"] == "E0101", "{out}");
}

#[test]
fn a_graph_is_drawn_in_several_ways() {
    let home = Home::new();
    home.file("shop.graph", GRAPH);
    let (code, out, err) = home.run(&["graph", "shop.graph"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("└─ Db  logger") && !out.contains('\u{1b}'), "{out}");
    assert!(home.run(&["graph", "shop.graph", "-o", "dot"]).1.starts_with("digraph \"shop\" {"));
    assert!(home.run(&["graph", "shop.graph", "-o", "mermaid"]).1.starts_with("flowchart TB\n"));
    assert_eq!(home.run(&["graph", "shop.graph", "-o", "name", "--instances"]).1, "/vm\n/vm/db\n");
    let data: serde_json::Value = serde_json::from_str(&home.run(&["graph", "shop.graph", "-o", "json"]).1).unwrap();
    assert_eq!((&data["nodes"][0]["id"], &data["edges"][0]["kind"]), (&"Db".into(), &"contains".into()));
    let (code, out, err) = home.run(&["graph", "shop.graph", "-o", "dot", "--out", "shop.dot"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "Wrote shop.dot.\n"));
    assert!(std::fs::read_to_string(home.0.path().join("shop.dot")).unwrap().ends_with("}\n"));
}

#[test]
fn a_page_is_written_about_a_graph() {
    let home = Home::new();
    home.file("shop.graph", GRAPH);
    assert!(home.run(&["doc", "shop.graph"]).1.starts_with("<!DOCTYPE html>"));
    let (code, out, err) = home.run(&["doc", "shop.graph", "-o", "markdown", "--out", "SHOP.md"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "Wrote SHOP.md.\n"));
    assert!(std::fs::read_to_string(home.0.path().join("SHOP.md")).unwrap().starts_with("# shop\n"));
    home.file("bad.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    let (code, out, err) = home.run(&["doc", "bad.graph"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("children: Dbb;") && err.contains("nothing is written"), "{err}");
    assert!(home.run(&["doc", "shop.graph", "-o", "json"]).2.contains("possible values: html, markdown"));
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let home = Home::new();
    home.file("shop.graph", GRAPH);
    home.file("bad.graph", &GRAPH.replace("children: Db;", "children: Dbb;"));
    std::fs::create_dir(home.0.path().join("folder")).unwrap();
    let check = |args: &[&str], expect: &[&str]| {
        let (code, out, err) = home.run(&[&["graph"], args].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(expect.iter().all(|part| err.contains(part)), "{args:?}: {err}");
    };
    check(&["bad.graph"], &["children: Dbb;", "bad.graph has 1 error; nothing is drawn"]);
    check(&["shop.graph", "--component", "Dn"], &["no component `Dn` in shop", "did you mean `Db`?"]);
    check(&["shop.graph", "--component", "Nothing"], &["-o name"]);
    check(&["shop.graph", "--component", "Db", "--depth", "0"], &["1 or more"]);
    check(&["shop.graph", "--component", "Db", "--depth", "two"], &["a number of steps"]);
    check(&["shop.graph", "--depth", "2"], &["--component"]);
    check(&["shop.graph", "--component", "Db", "--instances"], &["cannot be used with"]);
    check(&["shop.graph", "--out", "folder"], &["folder is a folder"]);
    check(&["shop.graph", "--out", "no/where"], &["cannot write no/where", "No such file"]);
    check(&["shop.graph", "--out", "/dev/null"], &["/dev/null is no ordinary file"]);
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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
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
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "3 files unchanged\n"));

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
        "is not UTF-8 text",
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
