//! `robo up`: a manager and an agent for each host instance, on this machine.

use std::collections::BTreeSet;
use std::path::PathBuf;

use robo_model::name::{ApplicationName, DeviceName};
use robo_model::quantity::Millis;
use robo_wire::api::{ApplyRequest, Status};
use robo_wire::plan::{Action, Plan};

use super::plan::Properties;
use crate::bundle::{self, Graph};
use crate::cli::Env;
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::{self, Ui};
use crate::progress::{self, Element, FollowEnd, FollowOptions, Goal};
use crate::service::StopSignals;
use crate::up::{self, Children, Environment, Folder, Watch};

/// Runs an application on this machine: a manager, and an agent process for each of its machines.
///
/// Each machine gets a loopback address and a folder of its own; nothing needs root, and nothing has to be installed.
/// It shows how everything starts, and then what happens, until Ctrl-C stops it all gently; a second Ctrl-C does so
/// at once. What the application wrote is kept, and the next `robo up` goes on from there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo up app.graph                  run it, until Ctrl-C
  robo up app.graph --detach         run it and return when all is as wished; `robo down` ends it")]
pub(crate) struct UpArgs {
    /// A graph file, a folder with one graph in it, or a Roboconf project folder.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Return as soon as everything is as wished, and leave it running.
    #[arg(short, long)]
    detach: bool,
    /// How long everything may take to be as wished.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    timeout: Millis,
    #[command(flatten)]
    properties: Properties,
}

pub(crate) async fn run(args: UpArgs, env: &Env) -> Result<Exit, CliError> {
    let graph = bundle::compile_checked(&args.path, &args.properties.map(), &env.ui)?;
    let Some(application) = graph.application() else { return Ok(Exit::Error) };
    let hosts = up::hosts(application).map_err(|error| {
        CliError::new(format!("a machine's name cannot be made of its instance's path: {error}"))
            .help("give it one: `device: NAME;` in the instance")
    })?;
    let name = application.name.clone();
    let folder = Folder::new(&env.paths);
    let session = Session { env, args, graph, hosts, name, folder, children: Children::new() };
    Box::pin(session.run()).await
}

/// One `robo up`.
struct Session<'a> {
    env: &'a Env,
    args: UpArgs,
    graph: Graph,
    hosts: BTreeSet<DeviceName>,
    name: ApplicationName,
    folder: Folder,
    children: Children,
}

/// Who ends everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// This process, when it ends.
    Us,
    /// Another `robo up`, with this process id.
    Other(u32),
    /// Nobody, until `robo down`.
    Nobody,
}

/// How it was found, and who ends it.
#[derive(Debug, Clone, Copy)]
struct Start {
    was_down: bool,
    keeper: Keeper,
}

