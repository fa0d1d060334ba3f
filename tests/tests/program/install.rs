//! The script that makes a machine a device: the real one of a real manager, run by real shells.
//!
//! What starts services is played by a script of ours, which starts what the unit says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started, robo_agent, root};
use rustix::process::Signal;

use super::{Lab, signal};

/// Starts and ends what the unit says, and counts a program that ended as one that was started often.
pub(super) const SYSTEMCTL: &str = r#"#!/bin/sh
runs() { [ -f "$HERE/pid" ] && grep -q . "/proc/$(cat "$HERE/pid")/cmdline" 2>/dev/null; }
end() { if runs; then kill "$(cat "$HERE/pid")"; while runs; do sleep 0.05; done; fi; }
echo "$*" >>"$HERE/calls"
case $(cat "$HERE/systemd" 2>/dev/null)$* in
    *show-environment) ;;
    refuses*) echo 'Unit robo-agent.service has a bad unit file setting.' >&2; exit 1 ;;
    hangs*) exec sleep 1000 ;;
esac
case "$*" in
    *" restart "*)
        end
        # shellcheck disable=SC2046
        set -- $(sed -n 's/^ExecStart=//p' "$HOME/.config/systemd/user/robo-agent.service")
        (set -a; . "$HOME/.config/robo-agent/environment"; exec "$@") >>"$HERE/agent.log" 2>&1 </dev/null &
        echo $! >"$HERE/pid"
        ;;
    *" disable --now "*) end ;;
    *" show -p "*) if runs; then echo NRestarts=0; else echo NRestarts=3; fi ;;
esac
"#;

/// Keeps what everybody can see of all processes, and then plays the network that `$HERE/network` names.
const CURL: &str = r#"#!/bin/sh
for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\0' ' ' <"$file"; done >>"$HERE/seen" 2>/dev/null
out=
for argument; do [ "$before" = --output ] && out=$argument; before=$argument; done
[ -n "$out" ] || exec "$REAL_CURL" "$@"
case $(cat "$HERE/network") in
    breaks) echo rest >"$HERE/network"; "$REAL_CURL" "$@"; truncate -s 1000 "$out"; exit 18 ;;
    rest) case " $* " in *' --continue-at - '*) exec "$REAL_CURL" "$@" ;; *) exit 7 ;; esac ;;
    full) exit 23 ;;
    forges) "$REAL_CURL" "$@" && echo more >>"$out" ;;
    *) exec "$REAL_CURL" "$@" ;;
esac
"#;

/// A machine that is to become a device: a home, and programs of its own before those of the system.
pub(super) struct Machine {
    pub(super) lab: Lab,
    pub(super) folder: PathBuf,
}

impl Machine {
    pub(super) fn new(arguments: &[&str]) -> Self {
        // Built before the manager looks for it.
        drop(robo_agent());
        let lab = Lab::start(arguments, &[]);
        let folder = lab.user.folder.path().join("machine");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::create_dir_all(folder.join("home")).unwrap();
        let machine = Self { lab, folder };
        let sudo = "#!/bin/sh\nexec \"$@\" --user --token-file -\n";
        for (name, text) in [("systemctl", SYSTEMCTL), ("curl", CURL), ("sudo", sudo), ("journalctl", "#!/bin/sh\n")] {
            let path = machine.folder.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine.network("good");
        machine
    }

    pub(super) fn network(&self, how: &str) {
        fs::write(self.folder.join("network"), how).unwrap();
    }

    /// A program of this machine, which has no terminal.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let real = path.split(':').map(|folder| Path::new(folder).join("curl")).find(|path| path.exists());
        let mut command = Command::new("setsid");
        command.arg("-w").args(arguments).env_clear().current_dir(&self.folder);
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        command.env("REAL_CURL", real.expect("curl")).env("HERE", &self.folder);
        command.env("HOME", self.folder.join("home")).env("TMPDIR", &self.folder).stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        Started::start(&mut self.command(arguments)).wait()
    }

