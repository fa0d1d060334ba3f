//! `robo relay` with the real programs: a manager that nobody can reach, what goes wrong on the way, and who means ill.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use robo_agent::shell::Shells;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, User, robo, robo_agent, root};
use robo_wire::stream::Verdict;
use rustix::process::Signal;

use super::copy::{noise, part_size};
use super::faults::lab::Machine;
use super::shell::Terminal;
use super::{Lab, application};

/// Silence is noticed within seconds, and a busy machine is not taken for a silent one.
const QUICK: [&str; 2] = ["--heartbeat", "3s"];

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Job;
}
Job {
	installer: script;
}
instance of Machine {
	name: one;
	instance of Job {
		name: job;
	}
}
";

fn path(user: &User, name: &str) -> String {
    user.folder.path().join(name).to_str().unwrap().to_owned()
}

fn until_told(user: &User, log: &str, text: &str) {
    eventually_blocking(text, || fs::read_to_string(path(user, log)).ok()?.contains(text).then_some(()));
}

fn times_told(user: &User, log: &str, text: &str) -> usize {
    fs::read_to_string(path(user, log)).unwrap_or_default().matches(text).count()
}

/// A relay with this folder, and where it listens.
fn relay(user: &User, name: &str, listen: &str) -> (Running, SocketAddr) {
    let ready = path(user, &format!("{name}.ready"));
    drop(fs::remove_file(&ready));
    let mut command = user.command();
    command.env("ROBO_LOG", "debug").args(["relay", "--listen", listen, "--data", &path(user, name)]);
    let running = Running::start(command.args(["--ready-file", &ready, "--log-file", &path(user, "relay.log")]));
    let address = eventually_blocking("a relay listens", || fs::read_to_string(&ready).ok()?.trim().parse().ok());
    (running, address)
}

/// A manager with this folder, which logs beside it.
fn manager(user: &User, name: &str, relay: &str, token: &str, options: &[&str]) -> Running {
    let mut command = user.command();
    command.args(["manager", "--data", &path(user, name), "--relay", relay, "--relay-token-file", token]);
    command.args(["--log-file", &path(user, &format!("{name}.log")), "--agent-binaries", "/none"]).args(QUICK);
    Running::start(command.args(options))
}

/// A manager that listens nowhere, with a relay before it.
struct Hidden {
    lab: Lab,
    relay: Running,
}

impl Hidden {
    fn start() -> Self {
        let user = User::new();
        let (relay, address) = relay(&user, "relay", "127.0.0.1:0");
        let token = path(&user, "relay/relay.token");
        let manager = manager(&user, "manager", &address.to_string(), &token, &["--listen", "none"]);
        until_told(&user, "manager.log", "reachable through the relay relay=");
        let lab = Lab { user, address, manager };
        lab.add_context("lab", Path::new(&lab.path("manager/ca.pem")));
        Self { lab, relay }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.lab.user.run(arguments).expect(0).out
    }

    fn until_linked(&self) {
        eventually_blocking("the device is online", || {
            let run = self.lab.user.run(&["exec", "one", "--", "echo", "hello"]);
            (run.code == 0 && run.out == "hello\n").then_some(())
        });
    }
}

/// True when a process waits for connections by TCP.
fn listens(pid: u32) -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets: BTreeSet<String> = files
        .filter_map(|file| fs::read_link(file.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = [read("tcp"), read("tcp6")].concat();
    tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
        // As in the kernel's tcp_states.h: 0A listens.
        fields.get(3) == Some(&"0A") && fields.get(9).is_some_and(|inode| sockets.contains(*inode))
    })
}

fn a_forward_works(hidden: &Hidden) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let forward = hidden.lab.user.start(&["forward", "-o", "name", &format!("0:one:{port}")]);
    let at: SocketAddr = eventually_blocking("it says where", || forward.so_far().0.lines().next()?.parse().ok());
    let mut near = TcpStream::connect(at).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(b"there").unwrap();
    far.write_all(b"back").unwrap();
    let (mut there, mut back) = ([0; 5], [0; 4]);
    far.read_exact(&mut there).unwrap();
    near.read_exact(&mut back).unwrap();
    assert_eq!((&there, &back), (b"there", b"back"));
    drop((near, far, forward));
}