impl Session<'_> {
    async fn run(mut self) -> Result<Exit, CliError> {
        let mut signals = StopSignals::catch()?;
        let mut environment = Environment::lock(&self.folder, &self.env.ui).await?;
        let keeper = match environment.other_owner() {
            Some(pid) => Keeper::Other(pid),
            None if self.args.detach => Keeper::Nobody,
            None => Keeper::Us,
        };
        let start = Start { was_down: environment.is_down(), keeper };
        if !matches!(keeper, Keeper::Other(_)) {
            environment.own(keeper == Keeper::Us)?;
        }
        let begun = tokio::select! {
            begun = self.begin(&mut environment) => begun,
            () = signals.next() => Err(interrupted(&self.env.ui)),
        };
        let client = match begun {
            Ok(client) => client,
            Err(error) => return self.give_up(environment, start, error, &mut signals).await,
        };
        drop(environment);
        let mut children = std::mem::take(&mut self.children);
        let applied = tokio::select! {
            applied = self.apply(&client, start) => applied,
            error = up::until_one_dies(&self.folder, &mut children, self.env) => Err(error),
            () = signals.next() => Err(interrupted(&self.env.ui)),
        };
        self.children = children;
        match (applied, keeper) {
            (Ok((exit, cursor)), Keeper::Us) => self.stay(client, cursor, exit, &mut signals).await,
            (Ok((exit, _)), Keeper::Other(_) | Keeper::Nobody) => Ok(exit),
            (Err(error), _) => {
                let environment = Environment::lock(&self.folder, &self.env.ui).await?;
                self.give_up(environment, start, error, &mut signals).await
            }
        }
    }

    /// Starts manager and agents.
    async fn begin(&mut self, environment: &mut Environment) -> Result<Client, CliError> {
        let ui = &self.env.ui;
        let context = environment.start_manager(&mut self.children).await?;
        let client = Environment::client(&context, self.env.options.project.as_ref())?;
        up::use_context(&self.env.paths, context, ui)?;
        environment.start_agents(&self.hosts, &client, &mut self.children).await?;
        ui.note(format!("A manager and {} run here.", agents(self.hosts.len())));
        Ok(client)
    }

    /// Plans, shows the plan, applies it, and shows how it goes. Gives the exit code and the last event.
    async fn apply(&self, client: &Client, start: Start) -> Result<(Exit, u64), CliError> {
        let ui = &self.env.ui;
        let packed = self.graph.pack()?;
        packed.upload(client, ui).await?;
        let plan = client.plan(&packed.bundle, false).await?;
        if ui.is_machine() {
            ui.element(&Element::Plan(&plan))?;
        } else {
            ui.note(told(&plan, start.was_down, ui));
        }
        // What failed before, and was reported, is old news. An application that is new has no status.
        let before = client.status(Some(&self.name)).await.ok();
        let request = ApplyRequest {
            bundle: packed.bundle,
            plan_id: plan.id.clone(),
            keep_overrides: false,
            note: None,
            rollback_of: None,
        };
        let applied = client.apply(&request).await?;
        let mut options = FollowOptions::new(Goal::AsWished, applied.cursor).after_plan(&plan);
        options.timeout = Some(self.args.timeout.duration());
        options.before = before;
        options.interruptible = false;
        let end = Box::pin(progress::follow(ui, client, &self.name, options)).await?;
        let exit = progress::conclude(ui, &self.name, &end)?;
        if matches!(end, FollowEnd::Reached(_)) {
            let mut environment = Environment::lock(&self.folder, ui).await?;
            environment.end_idle_agents(&self.hosts, client).await?;
        }
        self.tell_what_next(client, end.status(), start.keeper).await?;
        Ok((exit, end.status().cursor))
    }

    /// Shows where to look, and what can be done now.
    async fn tell_what_next(&self, client: &Client, status: &Status, keeper: Keeper) -> Result<(), CliError> {
        let ui = &self.env.ui;
        let Some(application) = self.graph.application() else { return Ok(()) };
        let devices = client.devices().await?;
        let address = |name: &DeviceName| devices.iter().find(|d| d.name == *name).map(|d| d.facts.address.clone());
        for (path, url) in up::urls(status, application, address) {
            ui.note(format!("{path} is at {}", ui.err.bold(&url)));
        }
        let is_only = client.applications().await?.len() == 1;
        for hint in hints(status, is_only, keeper) {
            ui.note(format!("  {hint}"));
        }
        Ok(())
    }

    /// Stays until Ctrl-C, and then stops everything.
    async fn stay(
        mut self,
        client: Client,
        cursor: u64,
        exit: Exit,
        signals: &mut StopSignals,
    ) -> Result<Exit, CliError> {
        let project = self.env.options.project.as_ref();
        let watch =
            Watch { env: self.env, folder: &self.folder, hosts: &self.hosts, project, client: client.clone(), cursor };
        let watched = tokio::select! {
            watched = watch.run(&mut self.children) => Some(watched),
            () = signals.next() => None,
        };
        match watched {
            Some(Ok(())) => {
                self.env.ui.note("`robo down` in another terminal ended everything.");
                Ok(exit)
            }
            Some(Err(error)) => {
                let environment = Environment::lock(&self.folder, &self.env.ui).await?;
                let start = Start { was_down: true, keeper: Keeper::Us };
                self.give_up(environment, start, error, signals).await
            }
            None => {
                self.env.ui.after_interrupt();
                let environment = Environment::lock(&self.folder, &self.env.ui).await?;
                self.stop(environment, signals).await?;
                Ok(exit)
            }
        }
    }

    /// Ends with `error`; what was started is stopped before. What ran already goes on, unless Ctrl-C was meant for it.
    async fn give_up(
        &self,
        mut environment: Environment,
        start: Start,
        error: CliError,
        signals: &mut StopSignals,
    ) -> Result<Exit, CliError> {
        self.env.ui.error(&error);
        let is_wished = error.exit() == Exit::Interrupted && start.keeper == Keeper::Us;
        if environment.is_down() {
            return Err(CliError::told(error.exit()));
        }
        if start.was_down || is_wished {
            self.stop(environment, signals).await?;
        } else {
            if start.keeper == Keeper::Us {
                environment.own(false)?;
            }
            self.env.ui.note("What ran here before goes on running; `robo down` ends it.");
        }
        Err(CliError::told(error.exit()))
    }

    async fn stop(&self, mut environment: Environment, signals: &mut StopSignals) -> Result<(), CliError> {
        // Without a usable context nobody can be asked to stop; then it goes without.
        let client = environment.current_client(self.env.options.project.as_ref()).ok().flatten();
        environment.stop(client.as_ref(), signals.next(), &self.env.ui).await?;
        self.env.ui.note("Everything is stopped; data is kept, and the same command goes on with it.");
        Ok(())
    }
}

