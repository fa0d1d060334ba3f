//! The life cycle: every way from one state of an instance to another, in one table.
//!
//! The agent's reconciler is held against it, its tests show that each row happens, and `docs/life-cycle.md` is made
//! from it. The states are the original's; where the ways between them are others, `note` says why.

mod page;

use crate::state::{InstanceState, Step};

pub use self::page::page;

/// One way from a state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where an instance is.
    pub from: InstanceState,
    /// Where it comes.
    pub to: InstanceState,
    /// Of which instances, and who sees to it.
    pub of: Of,
    /// Why, in words.
    pub cause: &'static str,
    /// The step that begins or ended with it; nothing where none does.
    pub step: Option<Step>,
    /// What else there is to know; may be empty.
    pub note: &'static str,
}

/// Of which instances a transition is, and who sees to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Software on a machine: its agent.
    Software,
    /// A machine, a host instance: the agent on it.
    Machine,
    /// A machine as the manager sees it, who hears from its agent or does not.
    Contact,
    /// A machine whose device was removed: only the manager knows of it.
    Homeless,
}

impl Of {
    /// The word for it, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Machine => "machine",
            Self::Contact => "machine, seen by the manager",
            Self::Homeless => "machine without a device",
        }
    }

    /// True when an agent sees to it, and tells of it.
    #[must_use]
    pub const fn is_of_an_agent(self) -> bool {
        match self {
            Self::Software | Self::Machine => true,
            Self::Contact | Self::Homeless => false,
        }
    }
}

/// True when an agent may bring an instance from one state into the other.
#[must_use]
pub fn allowed(from: InstanceState, to: InstanceState) -> bool {
    TABLE.iter().any(|row| row.of.is_of_an_agent() && row.from == from && row.to == to)
}

const fn software(
    from: InstanceState,
    to: InstanceState,
    step: Option<Step>,
    cause: &'static str,
    note: &'static str,
) -> Transition {
    Transition { from, to, of: Of::Software, cause, step, note }
}

const fn machine(
    of: Of,
    from: InstanceState,
    to: InstanceState,
    cause: &'static str,
    note: &'static str,
) -> Transition {
    Transition { from, to, of, cause, step: None, note }
}

use InstanceState as S;

