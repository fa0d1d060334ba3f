//! A full disk under an agent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use robo_tests::eventually_blocking;
use robo_tests::programs::User;

use super::{application, instance, pid, until_as_wished};

const GRAPH: &str = "
application app {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Steady, Changing;
}
Steady {
	installer: process;
	run: sleep 1000;
}
Changing {
	installer: process;
	run: sleep 1000;
	env.ROUND: first;
}
instance of Machine {
	name: m;
	instance of Steady {
		name: steady;
	}
	instance of Changing {
		name: changing;
	}
}
";

/// A small file system that is gone with its owner, after what runs on it.
struct Small<'a> {
    user: &'a User,
    folder: PathBuf,
}

impl<'a> Small<'a> {
    /// Nothing, where that is not permitted.
    fn mount(user: &'a User, folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=700", "robo-test"]).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self { user, folder: folder.to_owned() })
    }

    fn fill(&self) -> PathBuf {
        let path = self.folder.join("fill");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(self.user.run(&["down"]));
        drop(Command::new("umount").arg("--lazy").arg(&self.folder).status());
    }
}

#[test]
fn a_full_disk_stops_nothing_that_runs() {
    let user = User::new();
    let Some(disk) = Small::mount(&user, &user.state().join("up/agents/m")) else {
        println!("no file system can be mounted here: not tried");
        return;
    };
    let graph = application(&user, GRAPH, &[]);
    user.run(&["up", "--detach", &graph]).expect(0);
    let pids = || ["/m/steady", "/m/changing"].map(|path| pid(&instance(&user, path)));
    let before = pids();

    let filling = disk.fill();
    application(&user, &GRAPH.replace("first", "second"), &[]);
    user.run(&["apply", "--yes", "--no-wait", &graph]).expect(0);
    let told = eventually_blocking("the device says that its disk is full", || {
        let told = user.run(&["device", "inspect", "m"]).expect(0).out;
        told.contains("tried again").then_some(told)
    });
    assert!(told.contains("refused") && told.contains("disk"), "{told}");
    assert_eq!(pids(), before, "a full disk restarted something");

    fs::remove_file(filling).unwrap();
    eventually_blocking("the change arrives", || {
        let pid = instance(&user, "/m/changing")["report"]["pid"].as_u64()?;
        (pid != u64::from(before[1])).then_some(())
    });
    until_as_wished(&user);
    assert_eq!(pids()[0], before[0]);
    let told = user.run(&["device", "inspect", "m"]).expect(0).out;
    assert!(!told.contains("refused"), "{told}");
}
