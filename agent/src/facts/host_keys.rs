//! The public keys of the machine's SSH server: who connects is told them, and need not trust the first one that answers.

use std::io::Read as _;
use std::path::Path;

use robo_wire::api::{MAX_HOST_KEY, MAX_HOST_KEYS, is_host_key};

/// Most files of a folder that are looked at: OpenSSH has some ten there.
const MAX_FILES: usize = 1000;

/// The keys in `ssh_host_*_key.pub`, without their comments, in order; none where there is no server.
pub(super) fn of(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().take(MAX_FILES).filter(|entry| entry.file_name().to_str().is_some_and(is_public_key));
    let mut keys: Vec<String> = names.filter_map(|entry| read(&entry.path())).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(MAX_HOST_KEYS);
    keys
}

fn is_public_key(name: &str) -> bool {
    name.starts_with("ssh_host_") && name.ends_with("_key.pub")
}

fn read(path: &Path) -> Option<String> {
    // A pipe of that name would keep us waiting.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let max = u64::try_from(MAX_HOST_KEY * 2).ok()?;
    std::fs::File::open(path).ok()?.take(max).read_to_string(&mut text).ok()?;
    let mut words = text.lines().next()?.split_whitespace();
    let key = format!("{} {}", words.next()?, words.next()?);
    is_host_key(&key).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("ssh_host_rsa_key.pub", "ssh-rsa BBBB root@here\n");
        write("ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA+/= root@here\nssh-ed25519 CCCC\n");
        write("ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        write("ssh_host_odd_key.pub", "ssh-ed25519\n");
        write("ssh_host_bad_key.pub", "* ssh-ed25519 AAAA\n");
        write("ssh_host_long_key.pub", &format!("ssh-rsa {}\n", "A".repeat(5000)));
        write("moduli.pub", "ssh-rsa DDDD\n");
        std::fs::create_dir(folder.path().join("ssh_host_x_key.pub")).unwrap();
        assert_eq!(of(folder.path()), ["ssh-ed25519 AAAA+/=", "ssh-rsa BBBB"]);
        assert!(of(&folder.path().join("none")).is_empty());
        for number in 0..20 {
            write(&format!("ssh_host_{number}_key.pub"), &format!("ssh-rsa A{number}\n"));
        }
        assert_eq!(of(folder.path()).len(), MAX_HOST_KEYS);
    }
}
