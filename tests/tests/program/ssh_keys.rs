//! Keys of people on a device, put there and taken away by the manager's users.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::forward::Place;
use super::ssh::keygen;

/// A device, and somebody with a key.
fn place() -> (Place, String) {
    let place = Place::new(&[]);
    let key = place.lab.path("ann");
    keygen(&key);
    (place, format!("{key}.pub"))
}

#[test]
fn a_key_is_added_listed_and_removed_as_its_user() {
    let (place, key) = place();
    // The home of the agent's own user, as its environment says.
    let (user, home) = (&place.lab.user, place.lab.path("home"));
    fs::create_dir_all(&home).unwrap();
    let run = |words: &[&str]| user.run(&[&["ssh-key"], words].concat());
    let empty = run(&["list", "d"]).expect(0);
    assert!(empty.out.is_empty() && empty.err.contains("No key logs in"), "{empty:?}");
    let told = run(&["add", "d", "--key", &key]).expect(0).err;
    assert!(told.contains("SHA256:") && told.contains(" may log in as ") && !told.contains("already"), "{told}");
    assert!(run(&["add", "d", "--key", &key]).expect(0).err.contains("already"));
    let file = format!("{home}/.ssh/authorized_keys");
    let meta = fs::metadata(&file).unwrap();
    let owner = fs::metadata(&home).unwrap().uid();
    assert_eq!((meta.uid(), meta.permissions().mode() & 0o777), (owner, 0o600));
    let line = fs::read_to_string(&key).unwrap();
    let words: Vec<_> = line.split_whitespace().take(2).collect();
    assert!(fs::read_to_string(&file).unwrap().starts_with(&words.join(" ")));

    run(&["add", "d", "--key", &key, "--expiry", "30d"]).expect(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("expiry-time=\"20") && text.lines().count() == 1, "{text}");
    let list = run(&["list", "d", "-o", "json"]).expect(0).json();
    assert!(list[0]["options"].as_str().unwrap().starts_with("expiry-time="), "{list}");
    let fingerprint = list[0]["fingerprint"].as_str().unwrap();
    fs::write(&file, format!("# mine\n{text}")).unwrap();
    assert!(run(&["remove", "d", fingerprint]).expect(0).err.contains("no more"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    let gone = run(&["remove", "d", fingerprint]).expect(1).err;
    assert!(gone.contains("no key of") && gone.contains("robo ssh-key list"), "{gone}");
    assert!(run(&["remove", "d", "--key", &key]).expect(0).err.contains("already"));

    // A link leads nowhere, and nothing of root's is written by way of it.
    let root = place.lab.path("theirs");
    fs::write(&root, "untouched").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&root, &file).unwrap();
    let told = run(&["add", "d", "--key", &key]).expect(1).err;
    assert!(told.contains("links are not followed"), "{told}");
    assert_eq!(fs::read_to_string(&root).unwrap(), "untouched");

    let audit = user.run(&["audit", "list", "--verb", "shell"]).expect(0).out;
    assert!(audit.contains("device d: ssh keys"), "{audit}");
}

#[test]
fn what_is_no_key_or_for_nobody_is_refused() {
    let (place, key) = place();
    let user = &place.lab.user;
    let private = key.trim_end_matches(".pub");
    for (words, expect) in [
        (vec!["add", "d", "--key", private], "private key"),
        (vec!["add", "d", "--key", "/none"], "ssh-keygen -t ed25519"),
        (vec!["add", "d"], ".ssh/id_ed25519.pub"),
        (vec!["add", "none", "--key", &key], "no device `none`"),
        (vec!["add", "d", "--key", &key, "--user", "nobody-has-this-name"], "no user `nobody-has-this-name`"),
        (vec!["add", "d", "--key", &key, "--user", "a b"], "no name of a user"),
        (vec!["add", "d", "--key", &key, "--expiry", "soon"], "--expiry"),
        (vec!["remove", "d", "SHA256:x", "--key", &key], "cannot be used with"),
    ] {
        let told = user.run(&[&["ssh-key"], &words[..]].concat()).expect(1).err;
        assert!(told.contains(expect), "{words:?}: {told}");
    }
    // Whoever is not root cannot look into another's home, and root looks as that user.
    let told = user.run(&["ssh-key", "list", "d", "--user", "nobody"]).expect(1).err;
    assert!(told.contains("/nonexistent") || told.contains("may not run anything as"), "{told}");
}
