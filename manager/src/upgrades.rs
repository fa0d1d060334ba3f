//! Other programs for agents, over the links that are there: a few devices at a time, and one verdict for each.
//!
//! The manager keeps nothing of it: an agent knows how far it is and how it ended, and says so whenever it comes. So a
//! manager that ends in the middle costs the answer alone, and asking again is harmless.

mod one;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use robo_model::name::ProjectName;
use robo_wire::api::{UpgradeLine, UpgradeVerdict};
use robo_wire::upgrade::UpgradeProgress;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

pub(crate) use self::one::One;
use crate::links::Links;
use crate::service::Service;

/// How often a line without anything shows a client that the manager lives: below what proxies take for silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Names of targets in one line: clients bound a line's length.
const TARGETS_A_LINE: usize = 1000;

/// What all devices of one upgrade have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) service: Service,
    pub(crate) links: Arc<dyn Links>,
    pub(crate) project: ProjectName,
    /// By which agents name it when they tell how it ended.
    pub(crate) id: String,
    /// Also where somebody is at work.
    pub(crate) force: bool,
}

/// One target.
pub(crate) struct UpgradeTarget {
    /// As it was asked for.
    pub(crate) name: String,
    /// What is to be done, or why nothing is.
    pub(crate) todo: Result<Box<One>, UpgradeVerdict>,
}

/// An upgrade of many devices.
pub(crate) struct Upgrade {
    pub(crate) common: Common,
    pub(crate) targets: Vec<UpgradeTarget>,
    /// So many at a time.
    pub(crate) concurrency: usize,
    /// After so many failures none is begun any more.
    pub(crate) max_failures: Option<usize>,
    pub(crate) output: mpsc::Sender<Bytes>,
}

/// Where the lines of one answer go.
#[derive(Clone)]
struct Teller(mpsc::Sender<Bytes>);

impl Teller {
    /// Waits until the client takes it. That a client is gone is noticed elsewhere.
    async fn tell(&self, line: &UpgradeLine) {
        match serde_json::to_vec(line) {
            Ok(mut text) => {
                text.push(b'\n');
                drop(self.0.send(text.into()).await);
            }
            Err(error) => tracing::error!(%error, "a line of an upgrade cannot be written"),
        }
    }
}

/// What one device has to say to the client.
struct Voice {
    teller: Teller,
    device: String,
}

impl Voice {
    async fn tell(&self, UpgradeProgress { stage, percent }: UpgradeProgress) {
        self.teller.tell(&UpgradeLine::Progress { device: self.device.clone(), stage, percent }).await;
    }
}

impl Upgrade {
    /// Runs it to its end, or until the client is gone: then nothing more is begun, and what is tried goes on by itself.
    pub(crate) async fn run(self) {
        let Self { common, targets, concurrency, max_failures, output } = self;
        let teller = Teller(output.clone());
        for some in targets.chunks(TARGETS_A_LINE) {
            let targets = some.iter().map(|target| target.name.clone()).collect();
            teller.tell(&UpgradeLine::Targets { targets }).await;
        }
        let mut left = Vec::new();
        for UpgradeTarget { name, todo } in targets {
            match todo {
                Ok(one) => left.push((name, one)),
                Err(verdict) => teller.tell(&UpgradeLine::Verdict { device: name, verdict }).await,
            }
        }
        let mut crew = Crew { common, teller, going: JoinSet::new(), names: HashMap::new(), failures: 0 };
        let mut left = left.into_iter();
        loop {
            let is_over = max_failures.is_some_and(|most| crew.failures >= most);
            while !is_over && crew.going.len() < concurrency {
                let Some((name, one)) = left.next() else { break };
                crew.begin(name, *one);
            }
            if crew.going.is_empty() {
                break;
            }
            tokio::select! {
                // Those that are under way are given up with the crew.
                () = output.closed() => return tracing::info!("the client of an upgrade went away"),
                () = crew.next() => {}
            }
        }
        for (device, _) in left {
            let reason = format!("it failed on {} before", devices(crew.failures));
            crew.teller.tell(&UpgradeLine::Verdict { device, verdict: UpgradeVerdict::Cancelled { reason } }).await;
        }
    }
}

/// The devices that are under way.
struct Crew {
    common: Common,
    teller: Teller,
    going: JoinSet<UpgradeVerdict>,
    names: HashMap<Id, String>,
    failures: usize,
}

impl Crew {
    fn begin(&mut self, name: String, one: One) {
        let (common, voice) = (self.common.clone(), Voice { teller: self.teller.clone(), device: name.clone() });
        let task = self.going.spawn(async move { Box::pin(one.run(&common, &voice)).await });
        self.names.insert(task.id(), name);
    }

    /// Waits for the next verdict, and tells it.
    async fn next(&mut self) {
        let joined = loop {
            match tokio::time::timeout(SIGN_OF_LIFE, self.going.join_next_with_id()).await {
                Ok(Some(joined)) => break joined,
                Ok(None) => return,
                Err(_) => drop(self.teller.0.send(Bytes::from_static(b"\n")).await),
            }
        };
        let (id, verdict) = joined.unwrap_or_else(|error| {
            tracing::error!(%error, "an upgrade's task broke");
            (error.id(), UpgradeVerdict::Lost { reason: "the manager failed; its log says more".to_owned() })
        });
        let Some(device) = self.names.remove(&id) else { return };
        self.failures += usize::from(verdict.is_failure());
        tracing::info!(device, %verdict, "an agent's upgrade ended");
        self.teller.tell(&UpgradeLine::Verdict { device, verdict }).await;
    }
}

/// `1 device`, `2 devices`.
fn devices(count: usize) -> String {
    if count == 1 { "1 device".to_owned() } else { format!("{count} devices") }
}
