//! Pipes that close early, and terminals.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use robo_tests::programs::{Running, User, robo};

use super::{Lab, application};

#[test]
fn who_reads_may_stop_reading() {
    let user = User::new();
    let graph = application(&user, MANY, &[]);
    let head = |arguments: &[&str]| {
        let error = user.folder.path().join("error");
        let mut command = user.command();
        command.args(arguments).stdout(Stdio::piped()).stderr(fs::File::create(&error).unwrap());
        let mut running = Running::start(&mut command);
        let mut line = String::new();
        BufReader::with_capacity(1, running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{arguments:?} prints nothing");
        let (code, error) = (running.ended(), fs::read_to_string(error).unwrap());
        assert_eq!((code, error.contains("panicked")), (Some(0), false), "{arguments:?} {error}");
    };
    head(&["--help"]);
    head(&["completions", "bash"]);
    user.run(&["up", "--detach", &graph]).expect(0);
    head(&["status"]);
    head(&["status", "-o", "json"]);
    head(&["events", "-o", "json", "-n", "1000"]);
}

#[test]
fn colours_are_for_terminals_and_can_be_refused() {
    let lab = Lab::new();
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("there is no `script` to make a terminal with: not tried");
        return;
    }
    let in_terminal = |no_colour: bool| {
        let command = lab.user.command();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("'{}' device inspect nobody", robo().display()), "/dev/null"]);
        script
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm");
        if no_colour {
            script.env("NO_COLOR", "1");
        }
        String::from_utf8(script.stdin(Stdio::null()).output().unwrap().stdout).unwrap()
    };
    let (coloured, plain) = (in_terminal(false), in_terminal(true));
    assert!(coloured.contains('\x1b') && coloured.contains("nobody"), "{coloured:?}");
    assert!(!plain.contains('\x1b') && plain.contains("nobody"), "{plain:?}");
}

const MANY: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Sleeper;
}
Sleeper {
	installer: process;
	run: sleep 1000;
}
instance of Machine {
	name: m;
	instance of Sleeper {
		name: s;
		count: 20;
	}
}
";
