//! The real OpenSSH, which lets in who shows a certificate of the manager's, and nobody else.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use robo_manager::ssh::{SshAuthority, SshWish};
use robo_model::name::DeviceId;
use robo_model::quantity::UnixMillis;
use robo_tests::eventually_blocking;
use robo_tests::programs::{Run, Running, Started, robo_agent};
use serde_json::Value;
use ssh_key::PrivateKey;

use super::forward::Place;
use super::ssh::{keygen, other, sshd};

/// A device whose SSH server knows no key of anybody, and what its administrator has.
struct Trusting {
    place: Place,
    port: u16,
    /// Who logs in: the server is this user's, or everybody's.
    login: String,
    server: Option<Running>,
}

impl Trusting {
    fn new() -> Self {
        let place = Place::new(&[]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        keygen(&place.lab.path("host_key"));
        let (folder, host_key) = (place.lab.path("sshd"), place.lab.path("host_key"));
        fs::create_dir_all(format!("{folder}/sshd_config.d")).unwrap();
        if rustix::process::geteuid().is_root() {
            // Debian's server wants its folder, which its unit makes.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let text = format!(
            "Include {folder}/sshd_config.d/*.conf\nListenAddress 127.0.0.1:{port}\nHostKey {host_key}\n\
             AuthorizedKeysFile none\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        );
        fs::write(format!("{folder}/sshd_config"), text).unwrap();
        let device = place.lab.user.run(&["device", "inspect", "d", "-o", "json"]).expect(0).json();
        // The agent hears it in the welcome with which the device is online.
        eventually_blocking("the manager's key comes", || {
            fs::exists(place.lab.path("d/ssh_ca.pub")).ok()?.then_some(())
        });
        let login = device["facts"]["agent_user"].as_str().unwrap().to_owned();
        Self { place, port, login, server: None }
    }

    /// `robo-agent ssh-trust` on the device.
    fn trust(&self, more: &[&str]) -> Run {
        let (state, config) = (self.place.lab.path("d"), self.place.lab.path("sshd/sshd_config"));
        let mut command = Command::new(robo_agent());
        command.args(["ssh-trust", "--state", &state, "--config", &config, "--sshd", &sshd()]).args(more);
        Started::start(command.env_clear().stdin(Stdio::null())).wait()
    }

    /// (Re)starts the server, which reads its settings.
    fn serve(&mut self) {
        self.server = None;
        let mut command = Command::new(sshd());
        command.args(["-D", "-e", "-f", &self.place.lab.path("sshd/sshd_config")]);
        self.server = Some(Running::start(command.stdin(Stdio::null()).stderr(Stdio::null())));
        eventually_blocking("sshd listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// What `ssh` of somebody says who has the lines of `robo ssh-config`.
    fn ssh(&self, more: &[&str]) -> Run {
        let lab = &self.place.lab;
        let (config, known) = (lab.path("ssh_config"), lab.path("known_hosts"));
        let lines = lab.user.run(&["ssh-config"]).expect(0).out;
        assert!(lines.contains("StrictHostKeyChecking yes") && lines.contains("ssh-cert"), "{lines}");
        // The agent of this device looks for the server's keys in the machine's own folder.
        let kept: Vec<_> = lines.lines().filter(|line| !line.contains("KnownHosts")).collect();
        let host = fs::read_to_string(lab.path("host_key.pub")).unwrap();
        fs::write(&known, format!("d.robo,[d.robo]:{} {host}", self.port)).unwrap();
        let (port, login) = (self.port, &self.login);
        let own = format!("Host *\n  Port {port}\n  User {login}\n  BatchMode yes\n  UserKnownHostsFile {known}\n");
        fs::write(&config, format!("{}\n{own}", kept.join("\n"))).unwrap();
        other(&self.place, "ssh", &[&["-F", &config], more].concat()).wait()
    }

    /// What `ssh` says that shows this certificate and nothing else.
    fn show(&self, certificate: &str) -> Run {
        let lab = &self.place.lab;
        let (config, file, known) = (lab.path("show_config"), lab.path("shown-cert.pub"), lab.path("known_hosts"));
        fs::write(&file, format!("{certificate}\n")).unwrap();
        let (port, login, key) = (self.port, &self.login, lab.path("state/ssh/key"));
        let text = format!(
            "Host *\n  HostName 127.0.0.1\n  HostKeyAlias d.robo\n  Port {port}\n  User {login}\n  BatchMode yes\n  \
             UserKnownHostsFile {known}\n  CertificateFile {file}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        );
        fs::write(&config, text).unwrap();
        other(&self.place, "ssh", &["-F", &config, "d", "true"]).wait()
    }

    /// How many certificates were issued, as the audit log has it.
    fn issued(&self) -> usize {
        let lines = self.place.lab.user.run(&["audit", "list", "--verb", "shell", "-o", "json"]).expect(0).out;
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_one = |line: &Value| line["detail"].as_str().is_some_and(|detail| detail.starts_with("certificate "));
        lines.filter(is_one).count()
    }

    fn certificate(&self, device: &str) -> String {
        self.place.lab.path(&format!("state/ssh/{device}/{}-cert.pub", self.login))
    }
}

#[test]
fn ssh_needs_no_key_on_a_device_that_trusts_the_manager() {
    let mut it = Trusting::new();
    it.serve();
    let refused = it.ssh(&["d.robo", "true"]).expect(255);
    assert!(refused.err.contains("Permission denied"), "it trusts nobody yet: {}", refused.err);

    let told = it.trust(&["--dry-run"]).expect(0).out;
    assert!(told.contains("This would be written") && told.contains("TrustedUserCAKeys"), "{told}");
    let drop_in = it.place.lab.path("sshd/sshd_config.d/50-robo.conf");
    assert!(!fs::exists(&drop_in).unwrap(), "a dry run writes nothing");
    let told = it.trust(&[]).expect(0).out;
    assert!(told.contains("50-robo.conf") && told.contains("robo_user_ca.pub") && told.contains("reload"), "{told}");
    assert!(it.trust(&[]).expect(0).out.contains("Nothing is to be done"));
    it.serve();

    let run = it.ssh(&["d.robo", "echo in; exit 7"]).expect(7);
    assert_eq!(run.out, "in\n", "{}", run.err);
    let issued = it.issued();
    it.ssh(&["d.robo", "true"]).expect(0);
    assert_eq!(it.issued(), issued, "one that is good is used again");
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&it.place.lab.path("state/ssh/key")), mode(&it.place.lab.path("state/ssh"))), (0o600, 0o700));

    assert!(it.trust(&["--remove"]).expect(0).out.contains("removed"));
    assert!(!fs::exists(&drop_in).unwrap() && it.trust(&["--remove"]).expect(0).out.contains("Nothing"));
    it.serve();
    it.ssh(&["d.robo", "true"]).expect(255);
}

#[test]
fn a_certificate_that_is_over_or_of_elsewhere_opens_nothing() {
    let mut it = Trusting::new();
    it.trust(&[]).expect(0);
    it.serve();
    it.ssh(&["d.robo", "true"]).expect(0);
    let lab = &it.place.lab;
    let device = lab.user.run(&["device", "inspect", "d", "-o", "json"]).expect(0).json();
    let (here, there) = (device["id"].as_str().unwrap().parse().unwrap(), "d-0123456789".parse().unwrap());
    let key = PrivateKey::from_openssh(fs::read(lab.path("state/ssh/key")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ours = SshAuthority::load_or_create(Path::new(&lab.path("manager"))).unwrap();
    let theirs = SshAuthority::load_or_create(folder.path()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let good = (now - 60, now + 600);
    let check = |by: &SshAuthority, device: &DeviceId, user: &str, (from, until): (u64, u64), code: i32| {
        let (from, until) = (UnixMillis(from * 1000), UnixMillis(until * 1000));
        let wish = SshWish { key: key.public_key(), id: "x", device, user, from, until };
        it.show(&by.sign(&wish).unwrap().certificate).expect(code);
    };
    let login = it.login.as_str();
    check(&ours, &here, login, good, 0);
    check(&ours, &here, login, (now - 600, now - 1), 255);
    check(&ours, &here, login, (now + 600, now + 900), 255);
    check(&ours, &there, login, good, 255);
    check(&ours, &here, "somebody", good, 255);
    check(&theirs, &here, login, good, 255);
    // The same, as a user has it: what was got for one device is shown to another.
    let certificate = fs::read_to_string(it.certificate("d.robo")).unwrap();
    it.show(&certificate).expect(0);
    let told = lab.user.run(&["ssh-cert", "nobody.robo", "--user", login]).expect(1).err;
    assert!(told.contains("no device `nobody`"), "{told}");
    let told = lab.user.run(&["ssh-cert", "d", "--user", "a:b"]).expect(1).err;
    assert!(told.contains("no name of a user"), "{told}");
    let told = lab.user.run(&["ssh-cert", "d", "--user", login, "--ttl", "2h"]).expect(1).err;
    assert!(told.contains("1h at most") || told.contains("60m at most"), "{told}");
    let told = lab.user.run(&["ssh-cert", "--quiet", "nobody", "--user", login]).expect(1);
    assert!(told.err.is_empty() && told.out.is_empty(), "{told:?}");
}

#[test]
fn settings_that_the_server_refuses_are_taken_back() {
    let it = Trusting::new();
    let (config, folder) = (it.place.lab.path("sshd/sshd_config"), it.place.lab.path("sshd"));
    let drop_in = format!("{folder}/sshd_config.d/50-robo.conf");
    let text = fs::read_to_string(&config).unwrap();
    let check = |settings: &str, expect: &str| {
        fs::write(&config, settings).unwrap();
        let told = it.trust(&[]).expect(1).err;
        assert!(told.contains(expect), "{told}");
        assert!(!fs::exists(&drop_in).unwrap() && !fs::exists(format!("{folder}/robo_user_ca.pub")).unwrap(), "{told}");
    };
    check(&text.lines().skip(1).collect::<Vec<_>>().join("\n"), "lacks the line `Include sshd_config.d/*.conf`");
    check(&format!("{text}Nonsense yes\n"), "refuses the settings");
    fs::copy(it.place.lab.path("host_key.pub"), format!("{folder}/others.pub")).unwrap();
    check(&format!("{text}TrustedUserCAKeys {folder}/others.pub\n"), "has an authority, in ");
    let own = "AuthorizedPrincipalsCommand /bin/echo x\nAuthorizedPrincipalsCommandUser root\n";
    for settings in [format!("{own}{text}"), format!("{text}{own}")] {
        check(&settings, "an AuthorizedPrincipalsCommand, /bin/echo x, of its own");
    }
    let missing = it.place.lab.path("none");
    fs::write(&config, &text).unwrap();
    let mut command = Command::new(robo_agent());
    command.args(["ssh-trust", "--state", &missing, "--config", &config, "--sshd", &sshd()]).env_clear();
    let told = Started::start(command.stdin(Stdio::null())).wait().expect(1).err;
    assert!(told.contains("ssh_ca.pub cannot be read") && told.contains("--state"), "{told}");
}
