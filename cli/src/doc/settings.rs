//! How a component is run: the rows of its table.

use std::collections::BTreeMap;
use std::fmt::Display;

use robo_model::graph::{Check, Component, Drift, Installer, Probe, RestartPolicy, Settings};

use super::page::{Line, Table, code, text};

/// Everything that is set; what is not keeps its default and has no row.
pub(super) fn table(component: &Component) -> Table {
    let mut rows = Vec::new();
    match &component.installer {
        Installer::Process(process) => {
            row(&mut rows, "run", Some(&process.run));
            let restart = match process.restart {
                RestartPolicy::Always => "always",
                RestartPolicy::OnFailure => "on-failure",
                RestartPolicy::Never => "never",
            };
            row(&mut rows, "restart", Some(&restart));
            environment(&mut rows, &process.env);
        }
        Installer::Container(container) => {
            row(&mut rows, "image", Some(&container.image));
            row(&mut rows, "run", container.run.as_ref());
            for (name, path) in &container.volumes {
                row(&mut rows, &format!("volume.{name}"), Some(path));
            }
            row(&mut rows, "network", container.network.as_ref());
            environment(&mut rows, &container.env);
        }
        Installer::Target | Installer::Script | Installer::Logger | Installer::Other { .. } => {}
    }
    settings(&mut rows, &component.settings);
    Table { title: "Runs", head: &["Setting", "Value"], rows }
}

fn settings(rows: &mut Vec<Vec<Line>>, settings: &Settings) {
    row(rows, "check", settings.check.as_ref().map(probe).as_ref());
    row(rows, "drift", (settings.drift == Drift::Heal).then_some(&settings.drift));
    row(rows, "user", settings.user.as_ref());
    row(rows, "memory", settings.memory.as_ref());
    row(rows, "cpu", settings.cpu.as_ref());
    row(rows, "deploy-timeout", settings.deploy_timeout.as_ref());
    row(rows, "start-timeout", settings.start_timeout.as_ref());
    row(rows, "stop-timeout", settings.stop_timeout.as_ref());
    row(rows, "lease", settings.lease.as_ref());
    row(rows, "rollout", settings.rollout.as_ref());
}

fn environment(rows: &mut Vec<Vec<Line>>, env: &BTreeMap<String, String>) {
    for (key, value) in env {
        row(rows, &format!("env.{key}"), Some(value));
    }
}

fn row(rows: &mut Vec<Vec<Line>>, name: &str, value: Option<&impl Display>) {
    if let Some(value) = value {
        rows.push(vec![vec![text(name)], vec![code(value.to_string())]]);
    }
}

/// As the language writes it.
fn probe(check: &Check) -> String {
    let probe = match &check.probe {
        Probe::Http { port, path } => format!("http {port} {path}"),
        Probe::Tcp { port } => format!("tcp {port}"),
        Probe::Run { command } => format!("run {command}"),
    };
    format!("{probe} every {} timeout {}", check.every, check.timeout)
}
