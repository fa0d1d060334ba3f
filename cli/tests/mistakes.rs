//! Wrong files as people write them, and what `robo check` says: as a terminal of 80 columns shows it.
//!
//! Each text is read by a person before it is kept: it must be kind and exact. `INSTA_UPDATE=always` writes them anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::process::Command;

/// The terminal of these tests.
const COLUMNS: usize = 80;

/// Most that is printed of one file, however large it is.
const MOST_OUTPUT: usize = 500_000;

/// Lines of it that are kept when there are very many.
const LAST_LINES: usize = 14;

/// A machine with a server on it, both right.
const GRAPH: &str = "\
VM {
\tinstaller: target;
\tchildren: Tomcat;
}
Tomcat {
\tinstaller: script;
\texports: ip, port = 8080;
}
";

const INSTANCES: &str = "\
instance of VM {
\tname: vm;
\tinstance of Tomcat {
\t\tname: tomcat;
\t}
}
";

/// Checks the first of some files, or the folder with all of them; compares what is printed with what was kept.
fn check(name: &str, files: &[(&str, &[u8])]) {
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let first = files.first().unwrap().0;
    let what = if first.contains('/') { "." } else { first };
    insta::assert_snapshot!(name, run(folder.path(), &["check", what]));
}

fn run(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_robo"));
    command.args(args).current_dir(folder).env_clear().env("COLUMNS", COLUMNS.to_string());
    command.env("ROBO_CONFIG_DIR", folder.join("config")).env("ROBO_STATE_DIR", folder.join("state"));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(out.len() + err.len() < MOST_OUTPUT, "{} bytes are printed", out.len() + err.len());
    assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
    for line in out.lines() {
        assert!(console::measure_text_width(line) <= COLUMNS, "wider than the terminal: {line}");
    }
    format!("{out}{err}{}", output.status)
}

fn one(name: &str, text: impl AsRef<[u8]>) {
    check(name, &[("app.graph", text.as_ref())]);
}

/// The graph with some of its text replaced.
fn graph(name: &str, from: &str, to: &str) {
    let text = format!("{GRAPH}{INSTANCES}");
    assert!(text.contains(from), "{from}");
    one(name, text.replacen(from, to, 1));
}

#[test]
fn lines() {
    graph("semicolon-missing", "target;", "target");
    graph("equals-for-colon", "installer: target", "installer = target");
    graph("brace-on-next-line", "VM {", "VM\n{");
    graph(
        "block-on-one-line",
        "VM {\n\tinstaller: target;\n\tchildren: Tomcat;\n}",
        "VM { installer: target; children: Tomcat; }",
    );
    graph("brace-forgotten", "Tomcat;\n}", "Tomcat;\n");
    graph("brace-too-many", "8080;\n}", "8080;\n}\n}");
    graph("brace-forgotten-at-the-end", "\t}\n}\n", "\t}\n");
    graph("two-statements", "target;\n\tchildren", "target; children");
    graph("comment-of-another-language", "VM {", "// the machine\nVM {");
    graph("comma-for-semicolon", "port = 8080;", "port = 8080,");
    one("empty", "");
    one("comments-only", "# to do\n");
}

#[test]
fn names() {
    graph("child-misspelt", "children: Tomcat", "children: Tomact");
    graph("child-unknown", "children: Tomcat", "children: Tomcat, Database");
    graph("component-misspelt", "instance of Tomcat", "instance of TomCat");
    graph("property-misspelt", "installer: script", "instaler: script");
    graph("property-in-capitals", "installer: script", "Installer: script");
    graph("installer-misspelt", "installer: target", "installer: taget");
    graph("installer-in-quotes", "installer: script", "installer: \"script\"");
    graph("installer-missing", "\tinstaller: script;\n", "");
    graph("keyword-misspelt", "\tinstance of Tomcat", "\tinstanceof Tomcat");
    graph("instance-of-forgotten", "\tinstance of Tomcat", "\tTomcat");
    graph("blank-in-a-name", "Tomcat {\n\tinst", "Tomcat 8 {\n\tinst");
    graph("instance-without-name", "\t\tname: tomcat;\n", "");
    graph("override-misspelt", "name: tomcat;", "name: tomcat;\n\t\tprot: 8081;");
    one("component-twice", format!("{GRAPH}Tomcat {{\n\tinstaller: logger;\n}}\n"));
    one("instance-twice", format!("{GRAPH}{INSTANCES}{INSTANCES}"));
    one(
        "variable-misspelt",
        format!(
            "{}Web {{\n\tinstaller: script;\n\timports: Tomcat.prot;\n}}\n",
            GRAPH.replace("children: Tomcat", "children: Tomcat, Web")
        ),
    );
}

