//! A job on many devices whose agents are frozen, cut, killed and slow: each has the verdict that is right for it.
//!
//! What is right follows from what the test does to each, and from nothing that comes out. `ROBO_AGENTS` says how many
//! there are, `ROBO_ROUNDS` how many rounds, `ROBO_SEED` which one is the first. A seed that fails is told.

use std::time::{Duration, Instant};

use fastrand::Rng;
use reqwest::Method;
use robo_model::quantity::Millis;
use robo_tests::eventually;
use robo_tests::inside::{Manager, folder};
use robo_tests::peer::try_to_enroll;
use robo_tests::stand_in::{Fate, Part, StandIn};
use robo_wire::api::{TokenRequest, TokenView};
use robo_wire::event::{Event, EventBody};
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::job::{JobRequest, JobView, RunState};
use robo_wire::stream::{Answer, Command, StreamFrame, Targets, Verdict};

/// Agents where nothing else is said: each fate comes about once.
const AGENTS: usize = 24;

/// How often agents say something here, at least; twice this time is silence.
const HEARTBEAT: Millis = Millis::from_secs(2);

/// Agents that may say something in one second: of more of them, each says something less often, so that what is measured
/// is not whether one process can be so many.
const HEARTBEATS: u64 = 100;

/// How often it is looked at a job: to tell all its targets is work, too.
const LOOK: Duration = Duration::from_millis(250);

/// Devices that are looked at byte by byte in each round.
const READ: usize = 8;

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What must come out for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expect {
    Exactly(Verdict),
    Refused,
    /// The device took it with it; nobody will ever know more.
    Lost,
    /// The same, and only when somebody ends the job: the device may come back in a day.
    LostInTheEnd,
}

impl Expect {
    fn holds(&self, verdict: &Verdict) -> bool {
        match self {
            Self::Exactly(expected) => verdict == expected,
            Self::Refused => matches!(verdict, Verdict::Refused { .. }),
            Self::Lost | Self::LostInTheEnd => matches!(verdict, Verdict::Lost { .. }),
        }
    }
}

/// One device of a round.
#[derive(Debug)]
struct Role {
    fate: Fate,
    verdict: Verdict,
    is_away: bool,
    printed: Vec<u8>,
}

impl Role {
    fn draw(rng: &mut Rng, number: usize, heartbeat: Millis) -> Self {
        let fate = match rng.u8(..24) {
            0..=9 => Fate::Runs(Millis(rng.u64(..150))),
            10..=11 => Fate::Unheard,
            12..=14 => Fate::Cut,
            15..=16 => Fate::CutAtTheEnd,
            17 => Fate::Thaws(Millis(rng.u64(100..3 * heartbeat.0))),
            18 => Fate::Frozen,
            19 => Fate::Silent,
            20..=21 => Fate::Restarts,
            22 => Fate::Killed,
            _ => Fate::Babbles,
        };
        let verdict = match rng.u8(..4) {
            0 => Verdict::Failed { code: rng.i32(1..255) },
            1 => Verdict::Timeout,
            _ => Verdict::Ok,
        };
        let most = if rng.u8(..10) == 0 { 10_000 } else { 50 };
        let lines = rng.usize(..most);
        let printed = (0..lines).flat_map(|line| format!("{number} {line}\n").into_bytes()).collect();
        Self { fate, verdict, is_away: rng.u8(..12) == 0, printed }
    }

    fn expect(&self, is_waited_for: bool) -> Expect {
        if self.is_away && !is_waited_for {
            return Expect::Exactly(Verdict::Offline);
        }
        match self.fate {
            Fate::Runs(_) | Fate::Unheard | Fate::Cut | Fate::CutAtTheEnd | Fate::Thaws(_) => {
                Expect::Exactly(self.verdict.clone())
            }
            Fate::Restarts | Fate::Babbles => Expect::Lost,
            Fate::Frozen | Fate::Silent | Fate::Killed => Expect::LostInTheEnd,
        }
    }

    fn part(&self) -> Part {
        Part { fate: self.fate.clone(), verdict: self.verdict.clone(), printed: self.printed.clone() }
    }
}

struct Fleet {
    manager: Manager,
    devices: Vec<StandIn>,
    heartbeat: Millis,
    _folder: tempfile::TempDir,
}

