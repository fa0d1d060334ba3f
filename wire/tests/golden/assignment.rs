//! Assignments, with all that may stand in one.

use super::*;

/// Every installer, probe and field of an instance's specification.
pub(super) fn assignment() -> Assignment {
    let plain = |path, installer| InstanceSpec {
        key: key(path),
        component: "Thing".parse().unwrap(),
        installer,
        exports: BTreeMap::new(),
        imports: vec![],
        files: BTreeMap::new(),
        settings: Settings::default(),
        wanted: Wanted::Started,
        outside: BTreeMap::new(),
        bindings: BTreeMap::new(),
        facets: BTreeSet::new(),
    };
    let probe = |path, probe| InstanceSpec {
        settings: Settings { check: Some(check(probe)), ..Settings::default() },
        ..plain(path, Installer::Script)
    };
    Assignment {
        generation: Generation(42),
        instances: vec![
            plain("/vm", Installer::Target),
            plain("/vm/log", Installer::Logger),
            plain("/vm/new", Installer::Other { name: "quantum".into() }),
            probe("/vm/run", Probe::Run { command: "true".into() }),
            probe("/vm/tcp", Probe::Tcp { port: "5984".into() }),
            full_spec(),
        ],
    }
}

/// What one application offers to another, and where its own external imports come from; drift that heals.
pub(super) fn bound() -> Assignment {
    let spec = InstanceSpec {
        outside: [("Wh.ip".parse().unwrap(), "Web.ip".parse().unwrap())].into(),
        bindings: [("Wh".parse().unwrap(), ["stock".parse().unwrap()].into())].into(),
        settings: Settings { drift: Drift::Heal, ..Settings::default() },
        ..full_spec()
    };
    Assignment { generation: Generation(44), instances: vec![spec] }
}

/// An instance that can be named by its facets.
pub(super) fn faceted() -> Assignment {
    let facets = ["Served".parse().unwrap(), "Watched".parse().unwrap()].into();
    Assignment { generation: Generation(45), instances: vec![InstanceSpec { facets, ..full_spec() }] }
}

/// Every kind of address.
pub(super) fn addresses() -> Assignment {
    let kind = |(name, kind): (&str, AddressKind)| (name.parse().unwrap(), ExportValue::Addresses(kind));
    let all = [("Web.ip4", AddressKind::V4), ("Web.ip6", AddressKind::V6), ("Web.ips", AddressKind::All)];
    let spec = InstanceSpec { exports: all.map(kind).into(), ..full_spec() };
    Assignment { generation: Generation(45), instances: vec![spec] }
}

/// A container, and every limit.
pub(super) fn containers() -> Assignment {
    let spec = serde_json::json!({
        "key": key("/vm/web"),
        "component": "Web",
        "installer": {
            "kind": "container",
            "image": format!("registry.example:5000/shop/web:1.4@sha256:{}", "ab".repeat(32)),
            "run": "serve --port $(port)",
            "env": {"PASSWORD": "$(secret:db-password)"},
            "volumes": {"data": "/var/lib/shop"},
            "network": "front",
        },
        "settings": {
            "lease": 86_400_000,
            "memory": 536_870_912,
            "cpu": 500,
            "rollout": "10% then 50% pause 1m max-failures 1 rollback",
        },
    });
    Assignment { generation: Generation(43), instances: vec![serde_json::from_value(spec).unwrap()] }
}

fn check(probe: Probe) -> Check {
    Check { probe, every: Check::EVERY, timeout: Check::TIMEOUT }
}

pub(super) fn full_spec() -> InstanceSpec {
    let import = |optional, variable: Option<&str>| Import {
        prefix: "Database".parse().unwrap(),
        variable: variable.map(|name| name.parse().unwrap()),
        optional,
        external: optional,
    };
    let process = Process {
        run: "web --port $(port)".into(),
        restart: RestartPolicy::OnFailure,
        env: [("A".into(), "b".into())].into(),
    };
    let file = FileRef { hash: FileHash::new("ab".repeat(32)).unwrap(), size: 12, executable: true };
    InstanceSpec {
        key: key("/vm/web"),
        component: "Web".parse().unwrap(),
        installer: Installer::Process(process),
        exports: [
            ("Web.ip".parse().unwrap(), ExportValue::Address),
            ("Web.port".parse().unwrap(), ExportValue::Text("8080".into())),
        ]
        .into(),
        imports: vec![import(false, Some("ip")), import(true, None)],
        files: [(RelativePath::new("scripts/start.sh").unwrap(), file)].into(),
        settings: Settings {
            user: Some("web".into()),
            deploy_timeout: Some(Settings::DEPLOY_TIMEOUT),
            start_timeout: Some(Settings::START_TIMEOUT),
            stop_timeout: Some(Settings::STOP_TIMEOUT),
            check: Some(check(Probe::Http { port: "$(port)".into(), path: "/healthz".into() })),
            ..Settings::default()
        },
        wanted: Wanted::Stopped,
        outside: BTreeMap::new(),
        bindings: BTreeMap::new(),
        facets: BTreeSet::new(),
    }
}
