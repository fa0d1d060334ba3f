//! What keeps devices as they should be, and what they leave with the manager: files, switches, units, updates of the system
//! and of the agent itself, ways in for plain SSH, bounds.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use robo_tests::eventually_blocking;
use robo_tests::programs::{Running, Started};

use super::more::json;
use super::{Bare, World};
use crate::program::ssh::{keygen, sshd};
use crate::program::upgrading::{build, put, sha};

/// A package manager that says what it was asked.
const APT: &str = "#!/bin/sh\necho apt-get \"$@\"\n";

/// Who asks for a number is root, so that no password is wanted; who asks for a name is told the true one.
const ROOT: &str = "#!/bin/sh\n[ \"$1\" = -u ] && [ $# = 1 ] && echo 0 || exec /usr/bin/id \"$@\"\n";

/// Before what starts services for those who have it set up: who only asks it something is told what it was asked.
pub(super) const ASKED: &str = "#!/bin/sh\n[ -n \"$HERE\" ] || { echo \"$*\"; exit; }\n";

/// Gives whoever it starts a `/run` of its own, as if systemd had started the machine.
pub(super) const BOOTED: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$@\"";

/// Files that the manager fetches, or that the device sends; a link to one for somebody without robo.
pub(super) fn files(world: &World, machine: &Bare<'_>) {
    let recording = machine.folder.join("recording");
    let content: Vec<u8> = (0_u32..200_000).flat_map(u32::to_le_bytes).collect();
    fs::write(&recording, &content).unwrap();
    let from = format!("device:{}", recording.display());
    world.run(&["files", "put", &from, "--name", "first", "--meta", "run=42", "--wait"]).expect(0);
    let here = world.path("first");
    world.run(&["files", "get", "first", &here]).expect(0);
    assert!(fs::read(&here).unwrap() == content, "it is another file");

    let link = json(world, &["files", "share", "first", "--ttl", "1h"]);
    let (shared, ca) = (world.path("shared"), world.path("manager/ca.pem"));
    let mut curl = world.as_user("world", "curl");
    // The manager's certificate is for its own name.
    let url = link["url"].as_str().unwrap().replace("203.0.113.1", "robo-manager");
    curl.args(["-sSf", "--cacert", &ca, "--connect-to", "robo-manager:443:203.0.113.1:443", "-o", &shared, &url]);
    Started::start(&mut curl).wait().expect(0);
    assert!(fs::read(&shared).unwrap() == content, "it is another file");
    world.run(&["files", "unshare", link["id"].as_str().unwrap()]).expect(0);

    let (agent, state) = (machine.home(".local/bin/robo-agent"), machine.home(".local/state/robo-agent"));
    let (agent, state) = (agent.to_str().unwrap(), state.to_str().unwrap());
    machine.run(&[agent, "upload", "--state", state, "--name", "second", recording.to_str().unwrap()]).expect(0);
    eventually_blocking("it came by itself", || {
        (json(world, &["files", "list"]).as_array()?.iter().find(|file| file["name"] == "second")?["state"]
            == "completed")
            .then_some(())
    });
    world.run(&["files", "delete", "first"]).expect(0);
    assert_eq!(world.run(&["files", "list", "-o", "name"]).expect(0).out, "second\n");
}