impl Fleet {
    async fn enrol(count: usize) -> Self {
        let folder = folder();
        let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        let mut config = Manager::config(&folder.path().join("manager"), any);
        let heartbeat = HEARTBEAT.max(Millis::from_secs(count as u64 / HEARTBEATS));
        config.heartbeat = heartbeat;
        let manager = Manager::start_with(config).await.unwrap();
        let request = TokenRequest { uses: Some(u32::try_from(count).unwrap()), ..TokenRequest::default() };
        let token: TokenView =
            manager.api.call(Method::POST, "/projects/default/tokens", Some(&request)).await.unwrap();
        let mut devices = Vec::new();
        for number in 0..count {
            let name = name(number);
            let identity =
                try_to_enroll(&manager, &folder.path().join(&name), &token.token, Some(&name)).await.unwrap();
            let part = Part { fate: Fate::Silent, verdict: Verdict::Ok, printed: Vec::new() };
            devices.push(StandIn::new(manager.address, identity, part));
        }
        Self { manager, devices, heartbeat, _folder: folder }
    }

    /// Gives everybody a role, and waits until those are there that should be.
    async fn cast(&mut self, roles: &[Role]) {
        for (device, role) in self.devices.iter_mut().zip(roles) {
            device.play(role.part());
            if role.is_away {
                device.kill();
            } else {
                device.start();
            }
        }
        let is_there = |name: &str| roles.iter().enumerate().any(|(n, role)| !role.is_away && name == self::name(n));
        eventually("everybody is where they should be", || async {
            let devices = self.manager.api.devices().await;
            devices.iter().all(|device| device.online == is_there(device.name.as_str())).then_some(())
        })
        .await;
    }

    async fn show(&self, view: &JobView) -> JobView {
        let path = format!("/projects/default/jobs/{}", view.id);
        self.manager.api.call::<(), _>(Method::GET, &path, None).await.unwrap()
    }