    /// The same, with this file as its standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Run {
        Started::start(self.command(arguments).stdin(fs::File::open(input).unwrap())).wait()
    }

    /// The script, as this manager gives it.
    pub(super) fn script(&self) -> String {
        let (url, path) = (format!("https://{}/v1/install.sh", self.lab.address), self.lab.path("install.sh"));
        self.run(&["curl", "-fsSk", &url, "-o", &path]).expect(0);
        path
    }

    pub(super) fn home(&self, path: &str) -> PathBuf {
        self.folder.join("home").join(path)
    }

    pub(super) fn is_online(&self, device: &str) -> bool {
        let found = self.lab.user.run(&["device", "inspect", device, "-o", "json"]);
        found.code == 0 && found.json()["online"] == true
    }

    fn agent(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(pid) = self.agent().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            signal(pid, Signal::KILL);
        }
    }
}

/// The line that is to be pasted, and the file with the token.
pub(super) fn enroll(machine: &Machine, device: &str) -> (String, String) {
    let run = machine.lab.user.run(&["device", "enroll", device]).expect(0);
    let file = machine.lab.path(&format!("{device}.token"));
    fs::write(&file, &run.out).unwrap();
    let line = run.err.lines().map(str::trim).find(|line| line.starts_with("t=$(mktemp)"));
    (line.unwrap_or_else(|| panic!("no line: {}", run.err)).to_owned(), file)
}

#[test]
fn the_printed_line_makes_a_device_and_shows_its_token_to_nobody() {
    let machine = Machine::new(&[]);
    let (line, file) = enroll(&machine, "d");
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    let run = machine.run_with(&["sh", "-c", &line], &file).expect(0);
    assert!(run.out.contains("This machine is a device of"), "{}", run.out);
    assert!(machine.is_online("d") || eventually_blocking("it is online", || machine.is_online("d").then_some(true)));

    let state = machine.home(".local/state/robo-agent");
    assert!(!state.join("token").exists(), "it was used");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    let seen = String::from_utf8_lossy(&fs::read(machine.folder.join("seen")).unwrap()).into_owned();
    assert!(seen.contains("--token-file -"), "it looked");
    let agent = machine.agent().unwrap();
    let of_agent = ["cmdline", "environ"].map(|name| fs::read(format!("/proc/{agent}/{name}")).unwrap());
    for text in [seen, run.out, run.err, String::from_utf8_lossy(&of_agent.concat()).into_owned()] {
        assert!(!text.contains(&token), "the token is seen");
    }

    // Again: nothing is asked, nothing is fetched, the agent is started anew and is the same device.
    let installed = machine.home(".local/bin/robo-agent-install");
    let installed = installed.to_str().unwrap();
    let run = machine.run(&["sh", installed, "--user"]).expect(0);
    assert!(run.out.contains("is there already") && run.out.contains("is a device of"), "{}", run.out);
    assert_ne!(machine.agent(), Some(agent));

    // It goes, with all that it had; what is gone is no mistake.
    let run = machine.run(&["sh", installed, "--uninstall", "--user"]).expect(0);
    assert!(run.out.contains("is removed") && run.out.contains("--purge"), "{}", run.out);
    let script = machine.script();
    let run = machine.run(&["sh", &script, "--uninstall", "--purge", "--user"]).expect(0);
    assert!(run.out.contains("are removed"), "{}", run.out);
    let run = machine.run(&["sh", &script, "--uninstall", "--purge", "--user"]).expect(0);
    assert!(run.out.contains("is not installed here"), "{}", run.out);
    for left in [".local/bin/robo-agent", ".config/systemd/user/robo-agent.service", ".config/robo-agent"] {
        assert!(!machine.home(left).exists(), "{left}");
    }
    assert!(!state.exists());
}

