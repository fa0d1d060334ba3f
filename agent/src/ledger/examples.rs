//! Ledgers for tests.

use robo_model::graph::Import;
use robo_model::quantity::UnixMillis;
use robo_model::resolve::{self, Provider};
use robo_model::spec::{Generation, InstanceSpec};
use robo_model::state::Step;

use super::{Ledger, Record, Run, Told};
use crate::order::{Addresses, RunId};

/// An instance of every kind of value: an update runs, and imports are there.
pub(crate) fn ledger() -> Ledger {
    let spec: InstanceSpec = serde_json::from_str(
        r#"{"key": {"application": "shop", "path": "/vm/web"}, "component": "Web", "installer": {"kind": "script"}}"#,
    )
    .unwrap();
    let provider: Provider = serde_json::from_str(
        r#"{"key": {"application": "shop", "path": "/b/db"}, "component": "Db", "exports": {"Db.ip": "10.0.0.2"}}"#,
    )
    .unwrap();
    let import = Import { prefix: "Db".parse().unwrap(), variable: None, optional: false, external: false };
    let imports = resolve::resolve(&InstanceSpec { imports: vec![import], ..spec.clone() }, [&provider]);
    let mut record = Record::new(spec.clone(), UnixMillis(7));
    record.told = Told { imports: imports.clone(), ..Told::default() };
    record.run = Some(Run { before: imports, ..Run::new(RunId(3), Step::Update, None) });
    let mut ledger = Ledger::default();
    ledger.assignment.generation = Generation(4);
    ledger.state.generation = Some(Generation(4));
    ledger.state.addresses = Addresses::only("10.0.0.1");
    ledger.assignment.instances.push(spec.clone());
    ledger.imports.insert(provider.key.clone(), provider);
    ledger.state.records.insert(spec.key, record);
    ledger
}
