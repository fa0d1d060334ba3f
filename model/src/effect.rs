//! What a changed specification, or changed imports, do to an instance that is already there.
//!
//! Planner and agent both ask here, so that what a plan shows is what then happens.

use serde::{Deserialize, Serialize};

use crate::graph::Installer;
use crate::name::{ComponentName, VariableName};
use crate::spec::InstanceSpec;
use crate::template::{self, Reference};

/// What happens to a deployed instance when its specification changes; ordered by how much it disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Effect {
    /// Nothing.
    None,
    /// Noted; takes hold from the next step or check on, and disturbs nothing.
    Note,
    /// Its exports are published anew; it keeps running.
    Republish,
    /// Stop, start.
    Restart,
    /// Stop, deploy again over what is there, start. Undeploy does not run, so data stays.
    Redeploy,
    /// Stop, undeploy, deploy, start: it became another component or installer.
    Replace,
}

/// What turning `old` into `new` does. What is wanted (started, stopped) is not compared.
#[must_use]
pub fn of_change(old: &InstanceSpec, new: &InstanceSpec) -> Effect {
    if old.component != new.component
        || std::mem::discriminant(&old.installer) != std::mem::discriminant(&new.installer)
        || old.installer.name() != new.installer.name()
    {
        return Effect::Replace;
    }
    if old.files != new.files || old.settings.user != new.settings.user {
        return Effect::Redeploy;
    }
    if old.installer != new.installer || old.exports != new.exports {
        return if old.installer == Installer::Target { Effect::Republish } else { Effect::Restart };
    }
    if old.outside != new.outside {
        return Effect::Republish;
    }
    if old.imports != new.imports || old.bindings != new.bindings || old.settings != new.settings {
        return Effect::Note;
    }
    Effect::None
}

/// What a change of the received `prefix.variable` does to a *started* instance: a restart when its command line or
/// environment names the variable, an update step else. A check that names it is carried out with the new value from
/// then on, and disturbs nothing.
#[must_use]
pub fn of_import_change(spec: &InstanceSpec, prefix: &ComponentName, variable: &VariableName) -> Effect {
    let named = |text: &str| {
        template::references(text).any(|(reference, _)| match reference {
            Reference::Variable(name) => name.split_once('.') == Some((prefix.as_str(), variable.as_str())),
            Reference::Secret(_) => false,
        })
    };
    let (run, env) = match &spec.installer {
        Installer::Process(process) => (Some(&process.run), &process.env),
        Installer::Container(container) => (container.run.as_ref(), &container.env),
        Installer::Script | Installer::Logger | Installer::Other { .. } | Installer::Target => return Effect::Note,
    };
    if run.into_iter().chain(env.values()).any(|text| named(text)) { Effect::Restart } else { Effect::Note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ExportValue, Process};

    fn spec() -> InstanceSpec {
        serde_json::from_str(
            r#"{"key": {"application": "shop", "path": "/vm/web"}, "component": "Web",
                "installer": {"kind": "process", "run": "web --db $(Db.ip)", "env": {"PORT": "$(Db.port)"}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn each_change_has_its_effect() {
        let old = spec();
        let check = |change: fn(&mut InstanceSpec), expect| {
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(of_change(&old, &new), expect);
        };
        check(|_| {}, Effect::None);
        check(|s| s.wanted = crate::state::Wanted::Stopped, Effect::None);
        check(|s| s.settings.start_timeout = Some(crate::quantity::Millis(1)), Effect::Note);
        check(|s| drop(s.exports.insert("Web.port".parse().unwrap(), ExportValue::Address)), Effect::Restart);
        check(|s| drop(s.outside.insert("Wh.port".parse().unwrap(), "Web.port".parse().unwrap())), Effect::Republish);
        check(|s| drop(s.bindings.insert("Wh".parse().unwrap(), ["stock".parse().unwrap()].into())), Effect::Note);
        check(|s| s.settings.user = Some("web".into()), Effect::Redeploy);
        check(|s| s.component = "Other".parse().unwrap(), Effect::Replace);
        check(|s| s.facets = ["Served".parse().unwrap()].into(), Effect::None);
        check(|s| s.installer = Installer::Script, Effect::Replace);
        check(
            |s| {
                s.installer =
                    Installer::Process(Process { run: "x".into(), restart: Default::default(), env: [].into() });
            },
            Effect::Restart,
        );
    }

    #[test]
    fn a_named_import_restarts_a_process() {
        let check = |name: &str, expect| {
            let variable = crate::name::Variable::parse(name).unwrap();
            assert_eq!(of_import_change(&spec(), &variable.prefix, &variable.local), expect, "{name}");
        };
        check("Db.ip", Effect::Restart);
        check("Db.port", Effect::Restart);
        check("Db.name", Effect::Note);
    }
}