#[test]
fn an_image_becomes_a_device_when_it_boots_whatever_shell_made_it() {
    let machine = Machine::new(&[]);
    let script = machine.script();
    for (name, shell) in [("dash", vec!["dash"]), ("busybox", vec!["busybox", "sh"]), ("bash", vec!["bash", "--posix"])]
    {
        let image = machine.folder.join(name);
        fs::create_dir(&image).unwrap();
        let (_, file) = enroll(&machine, name);
        let options = [script.as_str(), "--root", image.to_str().unwrap(), "--token-file", &file];
        machine.run(&[shell, options.to_vec()].concat()).expect(0);
        let unit = fs::read_to_string(image.join("etc/systemd/system/robo-agent.service")).unwrap();
        let command = format!(
            "ExecStart=/usr/local/bin/robo-agent --manager {} --state /var/lib/robo-agent\n",
            machine.lab.address
        );
        assert!(unit.contains(&command) && unit.contains("KillMode=process\n"), "{unit}");
        assert!(unit.contains("OOMScoreAdjust=-900\n") && unit.contains("RestartSec=5\n"), "{unit}");
        let state = image.join("var/lib/robo-agent");
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.join("token")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!machine.is_online(name), "nothing is started in an image");

        let mut command = machine.command(&[]);
        let manager = machine.lab.address.to_string();
        let program = image.join("usr/local/bin/robo-agent");
        command = rebuilt(&command, &program);
        command.args(["--manager", &manager, "--state", state.to_str().unwrap()]).stderr(Stdio::null());
        let _agent = Running::start(&mut command);
        eventually_blocking("it boots", || machine.is_online(name).then_some(()));
        eventually_blocking("its token is gone", || (!state.join("token").exists()).then_some(()));
    }
}