fn a_shell_works(hidden: &Hidden) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (shells, robo) = (Shells::new(robo_agent()), robo());
        let words = [robo.to_str().unwrap(), "shell", "one", "--", "bash", "--norc"];
        let mut terminal = Terminal::start(&shells, "t", &hidden.lab.user, &words).await;
        terminal.until("Ctrl-] d detaches").await;
        terminal.type_in("echo x=$((5 + 37)); exit 3\r").await;
        terminal.until("x=42").await;
        assert_eq!(terminal.verdict().await, Verdict::Failed { code: 3 }, "{}", terminal.text());
    });
}

#[test]
fn everything_goes_through_a_relay_and_the_manager_listens_nowhere() {
    let mut hidden = Hidden::start();
    let (relay_pid, manager_pid) = (hidden.relay.0.id(), hidden.lab.manager.0.id());
    assert!(listens(relay_pid) && !listens(manager_pid));
    let machine = Machine::start(&hidden.lab, "one", &hidden.lab.address.to_string());
    hidden.until_linked();

    let graph = application(&hidden.lab.user, GRAPH, &[("Job/scripts/start.sh", "#!/bin/sh\necho it has begun\n")]);
    hidden.run(&["apply", "--yes", &graph]);
    eventually_blocking("its output", || hidden.run(&["logs", "/one/job"]).contains("it has begun").then_some(()));

    a_forward_works(&hidden);
    a_shell_works(&hidden);

    // Whose word an address is stands with it.
    let audit = hidden.run(&["audit", "list", "-o", "json"]);
    assert!(audit.contains("127.0.0.1 (relayed)"), "{audit}");

    // Killed in the middle of a copy, and back.
    let (source, there) = (PathBuf::from(hidden.lab.path("big")), PathBuf::from(hidden.lab.path("there")));
    fs::create_dir(&there).unwrap();
    let size = 16 * 1024 * 1024;
    fs::write(&source, noise(size, 7)).unwrap();
    let to = format!("one:{}", there.join("copy").display());
    let copying = hidden.lab.user.start(&["cp", "--limit", "4M", source.to_str().unwrap(), &to]);
    eventually_blocking("a part of it is there", || (part_size(&there) >= size as u64 / 4).then_some(()));
    hidden.relay.kill();
    until_told(&hidden.lab.user, "manager.log", "not reachable through the relay");
    (hidden.relay, _) = relay(&hidden.lab.user, "relay", &hidden.lab.address.to_string());
    let run = copying.wait().expect(0);
    assert!(run.err.contains("going on in"), "{}", run.err);
    assert!(fs::read(&source).unwrap() == fs::read(there.join("copy")).unwrap(), "another content");
    hidden.until_linked();
    assert!(!listens(manager_pid));

    // One that is there and says nothing.
    let silences = times_told(&hidden.lab.user, "manager.log", "the relay says nothing");
    hidden.relay.signal(Signal::STOP);
    eventually_blocking("the manager notices", || {
        (times_told(&hidden.lab.user, "manager.log", "the relay says nothing") > silences).then_some(())
    });
    hidden.relay.signal(Signal::CONT);
    hidden.until_linked();
    drop(machine);

    // It stops as fast as ever.
    hidden.lab.manager.signal(Signal::TERM);
    assert_eq!(hidden.lab.manager.ended(), Some(0));
}

