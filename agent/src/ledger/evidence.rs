//! What the machine itself knows of its instances: their folders, and the runs that keepers wrote down there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_model::state::Step;

use crate::folders::Folders;
use crate::keeper::proc::boot_id;
use crate::keeper::record::RunFolder;
use crate::order::RunId;

/// Where a run says which step it is: see `runtime/environment.rs`.
const STEP_VARIABLE: &str = "ROBO_STEP";

/// What is on the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) instances: BTreeMap<InstanceKey, Seen>,
    /// The newest run of all, whoever's it is.
    pub(crate) last_run: RunId,
}

/// What is there of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// True when its recipe is in place.
    pub(crate) deployed: bool,
    /// Its runs, newest first.
    pub(crate) runs: Vec<SeenRun>,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct SeenRun {
    pub(crate) id: RunId,
    /// Nothing where its folder does not say.
    pub(crate) step: Option<Step>,
    pub(crate) begun_at: UnixMillis,
    pub(crate) fate: Fate,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs, as this process.
    Runs(u32),
    /// It ended well, in this boot of the machine or in an earlier one.
    Done {
        /// Which.
        this_boot: bool,
    },
    /// It failed, never began, or nobody knows.
    Other,
}

/// Looks for what is there of these instances.
pub(crate) fn look<'a>(folders: &Folders, keys: impl Iterator<Item = &'a InstanceKey>) -> io::Result<Evidence> {
    let last_run = folders.all_runs()?.iter().map(id_of).max().unwrap_or_default();
    let keys: BTreeSet<&InstanceKey> = keys.collect();
    let seen = |key: &InstanceKey| -> io::Result<Seen> {
        let folder = folders.instance(key);
        Ok(Seen { deployed: folder.recipe().is_dir(), runs: folder.all_runs()?.iter().map(seen_run).collect() })
    };
    let instances = keys.into_iter().map(|key| Ok((key.clone(), seen(key)?))).collect::<io::Result<_>>()?;
    Ok(Evidence { instances, last_run })
}

/// What cannot be read tells nothing.
fn seen_run(run: &RunFolder) -> SeenRun {
    let spec = run.spec().ok().flatten();
    let step = spec.as_ref().and_then(|spec| {
        let word = spec.env.get(STEP_VARIABLE)?;
        [Step::Deploy, Step::Start, Step::Update, Step::Stop, Step::Undeploy].into_iter().find(|s| s.as_str() == word)
    });
    SeenRun { id: id_of(run), step, begun_at: spec.map(|spec| spec.begun_at).unwrap_or_default(), fate: fate(run) }
}

fn fate(run: &RunFolder) -> Fate {
    let Ok(Some(running)) = run.running() else { return Fate::Other };
    match run.exit() {
        Ok(Some(exit)) if exit.code == Some(0) => Fate::Done { this_boot: running.boot == boot_id() },
        Ok(None) if running.is_alive() => running.child.map_or(Fate::Other, |child| Fate::Runs(child.pid)),
        Ok(_) | Err(_) => Fate::Other,
    }
}

fn id_of(run: &RunFolder) -> RunId {
    let name = run.path().file_name().and_then(|name| name.to_str());
    RunId(name.and_then(|name| name.parse().ok()).unwrap_or_default())
}
