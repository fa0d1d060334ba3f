//! Scripts that fail, hang or print without end; processes that do not want to go.

use std::fs;
use std::path::Path;

use robo_tests::eventually_blocking;
use robo_tests::programs::User;

use super::{application, events, instance, pid, processes, state};

const GRAPH: &str = r#"
application steps {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Fails, Hangs, Stubborn, Loud;
}
Fails {
	installer: script;
}
Hangs {
	installer: script;
	start-timeout: 1s;
}
Stubborn {
	installer: process;
	run: sh -c "trap '' TERM; while :; do sleep 0.1; done";
	stop-timeout: 1s;
}
Loud {
	installer: script;
	start-timeout: 80s;
}
instance of Machine {
	name: m;
	instance of Fails {
		name: fails;
	}
	instance of Hangs {
		name: hangs;
	}
	instance of Stubborn {
		name: stubborn;
	}
	instance of Loud {
		name: loud;
	}
}
"#;

const FAILS: &str = "#!/bin/sh\necho on its way\necho the reason >&2\nexit 9\n";
/// Its child has the same fate.
const HANGS: &str = "#!/bin/sh\nsleep 4711 &\nsleep 4711\n";
const LOUD: &str = "#!/bin/sh\necho first\nhead -c 200000000 /dev/zero | tr '\\000' x | fold -w 99\necho\necho last\n";

/// The most that a log may take, with what else is in the folder: a part of what is printed.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

#[test]
fn steps_that_go_wrong() {
    let user = User::new();
    let files = [("Fails/scripts/start.sh", FAILS), ("Hangs/scripts/start.sh", HANGS), ("Loud/scripts/start.sh", LOUD)];
    let graph = application(&user, GRAPH, &files);
    let up = user.run(&["up", "--detach", &graph]).expect(3);
    for part in ["/m/fails", "exit code 9", "the reason", "/m/hangs", "timed out after 1s", "robo logs"] {
        assert!(up.err.contains(part), "`{part}` is not in:\n{}", up.err);
    }
    let apply = user.run(&["apply", "--yes", "--timeout", "60s", &graph]).expect(3);
    assert!(apply.err.contains("the reason"), "{}", apply.err);
    assert!(user.run(&["logs", "/m/fails"]).expect(0).out.contains("the reason"));
    assert!(user.run(&["status", "/m/fails"]).expect(0).out.contains("the reason"));
    // Whatever state the workload is in, the machine is there for who mends it.
    assert_eq!(user.run(&["exec", "m", "--", "echo", "here"]).expect(0).out, "here\n");
    assert_ne!(state(&user, "/m/fails"), "DEPLOYED_STARTED");
    let failed = events(&user, 0).iter().filter(|e| e["kind"] == "failed" && e["path"] == "/m/fails").count();
    assert!(failed >= 1);

    eventually_blocking("200 MB are printed", || (state(&user, "/m/loud") == "DEPLOYED_STARTED").then_some(()));
    let size = size(&user.state().join("up/agents/m/instances"));
    assert!(size < MOST_BYTES, "{size} bytes are kept of what a script printed");
    assert_eq!(user.run(&["logs", "/m/loud", "-n", "1"]).expect(0).out, "last\n");

    let stubborn = pid(&instance(&user, "/m/stubborn"));
    user.run(&["stop", "/m/stubborn"]).expect(0);
    assert_eq!(state(&user, "/m/stubborn"), "DEPLOYED_STOPPED");
    assert!(!Path::new(&format!("/proc/{stubborn}")).exists());

    user.run(&["stop", "/m/hangs"]).expect(0);
    let hanging = || processes(&user.state()).into_iter().filter(|(_, line)| line.contains("4711")).count();
    eventually_blocking("what hung is gone", || (hanging() == 0).then_some(()));
    user.run(&["down"]).expect(0);
    assert_eq!(processes(&user.state()), []);
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { size(&entry.path()) } else { meta.len() }
        })
        .sum()
}
