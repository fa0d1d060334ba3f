//! What scripts and programs are told: the original's environment variables, ours, and the same as JSON in a file.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::sync::PoisonError;

use robo_model::graph::Installer;
use robo_model::name::Variable;
use robo_model::state::Step;
use serde_json::{Value, json};

use super::Shared;
use crate::bearer::Bearer;
use crate::folders::{InstanceFolder, replace};
use crate::order::{Context, ImportChange, Order};

/// A whole environment, by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// What an environment says besides the context.
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a InstanceFolder,
    pub(super) path: &'a str,
    pub(super) user: &'a str,
    pub(super) bearer: Option<&'a Bearer>,
}

impl Shared {
    /// The environment of everything that is run for `order`.
    pub(super) fn environment(&self, order: &Order) -> Environment {
        let folder = self.folder(order);
        let user = order.settings.user.as_deref().unwrap_or(&self.user.name);
        let bearer = self.bearer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let around = Surroundings { folder: &folder, path: &self.path, user, bearer: bearer.as_ref() };
        let mut env = environment(&order.context, order.step, &around);
        if let Installer::Process(process) = &order.installer {
            env.extend(process.env.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        env
    }
}

/// The environment of one step. Ours win over an export of the same name: a component that exports `path` still
/// finds its programs.
pub(super) fn environment(context: &Context, step: Step, around: &Surroundings<'_>) -> Environment {
    let mut env = Environment::new();
    add_exports(&mut env, context);
    add_imports(&mut env, context);
    for ancestor in context.ancestors.iter().rev() {
        for (variable, value) in &ancestor.exports {
            env.insert(clean(&format!("ANCESTOR_{}_{}", ancestor.component, variable.local.as_str())), value.clone());
        }
    }
    add_identity(&mut env, context);
    add_bearer(&mut env, around.bearer);
    if step == Step::Update {
        add_change(&mut env, &context.changes);
    }
    let folder = around.folder;
    let ours = [
        ("PATH", around.path.to_owned()),
        ("HOME", text(folder.data())),
        ("LANG", "C.UTF-8".to_owned()),
        ("USER", around.user.to_owned()),
        ("ROBOCONF_FILES_DIR", text(folder.recipe().join("files"))),
        ("ROBO_CONTEXT", text(folder.context_file())),
        ("ROBO_DATA_DIR", text(folder.data())),
        ("ROBO_LOG_DIR", text(folder.logs())),
        ("ROBO_STEP", step.to_string()),
    ];
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// Writes the context's file; whoever reads it meanwhile sees the old one or the new one.
pub(super) fn write_context(folder: &InstanceFolder, context: &Context) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(&describe(context))?;
    // It is for whom the data is for.
    let owner = std::fs::metadata(folder.data())?;
    replace(&folder.context_file(), &bytes, 0o600, |file| {
        if file.metadata()?.uid() == owner.uid() {
            return Ok(());
        }
        fchown(file, Some(owner.uid()), Some(owner.gid()))
    })
}

/// A name that a shell can read: everything but letters, digits and `_` becomes `_`.
pub(super) fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn add_exports(env: &mut Environment, context: &Context) {
    // The component's own variable wins over one of a facet with the same local name.
    let (own, others): (Vec<_>, Vec<_>) = context.exports.iter().partition(|(v, _)| v.prefix == context.component);
    for (variable, value) in others.into_iter().chain(own) {
        env.insert(clean(variable.local.as_str()), value.clone());
    }
}

fn add_imports(env: &mut Environment, context: &Context) {
    for (prefix, providers) in &context.imports {
        let prefix = clean(prefix.as_str());
        env.insert(format!("{prefix}_size"), providers.len().to_string());
        for (i, (key, imported)) in providers.iter().enumerate() {
            env.insert(format!("{prefix}_{i}_name"), key.path.to_string());
            for (variable, value) in &imported.variables {
                env.insert(format!("{prefix}_{i}_{}", clean(variable.as_str())), value.clone());
            }
        }
    }
}

fn add_identity(env: &mut Environment, context: &Context) {
    let path = &context.key.path;
    let joined = |segments: Vec<&str>| segments.into_iter().map(clean).collect::<Vec<_>>().join("_");
    let ours = [
        ("ROBOCONF_INSTANCE_NAME", path.leaf().to_owned()),
        ("ROBOCONF_INSTANCE_PATH", path.to_string()),
        ("ROBOCONF_COMPONENT_NAME", context.component.to_string()),
        ("ROBOCONF_CLEAN_INSTANCE_PATH", joined(path.segments().collect())),
        ("ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH", joined(path.segments().rev().collect())),
        ("ROBO_APPLICATION", context.key.application.to_string()),
        ("ROBO_INSTANCE", path.to_string()),
    ];
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
}

fn add_bearer(env: &mut Environment, bearer: Option<&Bearer>) {
    let Some(Bearer { device, name, project }) = bearer else { return };
    let ours =
        [("ROBO_DEVICE_ID", device.as_str()), ("ROBO_DEVICE_NAME", name.as_str()), ("ROBO_PROJECT", project.as_str())];
    env.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// The original knows one change at a time: the last provider that is there, else the last one that went.
fn add_change(env: &mut Environment, changes: &[ImportChange]) {
    let Some(change) = changes.iter().rev().find(|c| c.present).or(changes.last()) else { return };
    let status = if change.present { "DEPLOYED_STARTED" } else { "DEPLOYED_STOPPED" };
    env.insert("ROBOCONF_UPDATE_STATUS".to_owned(), status.to_owned());
    env.insert("ROBOCONF_IMPORT_CHANGED_INSTANCE_PATH".to_owned(), change.provider.path.to_string());
    env.insert("ROBOCONF_IMPORT_CHANGED_COMPONENT".to_owned(), change.component.to_string());
    for (variable, value) in &change.variables {
        env.insert(format!("ROBOCONF_IMPORT_CHANGED_{}", clean(variable.as_str())), value.clone());
    }
}

fn describe(context: &Context) -> Value {
    let locals = |exports: &BTreeMap<Variable, String>| -> BTreeMap<String, String> {
        exports.iter().map(|(variable, value)| (variable.local.as_str().to_owned(), value.clone())).collect()
    };
    let ancestors: Vec<Value> = context
        .ancestors
        .iter()
        .map(|a| json!({ "path": a.path, "component": a.component, "exports": locals(&a.exports) }))
        .collect();
    let imports: BTreeMap<&str, Vec<Value>> = context
        .imports
        .iter()
        .map(|(prefix, providers)| {
            let providers = providers.iter().map(|(key, imported)| {
                json!({
                    "path": key.path,
                    "application": key.application,
                    "component": imported.component,
                    "variables": imported.variables,
                })
            });
            (prefix.as_str(), providers.collect())
        })
        .collect();
    let changes: Vec<Value> = context
        .changes
        .iter()
        .map(|change| {
            json!({
                "prefix": change.prefix,
                "path": change.provider.path,
                "application": change.provider.application,
                "component": change.component,
                "present": change.present,
                "variables": change.variables,
            })
        })
        .collect();
    let path = &context.key.path;
    json!({
        "instance": {
            "application": context.key.application,
            "path": path,
            "name": path.leaf(),
            "component": context.component,
        },
        "address": context.address,
        "exports": locals(&context.exports),
        "ancestors": ancestors,
        "imports": imports,
        "changes": changes,
    })
}

fn text(path: std::path::PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use robo_model::resolve::Imported;
    use robo_model::spec::InstanceKey;

    use super::*;
    use crate::folders::Folders;
    use crate::order::Ancestor;

    fn key(path: &str) -> InstanceKey {
        InstanceKey { application: "shop".parse().unwrap(), path: path.parse().unwrap() }
    }

    fn exports(of: &[(&str, &str)]) -> BTreeMap<Variable, String> {
        of.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
    }

    fn change(path: &str, present: bool, ip: &str) -> ImportChange {
        ImportChange {
            prefix: "Db".parse().unwrap(),
            provider: key(path),
            component: "MySQL".parse().unwrap(),
            present,
            variables: [("ip".parse().unwrap(), ip.to_owned())].into(),
        }
    }

    fn context() -> Context {
        let db = |ip: &str| Imported {
            component: "MySQL".parse().unwrap(),
            variables: [("ip".parse().unwrap(), ip.to_owned()), ("the-port".parse().unwrap(), "5".to_owned())].into(),
        };
        Context {
            key: key("/vm 1/web-a"),
            component: "Web".parse().unwrap(),
            address: "127.0.0.2".to_owned(),
            exports: exports(&[("Web.http-port", "80"), ("Web.path", "/x"), ("A.ip", "facet"), ("Web.ip", "own")]),
            ancestors: vec![Ancestor {
                path: "/vm 1".parse().unwrap(),
                component: "VM-x".parse().unwrap(),
                exports: exports(&[("VM-x.ip", "127.0.0.2")]),
            }],
            imports: [("Db-x".parse().unwrap(), [(key("/b/db"), db("1")), (key("/c/db"), db("2"))].into())].into(),
            changes: vec![change("/c/db", true, "2"), change("/d/db", false, "3")],
        }
    }

    fn build(step: Step, context: &Context) -> Environment {
        let folder = Folders::new("/s").instance(&context.key);
        let bearer =
            Bearer { device: "d1".parse().unwrap(), name: "robot-7".parse().unwrap(), project: "lab".parse().unwrap() };
        environment(context, step, &Surroundings { folder: &folder, path: "/bin", user: "robo", bearer: Some(&bearer) })
    }

    #[test]
    fn the_original_variables_are_there() {
        let env = build(Step::Start, &context());
        for (name, value) in [
            ("http_port", "80"),
            ("ip", "own"),
            ("path", "/x"),
            ("PATH", "/bin"),
            ("Db_x_size", "2"),
            ("Db_x_0_name", "/b/db"),
            ("Db_x_1_ip", "2"),
            ("Db_x_1_the_port", "5"),
            ("ANCESTOR_VM_x_ip", "127.0.0.2"),
            ("ROBOCONF_INSTANCE_NAME", "web-a"),
            ("ROBOCONF_INSTANCE_PATH", "/vm 1/web-a"),
            ("ROBOCONF_COMPONENT_NAME", "Web"),
            ("ROBOCONF_CLEAN_INSTANCE_PATH", "vm_1_web_a"),
            ("ROBOCONF_CLEAN_REVERSED_INSTANCE_PATH", "web_a_vm_1"),
            ("ROBOCONF_FILES_DIR", "/s/instances/shop/vm 1/web-a/@recipe/files"),
            ("HOME", "/s/instances/shop/vm 1/web-a/@data"),
            ("ROBO_CONTEXT", "/s/instances/shop/vm 1/web-a/@context.json"),
            ("ROBO_STEP", "start"),
            ("ROBO_DEVICE_ID", "d1"),
            ("ROBO_DEVICE_NAME", "robot-7"),
            ("ROBO_PROJECT", "lab"),
            ("ROBO_APPLICATION", "shop"),
            ("ROBO_INSTANCE", "/vm 1/web-a"),
            ("USER", "robo"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("ROBOCONF_UPDATE_STATUS"));
        assert!(env.keys().all(|name| *name == clean(name)));
    }

    #[test]
    fn an_update_tells_the_last_provider_that_is_there() {
        let mut context = context();
        let env = build(Step::Update, &context);
        assert_eq!(env["ROBOCONF_UPDATE_STATUS"], "DEPLOYED_STARTED");
        assert_eq!(env["ROBOCONF_IMPORT_CHANGED_INSTANCE_PATH"], "/c/db");
        assert_eq!(env["ROBOCONF_IMPORT_CHANGED_COMPONENT"], "MySQL");
        assert_eq!(env["ROBOCONF_IMPORT_CHANGED_ip"], "2");
        context.changes.remove(0);
        let env = build(Step::Update, &context);
        assert_eq!(env["ROBOCONF_UPDATE_STATUS"], "DEPLOYED_STOPPED");
        assert_eq!(env["ROBOCONF_IMPORT_CHANGED_ip"], "3");
    }

    #[test]
    fn the_file_tells_everything() {
        let temporary = tempfile::tempdir().unwrap();
        let folders = Folders::new(temporary.path());
        folders.create().unwrap();
        let context = context();
        let folder = folders.instance(&context.key);
        folder.create(None).unwrap();
        write_context(&folder, &context).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(folder.context_file()).unwrap()).unwrap();
        assert_eq!(read["instance"]["name"], "web-a");
        assert_eq!(read["exports"]["http-port"], "80");
        assert_eq!(read["imports"]["Db-x"][1]["variables"]["the-port"], "5");
        assert_eq!(read["ancestors"][0]["component"], "VM-x");
        assert_eq!(read["changes"].as_array().unwrap().len(), 2);
    }
}