#[test]
fn wholes() {
    one(
        "nested-wrongly",
        format!(
            "{}Db {{\n\tinstaller: script;\n}}\n{}",
            GRAPH.replace("children: Tomcat", "children: Tomcat, Db"),
            INSTANCES.replace("tomcat;\n", "tomcat;\n\t\tinstance of Db {\n\t\t\tname: db;\n\t\t}\n")
        ),
    );
    one("not-on-a-machine", format!("{GRAPH}instance of Tomcat {{\n\tname: tomcat;\n}}\n"));
    one(
        "child-circle",
        format!(
            "{}War {{\n\tinstaller: script;\n\tchildren: Tomcat;\n}}\n",
            GRAPH.replace("installer: script;", "installer: script;\n\tchildren: War;")
        ),
    );
    one("extends-circle", "VM {\n\tinstaller: target;\n\textends: Base;\n}\nBase {\n\textends: VM;\n}\n");
    one("imports-itself", GRAPH.replace("exports", "imports: Tomcat.port;\n\texports"));
    one("value-missing", format!("{}{INSTANCES}", GRAPH.replace("port = 8080", "port")));
    one("no-machine", "Tomcat {\n\tinstaller: script;\n}\n");
    one(
        "two-applications",
        format!("application shop {{\n\tversion: 1.0;\n}}\napplication store {{\n\tversion: 1.0;\n}}\n{GRAPH}"),
    );
    one("version-wrong", format!("application shop {{\n\tversion: 1;\n}}\n{GRAPH}"));
    graph("selector-wrong", "name: vm;", "name: vm;\n\tdevices: site==tokyo, , gpu;");
    graph("duration-wrong", "installer: script;", "installer: script;\n\tstart-timeout: 5;");
    graph("health-check-wrong", "installer: script;", "installer: script;\n\tcheck: http localhost:8080;");
    check("graph-missing", &[("test.instances", INSTANCES.as_bytes())]);
}

#[test]
fn files() {
    check(
        "import-missing",
        &[("app.graph", b"import parts/tomcat.graph;\nimport ../up.graph;\nVM {\n\tinstaller: target;\n}\n")],
    );
    check(
        "mistake-in-an-import",
        &[
            ("app.graph", b"import tomcat.graph;\nVM {\n\tinstaller: target;\n\tchildren: Tomcat;\n}\n"),
            ("tomcat.graph", b"Tomcat {\n\tinstaller script;\n}\n"),
        ],
    );
    check(
        "twice-in-two-files",
        &[
            ("app.graph", format!("import tomcat.graph;\n{GRAPH}").as_bytes()),
            ("tomcat.graph", b"Tomcat {\n\tinstaller: script;\n}\n"),
        ],
    );
    check("folder-without-graph", &[("docs/readme.txt", b"hello\n")]);
    check(
        "project-without-graph",
        &[
            ("descriptor/application.properties", b"application-name = shop\napplication-version = 1\n"),
            ("graph/other.txt", b"x"),
        ],
    );
    check("project-entry-misspelt", &[("descriptor/application.properties", b"application-name = shop\napplication-version = 1.0\napplication-dsl-id = roboconf-1.0\ngraph-entry-point = mian.graph\n"), ("graph/main.graph", GRAPH.as_bytes())]);
}

#[test]
fn what_was_pasted() {
    one(
        "yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: tomcat\nspec:\n  containers:\n    - name: tomcat\n      image: tomcat:9\n",
    );
    one("json", "{\n  \"name\": \"shop\",\n  \"services\": {\n    \"tomcat\": { \"port\": 8080 }\n  }\n}\n");
    one("shell", "#!/bin/sh\nset -eu\nexport PORT=8080\nif [ -f app ]; then\n  ./app\nfi\n");
    one("html", "<!DOCTYPE html>\n<html>\n  <body class=\"x\">Hello; world</body>\n</html>\n");
}

#[test]
fn characters() {
    graph("carriage-returns-and-tabs", "children: Tomcat;\n", "children:\tTomact;\r\n");
    one("byte-order-mark", format!("\u{FEFF}{GRAPH}"));
    graph("no-break-space", "installer: script", "\u{A0}installer: script");
    graph("typographic-quotes", "port = 8080", "banner = “hello; you”");
    one("windows-1252", b"# caf\xE9 cr\xE8me\nVM {\n\tinstaller: target;\n}\n");
    one("utf-16", GRAPH.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    one("binary", [b"\x7FELF\x02\x01\x01\0\0\0".as_slice(), &[0xFF, 0xFE, 0x00, 0x80].repeat(500)].concat());
    graph("escape-sequences", "installer: script", "installer: \u{1b}[31m\u{202E}script");
    graph("wide-letters", "name: tomcat;", "名前: \"日本語のサーバー\"; # 説明");
}

#[test]
fn sizes() {
    one("line-of-megabytes", format!("VM {{\n\tinstaller: {};\n}}\n", "x".repeat(5_000_000)));
    one(
        "list-of-megabytes",
        format!(
            "VM {{\n\tinstaller: target;\n\tchildren: {}Tomact;\n}}\nTomcat {{\n\tinstaller: script;\n}}\n",
            "Tomcat, ".repeat(500_000)
        ),
    );
    let nested = "instance of VM {\nname: vm;\n".repeat(10_000);
    last("ten-thousand-nested", &format!("{GRAPH}{nested}{}", "}\n".repeat(10_000)));
    last("twenty-thousand-mistakes", &"Tomcat {\n\tinstaller script\n}\n".repeat(20_000));
}

/// The end of what is printed of a file with very many mistakes.
fn last(name: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.graph"), text).unwrap();
    let printed = run(folder.path(), &["check", "app.graph"]);
    let before = printed.lines().count().saturating_sub(LAST_LINES);
    insta::assert_snapshot!(name, printed.lines().skip(before).collect::<Vec<_>>().join("\n"));
}
