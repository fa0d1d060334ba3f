//! What is waited for, compared with what is. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use robo_model::name::{DeviceName, InstancePath};
use robo_model::quantity::UnixMillis;
use robo_model::state::InstanceState;
use robo_wire::api::{InstanceView, Status};
use robo_wire::event::{Event, EventBody};
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
    /// Instances that have to move before what they report counts.
    will_move: BTreeSet<InstancePath>,
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
            will_move: options.will_move,
            will_wait: options.will_wait,
            old_failures: before.into_iter().filter_map(old).collect(),
            status: nothing(options.cursor),
            moved_at: Instant::now(),
        }
    }

    /// Takes note of an event.
    pub(super) fn heard(&mut self, event: &Event) {
        self.moved_at = Instant::now();
        let moves = match &event.body {
            EventBody::State { .. } | EventBody::Forgotten => true,
            EventBody::Failed { .. }
            | EventBody::Updated { .. }
            | EventBody::Health { .. }
            | EventBody::Adopted { .. }
            | EventBody::Assigned { .. }
            | EventBody::Gap { .. }
            | EventBody::Cancelled { .. }
            | EventBody::Retried { .. }
            | EventBody::Drift { .. }
            | EventBody::LeaseEnded
            | EventBody::Enrolled
            | EventBody::Admitted { .. }
            | EventBody::Revoked { .. }
            | EventBody::KeyRotated { .. }
            | EventBody::Removed
            | EventBody::Moved { .. }
            | EventBody::HostKeys { .. }
            | EventBody::Labelled { .. }
            | EventBody::Bound { .. }
            | EventBody::Online
            | EventBody::Offline { .. }
            | EventBody::Applied { .. }
            | EventBody::Asked { .. }
            | EventBody::Deleted
            | EventBody::Executed { .. }
            | EventBody::JobBegan { .. }
            | EventBody::JobEnded { .. }
            | EventBody::SessionBegan { .. }
            | EventBody::SessionEnded { .. }
            | EventBody::Unknown => false,
        };
        if let (true, Some(path)) = (moves, &event.path) {
            self.will_move.remove(path);
        }
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

    /// The devices they are on.
    pub(super) fn devices(&self) -> BTreeSet<DeviceName> {
        self.instances().map(|view| view.device.clone()).collect()
    }

    /// True when nothing more is to come of this instance.
    pub(super) fn is_done(&self, view: &InstanceView) -> bool {
        let waits = view.state == InstanceState::Unresolved && self.will_wait.contains(&view.path);
        let as_wished = view.is_as_wished() && !self.will_move.contains(&view.path);
        self.goal == Goal::AsWished && (as_wished || waits)
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
            // What is announced to move may have nothing to do after all: then silence decides.
            Goal::AsWished => self.instances().all(|view| self.is_done(view) || settled && view.is_as_wished()),
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

    #[test]
    fn what_will_restart_is_not_done_before_it_moved() {
        let path = InstancePath::new("/database/db").unwrap();
        let options =
            FollowOptions { will_move: BTreeSet::from([path.clone()]), ..FollowOptions::new(Goal::AsWished, 0) };
        let mut watch = Watch::new(options);
        watch.saw(status(vec![db(InstanceState::DeployedStarted)]));
        assert_eq!(watch.standing(), Standing::Under);
        let body =
            EventBody::State { from: InstanceState::Starting, to: InstanceState::DeployedStarted, waits_for: vec![] };
        watch.heard(&Event { id: 1, at: UnixMillis(0), device: None, application: None, path: Some(path), body });
        assert_eq!(watch.standing(), Standing::Reached);
    }
}
