//! `kill -9` of the real manager and the real agents at random moments, from a seed.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, User};

use super::victim::{Victim, kills};
use super::{application, events, find, is_as_wished, last_event, pid};

const ROUNDS: usize = 20;

/// A kill comes at most this many milliseconds after an apply began: while it is planned and taken on, or at any time
/// until all is done.
const LONGEST_MOMENTS: [u64; 2] = [150, 1200];

/// `Steady` is never changed; `Changing` is, by each apply.
const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Steady, Changing;
}
Steady {
	installer: process;
	exports: ip;
	run: sleep 1000;
	restart: always;
}
Changing {
	installer: process;
	imports: Steady.ip;
	run: sleep 1000;
	restart: always;
	env.ROUND: start;
}
instance of Machine {
	name: a;
	instance of Steady {
		name: steady;
	}
	instance of Changing {
		name: changing;
	}
}
instance of Machine {
	name: b;
	instance of Steady {
		name: steady;
	}
	instance of Changing {
		name: changing;
	}
}
";
const STEADY: [&str; 2] = ["/a/steady", "/b/steady"];
const CHANGING: [&str; 2] = ["/a/changing", "/b/changing"];

#[test]
fn the_manager_is_killed_again_and_again() {
    kill_again_and_again(3, |_| "manager".into());
}

#[test]
fn the_agents_are_killed_again_and_again() {
    kill_again_and_again(5, |random| if random.bool() { "a".into() } else { "b".into() });
}

fn kill_again_and_again(seed: u64, victim: impl Fn(&mut fastrand::Rng) -> String) {
    let mut random = fastrand::Rng::with_seed(seed);
    // Dropped after the user, who asks the programs to end.
    let mut programs: BTreeMap<String, Victim> = BTreeMap::new();
    let user = User::new();
    let graph = application(&user, GRAPH, &[]);
    user.run(&["up", "--detach", &graph]).expect(0);
    programs.extend(Victim::all(&user));
    let mut now = "start".to_owned();
    let mut before = pids(&user);
    for round in 0..kills(ROUNDS) {
        let victim = victim(&mut random);
        let event = last_event(&user);
        let applying = random.bool().then(|| {
            now = format!("round-{round}");
            application(&user, &GRAPH.replace("ROUND: start", &format!("ROUND: {now}")), &[]);
            user.start(&["apply", "--yes", "--timeout", "60s", &graph])
        });
        let longest = LONGEST_MOMENTS[random.usize(0..LONGEST_MOMENTS.len())];
        let moment = Duration::from_millis(random.u64(0..longest));
        println!("round {round}: {victim} after {moment:?}, applying: {}", applying.is_some());
        // Not a wait for anything: the random moment is what is tried.
        std::thread::sleep(moment);
        let program = programs.get_mut(&victim).unwrap();
        program.kill();
        program.start();
        let devices: &[&str] = if victim == "manager" { &["a", "b"] } else { &[&victim] };
        until_connected(&user, program, devices, event);
        let applied = applying.is_some();
        if let Some(apply) = applying {
            acknowledged_is_kept(&user, &graph, &apply.wait());
        }
        eventually_blocking("everything as wished", || is_as_wished(&user).then_some(()));
        let after = pids(&user);
        for (path, process) in &after {
            let may_change = applied && CHANGING.contains(&path.as_str());
            assert!(may_change || before[path] == *process, "round {round}: {path} was restarted for nothing");
        }
        for path in CHANGING {
            assert_eq!(variable(after[path], "ROUND").as_deref(), Some(&*now), "round {round}: {path}");
        }
        before = after;
    }
}

/// What an apply told to be applied is there; the same apply again ends well in any case.
fn acknowledged_is_kept(user: &User, graph: &str, apply: &Run) {
    let told = apply.err.lines().find_map(|line| {
        line.strip_prefix("Revision ")?.split_once(' ').and_then(|(number, _)| number.parse::<u64>().ok())
    });
    println!("  the apply ended with {}, told revision {told:?}", apply.code);
    assert!([0, 4].contains(&apply.code), "{apply:?}");
    if let Some(told) = told {
        let status = user.run(&["status", "-o", "json"]).expect(0).json();
        assert_eq!(status["applications"][0]["revision"].as_u64(), Some(told), "an acknowledged revision is lost");
    }
    let again = user.run(&["apply", "--yes", graph]).expect(0);
    assert!(told.is_none() || again.err.contains("Nothing changes"), "{again:?}");
}

/// Waits until the manager answers and each device came online after that event.
fn until_connected(user: &User, started: &mut Victim, devices: &[&str], after: u64) {
    eventually_blocking("the manager answers", || {
        started.expect_running();
        (user.run(&["status"]).code == 0).then_some(())
    });
    eventually_blocking("the devices are back", || {
        started.expect_running();
        let events = events(user, after);
        let back = |device: &&str| events.iter().any(|e| e["kind"] == "online" && e["device"] == **device);
        devices.iter().all(back).then_some(())
    });
}

fn pids(user: &User) -> BTreeMap<String, u32> {
    let status = user.run(&["status", "-o", "json"]).expect(0).json();
    STEADY.iter().chain(&CHANGING).map(|path| ((*path).to_owned(), pid(&find(&status, path)))).collect()
}

/// A variable in a process's environment.
fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8(environment).unwrap();
    text.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}
