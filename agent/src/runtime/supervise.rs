//! Processes that robo supervises: started, looked after, taken up again after a restart of the agent, stopped.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use robo_model::graph::{Installer, Process, Settings};
use robo_model::quantity::Millis;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::kept::{self, Kept};
use super::step::Failed;
use super::{Shared, check, ending, explain, script};
use crate::keeper::proc::is_shortage;
use crate::keeper::record::{Exit, RunFolder, Running, Spec};
use crate::order::{Order, Report, RunId};

/// A process without a check is taken for started when it has lived this long: a wrong option ends it sooner.
const SETTLE: Duration = Duration::from_millis(500);

/// What a process that ran before this agent did gets beyond the time that it needs to show that it is well: the agent may
/// have been away for longer than a start may take, and all of its instances begin at once.
const MARGIN: Duration = Duration::from_secs(5);

/// Starts the process of `order` and waits until it is well.
pub(super) async fn start(
    shared: &Shared,
    order: &Order,
    process: &Process,
    abort: &CancellationToken,
) -> Result<Kept, Failed> {
    let run = shared.folder(order).run(order.run);
    let before = run.running().ok().flatten().is_some();
    let spec = match run.spec().map_err(|e| Failed::because(explain("read the run in", run.path(), &e)))? {
        Some(spec) => spec,
        None => prepare(shared, order, process).await?,
    };
    let name = spec.argv.first().map(|path| script::name_of(path)).unwrap_or_default();
    let mut kept = kept::begin(&shared.exe, run, &spec).await.map_err(Failed::because)?;
    let running = match kept.running().await {
        Ok(running) => running,
        Err(exit) => return Err(failed(&kept, &name, exit).await),
    };
    if let Some(child) = running.child {
        let (key, run) = (order.key.clone(), order.run);
        shared.report(Report::ProcessRuns { key, run, pid: child.pid, adopted: before }).await;
    }
    let mut last = String::new();
    let stopped = tokio::select! {
        biased;
        exit = kept.ended() => return Err(failed(&kept, &name, exit).await),
        () = abort.cancelled() => format!("the start of `{name}` was aborted"),
        () = is_well(shared, order, &mut last) => return Ok(kept),
        () = tokio::time::sleep(time_left(order, &spec, before)) => String::new(),
    };
    let reason = if stopped.is_empty() { format!("timed out after {}: {last}", order.deadline) } else { stopped };
    ending::end_run(kept.run(), ending::GRACE).await;
    let output = timeout(kept::WRITTEN, kept.ended()).await.map(|exit| exit.output).unwrap_or_default();
    Err(Failed { reason, exit_code: None, output })
}

/// Looks after a process that runs: its end and its health are reported, until `token` says that it is being stopped.
pub(super) async fn look_after(shared: &Shared, order: &Order, mut kept: Kept, token: &CancellationToken) {
    let look = async {
        let exit = tokio::select! {
            exit = kept.ended() => exit,
            () = check::health(shared, order) => return None,
        };
        // Its workers may still hold the port that its successor needs.
        ending::end_run(kept.run(), ending::GRACE).await;
        Some(exit)
    };
    if let Some(Some(exit)) = token.run_until_cancelled(look).await {
        ended(shared, order, exit).await;
    }
}

/// Takes up what a former agent started.
pub(super) async fn adopt(shared: Arc<Shared>, order: Order, token: CancellationToken) {
    let Installer::Process(_) = &order.installer else {
        return check::watch(&shared, &order, &token).await;
    };
    let run = shared.folder(&order).run(order.run);
    let Some(taken) = token.run_until_cancelled(take_up(&run)).await else { return };
    let (mut kept, running) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            // Whoever hears of its end starts another one.
            ending::end_run(&run, ending::GRACE).await;
            return ended(&shared, &order, Exit::error(format!("is not known here: {error}"))).await;
        }
    };
    match running.and_then(|running| running.child) {
        Some(child) => {
            let (key, run) = (order.key.clone(), order.run);
            shared.report(Report::ProcessRuns { key, run, pid: child.pid, adopted: true }).await;
            look_after(&shared, &order, kept, &token).await;
        }
        None => {
            let exit = kept.ended().await;
            ending::end_run(&run, ending::GRACE).await;
            ended(&shared, &order, exit).await;
        }
    }
}

/// Looks on at a run of a former agent; with what runs, where it does. What hinders this is waited for as long as the
/// process lives.
async fn take_up(run: &RunFolder) -> std::io::Result<(Kept, Option<Running>)> {
    let mut known: Option<Running> = None;
    let mut tries = 1;
    loop {
        let look = || {
            let over = run.exit()?.is_some();
            let running = run.running()?;
            Ok((over, running, kept::look_on(run)))
        };
        let error: std::io::Error = match look() {
            Ok((over, running, Ok(kept))) => {
                return Ok((kept, running.filter(|running| !over && running.is_alive())));
            }
            Ok((_, running, Err(error))) => {
                known = running.or(known);
                error
            }
            Err(error) => error,
        };
        let lives = known.as_ref().is_some_and(Running::is_alive);
        if !lives && (!is_shortage(&error) || tries >= ending::LOOK_TRIES) {
            return Err(error);
        }
        if tries == 1 {
            tracing::warn!(run = %run.path().display(), %error, "cannot look on at what runs; trying again");
        }
        tries += 1;
        tokio::time::sleep(ending::LOOK_PAUSE).await;
    }
}