/// How a plan calls what somebody stopped. Whoever ended the last `robo up` did just that with everything.
const BY_HAND: &str = "by hand";

/// The plan for people. After everything was down, that all of it starts again is no news: only the rest is told.
fn told(plan: &Plan, was_down: bool, ui: &Ui) -> String {
    if !was_down || plan.is_empty() {
        return output::plan::render(plan, false, ui.err);
    }
    let mut rest = plan.clone();
    rest.changes.retain(|change| change.action != Action::Start);
    rest.changes.iter_mut().for_each(|change| change.reasons.retain(|reason| !reason.contains(BY_HAND)));
    rest.warnings.retain(|warning| !warning.contains(BY_HAND));
    match plan.ground.revision {
        Some(_) if rest.is_empty() && rest.warnings.is_empty() => {
            format!("{} starts again; nothing else changes.\n", ui.err.bold(plan.application.as_str()))
        }
        Some(_) | None => output::plan::render(&rest, false, ui.err),
    }
}

fn interrupted(ui: &Ui) -> CliError {
    ui.after_interrupt();
    CliError::told(Exit::Interrupted)
}

fn agents(count: usize) -> String {
    if count == 1 { "one agent".to_owned() } else { format!("{count} agents") }
}

/// What can be done now.
fn hints(status: &Status, is_only: bool, keeper: Keeper) -> Vec<String> {
    let instance = status.instances.iter().find(|i| i.installer != "target").or(status.instances.first());
    let mut hints = vec!["robo status -o wide".to_owned()];
    if let Some(instance) = instance {
        let path = format!("{}{}", if is_only { "" } else { instance.application.as_str() }, instance.path);
        hints.push(format!("robo logs {} -f", output::shell_word(&path)));
        hints.push(format!("robo exec {} -- uptime", instance.device));
    }
    hints.push(match keeper {
        Keeper::Us => "Ctrl-C here, or `robo down`, stops everything".to_owned(),
        Keeper::Other(pid) => format!("`robo up` in another terminal (process {pid}) keeps it running"),
        Keeper::Nobody => "`robo down` stops everything".to_owned(),
    });
    hints
}

#[cfg(test)]
mod tests {
    use robo_model::effect::Effect;
    use robo_model::name::{ComponentName, InstancePath};
    use robo_wire::plan::{Change, Ground};

    use super::*;
    use crate::cli::Format;
    use crate::output::paint::Palette;

    fn plan(actions: &[Action], warnings: &[&str]) -> Plan {
        let change = |action: &Action| Change {
            path: InstancePath::new("/web-1/web").unwrap(),
            component: ComponentName::new("Web").unwrap(),
            device: DeviceName::new("web-1").unwrap(),
            action: *action,
            reasons: vec!["env.A 1 → 2".into(), "was stopped by hand".into()],
        };
        Plan {
            id: "0".into(),
            application: ApplicationName::new("shop").unwrap(),
            ground: Ground { revision: Some(3), ..Ground::default() },
            changes: actions.iter().map(change).collect(),
            ripple: vec![],
            waves: vec![],
            steps: Vec::new(),
            overrides: Vec::new(),
            warnings: warnings.iter().map(|w| (*w).to_owned()).collect(),
        }
    }

    #[test]
    fn what_only_starts_again_is_not_listed() {
        let ui = Ui { err: Palette::new(false), ..Ui::from_environment(Format::Table) };
        let by_hand = "`/web-1` was stopped by hand: it starts again";
        let again = plan(&[Action::Start; 2], &[by_hand]);
        assert_eq!(told(&again, true, &ui), "shop starts again; nothing else changes.\n");
        assert!(told(&again, false, &ui).contains("was stopped by hand"), "it was a person, and that is news");

        let mixed = plan(&[Action::Start, Action::Change(Effect::Restart)], &[by_hand, "no such label"]);
        let text = told(&mixed, true, &ui);
        assert!(text.contains("env.A 1 → 2") && text.contains("no such label"), "{text}");
        assert!(text.contains("0 to create, 1 to change, 0 to delete.") && !text.contains("by hand"), "{text}");
    }
}