    /// Waits until it is so; who is late is told.
    async fn until(&self, view: &JobView, what: &str, is_so: impl Fn(&JobView) -> bool) -> JobView {
        let began = Instant::now();
        loop {
            let now = self.show(view).await;
            if is_so(&now) {
                return now;
            }
            let open = now.runs.iter().filter(|run| run.state != RunState::Ended);
            let open: Vec<_> = open.map(|run| (&run.device, run.state)).collect();
            assert!(began.elapsed() < robo_tests::PATIENCE, "waited in vain for: {what}; {open:?} are open");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the manager kept of a target's output.
    async fn output(&self, view: &JobView, device: &str) -> Vec<u8> {
        let path = format!("/projects/default/jobs/{}/output?device={device}", view.id);
        let mut buffer =
            self.manager.api.framed(Method::GET, &path, None).await.unwrap().bytes().await.unwrap().to_vec();
        let mut printed = Vec::new();
        while let Some(frame) = frame::take(&mut buffer, MAX_CONTROL_FRAME).unwrap() {
            if let Answer::From(_, StreamFrame::Stdout(bytes)) = Answer::decode(frame).unwrap() {
                printed.extend(bytes);
            }
        }
        printed
    }
}

/// The last events there are: those of a whole fleet are more than are told at once.
async fn last_events(manager: &Manager) -> Vec<Event> {
    let path = "/projects/default/events?limit=10000";
    let text = manager.api.framed(Method::GET, path, None).await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn name(number: usize) -> String {
    format!("d{number}")
}

/// As many targets as went in come out, each with the one verdict that is right for what became of its agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_agent_has_its_right_verdict() {
    let (agents, rounds, first) = (number("ROBO_AGENTS", AGENTS), number("ROBO_ROUNDS", 1), number("ROBO_SEED", 0));
    let mut fleet = Fleet::enrol(agents).await;
    for seed in first..first + rounds {
        let began = Instant::now();
        round(&mut fleet, seed as u64).await;
        println!("seed {seed}: {agents} agents, {:.1} s", began.elapsed().as_secs_f64());
    }
}

async fn round(fleet: &mut Fleet, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let roles: Vec<Role> =
        (0..fleet.devices.len()).map(|number| Role::draw(&mut rng, number, fleet.heartbeat)).collect();
    fleet.cast(&roles).await;
    let queue = rng.bool().then_some(Millis::from_secs(600));
    let mut names: Vec<String> = (0..roles.len()).map(name).collect();
    names.push("nobody".to_owned());
    rng.shuffle(&mut names);
    let command = Command {
        argv: vec!["true".to_owned()],
        env: Default::default(),
        cwd: None,
        user: None,
        timeout: None,
        stdin: false,
        within: None,
    };
    let targets = Targets::Names(names.clone());
    let request = JobRequest { targets, command, queue, concurrency: None, fail_fast: false };
    let view: JobView = fleet.manager.api.call(Method::POST, "/projects/default/jobs", Some(&request)).await.unwrap();
    // Who is away comes while the others are at it.
    for (device, role) in fleet.devices.iter_mut().zip(&roles) {
        if role.is_away && queue.is_some() {
            tokio::time::sleep(Duration::from_millis(rng.u64(..20))).await;
            device.start();
        }
    }
    let expected = |device: &str| match device.strip_prefix('d').and_then(|number| number.parse::<usize>().ok()) {
        Some(number) => roles[number].expect(queue.is_some()),
        None => Expect::Refused,
    };
    let open = names.iter().filter(|name| expected(name) == Expect::LostInTheEnd).count();
    let ended = |view: &JobView| view.runs.iter().filter(|run| run.state == RunState::Ended).count();
    let what = format!("seed {seed}: all have ended but {open}");
    let shown = fleet.until(&view, &what, |view| ended(view) >= names.len() - open).await;
    if open > 0 {
        assert_eq!(ended(&shown), names.len() - open, "seed {seed}: {:?}", wrong(&shown, expected));
        let path = format!("/projects/default/jobs/{}", view.id);
        fleet.manager.api.call::<(), JobView>(Method::DELETE, &path, None).await.unwrap();
    }
    let last = fleet.until(&view, &format!("seed {seed}: the job has ended"), |view| view.ended_at.is_some()).await;
    assert_eq!(wrong(&last, expected), Vec::<String>::new(), "seed {seed}");
    let devices: Vec<&str> = last.runs.iter().map(|run| run.device.as_str()).collect();
    assert_eq!(devices, names, "seed {seed}: each comes out once, as it went in");
    let ok = names.iter().filter(|name| expected(name) == Expect::Exactly(Verdict::Ok)).count();
    let all = (usize::try_from(last.ok).unwrap(), usize::try_from(last.targets).unwrap(), last.ok + last.not_ok);
    assert_eq!(all, (ok, names.len(), last.targets), "seed {seed}");
    assert_eq!(fleet.show(&view).await.runs, last.runs, "seed {seed}: what was decided stays");
    for number in (0..READ).map(|_| rng.usize(..roles.len())) {
        if let Expect::Exactly(verdict) = expected(&name(number))
            && verdict != Verdict::Offline
        {
            let printed = fleet.output(&view, &name(number)).await;
            assert!(printed == roles[number].printed, "seed {seed}: d{number} printed {} bytes", printed.len());
        }
    }
    let told = last_events(&fleet.manager).await.into_iter().filter(|event| {
        matches!(&event.body, EventBody::JobEnded { job, ok, not_ok, .. }
            if *job == view.id && (*ok, *not_ok) == (last.ok, last.not_ok))
    });
    assert_eq!(told.count(), 1, "seed {seed}: the history says so once");
    // Who is frozen or gone is another process in the next round.
    for (device, role) in fleet.devices.iter_mut().zip(&roles) {
        if matches!(role.fate, Fate::Frozen | Fate::Silent | Fate::Killed) {
            device.kill();
        }
    }
}

/// The targets that have another verdict than they should.
fn wrong(view: &JobView, expected: impl Fn(&str) -> Expect) -> Vec<String> {
    let tell = |run: &robo_wire::job::RunView| {
        let expect = expected(&run.device);
        let is_open = run.outcome.is_none() && expect == Expect::LostInTheEnd;
        let is_right = is_open || run.outcome.as_ref().is_some_and(|verdict| expect.holds(verdict));
        (!is_right).then(|| format!("{}: {:?}, and it should be {expect:?}", run.device, run.outcome))
    };
    view.runs.iter().filter_map(tell).collect()
}
