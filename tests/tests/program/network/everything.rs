//! A machine of which nothing is known but a shell and curl, behind two routers and a proxy that lets out port 443 alone: it
//! becomes a device by the line that is printed, is used for all that there is, is shut out, and is as it was before.

mod more;
mod upkeep;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_agent::shell::Shells;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started, robo_agent};
use robo_wire::stream::Verdict;
use rustix::process::Signal;

use super::world::World;
use super::{GRAPH, two_routers};
use crate::program::install::SYSTEMCTL;
use crate::program::shell::Terminal;
use crate::program::upgrading::{build, put};
use crate::program::{application, signal};

/// The only way out, as a device's settings have it.
const PROXY: &str = "http://robo:open%2Dsesame@192.168.1.1:3128";

/// Says on a line where it listens, and then says everything that it hears, louder.
const LOUDER: &str = "
import socket
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(connection.recv(100).upper())
    connection.close()
";

/// Says something to a port, and prints the answer.
const SAY: &str = "
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
connection.sendall(sys.argv[2].encode())
print(connection.recv(100).decode())
";

/// The machine: a home, and a program that plays what starts services.
struct Bare<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl<'a> Bare<'a> {
    fn new(world: &'a World) -> Self {
        let folder = PathBuf::from(world.path("machine"));
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::create_dir_all(folder.join("home")).unwrap();
        let sudo = "#!/bin/sh\nexec \"$@\" --user --token-file -\n";
        let systemctl = format!("{}{SYSTEMCTL}", upkeep::ASKED);
        for (name, text) in [("systemctl", systemctl.as_str()), ("sudo", sudo), ("journalctl", more::JOURNALCTL)] {
            let path = folder.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { world, folder }
    }

    /// A program on it, without a terminal.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.namespaces.command("device", "setsid");
        command.arg("-w").args(arguments).env_clear().current_dir(&self.folder).stdin(Stdio::null());
        command.env("PATH", format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap()));
        command.env("HERE", &self.folder).env("HOME", self.home("")).env("TMPDIR", &self.folder);
        command.env("HTTPS_PROXY", PROXY);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Started::start(&mut self.command(arguments)).wait()
    }

    fn home(&self, path: &str) -> PathBuf {
        self.folder.join("home").join(path)
    }

    fn agent(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the agent's log:\n{}", fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default());
        }
        if let Some(pid) = self.agent().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            signal(pid, Signal::KILL);
        }
        let state = self.home(".local/state/robo-agent");
        if state.exists() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            drop(runtime.block_on(Runtime::kill_leftovers(&Folders::new(&state))));
        }
    }
}

/// Something that listens on the loopback of a namespace, and its port.
fn louder(world: &World, namespace: &str) -> (Running, u16) {
    let mut command = world.namespaces.command(namespace, "python3");
    command.args(["-u", "-c", LOUDER]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line.trim().parse().unwrap())
}

fn say(world: &World, namespace: &str, port: &str, text: &str) -> Run {
    Started::start(world.namespaces.command(namespace, "python3").args(["-c", SAY, port, text])).wait()
}

#[test]
fn a_bare_machine_behind_a_proxy_becomes_a_device_and_everything_works() {
    let namespaces = two_routers("drop");
    let offered = tempfile::tempdir().unwrap();
    put(&offered.path().join("robo-agent"), &build(0));
    let world = World::start(namespaces, &["--heartbeat", "2s", "--agent-binaries", offered.path().to_str().unwrap()]);
    let configuration = world.path("tinyproxy.conf");
    let lines =
        "Port 3128\nListen 192.168.1.1\nTimeout 600\nConnectPort 443\nBasicAuth robo open-sesame\nMaxClients 50\n";
    fs::write(&configuration, lines).unwrap();
    let mut proxy = world.namespaces.command("home", "tinyproxy");
    let proxy = Running::start(proxy.args(["-d", "-c", &configuration]).stdout(Stdio::null()).stderr(Stdio::null()));
    let machine = Bare::new(&world);

    becomes_a_device(&machine);
    applications(&world);
    commands(&world);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(terminals(&world));
    drop(runtime);
    ways_in(&world);
    copies(&world, &machine);
    more::logs_and_bundles(&world);
    more::records(&world);
    more::jobs(&world);
    more::operations(&world);
    more::users(&world);
    more::comings_and_goings(&world, &machine);
    upkeep::files(&world, &machine);
    upkeep::system(&world, &machine);
    upkeep::ssh(&world, &machine);
    upkeep::bounds(&world, &machine);
    upkeep::upgrade(&world, &machine, &offered.path().join("robo-agent"));
    rights_and_keys(&world, &machine);
    is_shut_out_and_as_before(&world, &machine);
    drop((machine, proxy));
}

