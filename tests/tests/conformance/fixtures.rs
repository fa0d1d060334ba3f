//! The graphs that instances and commands of the corpus refer to. The original builds them by its interface.

use std::collections::BTreeMap;

use robo_dsl::{CommandContext, compile_file};
use robo_model::graph::Application;

use super::table::Row;

/// `VM` with `Tomcat` in it.
const VT: &str = "VM {
\tinstaller: target;
\tchildren: Tomcat;
}
Tomcat {
\tinstaller: puppet;
\texports: tomcat.ip, tomcat.port = 8080;
}
";

/// The same, and `WAR` in `Tomcat`.
const VTW: &str = "VM {
\tinstaller: target;
\tchildren: Tomcat;
}
Tomcat {
\tinstaller: puppet;
\texports: tomcat.ip, tomcat.port = 8080;
\tchildren: WAR;
}
WAR {
\tinstaller: script;
}
";

/// `VM` with `A` in it.
const VA: &str = "VM {
\tinstaller: target;
\tchildren: A;
}
A {
\tinstaller: whatever;
}
";

/// Behind the columns of what was observed, where no test of the original names a graph.
const OBSERVED: &str = "VM {
\tinstaller: target;
\tchildren: Tomcat, A;
}
vm {
\tinstaller: target;
}
Tomcat {
\tinstaller: puppet;
\texports: ip, port = 8080;
\tchildren: WAR;
}
WAR {
\tinstaller: script;
}
A {
\tinstaller: whatever;
}
";

/// What commands refer to.
const TEST_APPLICATION: &str = "application test {
}
vm {
\tinstaller: target;
\tchildren: tomcat, mysql;
}
tomcat {
\tinstaller: puppet;
\tchildren: war;
}
mysql {
\tinstaller: puppet;
\texports: port = 3306, ip;
}
war {
\tinstaller: script;
\texports: port = 8080, ip;
\timports: mysql.port, mysql.ip;
}
instance of vm {
\tname: tomcat-vm;
\tinstance of tomcat {
\t\tname: tomcat-server;
\t\tinstance of war {
\t\t\tname: hello-world;
\t\t}
\t}
}
instance of vm {
\tname: mysql-vm;
\tinstance of mysql {
\t\tname: mysql-server;
\t}
}
";

/// The graph that a row of instances is about.
pub(super) fn graph(row: &Row) -> &'static str {
    let named = |name: &str| row.context.contains(&format!("graph fixture {name}"));
    match () {
        () if named("VTW") => VTW,
        () if named("VT") => VT,
        () if named("VA") => VA,
        () => OBSERVED,
    }
}

/// What is known of `TestApplication` in a commands file.
pub(super) fn test_application() -> CommandContext {
    CommandContext::of(&compile(TEST_APPLICATION))
}

fn compile(text: &str) -> Application {
    let mut files = BTreeMap::from([("f.graph".to_owned(), text.as_bytes().to_vec())]);
    let compiled = compile_file("f.graph", &mut files);
    compiled.application.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics))
}

#[test]
fn fixtures_are_right() {
    for graph in [VT, VTW, VA, OBSERVED, TEST_APPLICATION] {
        assert!(!compile(graph).components.is_empty());
    }
}