#[test]
fn what_is_wrong_with_packages_and_docker_keeps_no_machine_from_being_a_device() {
    let machine = Machine::new(&[]);
    // As they are found: each would fail, and says that it was asked.
    let broken = "#!/bin/sh\necho \"$0 $*\" >>\"$HERE/packages\"\nexit 100\n";
    for name in ["apt", "apt-get", "dpkg", "pip", "pip3", "python3", "docker", "dockerd"] {
        let path = machine.folder.join("bin").join(name);
        fs::write(&path, broken).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all(machine.home(".config/pip")).unwrap();
    fs::create_dir_all(machine.home(".docker")).unwrap();
    fs::write(machine.home(".config/pip/pip.conf"), "[global\nindex-url = nowhere\n").unwrap();
    fs::write(machine.home(".docker/config.json"), r#"{"credsStore": "none-such"}"#).unwrap();
    let (line, file) = enroll(&machine, "d");
    machine.run_with(&["sh", "-c", &line], &file).expect(0);
    eventually_blocking("it is online", || machine.is_online("d").then_some(()));
    assert!(!machine.folder.join("packages").exists(), "a package manager was asked");
    let device = machine.lab.user.run(&["device", "inspect", "d", "-o", "json"]).expect(0).json();
    let capabilities = device["facts"]["capabilities"].as_array().unwrap();
    let has_docker = Path::new("/run/docker.sock").exists();
    assert_eq!(capabilities.iter().any(|one| one == "docker"), has_docker, "{capabilities:?}");
}

#[test]
fn the_user_that_commands_run_as_is_written_down_and_stays() {
    let machine = Machine::new(&[]);
    let script = machine.script();
    let (_, file) = enroll(&machine, "d");
    for shell in [vec!["dash"], vec!["busybox", "sh"], vec!["bash", "--posix"]] {
        let image = machine.folder.join(shell[0]);
        fs::create_dir_all(image.join("etc")).unwrap();
        let root = image.to_str().unwrap();
        let install = |more: &[&str]| {
            let options = [script.as_str(), "--root", root, "--token-file", &file];
            machine.run(&[shell.as_slice(), &options, more].concat())
        };
        let settings = image.join("etc/robo-agent/environment");
        let lines = || -> Vec<String> {
            let text = fs::read_to_string(&settings).unwrap();
            text.lines().filter(|line| line.contains("EXEC_USER")).map(str::to_owned).collect()
        };
        for (users, named) in
            [(None, "robot"), (Some("roboto:x:1:1::/:/bin/sh\n"), "robot"), (Some("rob:x:1:1::/:\n"), "r.b")]
        {
            if let Some(users) = users {
                fs::write(image.join("etc/passwd"), users).unwrap();
            }
            let run = install(&["--exec-user", named]).expect(1);
            assert!(run.err.contains(&format!("there is no user `{named}` in {root}/etc/passwd")), "{}", run.err);
            assert!(!settings.exists() && !image.join("usr").exists(), "something was installed");
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nrobot:x:1:1::/:/bin/sh\nr2:x:2:2::/:\n")
            .unwrap();
        install(&[]).expect(0);
        assert_eq!(lines(), ["# ROBO_EXEC_USER="]);
        install(&["--exec-user", "robot"]).expect(0);
        assert_eq!(lines(), ["ROBO_EXEC_USER=robot"]);
        // What somebody wrote there stays, and so does the user when nobody names one.
        let mut text = fs::read_to_string(&settings).unwrap();
        text.push_str("MINE=1\nNO_END=2");
        fs::write(&settings, &text).unwrap();
        install(&[]).expect(0);
        assert_eq!(fs::read_to_string(&settings).unwrap(), text);
        install(&["--exec-user", "r2"]).expect(0);
        assert_eq!(lines(), ["ROBO_EXEC_USER=r2"]);
        let changed = fs::read_to_string(&settings).unwrap();
        assert!(changed.contains("\nMINE=1\nNO_END=2") && changed.contains("# HTTPS_PROXY="), "{changed}");
        assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600);
        let again = machine.folder.join(format!("{}-2", shell[0]));
        fs::create_dir_all(again.join("etc")).unwrap();
        fs::write(again.join("etc/passwd"), "robot:x:1:1::/:/bin/sh\n").unwrap();
        let options =
            [script.as_str(), "--root", again.to_str().unwrap(), "--token-file", &file, "--exec-user", "robot"];
        machine.run(&[shell.as_slice(), &options].concat()).expect(0);
        let text = fs::read_to_string(again.join("etc/robo-agent/environment")).unwrap();
        assert!(text.ends_with("\nROBO_EXEC_USER=robot\n"), "{text}");
    }
    for (arguments, told) in [
        (&["--user", "--exec-user", "root"][..], "do not go together"),
        (&["--uninstall", "--exec-user", "root"], "does not go with --uninstall"),
        (&["--exec-user"], "needs a value"),
        (&["--exec-user", ""], "needs a value"),
        (&["--exec-user", "a b"], "is no name of a user"),
        (&["--exec-user", "-x"], "is no name of a user"),
        (&["--exec-user", "$(id)"], "is no name of a user"),
    ] {
        let run = machine.run(&[&["sh", script.as_str(), "--token-file", &file], arguments].concat()).expect(1);
        assert!(run.err.contains(told), "{arguments:?}: {}", run.err);
    }
}

/// A command with the same environment for another program: one that is killed itself, and not what started it.
pub(super) fn rebuilt(like: &Command, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    command
}

#[test]
fn what_is_not_as_announced_is_not_installed() {
    let machine = Machine::new(&[]);
    let (line, file) = enroll(&machine, "d");
    let image = machine.folder.join("image");
    fs::create_dir(&image).unwrap();
    let (root, program) = (image.to_str().unwrap(), image.join("usr/local/bin/robo-agent"));

    // Another script than the line says: it does not run.
    let other = line.replace("echo \"", "echo \"0");
    let run = machine.run_with(&["sh", "-c", &other], &file);
    assert!(run.code != 0 && !machine.home(".local").exists(), "{run:?}");

    // Another program than the script says.
    let script = machine.script();
    machine.network("forges");
    let run = machine.run(&["sh", &script, "--root", root, "--token-file", &file]).expect(1);
    assert!(run.err.contains("not the program that was announced"), "{}", run.err);
    assert!(!image.join("var").exists() && fs::read_dir(image.join("usr/local/bin")).unwrap().next().is_none());

    // A disk that is full is no matter of the network.
    machine.network("full");
    let run = machine.run(&["sh", &script, "--root", root, "--token-file", &file]).expect(1);
    assert!(run.err.contains("make room there") && !run.out.contains("attempt"), "{run:?}");

    // One that breaks off, and is whole in the end.
    machine.network("breaks");
    let run = machine.run(&["sh", &script, "--root", root, "--token-file", &file]).expect(0);
    assert!(run.out.contains("the download broke off; attempt 2"), "{}", run.out);
    assert!(fs::read(&program).unwrap() == fs::read(robo_agent()).unwrap());
}

#[test]
fn a_token_that_is_no_good_here_is_refused_with_its_reason() {
    let machine = Machine::new(&[]);
    let script = machine.script();
    let image = machine.folder.join("image");
    fs::create_dir(&image).unwrap();
    let root = image.to_str().unwrap();
    let check = |token: &str, told: &str| {
        let file = machine.lab.path("wrong.token");
        fs::write(&file, token).unwrap();
        let run = machine.run(&["sh", &script, "--root", root, "--token-file", &file]).expect(1);
        assert!(run.err.contains(told), "{token}: {}", run.err);
        assert!(fs::read_dir(&image).unwrap().next().is_none(), "{token}: something was installed");
    };
    check("", "there is no token in");
    check("hello\n", "not an enrolment token");
    check("rbe1.$(touch x).y\n", "not an enrolment token");
    check(&format!("rbe1.{}.{}\n", "ab".repeat(32), "cd".repeat(32)), "another manager's");
    for (arguments, told) in [
        (vec![], "nobody to ask"),
        (vec!["--token-file", "/none/here"], "cannot be read from /none/here"),
        (vec!["rbe1.a.b"], "every user of this machine sees"),
        (vec!["--name"], "needs a value"),
        (vec!["--name", "a b"], "is no name of a device"),
        (vec!["--purge"], "goes with --uninstall"),
        (vec!["--colour"], "`--colour` is no option"),
        (vec!["--user"], "do not go together"),
    ] {
        let run = machine.run(&[vec!["sh", &script, "--root", root], arguments].concat()).expect(1);
        assert!(run.err.contains(told), "{}", run.err);
    }

    // One that was used: the manager says so, and the script does not wait for what cannot come.
    let (_, file) = enroll(&machine, "d");
    let used = machine.folder.join("used");
    fs::create_dir(&used).unwrap();
    machine.run(&["sh", &script, "--root", used.to_str().unwrap(), "--token-file", &file]).expect(0);
    let state = used.join("var/lib/robo-agent");
    let mut command = rebuilt(&machine.command(&[]), &used.join("usr/local/bin/robo-agent"));
    command.args(["--manager", &machine.lab.address.to_string(), "--state"]).arg(&state).stderr(Stdio::null());
    let _agent = Running::start(&mut command);
    eventually_blocking("it came with it", || machine.is_online("d").then_some(()));
    let run = machine.run(&["sh", &script, "--user", "--token-file", &file]).expect(1);
    assert!(run.err.contains("it is not a device yet") && run.err.contains("AGT_NOT_ENROLLED"), "{}", run.err);
    let log = fs::read_to_string(machine.folder.join("agent.log")).unwrap();
    assert!(log.contains("enrolment failed"), "{log}");
}

#[test]
fn a_manager_gives_away_what_it_has_and_nothing_else() {
    let empty = tempfile::tempdir().unwrap();
    let machine = Machine::new(&["--agent-binaries", empty.path().to_str().unwrap()]);
    let script = machine.script();
    let run = machine.run(&["sh", &script, "--user"]).expect(1);
    assert!(run.err.contains("the manager has no agent for") && run.err.contains("--agent-binaries"), "{}", run.err);
    let status = |path: &str| {
        let url = format!("https://{}{path}", machine.lab.address);
        machine.run(&["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", &url]).expect(0).out
    };
    assert_eq!(status("/v1/install.sh?manager=robo.example.org:7626"), "200");
    for wrong in ["a%27b", "%24(id)", "a%0Ab", "a:0", "a:65536", "", "a/b", "%5B::1"] {
        assert_eq!(status(&format!("/v1/install.sh?manager={wrong}")), "400", "{wrong}");
    }
    assert_eq!(status("/v1/install.sh?other=1"), "400");
    fs::write(empty.path().join("robo-agent-riscv64"), "a program").unwrap();
    fs::write(empty.path().join("robo-agent-vax"), "a program").unwrap();
    assert_eq!(status("/v1/install/agent/riscv64"), "200");
    for none in ["vax", "aarch64", "..%2Fca.pem", "%2Fetc%2Fpasswd", "."] {
        assert_eq!(status(&format!("/v1/install/agent/{none}")), "404", "{none}");
    }
    let text = fs::read_to_string(machine.script()).unwrap();
    assert!(text.contains("AGENTS='riscv64 ") && !text.contains("vax"));
}

#[test]
fn the_script_is_plain_posix() {
    let script = root().join("manager/src/install/install.sh");
    let run = Command::new("shellcheck").args(["--shell=sh", "--enable=quote-safe-variables"]).arg(&script).output();
    let run = run.expect("shellcheck; install it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