fn becomes_a_device(machine: &Bare<'_>) {
    let world = machine.world;
    let enrolled = world.run(&["device", "enroll", "device", "--label", "site=lab"]).expect(0);
    let token = world.path("device.token");
    fs::write(&token, &enrolled.out).unwrap();
    let line = enrolled.err.lines().map(str::trim).find(|line| line.starts_with("t=$(mktemp)")).unwrap();
    let mut install = machine.command(&["sh", "-c", upkeep::BOOTED, "sh", "sh", "-c", line]);
    let run = Started::start(install.stdin(fs::File::open(&token).unwrap())).wait().expect(0);
    assert!(run.out.contains("This machine is a device of 203.0.113.1:443"), "{run:?}");
    world.until_online(true);
    let seen = world.seen();
    assert_eq!((&seen["facts"]["address"], &seen["labels"]["site"]), (&"192.168.1.2".into(), &"lab".into()));
    world.run(&["device", "label", "device", "arm=left"]).expect(0);
    assert_eq!(world.seen()["labels"]["arm"], "left");
}

fn applications(world: &World) {
    let graph = application(world.user(), GRAPH, &[("Job/scripts/start.sh", "#!/bin/sh\necho it has begun\n")]);
    world.run(&["plan", &graph]).expect(2);
    world.run(&["apply", "--yes", &graph]).expect(0);
    world.run(&["status", "--check"]).expect(0);
    let mut logs = world.command_in("world");
    let following = Started::start(logs.args(["logs", "-f", "/device/job"]));
    eventually_blocking("its output", || following.so_far().0.contains("it has begun").then_some(()));
    world.run(&["events"]).expect(0);
}

fn commands(world: &World) {
    let hello = ["--", "echo", "hello"];
    assert_eq!(world.run(&[&["exec", "device"], &hello[..]].concat()).expect(0).out, "hello\n");
    let by_label = world.run(&[&["exec", "-l", "site=lab,arm=left"], &hello[..]].concat()).expect(0);
    assert!(by_label.out.contains("hello"), "{by_label:?}");
    world.run(&["exec", "device", "--", "sh", "-c", "exit 7"]).expect(7);
    world.run(&["exec", "--timeout", "1s", "device", "--", "sleep", "600"]).expect(124);
    let input = world.path("input");
    fs::write(&input, "what is said").unwrap();
    let mut cat = world.command_in("world");
    let cat = cat.args(["exec", "device", "--", "cat"]).stdin(fs::File::open(&input).unwrap());
    assert_eq!(Started::start(cat).wait().expect(0).out, "what is said");

    let job = world.run(&["exec", "--background", "device", "--", "echo", "later"]).expect(0).out;
    world.run(&["job", "wait", job.trim()]).expect(0);
    assert!(world.run(&["job", "logs", job.trim()]).expect(0).out.contains("later"));

    // For a device that is away.
    world.namespaces.ip("home", &["link", "set", "wan", "down"]);
    world.until_online(false);
    let mut queued = world.command_in("world");
    let queued = Started::start(queued.args(["exec", "--queue=10m", "device", "--", "echo", "at last"]));
    eventually_blocking("it is queued", || {
        let jobs = world.run(&["job", "list", "-o", "json"]).expect(0).json();
        (jobs.as_array().unwrap().len() > 1).then_some(())
    });
    world.namespaces.ip("home", &["link", "set", "wan", "up"]);
    world.namespaces.ip("home", &["route", "replace", "default", "via", "100.64.0.1"]);
    assert!(queued.wait().expect(0).out.contains("at last"));
    world.until_online(true);
}

