//! The script with the shells that devices have, and package managers that write down what they are told to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use clap::Parser as _;
use clap::error::ErrorKind;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: SystemUpdateArgs,
}

/// A machine with these programs, each of which runs what stands behind it.
fn machine(programs: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = [("id", "[ \"$1\" = -u ] && echo 0 || echo root"), ("shutdown", "echo shutdown \"$@\" >>\"$HERE/did\"")];
    for (name, text) in own.iter().chain(programs) {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs the script there, with nothing else in its path.
fn run(machine: &tempfile::TempDir, shell: &[&str], words: [&str; 3]) -> Output {
    let mut all = shell.iter().copied();
    let mut command = std::process::Command::new(all.next().unwrap());
    command.args(all).args(["-c", SCRIPT, NAME]).args(words).env_clear().env("HERE", machine.path());
    command.env("PATH", machine.path()).env("ROBO_REBOOT_REQUIRED", machine.path().join("reboot-required"));
    command.output().unwrap()
}

fn did(machine: &tempfile::TempDir) -> Vec<String> {
    let text = fs::read_to_string(machine.path().join("did")).unwrap_or_default();
    drop(fs::remove_file(machine.path().join("did")));
    text.lines().map(str::to_owned).collect()
}

fn stages(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.strip_prefix("stage: ")).map(str::to_owned).collect()
}

/// One that does whatever it is told, and writes it down.
const WILLING: &str = "echo ${0##*/} \"$@\" >>\"$HERE/did\"";

#[test]
fn each_package_manager_is_told_what_it_understands() {
    let check = |manager: &str, expect: &[&str], there: &[&str]| {
        let machine = machine(&[(manager, WILLING)]);
        for shell in [&["/bin/sh"][..], &["/bin/bash"], &["/bin/busybox", "sh"]] {
            let output = run(&machine, shell, ["no", "never", ""]);
            assert!(output.status.success(), "{manager} {shell:?}: {output:?}");
            assert_eq!(stages(&output), expect, "{manager} {shell:?}");
            let did = did(&machine);
            assert!(there.iter().all(|word| did.iter().any(|line| line.contains(word))), "{did:?}");
            assert!(run(&machine, shell, ["yes", "never", ""]).status.success());
            assert!(!self::did(&machine).iter().any(|line| line.contains("install") || line.ends_with("upgrade")));
        }
    };
    let all = ["refresh", "download", "install", "clean"];
    check("apt-get", &all, &["update", "--download-only upgrade --with-new-pkgs", "force-confold", "clean"]);
    check("dnf", &all, &["dnf -q makecache", "dnf -y upgrade --downloadonly", "dnf -y upgrade"]);
    check("zypper", &all, &["zypper -n refresh", "zypper -n update --download-only", "zypper -n update"]);
    check("pacman", &all[1..], &["pacman -Syuw --noconfirm", "pacman -Syu --noconfirm"]);
    check("apk", &["refresh", "install"], &["apk update", "apk upgrade"]);
}

#[test]
fn a_stage_that_fails_ends_it_and_says_which() {
    let broken = machine(&[("apt-get", &format!("{WILLING}; case $* in *download-only*) exit 100 ;; esac"))]);
    let output = run(&broken, &["/bin/sh"], ["no", "always", ""]);
    assert!(!output.status.success());
    assert_eq!(stages(&output), ["refresh", "download"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("stage download failed") && told.contains("ended with 100"), "{told}");
    assert!(!did(&broken).iter().any(|line| line.starts_with("shutdown")), "nothing is rebooted");

    let told = |machine: &tempfile::TempDir| {
        let output = run(machine, &["/bin/sh"], ["no", "never", ""]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told(&machine(&[])).contains("none of apt-get, dnf, zypper, pacman and apk"));
    let user = machine(&[("apt-get", WILLING), ("id", "[ \"$1\" = -u ] && echo 7 || echo robot")]);
    assert!(told(&user).contains("runs as robot; take `--user root`"));
}

#[test]
fn it_reboots_where_that_is_wished_and_when() {
    let clock = |time: &str| [("apt-get", WILLING.to_owned()), ("date", format!("echo {time}"))];
    let check = |time: &str, words: [&str; 2], is_needed: bool, expect: Option<&str>| {
        let programs = clock(time);
        let programs: Vec<(&str, &str)> = programs.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let machine = machine(&programs);
        if is_needed {
            fs::write(machine.path().join("reboot-required"), "").unwrap();
        }
        let output = run(&machine, &["/bin/sh"], ["no", words[0], words[1]]);
        assert!(output.status.success(), "{output:?}");
        let reboot = did(&machine).into_iter().find(|line| line.starts_with("shutdown"));
        assert_eq!(reboot.as_deref(), expect, "{time} {words:?} {is_needed}");
    };
    check("12:00", ["never", ""], true, None);
    check("12:00", ["if-needed", ""], false, None);
    check("12:00", ["if-needed", ""], true, Some("shutdown -r +1"));
    check("12:00", ["always", ""], false, Some("shutdown -r +1"));
    check("01:08", ["always", "02:00-04:00"], false, Some("shutdown -r +52"));
    check("02:00", ["always", "02:00-04:00"], false, Some("shutdown -r +1"));
    check("04:00", ["always", "02:00-04:00"], false, Some("shutdown -r +1320"));
    check("23:30", ["always", "23:00-01:00"], false, Some("shutdown -r +1"));
    check("00:59", ["always", "23:00-01:00"], false, Some("shutdown -r +1"));
    check("09:09", ["always", "08:08-09:09"], false, Some("shutdown -r +1379"));
}

#[test]
fn wrong_words_are_refused() {
    let parse = |words: &str| {
        let words = std::iter::once("x").chain(words.split_ascii_whitespace());
        Line::try_parse_from(words).map_err(|error| error.kind())
    };
    for window in ["2:00-4:00", "02:00", "02:00-24:00", "02:60-03:00", "02:00-02:00", "+2:00-03:00", ""] {
        let line = Line::try_parse_from(["x", "a", "--reboot", "always", "--window", window]);
        assert_eq!(line.unwrap_err().kind(), ErrorKind::ValueValidation, "{window}");
    }
    assert_eq!(parse("a --window 02:00-04:00").unwrap_err(), ErrorKind::MissingRequiredArgument);
    assert_eq!(parse("a --all").unwrap_err(), ErrorKind::ArgumentConflict);
    assert_eq!(parse("a --dry-run --reboot always").unwrap_err(), ErrorKind::ArgumentConflict);
    assert!(parse("").unwrap().args.into_request().unwrap_err().what().contains("no device is given"));
    let request = parse("a b --reboot if-needed --window 23:00-01:00").unwrap().args.into_request().unwrap();
    assert_eq!(request.command.argv[3..], [NAME, "no", "if-needed", "23:00-01:00"]);
    assert_eq!(request.command.user.as_deref(), Some("root"));
}
