//! What the manager knows of a machine on which the agent is being installed: how far it is, and why it failed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running};
use rustix::process::Signal;

use super::install::{Machine, enroll, rebuilt};

/// A machine of the architecture that `$HERE/architecture` names.
const UNAME: &str = "#!/bin/sh\nif [ \"$*\" = -m ] && [ -f \"$HERE/architecture\" ]; then cat \"$HERE/architecture\"; \
                     else exec /bin/uname \"$@\"; fi\n";

/// Runs the script, which fails, and looks what the manager says about it.
fn fails(machine: &Machine, script: &str, (file, options): (&str, &[&str]), (code, stage, told): (&str, &str, &str)) {
    let arguments = [&["sh", script, "--user", "--token-file", file], options].concat();
    let run = machine.run(&arguments).expect(1);
    assert!(run.err.contains(&format!("error: {code}: ")), "{code}: {}", run.err);
    let list = machine.lab.user.run(&["device", "list"]).expect(0);
    assert!(list.out.contains(&format!("failed {code} ({stage})")), "{code}: {}", list.out);
    let shown = machine.lab.user.run(&["device", "inspect", "d"]).expect(0).out;
    for line in ["code ", "cause ", "remedy ", "told "] {
        assert!(shown.lines().any(|shown| shown.starts_with(line)), "{code}: no {line}: {shown}");
    }
    assert!(shown.contains(told), "{code}: {shown}");
    let json = machine.lab.user.run(&["device", "inspect", "d", "-o", "json"]).expect(0).json();
    assert_eq!((&json["code"], &json["stage"]), (&code.into(), &stage.into()));
}

#[test]
fn each_failure_of_an_installation_has_its_code_at_the_manager_until_a_run_succeeds() {
    let machine = Machine::new(&[]);
    let (_, file) = enroll(&machine, "d");
    let script = machine.script();
    let uname = machine.folder.join("bin/uname");
    fs::write(&uname, UNAME).unwrap();
    fs::set_permissions(&uname, fs::Permissions::from_mode(0o755)).unwrap();
    let check = |options: &[&str], expect| fails(&machine, &script, (&file, options), expect);

    fs::write(machine.folder.join("architecture"), "vax\n").unwrap();
    check(&[], ("AGT_NO_PROGRAM", "check", "no agent for vax"));
    fs::remove_file(machine.folder.join("architecture")).unwrap();

    // What a folder should be is a file: nobody can write there, root neither.
    fs::write(machine.home(".local"), "").unwrap();
    check(&[], ("AGT_INSTALL_FOLDER", "check", "home/.local/bin cannot be made or written"));
    fs::remove_file(machine.home(".local")).unwrap();
    on_small_disks(&machine, &script, &file);

    machine.network("full");
    check(&[], ("AGT_DISK_FULL", "download", "takes no file of that size"));
    machine.network("forges");
    check(&[], ("AGT_CHECKSUM", "verify", "not the program that was announced"));
    machine.network("good");

    fs::write(machine.home(".config"), "").unwrap();
    check(&[], ("AGT_INSTALL_FOLDER", "settings", ".config/robo-agent cannot be made"));
    fs::remove_file(machine.home(".config")).unwrap();
    fs::write(machine.home(".local/state"), "").unwrap();
    check(&[], ("AGT_STATE_FOLDER", "enrol", ".local/state cannot be made"));
    fs::remove_file(machine.home(".local/state")).unwrap();

    fs::write(machine.folder.join("systemd"), "refuses").unwrap();
    check(&[], ("AGT_UNIT", "enrol", "has a bad unit file setting"));
    fs::write(machine.folder.join("systemd"), "hangs").unwrap();
    check(&["--time-limit", "1"], ("AGT_TIME_LIMIT", "enrol", "longer than 1 s"));
    fs::remove_file(machine.folder.join("systemd")).unwrap();

    machine.run(&["sh", &script, "--user", "--token-file", &file]).expect(0);
    eventually_blocking("it is online", || machine.is_online("d").then_some(()));
    let list = machine.lab.user.run(&["device", "list"]).expect(0).out;
    assert!(list.contains("online") && !list.contains("AGT_") && !list.contains("installing"), "{list}");
    let none = machine.lab.user.run(&["device", "list", "--installing"]).expect(0);
    assert!(none.err.contains("No machine is on its way"), "{none:?}");
    for wrong in ["0", "x", "-1", "1234567890"] {
        let run = machine.run(&["sh", &script, "--user", "--time-limit", wrong]).expect(1);
        assert!(run.err.contains("write seconds"), "{wrong}: {}", run.err);
    }
}

/// Real file systems, where those can be mounted: one that is read-only, and one that is full before the program ends.
fn on_small_disks(machine: &Machine, script: &str, file: &str) {
    let folder = machine.home(".local");
    fs::create_dir(&folder).unwrap();
    let expected = [
        ("ro", ("AGT_INSTALL_FOLDER", "check", "cannot be made or written")),
        ("size=1m", ("AGT_DISK_FULL", "download", "takes no file of that size")),
    ];
    for (options, expect) in expected {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "robo-test"]).arg(&folder).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("no file system can be mounted here: not tried");
            break;
        }
        let _mounted = Mounted(&folder);
        fails(machine, script, (file, &[]), expect);
    }
    fs::remove_dir(&folder).unwrap();
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[test]
fn an_installation_shows_how_far_it_is_and_goes_on_by_itself_after_a_cut() {
    let machine = Machine::new(&[]);
    let (_, file) = enroll(&machine, "d");
    let script = machine.script();
    let shows = |what: &str| {
        let shown = || machine.lab.user.run(&["device", "list"]).expect(0).out.contains(what).then_some(());
        eventually_blocking(what, shown);
    };

    // Somebody ends it while systemd takes its time: it says where it was, and is told as ended.
    fs::write(machine.folder.join("systemd"), "hangs").unwrap();
    machine.network("breaks");
    let mut command = rebuilt(&machine.command(&[]), Path::new("/bin/sh"));
    command.args([&script, "--user", "--token-file", &file]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running::start(&mut command);
    shows("installing 80 % (enrol)");
    let listed = machine.lab.user.run(&["device", "list", "--installing", "-o", "json"]).expect(0).json();
    assert_eq!((&listed[0]["name"], &listed[0]["percent"]), (&"d".into(), &80.into()));
    assert_eq!(fs::read_to_string(machine.folder.join("network")).unwrap().trim(), "rest", "it fetched the rest alone");
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(143));
    shows("failed AGT_STOPPED (enrol)");

    // Again it goes on with what is there.
    fs::remove_file(machine.folder.join("systemd")).unwrap();
    let run: Run = machine.run(&["sh", &script, "--user"]).expect(0);
    assert!(run.out.contains("is there already") && run.out.contains("is a device of"), "{}", run.out);
    shows("online");
}
