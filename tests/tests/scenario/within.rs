//! Shells where an instance runs, and shells that are switched off.

use reqwest::Method;
use robo_tests::api::Packed;
use robo_tests::eventually;
use robo_tests::inside::{Agent, Manager, folder};
use robo_tests::visitor::{Visitor, start};
use robo_wire::shell::ShellStart;
use robo_wire::stream::Verdict;
use serde_json::{Value, json};

use super::until_as_wished;

const GRAPH: &str = r#"
application shop {
	version: 1.0.0;
}
Machine {
	installer: target;
	children: Db;
}
Db {
	installer: script;
	exports: port = 5432;
}
instance of Machine {
	name: one;
	instance of Db {
		name: db;
	}
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_begins_where_an_instance_runs() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let _agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    eventually("the device", || async { (manager.api.devices().await.len() == 1).then_some(()) }).await;
    let packed = Packed::new(GRAPH, &[("Db", "scripts/start.sh", "#!/bin/sh\n")]);
    manager.api.apply(&packed).await.unwrap();
    until_as_wished(&manager).await;
    let within = |path: &str| {
        let key = robo_model::spec::InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() };
        ShellStart {
            cwd: None,
            within: Some(key),
            ..start(&["sh", "-c", "echo \"<$ROBO_INSTANCE $port ${PWD##*/}>\"; cat"])
        }
    };
    let mut visitor = Visitor::begin(&manager.api, "one", within("/one/db")).await.unwrap();
    visitor.until("</one/db 5432 @recipe>").await;
    // A machine is no folder of its own.
    let mut machine = Visitor::begin(&manager.api, "one", within("/one")).await.unwrap();
    let verdict = machine.verdict().await;
    assert!(matches!(&verdict, Verdict::Refused { reason } if reason.contains("no instance")), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_ends_when_shells_are_switched_off() {
    let folder = folder();
    let manager = Manager::start(&folder.path().join("manager")).await;
    let mut agent = Agent::start(&manager, folder.path(), "one", "127.0.0.1").await;
    eventually("the device", || async {
        let devices = manager.api.devices().await;
        (devices.len() == 1 && devices[0].online).then_some(())
    })
    .await;
    let switch = async |on: bool| -> Value {
        let body = json!({"targets": {"names": ["one"]}, "set": {"shell": on}});
        manager.api.call(Method::POST, "/projects/default/switches", Some(&body)).await.unwrap()
    };
    let mut visitor = Visitor::begin(&manager.api, "one", start(&["sh", "-c", "echo ready; cat"])).await.unwrap();
    visitor.until("ready").await;
    assert_eq!(switch(false).await[0]["outcome"], "changed");
    let verdict = visitor.verdict().await;
    let is_told = |reason: &str| reason.contains("`shell` is switched off on this device: by admin, at ");
    assert!(matches!(&verdict, Verdict::Cancelled { reason } if is_told(reason)), "{verdict:?}");
    assert!(visitor.notices.iter().any(|notice| is_told(notice)), "{:?}", visitor.notices);
    let refused = async || {
        // The manager may not know yet that the link of the agent that crashed is none.
        let begin = || async { Visitor::begin(&manager.api, "one", start(&["cat"])).await.ok() };
        let verdict = eventually("the device is there", begin).await.verdict().await;
        assert!(matches!(&verdict, Verdict::Refused { reason } if is_told(reason)), "{verdict:?}");
    };
    refused().await;
    agent.crash().await;
    agent.resume(&manager, None, "127.0.0.1");
    refused().await;
    switch(true).await;
    eventually("shells begin again", || async {
        let mut visitor = Visitor::begin(&manager.api, "one", start(&["sh", "-c", "exit 7"])).await.ok()?;
        (visitor.verdict().await == Verdict::Failed { code: 7 }).then_some(())
    })
    .await;
}
