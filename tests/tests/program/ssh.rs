//! The real OpenSSH, and rsync, through `robo ssh-proxy`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started, robo};

use super::forward::Place;

/// An SSH server on loopback with keys of its own, and what a client needs for it: all in one folder.
pub(super) struct Server {
    port: u16,
    config: String,
    _running: Running,
}

/// The full path: OpenSSH insists on one.
pub(super) fn sshd() -> String {
    let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    (*places.iter().find(|path| Path::new(path).exists()).expect("sshd; install openssh-server")).to_owned()
}

pub(super) fn keygen(path: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", path]).status();
    assert!(made.expect("ssh-keygen; install openssh-client").success());
}

impl Server {
    fn start(place: &Place) -> Self {
        let lab = &place.lab;
        let (host_key, key, allowed) = (lab.path("host_key"), lab.path("key"), lab.path("authorized_keys"));
        keygen(&host_key);
        keygen(&key);
        fs::copy(format!("{key}.pub"), &allowed).unwrap();
        fs::set_permissions(&allowed, fs::Permissions::from_mode(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            // Debian's server wants its folder, which its unit makes.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {allowed}\nStrictModes no\n\
             PidFile none\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        );
        let file = lab.path("sshd_config");
        fs::write(&file, server).unwrap();
        let mut command = Command::new(sshd());
        command.args(["-D", "-e", "-f", &file]).stdin(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(&mut command);
        eventually_blocking("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let (config, known) = (lab.path("ssh_config"), lab.path("known_hosts"));
        let host = fs::read_to_string(format!("{host_key}.pub")).unwrap();
        fs::write(&known, format!("d.robo {host}")).unwrap();
        let client = format!(
            "Host *.robo\n  ProxyCommand {} ssh-proxy %h %p\n  Port {port}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            robo().display()
        );
        fs::write(&config, client).unwrap();
        Self { port, config, _running: running }
    }
}

/// Has the agent dial again, and waits until it tells of the key in this file alone.
fn until_told(place: &Place, public_key: &str) {
    let text = fs::read_to_string(public_key).unwrap();
    let key = text.rsplit_once(' ').unwrap().0;
    place.link.cut();
    eventually_blocking("the device tells of its keys", || {
        let device = place.lab.user.run(&["device", "inspect", "d", "-o", "json"]).expect(0).json();
        (device["facts"]["ssh_host_keys"] == serde_json::json!([key])).then_some(())
    });
}

/// A program of others, with the user's settings for robo.
pub(super) fn other(place: &Place, program: &str, arguments: &[&str]) -> Started {
    let ours = place.lab.user.command();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Started::start(&mut command)
}

#[test]
fn ssh_scp_and_rsync_reach_a_device() {
    let place = Place::new(&[]);
    let server = Server::start(&place);
    let config = server.config.as_str();
    let run = other(&place, "ssh", &["-F", config, "d.robo", "echo out; echo err >&2; exit 7"]).wait().expect(7);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("out\n", "err\n"));

    let big: Vec<u8> = (0_u32..1_500_000).flat_map(u32::to_le_bytes).collect();
    let (file, copy) = (place.lab.path("big"), place.lab.path("copy"));
    fs::write(&file, &big).unwrap();
    other(&place, "scp", &["-q", "-F", config, &file, &format!("d.robo:{copy}")]).wait().expect(0);
    assert!(fs::read(&copy).unwrap() == big, "scp to the device");
    other(&place, "scp", &["-q", "-F", config, &format!("d.robo:{copy}"), &place.lab.path("back")]).wait().expect(0);
    assert!(fs::read(place.lab.path("back")).unwrap() == big, "scp from the device");

    let (from, to) = (place.lab.path("tree"), place.lab.path("mirror"));
    for number in 0..50 {
        let folder = format!("{from}/{}", number % 7);
        fs::create_dir_all(&folder).unwrap();
        fs::write(format!("{folder}/{number}"), format!("file {number}")).unwrap();
    }
    let rsync = ["-a", "-e", &format!("ssh -F {config}"), &format!("{from}/"), &format!("d.robo:{to}/")];
    other(&place, "rsync", &rsync).wait().expect(0);
    assert_eq!(fs::read_to_string(format!("{to}/3/38")).unwrap(), "file 38");
}

#[test]
fn the_keys_of_a_device_are_known_from_its_record() {
    let place = Place::new(&[]);
    let server = Server::start(&place);
    // Where the place's agent looks for it.
    fs::create_dir_all(place.lab.path("ssh")).unwrap();
    let host_key = place.lab.path("ssh/ssh_host_ed25519_key.pub");
    let nothing = place.lab.user.run(&["ssh-proxy", "--known-hosts", "d.robo"]).expect(0);
    assert!(nothing.out.is_empty() && nothing.err.contains("tells of no keys"), "{nothing:?}");
    fs::copy(place.lab.path("host_key.pub"), &host_key).unwrap();
    until_told(&place, &host_key);
    let line = place.lab.user.run(&["ssh-proxy", "--known-hosts", "[d.robo]:2222"]).expect(0).out;
    assert!(line.starts_with("[d.robo]:2222 ssh-ed25519 AAAA") && line.lines().count() == 1, "{line}");

    let config = fs::read_to_string(&server.config).unwrap();
    let known = place.lab.path("known_hosts");
    let command = format!("KnownHostsCommand {} ssh-proxy --known-hosts %H", robo().display());
    let config =
        config.replace(&format!("UserKnownHostsFile {known}"), &format!("UserKnownHostsFile /dev/null\n  {command}"));
    let pinned = place.lab.path("pinned");
    fs::write(&pinned, config).unwrap();
    let run = other(&place, "ssh", &["-F", &pinned, "d.robo", "echo out"]).wait().expect(0);
    assert_eq!(run.out, "out\n", "{}", run.err);

    // The device says that its server has another key than the one that answers.
    keygen(&place.lab.path("other_key"));
    fs::copy(place.lab.path("other_key.pub"), &host_key).unwrap();
    until_told(&place, &host_key);
    let run = other(&place, "ssh", &["-F", &pinned, "d.robo", "true"]).wait().expect(255);
    assert!(run.err.contains("Host key verification failed"), "{}", run.err);
    let told = place.lab.user.run(&["events", "-n", "100"]).expect(0).out;
    let fingerprint = Command::new("ssh-keygen").args(["-l", "-f", &host_key]).output().unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert!(told.contains(&format!("its SSH server has other keys now: {fingerprint}")), "{told}");
    let unknown = place.lab.user.run(&["ssh-proxy", "--known-hosts", "nobody.robo"]).expect(255);
    assert!(unknown.err.contains("no device `nobody`"), "{}", unknown.err);
    place.lab.user.run(&["ssh-proxy", "--known-hosts", "d", "22"]).expect(1);
}

#[test]
fn what_keeps_ssh_from_a_device_is_told() {
    let place = Place::new(&[]);
    let server = Server::start(&place);
    let run = other(&place, "ssh", &["-F", &server.config, "nobody.robo", "true"]).wait().expect(255);
    assert!(run.err.contains("there is no device `nobody`"), "{}", run.err);
    // Another server answers than the one that is known: ssh sees it, as it does without us.
    fs::write(place.lab.path("known_hosts"), "").unwrap();
    let run = other(&place, "ssh", &["-F", &server.config, "d.robo", "true"]).wait().expect(255);
    assert!(run.err.contains("Host key verification failed"), "{}", run.err);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let told = place.lab.user.run(&["ssh-proxy", "d.robo", &closed]).expect(255).err;
    assert!(told.contains("no SSH server listens") && told.contains("robo shell d"), "{told}");
    let told = place.lab.user.run(&["ssh-proxy", "_x"]).expect(255).err;
    assert!(told.contains("`_x` is no device"), "{told}");
    for wrong in ["0", "65536", "x"] {
        place.lab.user.run(&["ssh-proxy", "d", wrong]).expect(1);
    }
    // Without a terminal, and with an end of input: the server's greeting comes, and the end.
    let greeting = place.lab.user.run(&["ssh-proxy", "d", &server.port.to_string()]).expect(0).out;
    assert!(greeting.starts_with("SSH-2.0-OpenSSH"), "{greeting}");
}
