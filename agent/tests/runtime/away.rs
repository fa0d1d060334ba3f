//! An agent that was away for long, and machines that are short of something.

use super::*;

#[tokio::test]
async fn an_agent_that_was_away_for_long_does_not_end_what_is_well() {
    let mut bench = Bench::new();
    bench.deploy(&[]).await;
    bench.runtime.begin(order(2, Step::Start, process("sleep 1000")));
    let Report::ProcessRuns { pid, .. } = bench.report().await else { panic!("no process") };
    bench.restart();
    // All the time that it had is over.
    let late = Order { deadline: Millis(0), ..order(2, Step::Start, process("sleep 1000")) };
    assert_eq!(bench.step(late).await, Outcome::Done);
    assert!(alive(pid));
}

#[tokio::test]
async fn what_cannot_be_looked_on_at_is_waited_for_while_it_lives() {
    let mut bench = Bench::new();
    let pid = bench.start("sleep 1000").await;
    bench.restart();
    // The agent's end of the pipe cannot be opened.
    let pipe = bench.instance().path().join("@runs/2/keeper");
    let aside = pipe.with_file_name("aside");
    std::fs::rename(&pipe, &aside).unwrap();
    std::fs::create_dir(&pipe).unwrap();
    bench.runtime.watch(order(2, Step::Start, process("x")));
    let early = timeout(Duration::from_millis(1500), bench.report()).await;
    assert!(early.is_err(), "{early:?}");
    std::fs::remove_dir(&pipe).unwrap();
    std::fs::rename(&aside, &pipe).unwrap();
    assert!(matches!(bench.report().await, Report::ProcessRuns { pid: same, adopted: true, .. } if same == pid));
    bench.restart();
    std::fs::rename(&pipe, &aside).unwrap();
    std::fs::create_dir(&pipe).unwrap();
    bench.runtime.watch(order(2, Step::Start, process("x")));
    kill("-KILL", pid);
    let (_, reason, _) = bench.process_ended().await;
    assert!(reason.contains("is not known here"), "{reason}");
}

#[tokio::test]
async fn a_start_without_its_script_fails() {
    let mut bench = Bench::new();
    let files = [("scripts/start.sh", "exit 0\n"), ("scripts/deploy.sh", "rm update.sh\n"), ("scripts/update.sh", "")];
    bench.deploy(&files).await;
    let files = bench.files(&files);
    let step = |run, step| Order { files: files.clone(), ..order(run, step, Installer::Script) };
    assert_eq!(bench.step(step(2, Step::Start)).await, Outcome::Done);
    assert_eq!(bench.step(step(3, Step::Update)).await, Outcome::Done, "its deploy script removed it");
    let recipe = bench.instance().recipe();
    std::fs::remove_file(recipe.join("scripts/start.sh")).unwrap();
    for run in [4, 5] {
        let (reason, ..) = failure(bench.step(step(run, Step::Start)).await);
        assert!(reason.contains("`scripts/start.sh` is not on this device any more"), "{reason}");
        std::fs::remove_dir_all(&recipe).ok();
    }
    assert_eq!(bench.step(step(6, Step::Stop)).await, Outcome::Done);
}

#[tokio::test]
async fn a_removed_check_is_not_gone_on_with() {
    let mut bench = Bench::new();
    bench.deploy(&[]).await;
    let tries = bench.data("tries");
    let mut checked = order(2, Step::Start, Installer::Script);
    checked.settings.check = Some(Check {
        probe: Probe::Run { command: format!("sh -c 'echo >> {}'", tries.display().to_string().replace(' ', "\\ ")) },
        every: Millis(10),
        timeout: Millis(10_000),
    });
    assert_eq!(bench.step(checked).await, Outcome::Done);
    let length = || std::fs::metadata(&tries).map_or(0, |file| file.len());
    until("two tries", || length() >= 2).await;
    bench.runtime.watch(order(2, Step::Start, Installer::Script));
    // One may be under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = length();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(length(), before);
}

#[tokio::test]
async fn steps_have_their_turn_and_what_ends_waits_for_none_of_those_that_begin() {
    const AT_A_TIME: usize = 64;
    let mut bench = Bench::new();
    let script = "#!/bin/sh\necho >> \"$HOME/../../begun\"; while [ ! -e \"$HOME/../../go\" ]; do sleep 0.2; done\n";
    let files = bench.files(&[("scripts/start.sh", script)]);
    let named = |n: usize, run: u64, step: Step| {
        let mut order = Order { files: files.clone(), ..order(run, step, Installer::Script) };
        order.key.path = format!("/i{n}").parse().unwrap();
        order.context.key = order.key.clone();
        order
    };
    for n in 0..=AT_A_TIME {
        assert_eq!(bench.step(named(n, 1, Step::Deploy)).await, Outcome::Done);
    }
    for n in 0..=AT_A_TIME {
        bench.runtime.begin(named(n, 2, Step::Start));
    }
    let home = bench.folders.instance(&named(0, 1, Step::Start).key).data();
    let shared = home.parent().unwrap().parent().unwrap().to_owned();
    let begun = || std::fs::metadata(shared.join("begun")).map_or(0, |file| file.len());
    until("all that may begin", || begun() >= AT_A_TIME as u64).await;
    assert_eq!(bench.step(named(0, 3, Step::Stop)).await, Outcome::Done);
    bench.runtime.abort(&named(AT_A_TIME, 2, Step::Start).key, RunId(2));
    assert_eq!(failure(bench.ended(RunId(2)).await).0, "the start was aborted before it began");
    assert_eq!(begun(), AT_A_TIME as u64);
    std::fs::write(shared.join("go"), "").unwrap();
    for _ in 0..AT_A_TIME {
        assert_eq!(bench.ended(RunId(2)).await, Outcome::Done);
    }
}

#[test]
fn a_keeper_gives_its_program_the_limit_that_it_is_told() {
    let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spec = format!(
        r#"{{"argv": ["/bin/sh", "-c", "ulimit -Sn"], "env": {{}}, "cwd": "/", "logs": "{}", "begun_at": 0,
            "open_files": 777}}"#,
        logs.path().display()
    );
    std::fs::write(folder.path().join("spec.json"), spec).unwrap();
    let keeper = Program::new(env!("CARGO_BIN_EXE_robo-agent")).arg("keeper").arg(folder.path()).output().unwrap();
    assert!(keeper.status.success());
    let exit = std::fs::read_to_string(folder.path().join("exit.json")).unwrap();
    assert!(exit.contains(r#""output":["777"]"#), "{exit}");
}
