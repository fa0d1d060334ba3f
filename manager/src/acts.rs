//! The bookkeeping of what is done once on request (`robo cancel`, `robo retry`): every target gets exactly one
//! verdict, whatever is answered, lost, late or answered twice.
//!
//! Without I/O and clock: [`Acts`] is told what happened, with the time of a clock that only goes forward.

use std::collections::BTreeMap;

use robo_model::quantity::{Millis, UnixMillis};
use robo_model::spec::InstanceKey;
use robo_wire::link::Acted;
use robo_wire::stream::Verdict;

/// How long a device may take to answer. It writes its ledger in between, on what may be a slow card; an agent of a
/// version that knows no acts never answers.
pub const DEADLINE: Millis = Millis::from_secs(10);

/// Names one request until its verdicts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(u64);

/// Names an act on its link.
pub type ActId = u64;

/// What came of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How it ended.
    pub verdict: Verdict,
    /// The instances to which something was done.
    pub instances: Vec<InstanceKey>,
}

/// A request that has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its name.
    pub job: JobId,
    /// For each target, in order: the number under which its device has to be asked; nothing where there is no link.
    pub ids: Vec<Option<ActId>>,
}

/// All requests that are under way.
#[derive(Debug, Default)]
pub struct Acts {
    next: u64,
    /// In the order of their deadlines, because all have the same time.
    jobs: BTreeMap<JobId, Job>,
    /// Who has not answered yet, by the link that was asked.
    asked: BTreeMap<(u64, ActId), (JobId, usize)>,
}

#[derive(Debug)]
struct Job {
    deadline: UnixMillis,
    verdicts: Vec<Option<Judged>>,
    /// The link and number of each target that was asked.
    asked: Vec<Option<(u64, ActId)>>,
    open: usize,
}

impl Acts {
    /// Begins a request to devices with these links, by number; nothing for one that has none: it is offline.
    pub fn begin(&mut self, now: UnixMillis, links: &[Option<u64>]) -> Begun {
        let job = JobId(self.number());
        let asked: Vec<Option<(u64, ActId)>> =
            links.iter().map(|link| link.map(|link| (link, self.number()))).collect();
        for (index, at) in asked.iter().enumerate() {
            if let Some(at) = at {
                self.asked.insert(*at, (job, index));
            }
        }
        let offline = Judged { verdict: Verdict::Offline, instances: Vec::new() };
        let verdicts: Vec<Option<Judged>> = asked.iter().map(|at| at.is_none().then(|| offline.clone())).collect();
        let open = asked.iter().flatten().count();
        let ids = asked.iter().map(|at| at.map(|(_, id)| id)).collect();
        self.jobs.insert(job, Job { deadline: now.plus(DEADLINE), verdicts, asked, open });
        Begun { job, ids }
    }

    /// A device answered. What nobody waits for any more, or another device was asked, is ignored.
    pub fn acted(&mut self, link: u64, acted: Acted) {
        self.judge((link, acted.id), Judged { verdict: Verdict::Ok, instances: acted.instances });
    }

    /// A device could not be asked.
    pub fn refused(&mut self, link: u64, id: ActId, reason: &str) {
        let verdict = Verdict::Refused { reason: reason.to_owned() };
        self.judge((link, id), Judged { verdict, instances: Vec::new() });
    }

    /// A link ended: what it was asked may have been done or not.
    pub fn lost(&mut self, link: u64, reason: &str) {
        let of_link: Vec<(u64, ActId)> = self.asked.range((link, 0)..=(link, ActId::MAX)).map(|(at, _)| *at).collect();
        for at in of_link {
            let verdict = Verdict::Lost { reason: reason.to_owned() };
            self.judge(at, Judged { verdict, instances: Vec::new() });
        }
    }

    /// Looks at the time: who has not answered by now is too late.
    pub fn tick(&mut self, now: UnixMillis) {
        let due = self.jobs.values().take_while(|job| job.deadline <= now);
        let late: Vec<(u64, ActId)> = due.flat_map(|job| job.asked.iter().flatten().copied()).collect();
        for at in late {
            self.judge(at, Judged { verdict: Verdict::Timeout, instances: Vec::new() });
        }
    }

    /// When [`Acts::tick`] has something to do next.
    #[must_use]
    pub fn wake_at(&self) -> Option<UnixMillis> {
        self.jobs.values().find(|job| job.open > 0).map(|job| job.deadline)
    }

    /// The verdicts of a request, one for each target in their order, once all are there; then it is forgotten.
    pub fn take(&mut self, job: JobId) -> Option<Vec<Judged>> {
        if self.jobs.get(&job)?.open > 0 {
            return None;
        }
        self.jobs.remove(&job).map(|job| job.verdicts.into_iter().flatten().collect())
    }

