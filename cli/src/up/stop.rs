//! Ends everything: first the instances, by their own stop steps, then the agents, then the manager, then whatever
//! is left. Each part has its time; who loses patience gets the last part at once.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use robo_agent::folders::Folders;
use robo_agent::runtime::Runtime;
use robo_model::graph::Installer;
use robo_model::state::{InstanceState, Wanted};
use robo_wire::api::{InstanceView, Scope, Status, WantedRequest};
use rustix::process::Signal;

use super::environment::{Environment, LOOK};
use super::process::ProcessId;
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::output::Ui;

/// How long the instances may take to stop: several waves of steps, each with a deadline of its own.
const INSTANCES: Duration = Duration::from_secs(90);

/// How long agents may take to end, and then the manager, which waits five seconds for its requests.
const PROCESSES: Duration = Duration::from_secs(10);

/// How long what was killed may take to be gone.
const KILLED: Duration = Duration::from_secs(5);

/// Time between two looks at the status.
const ASK: Duration = Duration::from_millis(200);

impl Environment {
    /// Stops everything; at once as soon as `hurry` is there. What was kept on disk stays.
    ///
    /// # Errors
    /// When the record cannot be written, or a process cannot be ended.
    pub(crate) async fn stop(
        &mut self,
        client: Option<&Client>,
        hurry: impl Future<Output = ()>,
        ui: &Ui,
    ) -> Result<(), CliError> {
        self.record.stopping = true;
        self.save()?;
        tokio::select! {
            () = self.stop_gently(client, ui) => {}
            () = hurry => ui.note("Stopping at once."),
        }
        self.kill(ui).await;
        if let Some(left) = self.record.processes().find(|process| process.is_alive()) {
            return Err(CliError::new(format!("process {} cannot be ended", left.pid))
                .help(format!("it is listed in {}", self.folder.record().display())));
        }
        self.record.manager = None;
        self.record.agents.values_mut().for_each(|agent| agent.process = None);
        self.record.owner = None;
        self.record.stopping = false;
        self.save()
    }

    /// Removes everything that was kept, once all is stopped.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub(crate) fn purge(&mut self) -> Result<(), CliError> {
        let failed =
            |path: &Path, error: io::Error| CliError::new(format!("cannot remove {}: {error}", path.display()));
        for path in [self.folder.agents(), self.folder.manager(), self.folder.logs()] {
            there(std::fs::remove_dir_all(&path)).map_err(|error| failed(&path, error))?;
        }
        let ready = self.folder.ready();
        there(std::fs::remove_file(&ready)).map_err(|error| failed(&ready, error))?;
        self.record = super::record::Record::default();
        self.save()
    }

    async fn stop_gently(&self, client: Option<&Client>, ui: &Ui) {
        if let Some(client) = client
            && self.record.manager.as_ref().is_some_and(ProcessId::is_alive)
        {
            stop_instances(client, ui).await;
        }
        let agents: Vec<&ProcessId> = self.record.agents.values().filter_map(|a| a.process.as_ref()).collect();
        terminate(&agents).await;
        terminate(&self.record.manager.iter().collect::<Vec<_>>()).await;
    }

    /// Kills what runs, the processes that agents looked after too.
    async fn kill(&self, ui: &Ui) {
        for process in self.record.processes() {
            process.signal(Signal::KILL);
        }
        wait_for_end(&self.record.processes().collect::<Vec<_>>(), KILLED).await;
        let agents = self.record.agents.keys().map(|device| (device, self.folder.agent(device)));
        let leftovers = agents
            .filter(|(_, folder)| folder.exists())
            .map(async |(device, folder)| (device, Runtime::kill_leftovers(&Folders::new(folder)).await));
        for (device, ended) in futures_util::future::join_all(leftovers).await {
            match ended {
                Ok(ended) if ended.left == 0 => {}
                Ok(ended) => ui.note(format!("{} processes of {device} cannot be ended.", ended.left)),
                Err(error) => ui.note(format!("What {device} ran may be left: {error}")),
            }
        }
    }
}

/// To remove what is not there is no failure.
pub(super) fn there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Asks for all applications to be stopped, and waits until they are.
async fn stop_instances(client: &Client, ui: &Ui) {
    let result = async {
        let status = client.status(None).await?;
        for application in &status.applications {
            ui.note(format!("Stopping {} …", application.name));
            client.want(&application.name, &WantedRequest { scope: Scope::default(), wanted: Wanted::Stopped }).await?;
        }
        wait_for_instances(client, ui).await
    };
    if let Err(error) = result.await {
        ui.note(format!("The instances cannot be stopped by their own steps and will be ended: {error}"));
    }
}

async fn wait_for_instances(client: &Client, ui: &Ui) -> Result<(), ClientError> {
    let until = Instant::now() + INSTANCES;
    loop {
        match client.status(None).await.map(|status| still_running(&status)) {
            Ok(running) if running.is_empty() => return Ok(()),
            Ok(running) if Instant::now() > until => {
                ui.note(format!("Not stopped in {} s, and now ended: {}", INSTANCES.as_secs(), running.join(", ")));
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if error.is_passing() && Instant::now() < until => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(ASK).await;
    }
}

/// The instances that have to stop and have not; those of devices that are away cannot be waited for.
fn still_running(status: &Status) -> Vec<String> {
    let runs = |i: &&InstanceView| {
        let at_rest =
            matches!(i.state, InstanceState::NotDeployed | InstanceState::DeployedStopped | InstanceState::Problem);
        i.online && !at_rest && i.installer != Installer::Target.name()
    };
    status.instances.iter().filter(runs).map(|i| format!("{}{}", i.application, i.path)).collect()
}

/// Ends processes together.
async fn terminate(processes: &[&ProcessId]) {
    for process in processes {
        process.signal(Signal::TERM);
    }
    wait_for_end(processes, PROCESSES).await;
}

async fn wait_for_end(processes: &[&ProcessId], patience: Duration) {
    let until = Instant::now() + patience;
    while processes.iter().any(|p| p.is_alive()) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table::tests::view;

    #[test]
    fn only_what_runs_on_a_connected_machine_is_waited_for() {
        let check = |state: InstanceState, online: bool, installer: &str, expect: bool| {
            let mut instance = view("/web-1/web", "Web", "web-1", state);
            instance.online = online;
            instance.installer = installer.into();
            let status = Status { cursor: 0, applications: vec![], instances: vec![instance], circles: vec![] };
            assert_eq!(!still_running(&status).is_empty(), expect, "{state} {online} {installer}");
        };
        check(InstanceState::DeployedStarted, true, "process", true);
        check(InstanceState::Stopping, true, "script", true);
        check(InstanceState::Unresolved, true, "process", true);
        check(InstanceState::DeployedStarted, false, "process", false);
        check(InstanceState::DeployedStarted, true, "target", false);
        check(InstanceState::DeployedStopped, true, "process", false);
        check(InstanceState::NotDeployed, true, "process", false);
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let folder = tempfile::tempdir().unwrap();
        assert!(there(std::fs::remove_file(folder.path().join("a"))).is_ok());
        assert!(there(std::fs::remove_file(folder.path())).is_err());
    }
}
