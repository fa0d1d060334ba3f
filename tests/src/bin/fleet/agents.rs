//! The agents: real links and real reconcilers, steps that are done at once.
//!
//! Reads `[[name, token], …]` as one line, says `up N` whenever all links are up, and a line for each thing that is
//! measured: `started N` when so many instances in all are started, `informed {…}` when all importers of a provider
//! know that it started, `left N` when all know that it went.

use std::collections::{BTreeSet, VecDeque};
use std::io::BufRead as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use robo_agent::dial::Route;
use robo_agent::enroll::{Enrolment, enroll};
use robo_agent::identity::Identity;
use robo_agent::ledger::Ledger;
use robo_agent::order::{Addresses, Order, Outcome, Report};
use robo_agent::pilot::{Now, Out, Pilot};
use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use robo_model::state::Step;
use robo_wire::api::Facts;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::job::{Begun, Ended, RunFrame};
use robo_wire::stream::{Open, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

/// Devices that enrol at the same time: more would only wait for the two cores.
const ENROLLING: usize = 16;

/// Whose start is measured, and who has to hear of it.
const PROVIDER: &str = "Giver";

/// What all agents together have seen.
#[derive(Default)]
struct Board {
    links: usize,
    started: usize,
    importers: usize,
    /// When the provider's start ended, and how long after it importers began their update.
    informed: Option<(Instant, Vec<Duration>)>,
    /// Importers that know that the provider went: some do before its stop begins, for it withdraws first.
    left: usize,
}

/// Runs until its standard input ends.
pub(super) async fn run(manager: &str) {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("a line");
    let devices: Vec<(String, String)> = serde_json::from_str(&line).expect("names and tokens");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let board = Arc::new(Mutex::new(Board { importers: devices.len() - 1, ..Board::default() }));
    let (count, gate) = (devices.len(), Arc::new(Semaphore::new(ENROLLING)));
    for (name, token) in devices {
        let (manager, state) = (manager.to_owned(), folder.path().join(&name));
        let (board, gate) = (Arc::clone(&board), Arc::clone(&gate));
        drop(tokio::spawn(async move {
            let permit = gate.acquire().await.expect("the gate stays");
            std::fs::create_dir_all(&state).expect("a folder");
            let identity = enrolled(&manager, &state, &token).await;
            drop(permit);
            let (pilot, outs) = Pilot::new(Ledger::default().into(), addresses(), "boot".to_owned(), now());
            let mut agent = Agent { manager, identity, board, count, pilot, pending: outs.into(), is_up: false };
            loop {
                agent.connect().await;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..1_000))).await;
            }
        }));
    }
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    drop(ended.await);
}

async fn enrolled(manager: &str, folder: &Path, token: &str) -> Identity {
    let enrolment = Enrolment { token: token.to_owned(), ca_pem: None, name: None };
    loop {
        match enroll(&Route::direct(manager), folder, &enrolment, Facts::default()).await {
            Ok(identity) => return identity,
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
    }
}

fn now() -> Now {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let steady = UnixMillis(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX));
    Now { wall: UnixMillis(1_700_000_000_000 + steady.0), steady }
}

fn addresses() -> Addresses {
    Addresses::only("127.0.0.1")
}

struct Agent {
    manager: String,
    identity: Identity,
    board: Arc<Mutex<Board>>,
    count: usize,
    pilot: Pilot,
    pending: VecDeque<Out>,
    is_up: bool,
}