#[test]
fn what_is_wrong_with_a_relay_is_told() {
    let user = User::new();
    let wrong = |arguments: &[&str], code: i32, told: &str| {
        let run = user.run(&[&["manager", "--data", &path(&user, "never")], arguments].concat()).expect(code);
        assert!(run.err.contains(told), "{arguments:?}: {}", run.err);
        assert!(!Path::new(&path(&user, "never/store.db")).exists(), "it began");
    };
    let token = path(&user, "token");
    fs::write(&token, format!("rbr1.{}.{}\n", "ab".repeat(32), "cd".repeat(32))).unwrap();
    let mode = |mode| fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    wrong(&["--relay", "r", "--relay-token-file", &token], 1, "chmod 600");
    mode(0o600);
    wrong(&["--listen", "none"], 1, "reached by nobody");
    wrong(&["--listen", "nowhere"], 1, "or none");
    wrong(&["--relay", "r"], 1, "--relay-token-file");
    wrong(&["--relay-token-file", &token], 1, "--relay");
    for bad in ["", "http://r", "a b", "r:0x", "r:70000", "r/path", "u@r"] {
        wrong(&["--relay", bad, "--relay-token-file", &token], 1, "--relay");
    }
    wrong(&["--relay", "r", "--relay-token-file", &path(&user, "none")], 1, "cannot be read");
    fs::write(&token, "rbe1.a.b\n").unwrap();
    wrong(&["--relay", "r", "--relay-token-file", &token], 1, "no relay's token");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let run = user.run(&["relay", "--data", &path(&user, "x"), "--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(run.expect(1).err.contains("in use already"));
}

#[test]
fn a_relay_that_comes_late_and_tokens_and_managers_that_are_not_its_own() {
    let user = User::new();
    // A port that nobody has yet, and a token from an earlier life of the relay.
    let (mut first, address) = relay(&user, "relay", "127.0.0.1:0");
    first.kill();
    let (at, token) = (address.to_string(), path(&user, "relay/relay.token"));
    let one = manager(&user, "one", &at, &token, &["--listen", "127.0.0.1:0", "--ready-file", &path(&user, "ready")]);
    until_told(&user, "one.log", "not reachable through the relay");
    eventually_blocking("it listens all the same", || Path::new(&path(&user, "ready")).exists().then_some(()));
    let (_relay, _) = relay(&user, "relay", &at);
    until_told(&user, "one.log", "reachable through the relay relay=");

    // Another manager with the same token waits until the first one is silent.
    let two = manager(&user, "two", &at, &token, &["--listen", "none"]);
    until_told(&user, "two.log", "another manager is at the relay with the same token");
    until_told(&user, "relay.log", "a second manager was refused");
    one.signal(Signal::STOP);
    until_told(&user, "relay.log", "nothing was heard of it");
    until_told(&user, "two.log", "reachable through the relay relay=");
    one.signal(Signal::CONT);
    until_told(&user, "one.log", "another manager is at the relay with the same token");
    drop((one, two));

    // The right relay and a wrong secret; and another relay than the token says.
    let good = fs::read_to_string(&token).unwrap();
    let (kept, _) = good.trim().rsplit_once('.').unwrap();
    let private = |name: &str, text: String| {
        let file = path(&user, name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    };
    let guessed = private("guessed", format!("{kept}.{}", "00".repeat(32)));
    let _three = manager(&user, "three", &at, &guessed, &["--listen", "none"]);
    until_told(&user, "three.log", "the relay does not know this token");
    until_told(&user, "relay.log", "its token is not this relay's");
    let (_other, elsewhere) = relay(&user, "other", "127.0.0.1:0");
    let _four = manager(&user, "four", &elsewhere.to_string(), &token, &["--listen", "none"]);
    until_told(&user, "four.log", "the address leads to another relay than the token");
    let secret = good.trim().rsplit_once('.').unwrap().1;
    for log in ["relay.log", "one.log", "two.log", "three.log", "four.log"] {
        let text = fs::read_to_string(path(&user, log)).unwrap();
        assert!(!text.contains(secret) && !text.contains(&"00".repeat(32)), "a secret in {log}");
    }
}

/// What comes back for these bytes until the connection ends.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(robo_tests::PATIENCE)).unwrap();
    drop(socket.write_all(bytes));
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the relay does not let go");
    }
    answer
}

#[test]
fn strangers_get_nothing_from_a_relay_and_take_nothing_from_others() {
    let hidden = Hidden::start();
    let _machine = Machine::start(&hidden.lab, "one", &hidden.lab.address.to_string());
    let garbage: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", &[0; 40_000], &[0xff; 300]];
    for bytes in garbage {
        assert_eq!(answer_to(hidden.lab.address, bytes), b"", "garbage was answered");
    }
    let audit = hidden.run(&["audit", "list", "-o", "json"]);
    assert!(!audit.contains("TLS"), "the manager saw garbage: {audit}");

    // From another address: hundreds that begin a hello and never end it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
            let stream = runtime.block_on(socket.connect(hidden.lab.address)).unwrap().into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            drop((&stream).write_all(&[22, 3, 1, 2]));
            stream
        })
        .collect();
    until_told(&hidden.lab.user, "relay.log", "no place for another connection from there");
    hidden.until_linked();
    for mut socket in slow {
        socket.set_read_timeout(Some(robo_tests::PATIENCE)).unwrap();
        let mut byte = [0];
        let read = socket.read(&mut byte);
        assert!(
            !matches!(&read, Ok(1)) && !matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "it is kept: {read:?}"
        );
    }
    hidden.until_linked();
}

/// What a hostile relay does to a connection. `up` is from the client to the manager.
#[derive(Debug, Clone, Copy)]
enum Evil {
    Nothing,
    /// Changes the byte at a place.
    Bend {
        up: bool,
        at: usize,
    },
    /// Ends it after so many bytes.
    Cut {
        up: bool,
        at: usize,
    },
}

