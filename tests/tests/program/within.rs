//! `robo exec --in` with the real programs: where an instance runs, with what it is told.

use robo_tests::programs::{Run, User};

use super::application;

const GRAPH: &str = "
application within {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Db, Web;
}
Db {
	installer: script;
	exports: port = 5432;
}
Web {
	installer: process;
	imports: Db.port;
	run: sleep 4711;
	env.GREETING: hello;
	exports: path = shop;
}
instance of Machine {
	name: m;
	instance of Db {
		name: db;
	}
	instance of Web {
		name: web;
	}
}
";

const SAY: &str = "echo \"$ROBO_INSTANCE $Db_0_port $path $GREETING\"; pwd; echo \"$HOME\"; echo \"$USER $(id -un)\"";

#[test]
fn a_command_runs_where_an_instance_runs() {
    let user = User::new();
    let files = [("Db/scripts/start.sh", "#!/bin/sh\n"), ("Web/page.html", "hello\n")];
    user.run(&["up", "--detach", &application(&user, GRAPH, &files)]).expect(0);
    let exec = |arguments: &[&str]| -> Run { user.run(&[&["exec", "--in"], arguments].concat()) };
    let said = exec(&["within/m/web", "--", "sh", "-c", SAY]).expect(0).out;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "/m/web 5432 shop hello");
    assert!(lines[1].ends_with("/instances/within/m/web/@recipe"), "{said}");
    assert!(lines[2].ends_with("/instances/within/m/web/@data"), "{said}");
    let (told, is) = lines[3].split_once(' ').unwrap();
    assert_eq!(told, is, "{said}");
    assert_eq!(exec(&["/m/web", "--", "cat", "page.html"]).expect(0).out, "hello\n", "there is one application");
    assert_eq!(exec(&["/m/web", "-e", "GREETING=bye", "--", "sh", "-c", "echo $GREETING"]).expect(0).out, "bye\n");
    assert_eq!(exec(&["/m/db", "--cwd", "scripts", "--", "ls"]).expect(0).out, "start.sh\n");
    exec(&["/m/db", "--", "sh", "-c", "exit 7"]).expect(7);
    let job = exec(&["/m/web", "--queue=1m", "--", "sh", "-c", "echo $ROBO_INSTANCE"]).expect(0);
    assert_eq!(job.out, "/m/web\n");

    for (words, code, told) in [
        (&["/m/none", "--", "true"][..], 1, "/m/none"),
        (&["shop/m/web", "--", "true"], 1, "`shop`"),
        (&["within", "--", "true"], 1, "one instance of it is meant"),
        (&["/m/web", "m", "--", "true"], 1, "cannot be used with"),
        (&["/m", "--", "true"], 3, "is no instance that this device runs"),
        (&["/m/web", "--cwd", "none", "--", "true"], 3, "has no folder"),
    ] {
        let run = exec(words).expect(code);
        assert!(run.err.contains(told), "{}", run.err);
    }
    user.run(&["undeploy", "/m/web"]).expect(0);
    let run = exec(&["/m/web", "--", "true"]).expect(3);
    assert!(run.err.contains("is not deployed on this device"), "{}", run.err);
    user.run(&["down", "--purge"]).expect(0);
}
