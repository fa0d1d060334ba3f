//! Files of deployed recipes that somebody changes behind our back.

use super::*;

impl Bench {
    async fn drift(&mut self) -> String {
        loop {
            if let Report::Drift { key: of, changes } = self.any_report().await {
                assert_eq!(of, key());
                return changes.join("; ");
            }
        }
    }
}

#[tokio::test]
async fn a_changed_file_is_seen_and_so_is_its_return() {
    let mut bench = Bench::new();
    bench.deploy(&[("scripts/start.sh", "exit 0"), ("files/web.conf", "one")]).await;
    let conf = bench.instance().recipe().join("files/web.conf");
    std::fs::write(&conf, "two").unwrap();
    assert_eq!(bench.drift().await, "files/web.conf changed");
    // A step says nothing new of files, but whoever did not listen while it ran hears it again.
    assert_eq!(bench.step(order(2, Step::Start, Installer::Script)).await, Outcome::Done);
    assert_eq!(bench.drift().await, "files/web.conf changed");
    std::fs::write(&conf, "one").unwrap();
    assert_eq!(bench.drift().await, "");
    // While no agent is there.
    bench.restart();
    std::fs::remove_file(&conf).unwrap();
    bench.restart();
    assert_eq!(bench.drift().await, "files/web.conf removed");
    // Deploying puts it right, and the next agent finds nothing.
    let files = bench.files(&[("files/web.conf", "one")]);
    assert_eq!(bench.step(Order { files, ..order(3, Step::Deploy, Installer::Script) }).await, Outcome::Done);
    bench.restart();
    assert_eq!(bench.drift().await, "");
}

#[tokio::test]
async fn what_the_deploy_script_does_is_right() {
    let mut bench = Bench::new();
    let script = "#!/bin/sh\ncd .. && echo filled >> files/web.conf && rm files/archive && chmod +x files/tool\n";
    bench
        .deploy(&[("scripts/deploy.sh", script), ("files/web.conf", "x"), ("files/archive", ""), ("files/tool", "")])
        .await;
    bench.restart();
    assert_eq!(bench.drift().await, "");
    let tool = bench.instance().recipe().join("files/tool");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(bench.drift().await, "files/tool is no longer executable");
    assert_eq!(bench.step(order(2, Step::Undeploy, Installer::Script)).await, Outcome::Done);
    assert!(!bench.instance().path().join("@files.json").exists());
}
