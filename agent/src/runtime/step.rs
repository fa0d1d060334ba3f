//! One order, from its begin to its report.

use std::sync::Arc;

use robo_model::graph::Installer;
use robo_model::state::Step;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::{Shared, check, ending, explain, in_background, recipe, script, supervise};
use crate::keeper::output::Log;
use crate::order::{Order, Outcome, Report};

/// Why a step failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: String,
    pub(super) exit_code: Option<i32>,
    pub(super) output: Vec<String>,
}

impl Failed {
    /// A failure without a program that ended.
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), exit_code: None, output: Vec::new() }
    }
}

/// What goes on after a step is done.
enum After {
    Nothing,
    /// The process that was started, to be looked after.
    Process(Box<Kept>),
    /// The check of an instance without a process of ours.
    Check,
}

/// Carries out `order` and reports its end; then looks after what it started.
pub(super) async fn carry_out(shared: Arc<Shared>, order: Order, abort: CancellationToken) {
    let done = in_turn(&shared, &order, &abort).await;
    let (outcome, after) = match done {
        Ok(after) => (Outcome::Done, after),
        Err(Failed { reason, exit_code, output }) => (Outcome::Failed { reason, exit_code, output }, After::Nothing),
    };
    // Before anybody hears of it: the order that comes then may be to stop it.
    let token = match after {
        After::Nothing => None,
        After::Process(_) | After::Check => Some(shared.attach(&order.key, order.run)),
    };
    shared.leave(&order);
    shared.report(Report::StepEnded { key: order.key.clone(), run: order.run, outcome }).await;
    shared.tell_files_again(&order.key);
    match (after, token) {
        (After::Process(kept), Some(token)) => supervise::look_after(&shared, &order, *kept, &token).await,
        (After::Check, Some(token)) => check::watch(&shared, &order, &token).await,
        (After::Nothing | After::Process(_) | After::Check, _) => {}
    }
}

/// Waits for room, and carries the step out.
async fn in_turn(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<After, Failed> {
    let room = match order.step {
        Step::Deploy | Step::Start | Step::Update => &shared.beginning,
        Step::Stop | Step::Undeploy => &shared.ending,
    };
    let _room = tokio::select! {
        biased;
        room = room.acquire() => room.ok(),
        () = abort.cancelled() => {
            if shared.folder(order).run(order.run).spec().is_ok_and(|spec| spec.is_none()) {
                return Err(Failed::because(format!("the {} was aborted before it began", order.step)));
            }
            // A former agent began it: it is ended where it is carried out.
            None
        }
    };
    by_installer(shared, order, abort).await
}

async fn by_installer(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<After, Failed> {
    match &order.installer {
        Installer::Script | Installer::Process(_) => by_step(shared, order, abort).await,
        Installer::Logger => log_step(shared, order).await,
        Installer::Target => Err(Failed::because("a host instance has no steps; this is a defect of robo")),
        Installer::Container(_) | Installer::Other { .. } => {
            let name = order.installer.name();
            Err(Failed::because(format!("this device has no installer `{name}`; it has script, process, logger")))
        }
    }
}

async fn by_step(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<After, Failed> {
    match order.step {
        Step::Deploy => deploy(shared, order, abort).await,
        Step::Start => start(shared, order, abort).await,
        Step::Update => script::run(shared, order, abort).await.map(|()| After::Nothing),
        Step::Stop => {
            end_process(shared, order, abort).await?;
            script::run(shared, order, abort).await.map(|()| After::Nothing)
        }
        Step::Undeploy => {
            end_process(shared, order, abort).await?;
            script::run(shared, order, abort).await?;
            remove(shared, order).await.map(|()| After::Nothing)
        }
    }
}

async fn deploy(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<After, Failed> {
    let folder = shared.folder(order);
    shared.leave_files(&order.key).await.map_err(Failed::because)?;
    // With the script begun, the files are in place, and it may have changed them.
    if folder.run(order.run).spec().ok().flatten().is_none() {
        let owner = script::owner(order)?;
        let (instance, user) = (folder.clone(), owner.clone());
        let create = move || {
            instance.create(user.as_ref()).map_err(|e| explain("make the instance's folder", instance.path(), &e))
        };
        in_background(create).await.map_err(Failed::because)?;
        let sources = tokio::select! {
            sources = recipe::fetch(shared, order) => sources.map_err(Failed::because)?,
            () = tokio::time::sleep(order.deadline.duration()) => {
                return Err(Failed::because(format!("fetching the recipe timed out after {}", order.deadline)));
            }
            () = abort.cancelled() => return Err(Failed::because("fetching the recipe was aborted")),
        };
        recipe::place(folder.recipe(), sources, owner).await.map_err(Failed::because)?;
    }
    script::run(shared, order, abort).await?;
    shared.manage_files(&order.key, &order.files).await.map_err(Failed::because)?;
    Ok(After::Nothing)
}

async fn start(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<After, Failed> {
    if let Installer::Process(process) = &order.installer {
        let kept = supervise::start(shared, order, process, abort).await?;
        return Ok(After::Process(Box::new(kept)));
    }
    let until = Instant::now() + order.deadline.duration();
    script::run(shared, order, abort).await?;
    let Some(probe) = &order.settings.check else { return Ok(After::Nothing) };
    let mut last = String::new();
    tokio::select! {
        () = check::first_pass(shared, order, probe, &mut last) => return Ok(After::Check),
        () = tokio::time::sleep_until(until) => {}
        () = abort.cancelled() => return Err(Failed::because("the start was aborted while its check did not pass")),
    }
    Err(Failed::because(format!("timed out after {}: {last}", order.deadline)))
}

/// Ends the process of the instance, if one runs, and stops looking after it.
async fn end_process(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<(), Failed> {
    shared.detach(&order.key);
    match order.process {
        Some(run) => supervise::stop(shared, order, run, abort).await,
        None => Ok(()),
    }
}

async fn remove(shared: &Shared, order: &Order) -> Result<(), Failed> {
    let folder = shared.folder(order);
    shared.leave_files(&order.key).await.map_err(Failed::because)?;
    ending::end_instance(&folder).await.map_err(Failed::because)?;
    in_background(move || folder.remove_deployed().map_err(|e| explain("remove", folder.path(), &e)))
        .await
        .map_err(Failed::because)
}

/// The logger writes down that a step was taken, and what it would have been told.
async fn log_step(shared: &Shared, order: &Order) -> Result<After, Failed> {
    let folder = shared.folder(order);
    let names: Vec<String> = shared.environment(order).into_keys().collect();
    let line = format!("{} {}: {}\n", order.step, order.key, names.join(" "));
    let last = order.step == Step::Undeploy;
    in_background(move || {
        let failed = |e: std::io::Error| explain("write the log in", &folder.logs(), &e);
        folder.create(None).map_err(failed)?;
        Log::open(&folder.logs()).and_then(|mut log| log.write(line.as_bytes())).map_err(failed)?;
        if last { folder.remove_deployed().map_err(failed) } else { Ok(()) }
    })
    .await
    .map_err(Failed::because)?;
    Ok(After::Nothing)
}
