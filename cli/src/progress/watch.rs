//! What is waited for, compared with what is. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::InstancePath;
use robo_model::quantity::UnixMillis;
use robo_model::state::InstanceState;
use robo_wire::api::{InstanceView, Status};
use tokio::time::Instant;

use super::{FollowOptions, Goal, SETTLED, nothing};

/// So many failures of one step in a row are no bad luck.
pub(super) const HOPELESS_ATTEMPTS: u32 = 3;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As wished.
    Reached,
    /// It will not be reached without somebody's help.
    Failed,
    /// The application was deleted, and nobody wished for that here.
    Deleted,
    /// On the way.
    Under,
}

/// The goal, and all that was seen.
#[derive(Debug)]
pub(super) struct Watch {
    goal: Goal,
    only: Option<BTreeSet<InstancePath>>,
    /// Instances that can only wait.
    will_wait: BTreeSet<InstancePath>,
    /// When the failures happened that were there before.
    old_failures: BTreeMap<InstancePath, UnixMillis>,
    status: Status,
    moved_at: Instant,
}

impl Watch {
    pub(super) fn new(options: FollowOptions) -> Self {
        let before = options.before.map(|status| status.instances).unwrap_or_default();
        let old = |view: InstanceView| Some((view.path, view.report?.failure?.at));
        Self {
            goal: options.goal,
            only: options.only,
            will_wait: options.will_wait,
            old_failures: before.into_iter().filter_map(old).collect(),
            status: nothing(options.cursor),
            moved_at: Instant::now(),
        }
    }

    /// Takes note that something happened.
    pub(super) fn heard(&mut self) {
        self.moved_at = Instant::now();
    }

    /// Takes the newest status.
    pub(super) fn saw(&mut self, status: Status) {
        let states = |status: &Status| status.instances.iter().map(|i| (i.path.clone(), i.state)).collect::<Vec<_>>();
        if states(&self.status) != states(&status) {
            self.moved_at = Instant::now();
        }
        self.status = status;
    }

    /// The newest status.
    pub(super) const fn status(&self) -> &Status {
        &self.status
    }

    /// The instances that are waited for.
    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceView> {
        let waited_for = |view: &&InstanceView| self.only.as_ref().is_none_or(|only| only.contains(&view.path));
        self.status.instances.iter().filter(waited_for)
    }

    /// False when there is nothing left that could be looked at again.
    pub(super) fn is_there_something(&self) -> bool {
        !self.status.applications.is_empty() || !self.status.instances.is_empty()
    }

    /// True when nothing more is to come of this instance.
    pub(super) fn is_done(&self, view: &InstanceView) -> bool {
        let waits = view.state == InstanceState::Unresolved && self.will_wait.contains(&view.path);
        self.goal == Goal::AsWished && (view.is_as_wished() || waits)
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        // What is left of a deleted application may still be there for a while.
        if self.goal == Goal::AsWished && self.status.applications.is_empty() {
            return Standing::Deleted;
        }
        let settled = self.moved_at.elapsed() >= SETTLED;
        let done = match self.goal {
            Goal::Gone => self.instances().next().is_none(),
            Goal::AsWished => self.instances().all(|view| self.is_done(view)),
        };
        if done {
            Standing::Reached
        } else if self.instances().any(|view| self.is_hopeless(view, settled)) {
            Standing::Failed
        } else {
            Standing::Under
        }
    }

    /// True when a step of this instance failed for good. A failure from before counts only when nothing moves.
    fn is_hopeless(&self, view: &InstanceView, settled: bool) -> bool {
        let Some(report) = &view.report else { return false };
        let Some(failure) = &report.failure else { return false };
        let old = self.old_failures.get(&view.path) == Some(&failure.at);
        let for_good = failure.retry_at.is_none() || report.hold.is_some() || failure.attempts >= HOPELESS_ATTEMPTS;
        for_good && (!old || settled)
    }
}