impl Agent {
    /// One link, from dialling to its end.
    async fn connect(&mut self) {
        let tls = robo_agent::tls::enrolled(&self.identity, robo_wire::ALPN_LINK).expect("our certificate");
        let Ok(socket) = robo_agent::dial::dial(&Route::direct(&*self.manager), tls).await else { return };
        let mut connection = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
        let Ok(stream) = std::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await else { return };
        let drive = tokio::spawn(async move {
            while let Some(Ok(stream)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {
                drop(tokio::spawn(pretend_to_run(stream.compat())));
            }
        });
        let (id, outs) =
            self.pilot.connect(now(), addresses(), Facts { address: addresses().main, ..Facts::default() });
        self.pending.extend(outs);
        let mut stream = stream.compat();
        let mut buffer = Vec::new();
        self.is_up = false;
        while self.carry_out(&mut stream).await {
            let wait = self.pilot.wake_in(now()).map_or(Duration::from_secs(60), |wait| Duration::from_millis(wait.0));
            let outs = tokio::select! {
                read = stream.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(1..)) {
                        break;
                    }
                    let mut outs = Vec::new();
                    while let Some(frame) = frame::take(&mut buffer, MAX_CONTROL_FRAME).expect("our manager's frames") {
                        outs.extend(self.pilot.frame(now(), id, &frame));
                    }
                    outs
                }
                () = tokio::time::sleep(wait) => self.pilot.tick(now()),
            };
            self.pending.extend(outs);
        }
        if std::mem::take(&mut self.is_up) {
            lock(&self.board).links -= 1;
        }
        let outs = self.pilot.hung_up(now(), id);
        self.pending.extend(outs);
        drive.abort();
    }

    /// Does what is ordered until nothing is left; false when the link is of no use any more.
    async fn carry_out(&mut self, stream: &mut (impl tokio::io::AsyncWrite + Unpin)) -> bool {
        while let Some(out) = self.pending.pop_front() {
            let outs = match out {
                Out::Write(_) => self.pilot.persisted(now()),
                Out::Begin(order) => self.step(&order),
                Out::Send(_, bytes) => {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return false;
                    }
                    Vec::new()
                }
                Out::Up(..) => {
                    self.is_up = true;
                    let mut board = lock(&self.board);
                    board.links += 1;
                    if board.links == self.count {
                        println!("up {}", self.count);
                    }
                    Vec::new()
                }
                Out::HangUp(_, reason) => {
                    println!("down {}: {reason}", self.identity.enrolled.name);
                    return false;
                }
                Out::Named(_)
                | Out::Switches(_)
                | Out::Renew
                | Out::Watch(_)
                | Out::Abort { .. }
                | Out::Context(_)
                | Out::Forget(_)
                | Out::Tidy(_) => Vec::new(),
            };
            self.pending.extend(outs);
        }
        true
    }

    fn step(&mut self, order: &Order) -> Vec<Out> {
        self.note(order);
        let (key, run) = (order.key.clone(), order.run);
        self.pilot.reports(now(), [Report::StepEnded { key, run, outcome: Outcome::Done }])
    }

    fn note(&self, order: &Order) {
        let mut board = lock(&self.board);
        let is_provider = order.context.component.as_str() == PROVIDER;
        match order.step {
            Step::Start => {
                board.started += 1;
                println!("started {}", board.started);
                if is_provider {
                    board.informed = Some((Instant::now(), Vec::new()));
                }
            }
            Step::Update => {
                let came: BTreeSet<(&InstanceKey, bool)> =
                    order.context.changes.iter().map(|change| (&change.provider, change.present)).collect();
                let importers = board.importers;
                if came.iter().any(|(_, present)| *present)
                    && let Some((since, all)) = &mut board.informed
                {
                    all.push(since.elapsed());
                    if all.len() == importers {
                        println!("informed {}", figures(all));
                    }
                } else if came.iter().any(|(_, present)| !*present) {
                    board.left += 1;
                    if board.left == importers {
                        board.left = 0;
                        println!("left {importers}");
                    }
                }
            }
            Step::Deploy | Step::Stop | Step::Undeploy => {}
        }
    }
}

/// Begins whatever it is asked to run, and says at once that it ended well.
async fn pretend_to_run(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = Vec::new();
    let open = loop {
        if let Ok(Some(frame)) = frame::take(&mut buffer, MAX_CONTROL_FRAME) {
            break Open::decode(&frame);
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    };
    let Ok(Open::Run(_)) = open else { return };
    let at = UnixMillis(now().wall.0);
    let ended = Ended { verdict: Verdict::Ok, began_at: Some(at), ended_at: at };
    for frame in [RunFrame::Begun(Begun { at, taken: 0 }), RunFrame::Ended(ended)] {
        let bytes = frame.encode().expect("small");
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // The manager hangs up once it has kept that.
    drop(stream.flush().await);
    while matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
        buffer.clear();
    }
}

fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Median, 99th percentile and longest, in milliseconds, as a JSON list.
fn figures(all: &mut [Duration]) -> String {
    all.sort_unstable();
    let at = |share: usize| {
        let place = (all.len() * share / 100).min(all.len() - 1);
        all.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    };
    format!("[{:.2},{:.2},{:.2}]", at(50), at(99), at(100))
}
