//! Groups of users, and files of users, as an administrator has them.

use std::fs;

use super::Lab;

const FILE: &str = "\
users:
- {name: ann}
- {name: pipeline, kind: machine}
groups:
- {name: operators, members: [ann, pipeline]}
bindings:
- {group: operators, role: operator, project: default}
";

#[test]
fn users_groups_and_roles_come_from_commands_or_from_a_file() {
    let lab = Lab::new();
    let run = |arguments: &[&str]| lab.user.run(arguments);
    assert!(run(&["group", "list"]).expect(0).err.contains("There is no group"));
    run(&["user", "add", "eve"]).expect(0);
    run(&["group", "create", "ops"]).expect(0);
    assert!(run(&["group", "add", "ops", "eve"]).expect(0).err.contains("In ops there is now: eve"));
    run(&["user", "grant", "ops", "viewer"]).expect(0);
    let why = run(&["auth", "can-i", "see", "--as", "eve", "--why"]).expect(0);
    assert!(format!("{}{}", why.out, why.err).contains("by group `ops`"), "{why:?}");
    let listed = run(&["group", "list"]).expect(0).out;
    assert!(listed.contains("ops    eve      viewer in project `default`"), "{listed}");
    assert!(run(&["group", "remove", "ops", "eve"]).expect(0).err.contains("nobody"));
    run(&["auth", "can-i", "see", "--as", "eve"]).expect(3);
    assert!(run(&["group", "add", "ops", "nobody"]).expect(1).err.contains("no user `nobody`"));
    run(&["group", "add", "ops"]).expect(1);

    let path = lab.path("users.yaml");
    fs::write(&path, FILE).unwrap();
    let shown = run(&["user", "apply", &path, "--dry-run"]).expect(0).out;
    assert!(shown.contains("+ user `ann`\n") && shown.contains("+ `operators` is operator in project"), "{shown}");
    assert!(run(&["user", "apply", &path]).expect(1).err.contains("--yes"), "nobody is there to ask");
    run(&["user", "apply", &path, "--yes"]).expect(0);
    assert!(run(&["user", "apply", &path, "--yes"]).expect(0).err.contains("All is as the file says"));
    let pruned = run(&["user", "apply", &path, "--yes", "--prune"]).expect(0).err;
    assert!(pruned.contains("- group `ops`") && pruned.contains("- user `eve`"), "{pruned}");
    let users = run(&["user", "list", "-o", "name"]).expect(0).out;
    assert_eq!(users, "admin\nann\npipeline\n");
    fs::write(&path, "users:\n- {nam: ann}\n").unwrap();
    assert!(run(&["user", "apply", &path]).expect(1).err.contains("is no file of users"));
    run(&["group", "delete", "operators"]).expect(0);
    assert_eq!(run(&["group", "list", "-o", "json"]).expect(0).out, "[]\n");
}