async fn terminals(world: &World) {
    let shells = Shells::new(robo_agent());
    let start = async |id: &str, arguments: &[&str]| {
        let words = world.words_in("world", arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Terminal::start(&shells, id, world.user(), &words).await
    };
    let mut terminal = start("t1", &["shell", "device", "--", "bash", "--norc"]).await;
    terminal.until("Ctrl-] d detaches").await;
    terminal.type_in("x=5; echo re''ady\r").await;
    terminal.until("ready\r\n").await;
    terminal.type_in("\x1dd").await;
    terminal.until("Detached. `robo session attach").await;
    assert_eq!(terminal.verdict().await, Verdict::Ok, "{}", terminal.text());
    let id = world.run(&["session", "list", "--open", "-o", "name"]).expect(0).out.trim().to_owned();
    let mut terminal = start("t2", &["session", "attach", &id]).await;
    terminal.until("ready").await;
    let mut watch = world.command_in("world");
    let watch = Started::start(watch.args(["session", "watch", &id]));
    eventually_blocking("somebody watches", || watch.so_far().0.contains("ready").then_some(()));
    terminal.type_in("echo x=$((x + 37))\r").await;
    terminal.until("x=42").await;
    eventually_blocking("the watcher sees it", || watch.so_far().0.contains("x=42").then_some(()));
    terminal.type_in("exit 3\r").await;
    assert_eq!(terminal.verdict().await, Verdict::Failed { code: 3 });
    let played = world.command_in("world").args(["session", "play", &id, "--at-once"]).output().unwrap();
    assert!(String::from_utf8_lossy(&played.stdout).contains("x=42"));
}

fn ways_in(world: &World) {
    let (there, port) = louder(world, "device");
    let begin = |arguments: &[&str]| {
        let mut forward = world.command_in("world");
        let started = Started::start(forward.args(["forward", "-o", "name"]).args(arguments));
        let at = eventually_blocking("it says where it listens", || {
            started.so_far().0.lines().next()?.rsplit(':').next().map(str::to_owned)
        });
        (started, at)
    };
    let (forward, at) = begin(&[&format!("0:device:{port}")]);
    assert_eq!(say(world, "world", &at, "in").expect(0).out, "IN\n");
    let (here, port_here) = louder(world, "world");
    let (reverse, at) = begin(&["--reverse", &format!("0:device:{port_here}")]);
    assert_eq!(say(world, "device", &at, "out").expect(0).out, "OUT\n");
    let input = world.path("word");
    fs::write(&input, "ssh").unwrap();
    let mut through = world.command_in("world");
    let through = through.args(["ssh-proxy", "device", &port.to_string()]).stdin(fs::File::open(&input).unwrap());
    assert_eq!(Started::start(through).wait().expect(0).out, "SSH");
    // Who is killed is waited for, as one that was cut off; who ends says so.
    for forward in [forward, reverse] {
        forward.process.signal(Signal::INT);
        forward.wait().expect(130);
    }
    drop((there, here));
}

fn copies(world: &World, machine: &Bare<'_>) {
    let (file, folder) = (world.path("file"), world.path("folder"));
    let content: Vec<u8> = (0_u32..300_000).flat_map(u32::to_le_bytes).collect();
    fs::write(&file, &content).unwrap();
    fs::create_dir_all(format!("{folder}/below")).unwrap();
    fs::write(format!("{folder}/below/it"), "deep").unwrap();
    let there = machine.folder.join("there");
    fs::create_dir(&there).unwrap();
    let device = format!("device:{}", there.display());
    world.run(&["cp", &file, &format!("{device}/copy")]).expect(0);
    assert!(fs::read(there.join("copy")).unwrap() == content, "to the device");
    let back = world.path("back");
    world.run(&["cp", &format!("{device}/copy"), &back]).expect(0);
    assert!(fs::read(&back).unwrap() == content, "from the device");
    world.run(&["cp", "-r", &folder, &format!("{device}/")]).expect(0);
    assert_eq!(fs::read_to_string(there.join("folder/below/it")).unwrap(), "deep");
}

fn rights_and_keys(world: &World, machine: &Bare<'_>) {
    assert!(world.run(&["auth", "can-i", "shell", "device"]).expect(0).out.contains("yes"));
    let key = || world.run(&["device", "inspect", "device", "-o", "json"]).expect(0).json()["key_fingerprint"].clone();
    let (before, agent) = (key(), machine.agent());
    assert!(before.is_string(), "{before}");
    world.run(&["device", "rotate-key", "device"]).expect(0);
    eventually_blocking("it has a new key", || (key() != before).then_some(()));
    assert_eq!(machine.agent(), agent, "the same agent");
    world.run(&["exec", "device", "--", "true"]).expect(0);
    world.run(&["audit", "verify"]).expect(0);
}

fn is_shut_out_and_as_before(world: &World, machine: &Bare<'_>) {
    world.run(&["device", "revoke", "device", "--yes", "--reason", "stolen"]).expect(0);
    world.until_online(false);
    assert_ne!(world.run(&["exec", "device", "--", "true"]).code, 0);
    world.run(&["audit", "verify"]).expect(0);

    let script = machine.home(".local/bin/robo-agent-install");
    let uninstall = ["sh", script.to_str().unwrap(), "--uninstall", "--purge", "--user"];
    assert!(machine.run(&uninstall).expect(0).out.contains("robo-agent is removed"));
    for gone in
        [".local/bin/robo-agent", ".local/bin/robo-agent-install", ".config/robo-agent", ".local/state/robo-agent"]
    {
        assert!(!machine.home(gone).exists(), "{gone} is left");
    }
    assert!(!machine.home(".config/systemd/user/robo-agent.service").exists());
}
