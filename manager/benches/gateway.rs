//! What a change of one export costs the manager for each link that it concerns, and what it costs when all devices
//! come back: without sockets and store, which are the same for every way to do this.
//!
//! Each device has one instance that offers something, and one that imports what all the others offer.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up must not print figures")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use robo_manager::gateway::core::{Answer, Ask, LinkCore, LinkRecord, Out, Woken};
use robo_manager::gateway::offers::Offers;
use robo_model::name::{ApplicationName, DeviceId, ProjectName};
use robo_model::quantity::UnixMillis;
use robo_model::resolve::Provider;
use robo_model::spec::{Assignment, Generation};
use robo_wire::api::Facts;
use robo_wire::digest::{Digest, of_assignment, of_providers};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{FromAgent, Hello, PROTOCOL};
use robo_wire::session::HEARTBEAT;
use robo_wire::switch::Switches;

const SIZES: [usize; 3] = [100, 1_000, 4_000];

/// How often a case runs; an odd number, so that there is a median.
const RUNS: usize = 7;

const NOW: UnixMillis = UnixMillis(0);

fn main() {
    println!("{:<14} {:>6} {:>12} {:>12}", "case", "links", "median", "per link");
    for links in SIZES {
        one_change(links);
        all_come_back(links);
    }
}

/// One export changes; every link is woken and tells it.
fn one_change(links: usize) {
    let mut fleet = Fleet::up(links);
    let times = (1..=RUNS).map(|value| {
        let found = providers(links, value);
        let start = Instant::now();
        fleet.offers = Arc::new(fleet.offers.next(found).expect("something changed"));
        let bytes: usize = fleet.links.iter_mut().map(|link| link.look(&fleet.offers)).sum();
        assert!(bytes > 0, "nothing was told");
        start.elapsed()
    });
    print("one change", links, times.collect());
}

/// All devices dial again with what they had: nothing is told but the welcome.
fn all_come_back(links: usize) {
    // Each has what all offer but its own instance, cut to what is imported.
    let seen: Vec<Provider> = providers(links, 0).into_iter().map(|(_, provider)| cut(provider)).collect();
    let all = of_providers(&seen);
    let digests: Vec<Digest> = seen.iter().map(|own| all.without(of_providers([own]))).collect();
    let times = (0..RUNS).map(|_| {
        let offers = Arc::new(Offers::new(providers(links, 0)));
        let mut dialling: Vec<Link> = (0..links).map(Link::new).collect();
        let start = Instant::now();
        for (link, digest) in dialling.iter_mut().zip(&digests) {
            let told = link.dial(&offers, Some(*digest));
            assert!(told < 300, "{told} bytes were told");
        }
        start.elapsed()
    });
    print("all come back", links, times.collect());
}

fn print(case: &str, links: usize, mut times: Vec<Duration>) {
    times.sort();
    let median = times.get(RUNS / 2).copied().unwrap_or_default();
    let each = median / u32::try_from(links).expect("a count");
    println!("{case:<14} {links:>6} {median:>12.1?} {each:>12.1?}");
}

struct Fleet {
    links: Vec<Link>,
    offers: Arc<Offers>,
}

impl Fleet {
    fn up(links: usize) -> Self {
        let offers = Arc::new(Offers::new(providers(links, 0)));
        let mut all: Vec<Link> = (0..links).map(Link::new).collect();
        for link in &mut all {
            link.dial(&offers, None);
        }
        Self { links: all, offers }
    }
}

struct Link {
    core: LinkCore,
    assignment: Assignment,
}

impl Link {
    fn new(number: usize) -> Self {
        let generation = Generation(1);
        let record = LinkRecord {
            id: device(number),
            name: format!("robot-{number}").parse().expect("a name"),
            project: ProjectName::default_project(),
            generation,
            accepted: generation,
            events_stored: 0,
            renewal: None,
            ssh_authority: None,
            switches: Switches::default(),
        };
        let text = format!(
            r#"{{"generation": 1, "instances": [{{"key": {{"application": "shop", "path": "/vm-{number}/web"}},
                "component": "Web", "installer": {{"kind": "script"}},
                "imports": [{{"prefix": "Db", "variable": "ip", "optional": false, "external": false}}]}}]}}"#
        );
        Self {
            core: LinkCore::new(record, HEARTBEAT, NOW),
            assignment: serde_json::from_str(&text).expect("an assignment"),
        }
    }

    /// Says hello; answers with how many bytes were told.
    fn dial(&mut self, offers: &Arc<Offers>, imports: Option<Digest>) -> usize {
        let assignment = Some(of_assignment(&self.assignment));
        let generation = self.assignment.generation;
        let hello = Hello { protocol: PROTOCOL, facts: Facts::default(), generation, assignment, imports };
        let mut bytes = FromAgent::Hello(hello).encode().expect("a frame");
        let frame = frame::take(&mut bytes, MAX_CONTROL_FRAME).expect("a frame").expect("a whole one");
        let outs = self.core.frame(NOW, &frame).expect("it is taken");
        self.carry_out(outs, offers)
    }

    fn look(&mut self, offers: &Arc<Offers>) -> usize {
        let outs = self.core.woken(Woken { imports: true, ..Woken::default() }).expect("it is up");
        self.carry_out(outs, offers)
    }

    fn carry_out(&mut self, mut outs: Vec<Out>, offers: &Arc<Offers>) -> usize {
        let mut told = 0;
        while let Some(out) = outs.pop() {
            let answer = match out {
                Out::Send(bytes) => {
                    told += bytes.len();
                    continue;
                }
                Out::Ask(Ask::Online(_)) => Answer::Online(Vec::new()),
                Out::Ask(Ask::Assignment) => Answer::Assignment(Some(self.assignment.clone())),
                Out::Ask(Ask::Providers { .. }) => Answer::Providers(BTreeMap::from([(shop(), Arc::clone(offers))])),
                Out::Ask(_) => Answer::Done,
                Out::Up | Out::Interest(_) | Out::Waits(_) | Out::Acted(_) | Out::Switched(_) => continue,
            };
            outs.extend(self.core.answered(NOW, answer).expect("it is taken"));
        }
        told
    }
}

/// One for each device; the first has the value.
fn providers(count: usize, value: usize) -> Vec<(DeviceId, Provider)> {
    let one = |number: usize| {
        let value = if number == 0 { value } else { 0 };
        let text = format!(
            r#"{{"key": {{"application": "shop", "path": "/vm-{number}/db"}}, "component": "Db",
                "exports": {{"Db.ip": "10.0.0.{value}", "Db.port": "3306", "Other.x": "1"}}}}"#
        );
        (device(number), serde_json::from_str(&text).expect("a provider"))
    };
    (0..count).map(one).collect()
}

fn cut(mut provider: Provider) -> Provider {
    provider.exports.retain(|variable, _| variable.prefix.as_str() == "Db");
    provider
}

fn device(number: usize) -> DeviceId {
    format!("id-{number}").parse().expect("an identity")
}

fn shop() -> ApplicationName {
    "shop".parse().expect("a name")
}
