//! A fleet of simulated agents on one machine, and how fast robo is with it. Prints figures, never fails by time.
//!
//! ```text
//! cargo build --release --package robo-cli --package robo-tests
//! target/release/fleet [DEVICES] [ROUNDS]
//! target/release/fleet reach [DEVICES] [ROUNDS]
//! ```
//!
//! The first is about applications, the second about commands on all devices, and a manager that is killed.
//!
//! The manager is the real program. The agents are other processes: each has a key and a certificate of its own, a
//! TLS link of its own and the real `Pilot`; only its steps are done at once instead of by programs, and its ledger is
//! kept in memory. So the figures are those of the manager, the links and the agents' reconcilers.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench prints, and stops where it cannot go on")]

#[path = "fleet/agents.rs"]
mod agents;
#[path = "fleet/operator.rs"]
mod operator;
#[path = "fleet/reach.rs"]
mod reach;

/// The word that makes this program the agents' process.
const AGENTS: &str = "agents";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if arguments.first().is_some_and(|word| word == AGENTS) {
        runtime.block_on(agents::run(arguments.get(1).expect("the manager's address")));
    } else {
        let is_reach = arguments.first().is_some_and(|word| word == "reach");
        let number = |at: usize, usual| {
            arguments.get(at + usize::from(is_reach)).map_or(usual, |text| text.parse().expect("a number"))
        };
        let (devices, rounds) = (number(0, 1_000), number(1, 20));
        if is_reach {
            runtime.block_on(reach::run(devices, rounds));
        } else {
            runtime.block_on(operator::run(devices, rounds));
        }
    }
}
