//! What a script finds in its environment, name by name.

use robo_agent::order::{Ancestor, ImportChange};
use robo_model::resolve::Imported;

use super::*;

fn provider(application: &str, path: &str) -> InstanceKey {
    InstanceKey { application: application.parse().unwrap(), path: path.parse().unwrap() }
}

fn variables<K: std::str::FromStr<Err: std::fmt::Debug> + Ord>(of: &[(&str, &str)]) -> BTreeMap<K, String> {
    of.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
}

fn context() -> Context {
    let imported = |of: &[(&str, &str)]| Imported { component: "MySQL".parse().unwrap(), variables: variables(of) };
    let first = imported(&[("ip", "10.0.0.2"), ("max-connections", "5")]);
    let shared = (provider("stock", "/far/db"), imported(&[("ip", "10.1.0.1")]));
    Context {
        exports: variables(&[("Web.http-port", "80"), ("Web.ip", "127.0.0.1")]),
        ancestors: vec![Ancestor {
            path: "/vm 1".parse().unwrap(),
            component: "VM".parse().unwrap(),
            exports: variables(&[("VM.ip", "127.0.0.1")]),
        }],
        imports: [
            ("Db".parse().unwrap(), [(provider("shop", "/a/db"), first)].into()),
            ("Stock".parse().unwrap(), [shared].into()),
            ("Queue".parse().unwrap(), BTreeMap::new()),
        ]
        .into(),
        changes: vec![
            ImportChange {
                prefix: "Db".parse().unwrap(),
                provider: provider("shop", "/a/db"),
                component: "MySQL".parse().unwrap(),
                present: true,
                variables: variables(&[("ip", "10.0.0.2"), ("max-connections", "5")]),
            },
            ImportChange {
                prefix: "Queue".parse().unwrap(),
                provider: provider("shop", "/q"),
                component: "Rabbit".parse().unwrap(),
                present: false,
                variables: variables(&[("ip", "10.0.0.9")]),
            },
        ],
        ..order(1, Step::Start, Installer::Script).context
    }
}

const ALWAYS: [&str; 22] = [
    "ANCESTOR_VM_ip=127.0.0.1",
    "Db_0_ip=10.0.0.2",
    "Db_0_max_connections=5",
    "Db_0_name=/a/db",
    "Db_size=1",
    "Queue_size=0",
    "ROBOCONF_CLEAN_INSTANCE_PATH=vm_1_web",
    "ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH=web_vm_1",
    "ROBOCONF_COMPONENT_NAME=Web",
    "ROBOCONF_INSTANCE_NAME=web",
    "ROBOCONF_INSTANCE_PATH=/vm 1/web",
    "ROBO_APPLICATION=shop",
    "ROBO_DEVICE_ID=d1",
    "ROBO_DEVICE_NAME=robot-7",
    "ROBO_INSTANCE=/vm 1/web",
    "ROBO_PROJECT=lab",
    "Stock_0_ip=10.1.0.1",
    "Stock_0_name=/far/db",
    "Stock_size=1",
    "http_port=80",
    "ip=127.0.0.1",
    "LANG=C.UTF-8",
];

const UPDATE: [&str; 5] = [
    "ROBOCONF_IMPORT_CHANGED_COMPONENT=MySQL",
    "ROBOCONF_IMPORT_CHANGED_INSTANCE_PATH=/a/db",
    "ROBOCONF_IMPORT_CHANGED_ip=10.0.0.2",
    "ROBOCONF_IMPORT_CHANGED_max_connections=5",
    "ROBOCONF_UPDATE_STATUS=DEPLOYED_STARTED",
];

#[tokio::test]
async fn every_documented_variable_reaches_every_script() {
    let mut bench = Bench::new();
    bench.runtime.set_bearer(robo_agent::bearer::Bearer {
        device: "d1".parse().unwrap(),
        name: "robot-7".parse().unwrap(),
        project: "lab".parse().unwrap(),
    });
    let script = "#!/bin/sh\nenv | sort > \"$HOME/$ROBO_STEP.env\"; cp \"$ROBO_CONTEXT\" \"$HOME/$ROBO_STEP.json\"\n";
    let scripts = ["deploy", "start", "update", "stop"].map(|step| (format!("scripts/{step}.sh"), script));
    let scripts: Vec<(&str, &str)> = scripts.iter().map(|(path, script)| (path.as_str(), *script)).collect();
    let files = bench.files(&scripts);
    for (run, step) in [(1, Step::Deploy), (2, Step::Start), (3, Step::Update), (4, Step::Stop)] {
        let told = Order { files: files.clone(), context: context(), ..order(run, step, Installer::Script) };
        assert_eq!(bench.step(told).await, Outcome::Done, "{step}");
        let instance = bench.instance();
        let place = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        let mut expect: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
        expect.push(format!("ROBO_STEP={step}"));
        expect.push(place("ROBO_CONTEXT", instance.context_file()));
        expect.push(place("ROBO_DATA_DIR", instance.data()));
        expect.push(place("ROBO_LOG_DIR", instance.logs()));
        expect.push(place("HOME", instance.data()));
        expect.push(place("ROBOCONF_FILES_DIR", instance.recipe().join("files")));
        if step == Step::Update {
            expect.extend(UPDATE.map(str::to_owned));
        }
        let told = std::fs::read_to_string(bench.data(&format!("{step}.env"))).unwrap();
        let told: Vec<&str> = told.lines().collect();
        let missing: Vec<_> = expect.iter().filter(|line| !told.contains(&line.as_str())).collect();
        assert!(missing.is_empty(), "{step}: {missing:#?} in {told:#?}");
        // Nothing of the agent's own but its way to programs; the shell adds the working folder.
        let beside = ["PATH=", "USER=", "PWD=", "OLDPWD=", "_=", "SHLVL="];
        let foreign: Vec<_> = told
            .iter()
            .filter(|line| {
                !expect.iter().any(|known| known == *line) && !beside.iter().any(|own| line.starts_with(own))
            })
            .collect();
        assert!(foreign.is_empty(), "{step}: {foreign:#?}");
    }
    // One update for the whole set: who wants more than the last provider that is there reads the file.
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.data("update.json")).unwrap()).unwrap();
    assert_eq!(json["changes"][0]["path"], "/a/db");
    assert_eq!(json["changes"][1]["present"], false);
    assert_eq!(json["imports"]["Stock"][0]["application"], "stock");
}
