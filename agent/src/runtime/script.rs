//! Runs the script of a step, under a keeper.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use robo_model::quantity::UnixMillis;
use robo_model::spec::RelativePath;
use robo_model::state::Step;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::step::Failed;
use super::{Shared, ending, environment, explain, in_background, kept};
use crate::folders::InstanceFolder;
use crate::keeper::record::{Exit, RunFolder, Spec};
use crate::keeper::user::User;
use crate::limits;
use crate::order::Order;

/// Runs of an instance that stay on disk after they ended: enough to look into a failure and its retries.
const KEPT_RUNS: usize = 8;

/// Runs the script of `order`'s step to its end. Without such a script there is nothing to do.
pub(super) async fn run(shared: &Shared, order: &Order, abort: &CancellationToken) -> Result<(), Failed> {
    let folder = shared.folder(order);
    let run = folder.run(order.run);
    let spec = match run.spec().map_err(|e| Failed::because(explain("read the run in", run.path(), &e)))? {
        Some(spec) => spec,
        None => match find(&folder.recipe().join("scripts"), order.step).map_err(Failed::because)? {
            None => return without_script(shared, order),
            Some(script) => prepare(shared, order, vec![text(&script)], folder.recipe().join("scripts")).await?,
        },
    };
    let name = spec.argv.first().map(|path| name_of(path)).unwrap_or_default();
    let mut kept = kept::begin(&shared.exe, run.clone(), &spec).await.map_err(Failed::because)?;
    let stopped = tokio::select! {
        // While nobody was there it may have ended, and its time run out; its end counts.
        biased;
        exit = kept.ended() => return judge(&run, &name, exit).await,
        () = tokio::time::sleep(time_left(order, spec.begun_at)) => format!("`{name}` timed out after {}", order.deadline),
        () = abort.cancelled() => format!("`{name}` was aborted"),
    };
    ending::end_run(&run, ending::GRACE).await;
    let output = timeout(kept::WRITTEN, kept.ended()).await.map(|exit| exit.output).unwrap_or_default();
    Err(Failed { reason: stopped, exit_code: None, output })
}

/// Makes folders and context file, and says what to run; removes old runs.
pub(super) async fn prepare(shared: &Shared, order: &Order, argv: Vec<String>, cwd: PathBuf) -> Result<Spec, Failed> {
    let folder = shared.folder(order);
    let owner = owner(order)?;
    let context = order.context.clone();
    let busy = [Some(order.run), order.process];
    let keep: Vec<PathBuf> = busy.into_iter().flatten().map(|run| folder.run(run).path().to_owned()).collect();
    let spec = Spec {
        argv,
        env: shared.environment(order),
        cwd,
        user: order.settings.user.clone(),
        logs: folder.logs(),
        begun_at: crate::now(),
        open_files: limits::before(),
    };
    let work = move || {
        let failed = |e: io::Error| explain("prepare the instance's folder", folder.path(), &e);
        folder.create(owner.as_ref()).map_err(failed)?;
        environment::write_context(&folder, &context).map_err(failed)?;
        if let Err(error) = forget_old_runs(&folder, &keep) {
            // They cost space; the step can do without.
            tracing::warn!(folder = %folder.path().display(), %error, "cannot remove old runs");
        }
        Ok(())
    };
    in_background(work).await.map_err(Failed::because)?;
    Ok(spec)
}

/// Whom the instance's files belong to; nothing for the agent itself.
pub(super) fn owner(order: &Order) -> Result<Option<User>, Failed> {
    order.settings.user.as_deref().map_or(Ok(None), User::to_become).map_err(Failed::because)
}

/// How long a run that was ordered at `begun_at` still has; an agent that was away does not give it more.
pub(super) fn time_left(order: &Order, begun_at: UnixMillis) -> Duration {
    order.deadline.duration().saturating_sub(crate::now().since(begun_at).duration())
}

/// The file that carries out `step`: `<step>.sh`, else the first whose name starts with the step's.
fn find(scripts: &Path, step: Step) -> Result<Option<PathBuf>, String> {
    let entries = match std::fs::read_dir(scripts) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| explain("read", scripts, &e))?,
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(step.as_str())))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    let exact = scripts.join(format!("{step}.sh"));
    Ok(if found.contains(&exact) { Some(exact) } else { found.into_iter().next() })
}

/// Without a script for a step there is nothing to do, unless the recipe has one and it was there when it was deployed:
/// what cannot be started must not seem to be.
fn without_script(shared: &Shared, order: &Order) -> Result<(), Failed> {
    let of_step = |path: &&RelativePath| {
        let name = path.as_str().strip_prefix("scripts/");
        name.is_some_and(|name| name.starts_with(order.step.as_str()) && !name.contains('/'))
    };
    let missing = order.files.keys().filter(of_step).find(|path| shared.was_deployed(&order.key, path));
    match (order.step, missing) {
        (Step::Start | Step::Update, Some(path)) => Err(Failed::because(format!(
            "the recipe's `{path}` is not on this device any more: undeploy the instance, and start it again"
        ))),
        (Step::Deploy | Step::Start | Step::Update | Step::Stop | Step::Undeploy, _) => Ok(()),
    }
}

async fn judge(run: &RunFolder, name: &str, exit: Exit) -> Result<(), Failed> {
    if exit.error.is_some() {
        // Its keeper is gone; what it kept may still run.
        ending::end_run(run, ending::GRACE).await;
    }
    match exit.code {
        Some(0) => Ok(()),
        code => Err(Failed { reason: sentence(name, &exit), exit_code: code, output: exit.output }),
    }
}

/// `exit` with its subject.
pub(super) fn sentence(name: &str, exit: &Exit) -> String {
    match &exit.error {
        // A reason why it never began names it already.
        Some(error) if error.contains('`') => error.clone(),
        Some(_) | None => format!("`{name}` {}", exit.sentence()),
    }
}

pub(super) fn name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Removes runs that are over and long past; those in `keep`, and those whose keeper still copies output, stay.
fn forget_old_runs(folder: &InstanceFolder, keep: &[PathBuf]) -> io::Result<()> {
    for run in folder.all_runs()?.into_iter().skip(KEPT_RUNS) {
        let over = run.exit().is_ok_and(|exit| exit.is_some()) && run.try_lock()?.is_some();
        if over && !keep.iter().any(|kept| kept == run.path()) {
            crate::folders::absent_is_fine(std::fs::remove_dir_all(run.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_as_in_the_original() {
        let check = |files: &[&str], expect: Option<&str>| {
            let temporary = tempfile::tempdir().unwrap();
            for file in files {
                std::fs::write(temporary.path().join(file), "").unwrap();
            }
            std::fs::create_dir(temporary.path().join("start.d")).unwrap();
            let found = find(temporary.path(), Step::Start).unwrap();
            assert_eq!(found, expect.map(|name| temporary.path().join(name)), "{files:?}");
        };
        check(&[], None);
        check(&["stop.sh", "restart.sh"], None);
        check(&["start.py"], Some("start.py"));
        check(&["start.a", "start.sh"], Some("start.sh"));
        check(&["start.py", "start-me.rb"], Some("start-me.rb"));
        assert_eq!(find(Path::new("/nowhere"), Step::Start), Ok(None));
    }
}
