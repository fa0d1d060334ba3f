//! What the language has and this version of robo does not do: refused where an instance could not run, warned of where it
//! runs otherwise than the file says. Nothing is left out in silence.

use std::collections::BTreeMap;

use robo_model::graph::{Installer, Settings};
use robo_model::name::ComponentName;
use robo_model::template::{Reference, references};

use super::problem::{Problem, Problems};
use super::tree::{Node, Tree};
use super::warning::Warnings;

/// Looks at each component that has an instance, once.
pub(super) fn check(tree: &Tree<'_>, problems: &mut Problems, warnings: &mut Warnings) {
    let mut first: BTreeMap<&ComponentName, &Node<'_>> = BTreeMap::new();
    for node in &tree.nodes {
        first.entry(&node.component.name).or_insert(node);
    }
    for node in first.values() {
        container(node, problems);
        secrets(node, problems);
    }
    if let Some(rollout) = &tree.application.rollout {
        let all = "every instance that changes does so at once";
        warnings.add(format!("`rollout: {rollout};` of the application has no effect in this version of robo: {all}"));
    }
    for (name, node) in first {
        for (setting, instead) in without_effect(&node.component.settings) {
            warnings.add(format!("`{setting};` of `{name}` has no effect in this version of robo: {instead}"));
        }
    }
}

fn container(node: &Node<'_>, problems: &mut Problems) {
    if let Installer::Container(_) = node.component.installer {
        problems.add(|| Problem::ContainerUnsupported { path: node.instance.path.clone() });
    }
}

fn secrets(node: &Node<'_>, problems: &mut Problems) {
    let env = match &node.component.installer {
        Installer::Process(process) => &process.env,
        Installer::Container(container) => &container.env,
        Installer::Target | Installer::Script | Installer::Logger | Installer::Other { .. } => return,
    };
    for (key, value) in env {
        for (reference, _) in references(value) {
            if let Reference::Secret(secret) = reference {
                problems.add(|| Problem::SecretUnsupported {
                    path: node.instance.path.clone(),
                    key: key.clone(),
                    secret: secret.to_owned(),
                });
            }
        }
    }
}

/// Each setting that nothing acts upon, as written, and what happens instead.
fn without_effect(settings: &Settings) -> Vec<(String, &'static str)> {
    let Settings { memory, cpu, rollout, .. } = settings;
    let memory = memory.map(|memory| (format!("memory: {memory}"), "nothing limits its memory"));
    let cpu = cpu.map(|cpu| (format!("cpu: {cpu}"), "nothing limits its processor time"));
    let rollout = rollout.as_ref().map(|rollout| (format!("rollout: {rollout}"), "its instances change at once"));
    [memory, cpu, rollout].into_iter().flatten().collect()
}