/// Commands where an instance runs; what is switched off; units; packages.
pub(super) fn system(world: &World, machine: &Bare<'_>) {
    let said = world.run(&["exec", "--in", "/device/job", "--", "sh", "-c", "echo $ROBO_INSTANCE"]).expect(0).out;
    assert_eq!(said, "/device/job\n");

    world.run(&["device", "switch", "exec=off", "device"]).expect(0);
    let refused = world.run(&["exec", "device", "--", "true"]).expect(3);
    assert!(refused.err.contains("switched off on this device"), "{refused:?}");
    world.run(&["device", "switch", "exec=on", "device"]).expect(0);
    eventually_blocking("it is on", || (world.run(&["exec", "device", "--", "true"]).code == 0).then_some(()));

    let told = world.run(&["unit", "status", "ssh.service", "device"]).expect(0).out;
    assert_eq!(told, "--no-pager --no-ask-password status -- ssh.service\n");

    for (name, text) in [("apt-get", APT), ("id", ROOT)] {
        let path = machine.folder.join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let me = Command::new("/usr/bin/id").arg("-un").output().unwrap().stdout;
    let me = String::from_utf8(me).unwrap();
    let update = ["device", "system-update", "device", "--user", me.trim(), "--yes"];
    let told = world.run(&update).expect(0).out;
    assert!(told.contains("stage: install\n") && told.contains("apt-get"), "{told}");
    fs::remove_file(machine.folder.join("bin/id")).unwrap();
}

/// `ssh` with a certificate of the manager's, and keys of people.
pub(super) fn ssh(world: &World, machine: &Bare<'_>) {
    let (key, config) = (world.path("ann"), machine.folder.join("sshd_config"));
    keygen(&key);
    world.run(&["ssh-key", "add", "device", "--key", &format!("{key}.pub")]).expect(0);
    let keys = json(world, &["ssh-key", "list", "device"]);
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
    assert!(fs::read_to_string(machine.home(".ssh/authorized_keys")).unwrap().contains("ssh-ed25519"));
    world.run(&["ssh-key", "remove", "device", keys[0]["fingerprint"].as_str().unwrap()]).expect(0);

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (drop_ins, host_key) = (machine.folder.join("sshd_config.d"), machine.folder.join("host_key"));
    fs::create_dir(&drop_ins).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    keygen(host_key.to_str().unwrap());
    let text = format!(
        "Include {}/*.conf\nListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile none\nPidFile none\n\
         UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
        drop_ins.display(),
        host_key.display()
    );
    fs::write(&config, text).unwrap();
    let (agent, state) = (machine.home(".local/bin/robo-agent"), machine.home(".local/state/robo-agent"));
    let trust = ["ssh-trust", "--sshd", &sshd(), "--config", config.to_str().unwrap(), "--state"];
    let words = [&[agent.to_str().unwrap()], &trust[..], &[state.to_str().unwrap()]].concat();
    machine.run(&words).expect(0);
    let mut server = world.namespaces.command("device", &sshd());
    let server = Running::start(server.args(["-D", "-f"]).arg(&config).stdin(Stdio::null()).stderr(Stdio::null()));

    let (known, file) = (world.path("known_hosts"), world.path("ssh_config"));
    let host = fs::read_to_string(host_key.with_extension("pub")).unwrap();
    fs::write(&known, format!("[device.robo]:{port} {host}")).unwrap();
    let lines = world.run(&["ssh-config"]).expect(0).out;
    let lines: Vec<&str> = lines.lines().filter(|line| !line.contains("KnownHosts")).collect();
    let me = json(world, &["device", "inspect", "device"])["facts"]["agent_user"].as_str().unwrap().to_owned();
    let own = format!("Host *\n  Port {port}\n  User {me}\n  BatchMode yes\n  UserKnownHostsFile {known}\n");
    fs::write(&file, format!("{}\n{own}", lines.join("\n"))).unwrap();
    let run = eventually_blocking("ssh is let in", || {
        let mut ssh = world.as_user("world", "ssh");
        ssh.args(["-F", &file, "device.robo", "echo in; exit 7"]);
        Some(Started::start(&mut ssh).wait()).filter(|run| run.code == 7)
    });
    assert_eq!(run.out, "in\n");
    drop(server);
}

/// A project with as many devices as it may have.
pub(super) fn bounds(world: &World, machine: &Bare<'_>) {
    world.run(&["project", "set", "default", "--max-devices", "1"]).expect(0);
    let token = world.path("third.token");
    fs::write(&token, world.run(&["device", "enroll", "third"]).expect(0).out).unwrap();
    let (program, state) = (machine.home(".local/bin/robo-agent"), machine.home("third"));
    let (program, state) = (program.to_str().unwrap(), state.to_str().unwrap());
    let third = [program, "--manager", "203.0.113.1:443", "--state", state, "--token-file", &token];
    let refused = machine.run(&third).expect(1);
    assert!(refused.err.contains("AGT_PROJECT_FULL"), "{refused:?}");
    world.run(&["project", "set", "default", "--max-devices", "none"]).expect(0);
}

/// The agent becomes another program, and is the same process.
pub(super) fn upgrade(world: &World, machine: &Bare<'_>, offered: &Path) {
    let agent = machine.agent();
    put(offered, &build(1));
    // Whoever looked in a moment ago may still be on the way out.
    let done = eventually_blocking("nobody is at work there", || {
        let run = world.run(&["device", "upgrade", "device", "-o", "json"]);
        (run.json()[0]["code"] != "AGT_UPGRADE_IN_USE").then(|| run.expect(0).json())
    });
    assert_eq!((&done[0]["verdict"], &done[0]["to"]), (&"upgraded".into(), &sha(&build(1)).into()), "{done:#}");
    assert_eq!(sha(&fs::read(machine.home(".local/bin/robo-agent")).unwrap()), sha(&build(1)));
    assert_eq!(machine.agent(), agent, "the same process");
    world.until_online(true);
    world.run(&["status", "--check"]).expect(0);
    world.run(&["exec", "device", "--", "true"]).expect(0);
}