/// In front of a relay, and the same as one that does this: a relay passes on what it gets.
struct Hostile {
    address: SocketAddr,
    evil: Arc<Mutex<Evil>>,
    /// What the last client said.
    said: Arc<Mutex<Vec<u8>>>,
}

impl Hostile {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hostile = Self {
            address: listener.local_addr().unwrap(),
            evil: Arc::new(Mutex::new(Evil::Nothing)),
            said: Arc::default(),
        };
        let (evil, said) = (Arc::clone(&hostile.evil), Arc::clone(&hostile.said));
        // The threads end with the process.
        thread::spawn(move || {
            for here in listener.incoming().flatten() {
                let there = TcpStream::connect(to).unwrap();
                said.lock().unwrap().clear();
                let evil = *evil.lock().unwrap();
                let (from, into, said) = (here.try_clone().unwrap(), there.try_clone().unwrap(), Arc::clone(&said));
                thread::spawn(move || spoil(from, into, true, evil, Some(&said)));
                thread::spawn(move || spoil(there, here, false, evil, None));
            }
        });
        hostile
    }

    fn set(&self, evil: Evil) {
        *self.evil.lock().unwrap() = evil;
    }
}

fn spoil(mut from: TcpStream, mut into: TcpStream, is_up: bool, evil: Evil, said: Option<&Mutex<Vec<u8>>>) {
    let (mut buffer, mut seen) = ([0; 4096], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = &mut buffer[..length];
        if let Some(said) = said {
            said.lock().unwrap().extend_from_slice(piece);
        }
        let mut ends = length;
        match evil {
            Evil::Bend { up, at } if up == is_up && (seen..seen + length).contains(&at) => piece[at - seen] ^= 0xff,
            Evil::Cut { up, at } if up == is_up && seen + length > at => ends = at.saturating_sub(seen),
            Evil::Nothing | Evil::Bend { .. } | Evil::Cut { .. } => {}
        }
        if into.write_all(&piece[..ends]).is_err() || ends < length {
            break;
        }
        seen += length;
    }
    drop((into.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both)));
}

#[test]
fn a_hostile_relay_can_do_nothing_but_refuse() {
    let hidden = Hidden::start();
    let _machine = Machine::start(&hidden.lab, "one", &hidden.lab.address.to_string());
    hidden.until_linked();
    let hostile = Hostile::start(hidden.lab.address);
    let (url, ca) = (format!("https://{}", hostile.address), hidden.lab.path("manager/ca.pem"));
    let token = hidden.lab.path("manager/admin.token");
    hidden.run(&["context", "add", "evil", "--url", &url, "--ca", &ca, "--token-file", &token]);
    let done = hidden.lab.path("done");
    let script = format!("echo x >>{done}; echo done");
    let through = || hidden.lab.user.run(&["--context", "evil", "exec", "one", "--", "sh", "-c", &script]);
    through().expect(0);
    let said = hostile.said.lock().unwrap().clone();

    let mut evils = Vec::new();
    for (up, places) in [(true, [30, 600, said.len() - 40]), (false, [40, 700, 1900])] {
        evils.extend(places.map(|at| Evil::Bend { up, at }));
        evils.extend(places.map(|at| Evil::Cut { up, at }));
    }
    for evil in evils {
        hostile.set(evil);
        let run = through();
        assert!(run.code != 0 || run.out == "done\n", "{evil:?}: {run:?}");
        assert!(run.out.is_empty() || run.out == "done\n", "{evil:?}: {run:?}");
    }

    // What was said once is worth nothing a second time.
    let ran = fs::read_to_string(&done).unwrap();
    answer_to(hidden.lab.address, &said);
    answer_to(hidden.lab.address, &[&said[..], &said[..]].concat());
    hidden.until_linked();
    assert_eq!(fs::read_to_string(&done).unwrap(), ran, "a replayed request was carried out");
    hidden.run(&["audit", "verify"]);
}

#[test]
fn the_unit_of_a_relay_in_the_documents_is_one_that_systemd_takes() {
    let text = fs::read_to_string(root().join("docs/network.md")).unwrap();
    let unit = text.split("```ini\n").find(|block| block.contains("robo-relay.service")).unwrap();
    let unit = unit.split("```").next().unwrap().replace("/usr/local/bin/robo", robo().to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("robo-relay.service");
    fs::write(&path, unit).unwrap();
    let Ok(run) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        println!("there is no systemd-analyze here: not tried");
        return;
    };
    let told = String::from_utf8_lossy(&run.stderr);
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("robo-relay")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}
