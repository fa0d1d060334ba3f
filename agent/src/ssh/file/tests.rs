//! Keys in a file: once, whole or not at all, and never by way of a link.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const KEY: &str = "ssh-ed25519 AAAA";

fn add(until: Option<u64>) -> SshKeyChange {
    let expires_at = until.map(|seconds| UnixMillis(seconds * 1000));
    SshKeyChange::Add { key: KEY.to_owned(), note: "ann@desk".to_owned(), expires_at }
}

fn remove() -> SshKeyChange {
    SshKeyChange::Remove { key: KEY.to_owned() }
}

/// A home with this file in it.
fn home(text: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(FOLDER)).unwrap();
    fs::set_permissions(home.path().join(FOLDER), fs::Permissions::from_mode(0o700)).unwrap();
    let file = home.path().join(FOLDER).join(FILE);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    home
}

fn text(home: &tempfile::TempDir) -> String {
    fs::read_to_string(home.path().join(FOLDER).join(FILE)).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_there_once_and_goes_again() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(carry_out(home.path(), &SshKeyChange::List).unwrap(), SshKeys::default());
    assert_eq!(carry_out(home.path(), &remove()).unwrap(), SshKeys::default());
    assert!(!home.path().join(FOLDER).exists(), "who only looks makes nothing");
    let keys = carry_out(home.path(), &add(None)).unwrap();
    assert!(keys.changed && keys.lines == ["ssh-ed25519 AAAA ann@desk"]);
    assert_eq!(mode(&home.path().join(FOLDER)), 0o700);
    assert_eq!(mode(&home.path().join(FOLDER).join(FILE)), 0o600);
    assert!(!carry_out(home.path(), &add(None)).unwrap().changed, "the same again changes nothing");
    let until = carry_out(home.path(), &add(Some(1_800_000_000))).unwrap();
    let time = local_time(UnixMillis(1_800_000_000_000)).unwrap();
    assert_eq!(until.lines, [format!("expiry-time=\"{time}\" ssh-ed25519 AAAA ann@desk")]);
    assert!(until.changed && !carry_out(home.path(), &add(Some(1_800_000_000))).unwrap().changed);
    assert!(carry_out(home.path(), &add(None)).unwrap().lines[0].starts_with("ssh-ed25519"), "for ever again");
    assert!(carry_out(home.path(), &remove()).unwrap().changed && text(&home).is_empty());
    assert!(!carry_out(home.path(), &remove()).unwrap().changed);
}

#[test]
fn other_lines_stay_to_the_byte() {
    let others =
        "# mine\n\n  ssh-rsa BBBB x  \nfrom=\"a b\",no-pty ssh-ed25519 CCCC y\n\u{fffd}\tnonsense\nssh-ed25519 DDDD";
    let home = home(others);
    let keys = carry_out(home.path(), &add(None)).unwrap();
    assert_eq!(text(&home), format!("{others}\nssh-ed25519 AAAA ann@desk\n"));
    assert_eq!(keys.lines.len(), 4, "{keys:?}");
    assert_eq!(mode(&home.path().join(FOLDER).join(FILE)), 0o640);
    carry_out(home.path(), &remove()).unwrap();
    assert_eq!(text(&home), format!("{others}\n"));
    assert_eq!(fs::read_dir(home.path().join(FOLDER)).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn options_of_an_administrator_are_not_taken_away() {
    let home = home("from=\"10.0.0.1 ssh-ed25519 AAAA\",expiry-time=\"20300101\" ssh-ed25519 AAAA x\n");
    let refused = carry_out(home.path(), &add(None)).unwrap_err();
    assert!(refused.contains("options of its own") && refused.contains("from="), "{refused}");
    assert!(carry_out(home.path(), &remove()).unwrap().changed && text(&home).is_empty());
    fs::write(home.path().join(FOLDER).join(FILE), "ssh-ed25519 AAAA a\nssh-ed25519 AAAA b\n").unwrap();
    let keys = carry_out(home.path(), &add(Some(1_800_000_000))).unwrap();
    assert_eq!(keys.lines.len(), 1, "no second line lets it in for longer: {keys:?}");
}

#[test]
fn links_and_files_of_others_are_left_alone() {
    let (one, other) = (home("ssh-rsa BBBB\n"), tempfile::tempdir().unwrap());
    let file = one.path().join(FOLDER).join(FILE);
    let check = |expect: &str| {
        for change in [add(None), SshKeyChange::List] {
            let refused = carry_out(one.path(), &change).unwrap_err();
            assert!(refused.contains(expect), "{refused}");
        }
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    check("others may write ~/.ssh/authorized_keys");
    fs::rename(&file, other.path().join("keys")).unwrap();
    symlink(other.path().join("keys"), &file).unwrap();
    check("authorized_keys is a link");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    check("is no file");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, vec![b'x'; usize::try_from(MAX_FILE).unwrap() + 1]).unwrap();
    check("more than");
    fs::set_permissions(one.path().join(FOLDER), fs::Permissions::from_mode(0o777)).unwrap();
    check("others may write ~/.ssh:");
    fs::rename(one.path().join(FOLDER), other.path().join("folder")).unwrap();
    symlink(other.path().join("folder"), one.path().join(FOLDER)).unwrap();
    check("links are not followed");
    assert_eq!(fs::read_to_string(other.path().join("keys")).unwrap(), "ssh-rsa BBBB\n");
    check_homeless();
}

fn check_homeless() {
    let refused = carry_out(Path::new("/none/here"), &add(None)).unwrap_err();
    assert!(refused.contains("/none/here cannot be opened"), "{refused}");
}
