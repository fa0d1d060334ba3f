//! Whole stories with the real manager and real agents in this process.

mod above;
mod access;
mod across;
mod attack;
mod away;
mod crash;
mod drift;
mod health;
mod hostile;
mod identity;
mod jobs;
mod keys;
mod order;
mod proxy;
mod release;
mod ripple;
mod shell;
mod step;
mod verdicts;
mod within;

use robo_model::state::InstanceState;
use robo_tests::eventually;
use robo_tests::inside::Manager;

/// Waits until every instance is in the state given for its path.
async fn until(manager: &Manager, wished: &[(&str, InstanceState)]) {
    eventually(&format!("{wished:?}"), || async {
        let status = manager.api.status().await;
        let state = |path: &str| status.instances.iter().find(|i| i.path.as_str() == path).map(|i| i.state);
        wished.iter().all(|(path, expect)| state(path) == Some(*expect)).then_some(())
    })
    .await;
}

/// Waits until every instance is what it should be.
async fn until_as_wished(manager: &Manager) {
    eventually("everything as wished", || async {
        let status = manager.api.status_in_step().await;
        let done = !status.instances.is_empty() && status.instances.iter().all(|i| i.is_as_wished());
        done.then_some(())
    })
    .await;
}