/// How long its start may still take.
fn time_left(order: &Order, spec: &Spec, ran_before: bool) -> Duration {
    let left = script::time_left(order, spec.begun_at);
    if !ran_before {
        return left;
    }
    let needs = order.settings.check.as_ref().map_or(SETTLE, |check| check.timeout.duration());
    left.max(needs + MARGIN)
}

/// Ends the process of `run`: TERM, the time its settings give, KILL.
pub(super) async fn stop(shared: &Shared, order: &Order, run: RunId, abort: &CancellationToken) -> Result<(), Failed> {
    let run = shared.folder(order).run(run);
    let unknown = |e: std::io::Error| Failed::because(explain("read the run in", run.path(), &e));
    if !run.path().exists() || ending::forestall(&run).map_err(unknown)? {
        return Ok(());
    }
    let mut kept = kept::look_on(&run).map_err(unknown)?;
    if timeout(kept::WRITTEN, kept.running()).await.is_ok_and(|running| running.is_err()) {
        // It has ended by itself; its children may have not.
        ending::end_run(&run, ending::GRACE).await;
        return Ok(());
    }
    let grace = order.settings.stop_timeout.unwrap_or(Settings::STOP_TIMEOUT);
    let aborted = tokio::select! {
        () = ending::end_run(&run, grace.duration()) => false,
        () = abort.cancelled() => true,
    };
    if aborted {
        ending::end_run(&run, Millis(0).duration()).await;
    }
    if timeout(kept::WRITTEN, kept.ended()).await.is_err() {
        return Err(Failed::because("the process cannot be ended: the kernel holds it"));
    }
    if aborted { Err(Failed::because("the stop was aborted; its process was killed")) } else { Ok(()) }
}

async fn ended(shared: &Shared, order: &Order, exit: Exit) {
    shared.detach_run(&order.key, order.run);
    let (key, run, reason) = (order.key.clone(), order.run, exit.sentence());
    shared.report(Report::ProcessEnded { key, run, code: exit.code, reason, output: exit.output }).await;
}

async fn failed(kept: &Kept, name: &str, exit: Exit) -> Failed {
    ending::end_run(kept.run(), ending::GRACE).await;
    Failed { reason: script::sentence(name, &exit), exit_code: exit.code, output: exit.output }
}

async fn is_well(shared: &Shared, order: &Order, last: &mut String) {
    match &order.settings.check {
        Some(probe) => check::first_pass(shared, order, probe, last).await,
        None => tokio::time::sleep(SETTLE).await,
    }
}

async fn prepare(shared: &Shared, order: &Order, process: &Process) -> Result<Spec, Failed> {
    let recipe = shared.folder(order).recipe();
    let env = shared.environment(order);
    let path = env.get("PATH").map_or("", String::as_str);
    let argv = command(&process.run, &recipe, path).map_err(Failed::because)?;
    script::prepare(shared, order, argv, recipe).await
}

/// The words of a command line, the first one made the path of the program.
pub(super) fn command(line: &str, recipe: &Path, path: &str) -> Result<Vec<String>, String> {
    let Some(mut words) = shlex::split(line) else {
        return Err(format!("`{line}` is no command line: a quote is not closed"));
    };
    let Some(first) = words.first_mut() else {
        return Err("the command line is empty; `run:` names the program and its arguments".to_owned());
    };
    *first = script::text(&find_program(first, recipe, path)?);
    Ok(words)
}

fn find_program(name: &str, recipe: &Path, path: &str) -> Result<PathBuf, String> {
    let is_program = |file: &Path| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let file = recipe.join(name);
        return match file.metadata() {
            Ok(_) if is_program(&file) => Ok(file),
            Ok(_) => Err(format!("`{name}` is not executable: set its mode, and apply again")),
            Err(_) if name.starts_with('/') => Err(format!("there is no program `{name}` on this device")),
            Err(_) => Err(format!("there is no program `{name}` in the recipe")),
        };
    }
    let found = path.split(':').filter(|f| !f.is_empty()).map(|f| Path::new(f).join(name)).find(|f| is_program(f));
    found.ok_or_else(|| format!("there is no program `{name}` on this device (looked in {path})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_name_a_program() {
        let temporary = tempfile::tempdir().unwrap();
        let recipe = temporary.path();
        std::fs::write(recipe.join("run.sh"), "").unwrap();
        std::fs::write(recipe.join("data"), "").unwrap();
        std::fs::set_permissions(recipe.join("run.sh"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let check = |line: &str, expect: Result<&[&str], &str>| match (command(line, recipe, "/nowhere:/bin"), expect) {
            (Ok(words), Ok(expect)) => assert_eq!(words, expect, "{line}"),
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (got, _) => panic!("{line}: {got:?}"),
        };
        check("sh -c 'a b' \"\"", Ok(&["/bin/sh", "-c", "a b", ""]));
        let own = recipe.join("./run.sh");
        check("./run.sh x", Ok(&[own.to_str().unwrap(), "x"]));
        check("", Err("is empty"));
        check("sh 'a", Err("quote is not closed"));
        check("./data", Err("not executable"));
        check("./nope", Err("in the recipe"));
        check("/nope", Err("`/nope` on this device"));
        check("nope", Err("looked in /nowhere:/bin"));
    }
}
