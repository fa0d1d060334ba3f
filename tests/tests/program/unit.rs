//! `robo unit` with the real programs, and a `systemctl` of ours that says what it was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::Lab;
use super::faults::lab::Machine;

const SYSTEMCTL: &str = "#!/bin/sh\necho \"$*\"\ncase \"$*\" in *sick*) echo 'it fails' >&2; exit 3 ;; esac\n";

/// Gives whoever it starts a `/run` of its own, as if systemd had started the machine.
const BOOTED: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$@\"";

/// False where this user may not have such a machine.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "sh", "-c", BOOTED, "sh", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn units_are_started_stopped_and_listed_where_there_is_systemd() {
    let lab = Lab::new();
    let address = lab.address.to_string();
    let bin = lab.user.folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("systemctl"), SYSTEMCTL).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let _bare = Machine::start(&lab, "bare", &address);
    let unit = |arguments: &[&str]| lab.user.run(&[&["unit"], arguments].concat());
    if fs::exists("/run/systemd/system").unwrap() || !may_mount() {
        println!("this user may not mount, or has systemd: what it does was not tried");
        return;
    }
    let run = unit(&["start", "ssh.service", "bare"]).expect(3);
    assert!(run.err.contains("there is no systemd there") && run.out.is_empty(), "{run:?}");

    let environment = [("PATH".to_owned(), path)];
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", BOOTED, "sh"]).arg(robo_tests::programs::robo());
    let _booted = Machine::start_by(&lab, "booted", &address, command, &environment);
    for verb in ["start", "stop", "restart", "reload", "status", "enable", "disable"] {
        let said = unit(&[verb, "ssh.service", "booted"]).expect(0).out;
        assert_eq!(said, format!("--no-pager --no-ask-password {verb} -- ssh.service\n"));
    }
    let said = unit(&["list", "booted"]).expect(0).out;
    assert_eq!(said, "--no-pager --no-ask-password list-units --all --type=service\n");
    let run = unit(&["status", "sick@1.service", "booted"]).expect(3);
    assert_eq!((run.out.lines().count(), run.err.as_str()), (1, "it fails\n"), "{run:?}");

    // Each has its verdict.
    let run = unit(&["status", "ssh.service", "--all", "-o", "json"]).expect(3);
    let mut verdicts: Vec<(String, String)> = run
        .out
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (value["device"].as_str().unwrap().to_owned(), value["verdict"].as_str().unwrap().to_owned())
        })
        .collect();
    verdicts.sort();
    let expect = [("bare", "refused"), ("booted", "ok")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(verdicts, expect);
    let run = unit(&["start", "ssh.service"]).expect(1);
    assert!(run.err.contains("no device is given") && run.err.contains("robo unit"), "{}", run.err);
    unit(&["start", "a;b", "booted"]).expect(1);
}
