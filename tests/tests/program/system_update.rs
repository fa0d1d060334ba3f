//! Packages of devices' systems, brought up to date as an operator does it; the package manager is one of ours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::Lab;
use super::faults::lab::Machine;

/// An agent whose system has these programs before all others.
fn machine(lab: &Lab, name: &str, programs: &[(&str, &str)]) -> Machine {
    let folder = Path::new(&lab.path(&format!("{name}.bin"))).to_owned();
    fs::create_dir(&folder).unwrap();
    for (program, text) in programs {
        let path = folder.join(program);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    Machine::start_with(lab, name, &lab.address.to_string(), &[("PATH".to_owned(), path)])
}

#[test]
fn a_system_is_updated_as_a_job_with_stages() {
    let lab = Lab::new();
    let me = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let id = ("id", "[ \"$1\" = -u ] && echo 0 || echo root");
    let _good = machine(&lab, "good", &[id, ("apt-get", "echo apt-get \"$@\""), ("shutdown", "echo at \"$@\"")]);
    let _bad = machine(&lab, "bad", &[id, ("apt-get", "case $* in *download-only*) exit 100 ;; esac")]);
    let update = ["device", "system-update", "--user", me.trim()];
    let run = |arguments: &[&str]| lab.user.run(&[&update, arguments].concat());

    let dry = run(&["good", "--dry-run"]).expect(0).out;
    assert!(dry.contains("stage: list\n") && dry.contains("--simulate upgrade"), "{dry}");
    let one = run(&["good", "--yes", "--reboot", "always"]).expect(0).out;
    let stages: Vec<&str> = one.lines().filter_map(|line| line.strip_prefix("stage: ")).collect();
    assert_eq!(stages, ["refresh", "download", "install", "clean", "reboot"]);
    assert!(one.contains("at -r +1\nit reboots in 1 min"), "{one}");

    let both = run(&["--all", "--yes"]).expect(3);
    assert!(both.err.contains("bad  | error: stage download failed"), "{both:?}");
    assert!(both.err.contains("2 devices: 1 ok, 1 not"), "{both:?}");
    let job = run(&["good", "--yes", "--background"]).expect(0).out;
    lab.user.run(&["job", "wait", job.trim()]).expect(0);
    let listed = lab.user.run(&["job", "list"]).expect(0).out;
    assert!(listed.contains("/bin/sh -c … robo-system-update"), "{listed}");
    let audited = lab.user.run(&["audit", "list", "--verb", "exec", "-o", "wide"]).expect(0).out;
    assert!(audited.contains("robo-system-update no always"), "{audited}");

    assert!(run(&["good"]).expect(1).err.contains("agree in advance: `--yes`"), "nobody is there to ask");
    assert!(run(&["--yes"]).expect(1).err.contains("no device is given"));
    assert!(run(&["nobody", "--yes"]).expect(3).err.contains("there is no such device"));
}
