//! What was applied: plans in files, history, differences, and the way back, as a user sees them.

use std::fs;

use robo_tests::programs::User;

use super::application;

const APP: &str = "\
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Db, Web;
}
Db {
	installer: logger;
	exports: port = 3306;
}
Web {
	installer: logger;
	imports: Db.port;
}
instance of Machine {
	name: m;
	instance of Db {
		name: db;
	}
	instance of Web {
		name: web;
	}
}
";

#[test]
fn what_was_applied_can_be_kept_compared_and_brought_back() {
    let user = User::new();
    let graph = application(&user, APP, &[("Db/readme.txt", "one\n"), ("Db/data.bin", "a\0b")]);
    user.run(&["up", "--detach", &graph]).expect(0);
    application(&user, &APP.replace("3306", "3307"), &[("Db/readme.txt", "two\n"), ("Db/data.bin", "a\0bc")]);

    a_plan_is_carried_out_as_it_was_shown_or_not_at_all(&user, &graph);
    revisions_are_told_and_compared(&user);
    an_earlier_one_comes_back(&user);
    user.run(&["down", "--purge"]).expect(0);
}

fn a_plan_is_carried_out_as_it_was_shown_or_not_at_all(user: &User, graph: &str) {
    let file = user.folder.path().join("plan.json");
    let file = file.to_str().unwrap();
    let shown = user.run(&["plan", graph, "--out", file]).expect(2);
    assert!(shown.out.contains("~ /m/db") && shown.err.contains("robo apply"), "{shown:?}");
    let settled = user.run(&["apply", file, "--yes", "--keep-overrides"]).expect(1);
    assert!(settled.err.contains("is a plan, and what it does is settled"), "{settled:?}");
    let elsewhere = user.run(&["apply", file, "--yes", "--project", "lab"]).expect(1);
    assert!(elsewhere.err.contains("is of the project `default`"), "{elsewhere:?}");

    // Somebody edits what the plan shows: what is carried out is what the manager says.
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("3306 → 3307", "nothing of note")).unwrap();
    let applied = user.run(&["apply", file, "--yes", "--note", "another port"]).expect(0);
    assert!(applied.err.contains("3306 → 3307") && applied.err.contains("Revision 2 of app"), "{applied:?}");

    let moved = user.run(&["apply", file, "--yes"]).expect(1);
    assert!(moved.err.contains("the revision was 1 when planned, is 2 now"), "{moved:?}");
    fs::write(file, text.split_at(text.len() / 2).0).unwrap();
    let damaged = user.run(&["apply", file, "--yes"]).expect(1);
    assert!(damaged.err.contains("is damaged") && damaged.err.contains("--out plan.json"), "{damaged:?}");
}

fn revisions_are_told_and_compared(user: &User) {
    let history = user.run(&["history"]).expect(0);
    let lines: Vec<Vec<&str>> = history.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[1][0], lines[2][0]), (3, "2", "1"), "{history:?}");
    assert!(history.out.contains("admin") && history.out.contains("another port"), "{history:?}");
    let told = user.run(&["history", "app", "-o", "json"]).expect(0).json();
    assert_eq!((&told[0]["by"], &told[0]["note"]), (&"admin".into(), &"another port".into()), "{told}");

    let diff = user.run(&["diff", "1"]).expect(0).out;
    for part in
        ["app, revision 1 → 2", "~ /m/db", "-\texports: port = 3306;", "+\texports: port = 3307;", "-one\n+two\n"]
    {
        assert!(diff.contains(part), "`{part}` is not in\n{diff}");
    }
    assert!(diff.contains("Db/data.bin: differs, binary (3 bytes → 4 bytes)"), "{diff}");
    let unknown = user.run(&["diff", "1", "7"]).expect(1);
    assert!(unknown.err.contains("no revision 7") && unknown.err.contains("1 to 2 are kept"), "{unknown:?}");
}

fn an_earlier_one_comes_back(user: &User) {
    let refused = user.run(&["rollback"]).expect(1);
    assert!(refused.err.contains("3307 → 3306") && refused.err.contains("--yes"), "{refused:?}");
    let back = user.run(&["rollback", "--yes"]).expect(0);
    assert!(back.err.contains("Revision 3 of app"), "{back:?}");
    let same = user.run(&["diff", "1", "3"]).expect(0);
    assert_eq!(same.out, "Revisions 1 and 3 of app are the same.\n");
    let told = user.run(&["history", "-o", "json"]).expect(0).json();
    assert_eq!((&told[0]["rollback_of"], &told[0]["note"]), (&1.into(), &"rollback to 1".into()), "{told}");
    let same = user.run(&["rollback", "app", "1", "--yes"]).expect(0);
    assert!(same.err.contains("Nothing changes"), "{same:?}");
}
