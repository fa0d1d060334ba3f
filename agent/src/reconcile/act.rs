//! What somebody asks to be done once: cancel what is being done, or try again what failed or is held.

use robo_model::name::{ComponentName, InstancePath};
use robo_model::spec::{InstanceKey, InstanceSpec};
use robo_model::state::Step;
use robo_wire::api::{Scope, Verb};
use robo_wire::event::EventBody;
use robo_wire::link::{Act, Acted};

use super::{Core, Effect};
use crate::ledger::{Hold, Record};

/// Most characters of who asked that are kept: a name is far shorter, and events are kept for weeks.
const MAX_BY: usize = 256;

impl Core {
    /// Does it to each instance in its scope where there is something to do; the others are not named in the answer.
    pub(super) fn act(&mut self, act: &Act) {
        let in_scope: Vec<InstanceKey> = self
            .ledger
            .state
            .records
            .iter()
            .filter(|(key, record)| covers(&act.scope, self.specification(key, record)))
            .map(|(key, _)| key.clone())
            .collect();
        let by: String = act.by.chars().take(MAX_BY).collect();
        let done = in_scope.into_iter().filter(|key| match act.verb {
            Verb::Cancel => self.cancel(key, &by),
            Verb::Retry => self.retry(key, &by),
        });
        let instances = done.collect();
        self.effects.push(Effect::Acted(Acted { id: act.id, instances }));
    }

    /// What is asked of it, or what it is where nothing is any more.
    fn specification<'a>(&'a self, key: &InstanceKey, record: &'a Record) -> &'a InstanceSpec {
        let assigned = self.nodes.get(key).and_then(|node| node.assigned);
        assigned.and_then(|at| self.ledger.assignment.instances.get(at)).unwrap_or(&record.spec)
    }

    /// Ends the step that runs, or the wait for the next try; false where there is neither.
    fn cancel(&mut self, key: &InstanceKey, by: &str) -> bool {
        let Some(record) = self.ledger.state.records.get_mut(key) else { return false };
        let waits = record.failure.as_ref().is_some_and(|failure| failure.retry_at.is_some());
        match &mut record.run {
            Some(run) if run.cancelled_by.is_none() => {
                run.cancelled_by = Some(by.to_owned());
                let (id, aborted) = (run.id, std::mem::replace(&mut run.aborted, true));
                if !aborted {
                    self.effects.push(Effect::Abort { key: key.clone(), run: id });
                }
            }
            None if record.hold == Hold::Free && waits => {}
            Some(_) | None => return false,
        }
        record.hold = Hold::Cancelled { by: by.to_owned() };
        if let Some(failure) = &mut record.failure {
            failure.retry_at = None;
        }
        self.event(Some(key.clone()), EventBody::Cancelled { by: by.to_owned() });
        self.changed(key);
        true
    }

    /// Ends holds and waits at once; false where there are none.
    fn retry(&mut self, key: &InstanceKey, by: &str) -> bool {
        let now = self.now;
        let Some(record) = self.ledger.state.records.get_mut(key) else { return false };
        // A step that runs is the try; one that was cancelled ends first, and is then tried again.
        if record.run.as_ref().is_some_and(|run| run.cancelled_by.is_none()) {
            return false;
        }
        let failed_update = record.failure.as_ref().is_some_and(|failure| failure.step == Step::Update);
        let again = failed_update && record.hold == Hold::Free;
        let waits = record.failure.as_ref().is_some_and(|failure| failure.retry_at.is_some_and(|at| at > now));
        if record.hold == Hold::Free && !waits && !again {
            return false;
        }
        if again {
            record.told.imports = std::mem::take(&mut record.untold);
        }
        record.hold = Hold::Free;
        record.tries = 0;
        record.crashes = 0;
        if let Some(failure) = record.failure.as_mut().filter(|failure| failure.retry_at.is_some()) {
            failure.retry_at = Some(now);
        }
        self.event(Some(key.clone()), EventBody::Retried { by: by.to_owned() });
        self.changed(key);
        true
    }
}

/// True when `spec` is one of the instances that `scope` means.
fn covers(scope: &Scope, spec: &InstanceSpec) -> bool {
    let InstanceKey { application, path } = &spec.key;
    let in_application = scope.application.as_ref().is_none_or(|wanted| wanted == application);
    let at = |top: &InstancePath| path.is_within(top) && !(scope.below && path == top);
    let named = |name: &ComponentName| spec.component == *name || spec.facets.contains(name);
    in_application && scope.path.as_ref().is_none_or(at) && scope.component.as_ref().is_none_or(named)
}