    /// Nobody waits for this request any more.
    pub fn forget(&mut self, job: JobId) {
        if let Some(job) = self.jobs.remove(&job) {
            for at in job.asked.iter().flatten() {
                self.asked.remove(at);
            }
        }
    }

    /// The first word about a target counts.
    fn judge(&mut self, at: (u64, ActId), judged: Judged) {
        let Some((job, index)) = self.asked.remove(&at) else { return };
        let Some(job) = self.jobs.get_mut(&job) else { return };
        if let Some(verdict @ None) = job.verdicts.get_mut(index) {
            *verdict = Some(judged);
            job.open = job.open.saturating_sub(1);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis(1_000);

    fn acted(id: ActId) -> Acted {
        let key = InstanceKey { application: "shop".parse().unwrap(), path: "/db".parse().unwrap() };
        Acted { id, instances: vec![key] }
    }

    #[test]
    fn each_target_gets_the_verdict_it_earned() {
        let mut acts = Acts::default();
        let Begun { job, ids } = acts.begin(START, &[Some(1), None, Some(2), Some(3), Some(4)]);
        let id = |index: usize| ids[index].unwrap();
        acts.acted(1, acted(id(0)));
        acts.acted(1, acted(id(2)));
        acts.lost(2, "it broke");
        acts.acted(2, acted(id(2)));
        acts.refused(3, id(3), "full");
        assert_eq!((acts.take(job), acts.wake_at()), (None, Some(START.plus(DEADLINE))));
        acts.tick(START.plus(Millis(DEADLINE.0 - 1)));
        assert_eq!(acts.take(job), None);
        acts.tick(START.plus(DEADLINE));
        let verdicts: Vec<String> = acts.take(job).unwrap().iter().map(|j| j.verdict.to_string()).collect();
        assert_eq!(verdicts, ["ok", "offline", "lost: it broke", "refused: full", "timed out"]);
        assert_eq!((acts.take(job), acts.wake_at()), (None, None));
    }

    #[test]
    fn what_nobody_waits_for_leaves_nothing_behind() {
        let mut acts = Acts::default();
        let begun = acts.begin(START, &[Some(1), Some(2)]);
        acts.forget(begun.job);
        acts.acted(1, acted(begun.ids[0].unwrap()));
        assert!(acts.jobs.is_empty() && acts.asked.is_empty());
        let none = acts.begin(START, &[]);
        assert_eq!(acts.take(none.job), Some(Vec::new()));
    }

    #[derive(Debug, Clone)]
    enum Happens {
        Begin(Vec<Option<u64>>),
        Acted(u64, ActId),
        Lost(u64),
        Refused(u64, ActId),
        Tick(u64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let links = || 0..6u64;
        prop_oneof![
            prop::collection::vec(prop::option::of(links()), 0..6).prop_map(Happens::Begin),
            (links(), 0..40u64).prop_map(|(link, id)| Happens::Acted(link, id)),
            links().prop_map(Happens::Lost),
            (links(), 0..40u64).prop_map(|(link, id)| Happens::Refused(link, id)),
            (0..30_000u64).prop_map(Happens::Tick),
        ]
    }

    proptest! {
        /// N in, N out, once each.
        #[test]
        fn every_target_has_one_verdict(story in prop::collection::vec(happens(), 0..60)) {
            let (mut acts, mut now, mut begun) = (Acts::default(), START, BTreeMap::new());
            for what in story {
                match what {
                    Happens::Begin(links) => {
                        begun.insert(acts.begin(now, &links).job, links);
                    }
                    Happens::Acted(link, id) => acts.acted(link, acted(id)),
                    Happens::Lost(link) => acts.lost(link, "broken"),
                    Happens::Refused(link, id) => acts.refused(link, id, "no"),
                    Happens::Tick(later) => {
                        now = now.plus(Millis(later));
                        acts.tick(now);
                    }
                }
            }
            acts.tick(now.plus(DEADLINE));
            for (job, links) in begun {
                let judged = acts.take(job);
                let offline: Option<Vec<bool>> =
                    judged.as_ref().map(|all| all.iter().map(|one| one.verdict == Verdict::Offline).collect());
                prop_assert_eq!(offline, Some(links.iter().map(Option::is_none).collect::<Vec<bool>>()));
                prop_assert_eq!(acts.take(job), None);
            }
            prop_assert!(acts.asked.is_empty() && acts.jobs.is_empty());
        }
    }
}
