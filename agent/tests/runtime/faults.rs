//! Steps that hang, stop and flood, and disks that are full.

use super::*;

/// A line of Python that makes itself a process group of its own and sleeps.
const GRANDCHILD: &str = "python3 -c 'import os; os.setpgid(0, 0); open(\"group\", \"w\").write(str(os.getpid())); \
                          os.execvp(\"sleep\", [\"sleep\", \"1000\"])'";

fn pid_in(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[tokio::test]
async fn a_deadline_ends_grandchildren_in_groups_of_their_own() {
    let mut bench = Bench::new();
    let script =
        format!("#!/bin/sh\ncd \"$HOME\"\n(sh -c \"exec {}\") &\nexec sleep 1000\n", GRANDCHILD.replace('"', "\\\""));
    bench.deploy(&[("scripts/start.sh", &script)]).await;
    let group = bench.data("group");
    bench.runtime.begin(Order { deadline: Millis(5_000), ..order(2, Step::Start, Installer::Script) });
    until("the grandchild", || pid_in(&group).is_some_and(alive)).await;
    assert_eq!(failure(bench.ended(RunId(2)).await).0, "`start.sh` timed out after 5s");
    assert!(!alive(pid_in(&group).unwrap()));
}

#[tokio::test]
async fn what_is_stopped_is_ended_too() {
    let mut bench = Bench::new();
    // It cannot hear TERM, and when it goes on it does not want to.
    let script = "#!/bin/sh\ntrap '' TERM\necho $$ > \"$HOME/pid\"; kill -STOP $$; while :; do sleep 1; done\n";
    bench.deploy(&[("scripts/start.sh", script)]).await;
    let stopped = Order { deadline: Millis(300), ..order(2, Step::Start, Installer::Script) };
    assert_eq!(failure(bench.step(stopped).await).0, "`start.sh` timed out after 300ms");
    assert!(!alive(pid_in(&bench.data("pid")).unwrap()));
}

#[tokio::test]
async fn what_is_stopped_together_with_its_keeper_ends_well() {
    let mut bench = Bench::new();
    // A supervised process ends well when it hears TERM, also when somebody stopped it and its keeper.
    let pid = bench.start("sh -c \"trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done\"").await;
    kill("-STOP", pid);
    kill("-STOP", parent(pid));
    let stop = Order { process: Some(RunId(2)), ..order(3, Step::Stop, process("x")) };
    assert_eq!(bench.step(stop).await, Outcome::Done);
    let log = std::fs::read_to_string(bench.instance().logs().join("output.log")).unwrap();
    assert!(log.ends_with("bye\n"), "{log}");
}

/// A small file system that is its own disk; nothing where this user may not have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let mut mount = Program::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "robo-test"]).arg(folder).stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Program::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_full_disk_fails_a_deploy_cleanly() {
    let mut bench = Bench::new();
    let (large, other) = ("x".repeat(800_000), "y".repeat(800_000));
    let files = bench.files(&[("scripts/start.sh", "exit 0"), ("files/a", &large), ("files/b", &other)]);
    let instances = bench.folders.root().join("instances");
    let Some(_disk) = SmallDisk::mount(&instances) else {
        println!("this user may not mount: the full disk was not tried");
        return;
    };
    let deploy =
        |run, files: &RecipeFiles| Order { files: files.clone(), ..order(run, Step::Deploy, Installer::Script) };
    let (reason, ..) = failure(bench.step(deploy(1, &files)).await);
    assert!(reason.contains("is full") && reason.contains("`files/b`"), "{reason}");
    let left: Vec<_> = std::fs::read_dir(bench.instance().path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("recipe")), "{left:?}");
    // It is tried again, and there is room.
    let fits = bench.files(&[("scripts/start.sh", "exit 0"), ("files/a", &large)]);
    assert_eq!(bench.step(deploy(2, &fits)).await, Outcome::Done);
}
