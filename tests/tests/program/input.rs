//! Graphs with mistakes; questions nobody can answer; somebody who goes away in the middle.

use std::fs;

use robo_tests::eventually_blocking;
use robo_tests::programs::User;
use rustix::process::Signal;
use serde_json::Value;

use super::{application, instance, is_as_wished, pid, processes, state, until_as_wished};

/// Mistakes in what is written: a misspelled property, an unknown child, an unknown facet.
const WRONG_WORDS: &str = "
application app {
	version: 1.0.0;
}
Machine {
	instaler: target;
	children: Web, Nobody;
}
Web {
	installer: process;
	facets: nowhere;
	run: sleep 1000;
}
instance of Machine {
	name: m;
}
";

/// Mistakes in what it means: nobody exports that, and a script has no command to run.
const WRONG_SENSE: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Web;
}
Web {
	installer: script;
	imports: Databse.ip;
	run: sleep 1000;
}
instance of Machine {
	name: m;
}
";

#[test]
fn all_mistakes_of_a_graph_are_shown_and_nothing_is_started() {
    let user = User::new();
    let check = |graph: &str, mistakes: &[&str]| {
        let graph = application(&user, graph, &[]);
        let told = user.run(&["check", &graph]).expect(1);
        let json = user.run(&["check", "-o", "json", &graph]).expect(1).out;
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() >= mistakes.len(), "{json}");
        let up = user.run(&["up", "--detach", &graph]).expect(1);
        for mistake in mistakes {
            for text in [&format!("{}{}", told.out, told.err), &json, &up.err] {
                assert!(text.contains(mistake), "`{mistake}` is not in:\n{text}");
            }
        }
        assert_eq!(processes(&user.state()), []);
        assert!(!user.state().join("up/manager").exists(), "a manager was made for nothing");
    };
    check(WRONG_WORDS, &["instaler", "Nobody", "nowhere"]);
    check(WRONG_SENSE, &["Databse.ip", "run"]);

    let missing = user.run(&["check", "no-such.graph"]).expect(1);
    assert!(missing.err.contains("no-such.graph"), "{}", missing.err);
}

/// The instance on `m` starts when the file that its script waits for is there.
const GATED: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Gated;
}
Gated {
	installer: script;
	exports: gate = GATE;
	start-timeout: 80s;
}
instance of Machine {
	name: m;
}
";
const GATED_INSTANCE: &str = "	name: m;\n	instance of Gated {\n		name: gated;\n	}\n";
const WAIT: &str = "#!/bin/sh\nuntil [ -e \"$gate\" ]; do sleep 0.05; done\n";

#[test]
fn an_apply_is_asked_about_and_goes_on_without_who_asked() {
    let user = User::new();
    let gate = user.folder.path().join("gate");
    let empty = GATED.replace("GATE", gate.to_str().unwrap());
    let script = [("Gated/scripts/start.sh", WAIT)];
    let graph = application(&user, &empty, &script);
    user.run(&["up", "--detach", &graph]).expect(0);

    application(&user, &empty.replace("\tname: m;\n", GATED_INSTANCE), &script);
    let told = user.run(&["apply", &graph]).expect(1);
    assert!(told.err.contains("--yes") && told.err.contains("nothing was changed"), "{}", told.err);
    let status = user.run(&["status", "-o", "json"]).expect(0).json();
    assert_eq!(status["applications"][0]["revision"], 1);

    let apply = user.start(&["apply", "--yes", &graph]);
    eventually_blocking("the script runs", || {
        let status = user.run(&["status", "-o", "json"]).expect(0).json();
        let all = status["instances"].as_array().unwrap();
        all.iter().any(|i| i["path"] == "/m/gated" && i["state"] == "STARTING").then_some(())
    });
    apply.process.signal(Signal::INT);
    let told = apply.wait().expect(130);
    assert!(told.err.contains("Revision 2"), "{}", told.err);
    assert_eq!(state(&user, "/m/gated"), "STARTING");

    let told = user.run(&["apply", "--yes", "--timeout", "1s", &graph]).expect(124);
    assert!(told.err.contains("/m/gated"), "{}", told.err);
    fs::write(gate, "").unwrap();
    until_as_wished(&user);
}

const LISTENS: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Server;
}
Server {
	installer: process;
	exports: ip, port = 17626;
	run: python3 -u -m http.server --bind $(ip) $(port);
	check: tcp $(port) every 1s;
}
instance of Machine {
	name: m;
	instance of Server {
		name: server;
	}
}
";

#[test]
fn several_users_do_not_meet() {
    let users = [User::new(), User::new(), User::new()];
    let graphs = users.each_ref().map(|user| application(user, LISTENS, &[]));
    let started: Vec<_> =
        users.iter().zip(&graphs).map(|(user, graph)| user.start(&["up", "--detach", graph])).collect();
    for up in started {
        up.wait().expect(0);
    }
    let exports = |user: &User| instance(user, "/m/server")["report"]["exports"]["Server.ip"].to_string();
    let mut addresses = users.each_ref().map(exports).to_vec();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), users.len(), "{addresses:?}");

    // One who goes takes nothing of the others along.
    let [first, second, third] = users;
    let kept = [&second, &third].map(|user| pid(&instance(user, "/m/server")));
    first.run(&["down"]).expect(0);
    assert!(is_as_wished(&second) && is_as_wished(&third));
    assert_eq!([&second, &third].map(|user| pid(&instance(user, "/m/server"))), kept);
}
