//! What the system tells of the machine: memory, disks, network.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use super::bundle::{Bundle, Taken};
use crate::facts;
use crate::folders::Folders;
use crate::order::Addresses;
use crate::switches::Switches;

/// Most bytes of one of these files: some have a line for each disk, address or route.
const MAX_FILE: u64 = 128 * 1024;

/// Files of the system, and what they are called in the bundle.
const FILES: [(&str, &str); 15] = [
    ("system/os-release", "/etc/os-release"),
    ("system/cpuinfo", "/proc/cpuinfo"),
    ("system/meminfo", "/proc/meminfo"),
    ("system/loadavg", "/proc/loadavg"),
    ("system/pressure-memory", "/proc/pressure/memory"),
    ("system/uptime", "/proc/uptime"),
    ("system/boot-id", "/proc/sys/kernel/random/boot_id"),
    ("system/mountinfo", "/proc/self/mountinfo"),
    ("system/diskstats", "/proc/diskstats"),
    ("system/agent-status", "/proc/self/status"),
    ("network/interfaces", "/proc/net/dev"),
    ("network/routes", "/proc/net/route"),
    ("network/routes-ipv6", "/proc/net/ipv6_route"),
    ("network/resolv.conf", "/etc/resolv.conf"),
    ("network/hosts", "/etc/hosts"),
];

/// Adds all of it. `addresses` are what others reach it by, as it was known last.
///
/// # Errors
/// When nothing can be written.
pub(super) fn add<W: Write>(bundle: &mut Bundle<W>, folders: &Folders, addresses: &Addresses) -> io::Result<()> {
    let switches = Switches::load(&folders.switches(), BTreeSet::new());
    let facts = facts::facts(addresses, Path::new(facts::SSH_KEYS), folders.root(), (None, &switches));
    bundle.json("facts.json", &facts)?;
    bundle.add("system/disks", Ok::<_, io::Error>(Taken::whole(disks(folders))))?;
    let own: Vec<String> = facts::machine_addresses().iter().map(ToString::to_string).collect();
    bundle.add("network/addresses", Ok::<_, io::Error>(Taken::whole(own.join("\n") + "\n")))?;
    for (name, path) in FILES {
        bundle.add(name, Taken::head(path, MAX_FILE))?;
    }
    Ok(())
}

/// How full the disks are that the agent needs.
fn disks(folders: &Folders) -> String {
    let mut text = String::new();
    for path in [folders.root(), Path::new("/"), Path::new("/tmp")] {
        let told = match rustix::fs::statvfs(path) {
            Ok(stat) => {
                let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
                let (all, free) = (bytes(stat.f_blocks), bytes(stat.f_bavail));
                format!("{free} of {all} bytes free, {} of {} files free", stat.f_favail, stat.f_files)
            }
            Err(error) => format!("the system does not tell: {error}"),
        };
        // Writing to a text never fails.
        writeln!(text, "{}: {told}", path.display()).ok();
    }
    text
}