/// Every transition there is.
pub const TABLE: [Transition; 32] = [
    software(S::NotDeployed, S::Deploying, Some(Step::Deploy), "it is wanted, and its parent's files are there", ""),
    software(S::Deploying, S::DeployedStopped, Some(Step::Deploy), "deploy ended well", ""),
    software(
        S::Deploying,
        S::NotDeployed,
        Some(Step::Deploy),
        "deploy failed, was cancelled, or is no longer wanted",
        "A failure is tried again with a growing wait, what was cancelled is not.",
    ),
    software(
        S::DeployedStopped,
        S::Deploying,
        Some(Step::Deploy),
        "its recipe or user changed, or its files drifted and shall be healed",
        "Undeploy does not run in between, so that data stays.",
    ),
    software(S::WaitingForAncestor, S::Deploying, Some(Step::Deploy), "the same, while it waits for its parent", ""),
    software(S::Unresolved, S::Deploying, Some(Step::Deploy), "the same, while it waits for imports", ""),
    software(
        S::DeployedStopped,
        S::WaitingForAncestor,
        None,
        "it should run, and its parent does not",
        "It follows its parent by itself. So it does when it was stopped with its parent.",
    ),
    software(
        S::DeployedStopped,
        S::Unresolved,
        None,
        "it should run, and a mandatory import is missing",
        "It starts by itself when everything is there. So it does when it stopped because an import went.",
    ),
    software(S::WaitingForAncestor, S::Unresolved, None, "its parent runs, and a mandatory import is missing", ""),
    software(S::Unresolved, S::WaitingForAncestor, None, "its parent does not run any more", ""),
    software(
        S::WaitingForAncestor,
        S::DeployedStopped,
        None,
        "it should not run any more, or its start is held",
        "No script runs. A start is held by a failure, a cancel, or a value that cannot be made.",
    ),
    software(S::Unresolved, S::DeployedStopped, None, "it should not run any more, or its start is held", "As above."),
    software(
        S::DeployedStopped,
        S::Starting,
        Some(Step::Start),
        "it should run; its parent runs, and all mandatory imports are there",
        "",
    ),
    software(S::WaitingForAncestor, S::Starting, Some(Step::Start), "its parent runs now, and all is there", ""),
    software(S::Unresolved, S::Starting, Some(Step::Start), "the last missing import came", ""),
    software(
        S::Starting,
        S::DeployedStarted,
        Some(Step::Start),
        "start ended well, and its check passes",
        "Its exports are published now, not earlier.",
    ),
    software(
        S::Starting,
        S::DeployedStopped,
        Some(Step::Start),
        "start failed, was cancelled, or is no longer possible or wanted",
        "Nobody heard of its exports. A failure is tried again with a growing wait.",
    ),
    software(
        S::DeployedStarted,
        S::Stopping,
        Some(Step::Stop),
        "it should not run any more, lost its parent or a mandatory import, or restarts for a change",
        "Its exports are withdrawn before; children and those who need it stop first.",
    ),
    software(
        S::DeployedStarted,
        S::DeployedStopped,
        None,
        "its process ended by itself, or its machine started anew",
        "Its exports are withdrawn; it starts again as its restart policy says.",
    ),
    software(
        S::Stopping,
        S::DeployedStopped,
        Some(Step::Stop),
        "stop ended",
        "Also when it failed: what is left is killed, and the failure noted.",
    ),
    software(
        S::DeployedStopped,
        S::Undeploying,
        Some(Step::Undeploy),
        "it is not wanted any more, and its children are gone",
        "Or it became another component or installer, and is deployed anew.",
    ),
    software(
        S::WaitingForAncestor,
        S::Undeploying,
        Some(Step::Undeploy),
        "the same, while it waits for its parent",
        "",
    ),
    software(S::Unresolved, S::Undeploying, Some(Step::Undeploy), "the same, while it waits for imports", ""),
    software(S::Undeploying, S::NotDeployed, Some(Step::Undeploy), "undeploy ended well", "Its files are gone."),
    software(
        S::Undeploying,
        S::DeployedStopped,
        Some(Step::Undeploy),
        "undeploy failed or was cancelled",
        "A failure is tried again with a growing wait.",
    ),
    machine(
        Of::Machine,
        S::NotDeployed,
        S::DeployedStarted,
        "it is wanted, and its agent is there",
        "A machine has no steps. Asking one to stop is refused: what stands on it can be stopped.",
    ),
    machine(
        Of::Machine,
        S::DeployedStarted,
        S::NotDeployed,
        "it is not wanted any more, and all that stood on it is undeployed",
        "",
    ),
    machine(
        Of::Contact,
        S::DeployedStarted,
        S::Problem,
        "nothing was heard of its device for 90 seconds",
        "What runs there goes on running, as far as anybody knows. A machine of which nothing was there stays as it is.",
    ),
    machine(
        Of::Contact,
        S::Problem,
        S::DeployedStarted,
        "its device is back: the machine is what was told of it last",
        "If that is no longer so, its agent says so next.",
    ),
    machine(
        Of::Homeless,
        S::DeployedStarted,
        S::Problem,
        "its device was removed",
        "The removal is what is told. What runs there goes on running, and nobody looks after it.",
    ),
    machine(Of::Homeless, S::NotDeployed, S::Problem, "the same, before anything was there", ""),
    machine(
        Of::Homeless,
        S::Problem,
        S::NotDeployed,
        "the application was applied anew, with a device for it",
        "From there on it goes the way of every machine.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_in_the_table_once_and_each_state_is_reached_and_left() {
        for (at, row) in TABLE.iter().enumerate() {
            let same = |other: &Transition| (other.from, other.to, other.of) == (row.from, row.to, row.of);
            assert_eq!(TABLE.iter().position(same), Some(at), "{} → {}", row.from, row.to);
            assert_ne!(row.from, row.to);
        }
        for state in InstanceState::ALL {
            assert!(TABLE.iter().any(|row| row.from == state) && TABLE.iter().any(|row| row.to == state), "{state}");
        }
    }

    #[test]
    fn a_step_has_a_state_of_its_own() {
        let running = |step: Step| match step {
            Step::Deploy => S::Deploying,
            Step::Start => S::Starting,
            Step::Stop => S::Stopping,
            Step::Undeploy => S::Undeploying,
            Step::Update => S::DeployedStarted,
        };
        for row in TABLE {
            match row.step {
                Some(step) => assert!(row.from == running(step) || row.to == running(step), "{row:?}"),
                None => assert!(!row.from.is_transient() && !row.to.is_transient(), "{row:?}"),
            }
        }
    }

    #[test]
    fn an_agent_knows_no_problem_and_skips_no_step() {
        for state in InstanceState::ALL {
            assert!(!allowed(state, S::Problem) && !allowed(S::Problem, state));
        }
        assert!(allowed(S::Unresolved, S::Starting));
        for (from, to) in
            [(S::NotDeployed, S::Starting), (S::Starting, S::Stopping), (S::DeployedStarted, S::Deploying)]
        {
            assert!(!allowed(from, to), "{from} → {to}");
        }
    }
}