#[cfg(test)]
mod tests {
    use robo_model::state::Wanted;

    use super::*;
    use crate::output::table::tests::{failure, shop, view};

    fn db(state: InstanceState) -> InstanceView {
        view("/database/db", "Database", "database", state)
    }

    fn status(instances: Vec<InstanceView>) -> Status {
        Status { instances, ..shop() }
    }

    fn standing(options: FollowOptions, instances: Vec<InstanceView>) -> Standing {
        let mut watch = Watch::new(options);
        watch.saw(status(instances));
        watch.standing()
    }

    #[test]
    fn the_goal_is_what_every_instance_should_be() {
        let wished = || FollowOptions::new(Goal::AsWished, 0);
        assert_eq!(standing(wished(), vec![db(InstanceState::DeployedStarted)]), Standing::Reached);
        assert_eq!(standing(wished(), vec![db(InstanceState::Unresolved)]), Standing::Under);
        let stopped = InstanceView { wanted: Some(Wanted::Stopped), ..db(InstanceState::DeployedStopped) };
        assert_eq!(standing(wished(), vec![stopped.clone()]), Standing::Reached);
        assert_eq!(standing(wished(), vec![InstanceView { wanted: None, ..stopped }]), Standing::Under);
        let others = FollowOptions { only: Some(BTreeSet::new()), ..wished() };
        assert_eq!(standing(others, vec![db(InstanceState::Unresolved)]), Standing::Reached);
        let will_wait = BTreeSet::from([InstancePath::new("/database/db").unwrap()]);
        let waits = FollowOptions { will_wait, ..wished() };
        assert_eq!(standing(waits, vec![db(InstanceState::Unresolved)]), Standing::Reached);
        assert_eq!(standing(FollowOptions::new(Goal::Gone, 0), vec![]), Standing::Reached);
        assert_eq!(standing(FollowOptions::new(Goal::Gone, 0), vec![db(InstanceState::NotDeployed)]), Standing::Under);
    }

    #[test]
    fn an_application_that_was_deleted_meanwhile_is_never_as_wished() {
        let standing = |goal, status| {
            let mut watch = Watch::new(FollowOptions::new(goal, 0));
            watch.saw(status);
            watch.standing()
        };
        let leaving = InstanceView { wanted: None, ..db(InstanceState::Stopping) };
        let rest = Status { instances: vec![leaving], ..nothing(1) };
        assert_eq!(standing(Goal::AsWished, nothing(1)), Standing::Deleted);
        assert_eq!(standing(Goal::AsWished, rest.clone()), Standing::Deleted);
        assert_eq!(standing(Goal::AsWished, status(vec![])), Standing::Reached);
        assert_eq!(
            (standing(Goal::Gone, rest), standing(Goal::Gone, nothing(1))),
            (Standing::Under, Standing::Reached)
        );
    }

    #[test]
    fn a_failure_ends_the_waiting_when_it_is_new_and_no_bad_luck() {
        let failing = |attempts| {
            let mut view = db(InstanceState::DeployedStopped);
            view.report.as_mut().unwrap().failure = Some(failure(attempts));
            view
        };
        let wished = || FollowOptions::new(Goal::AsWished, 0);
        assert_eq!(standing(wished(), vec![failing(1)]), Standing::Under);
        assert_eq!(standing(wished(), vec![failing(HOPELESS_ATTEMPTS)]), Standing::Failed);
        let mut for_good = failing(1);
        for_good.report.as_mut().unwrap().failure.as_mut().unwrap().retry_at = None;
        assert_eq!(standing(wished(), vec![for_good]), Standing::Failed);
        let before = FollowOptions { before: Some(status(vec![failing(HOPELESS_ATTEMPTS)])), ..wished() };
        assert_eq!(standing(before, vec![failing(HOPELESS_ATTEMPTS)]), Standing::Under);
    }
}
