//! The shop under `kill -9` of its manager and its agents, while a client writes to it all the time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use robo_tests::eventually_blocking;
use robo_tests::programs::User;
use serde_json::Value;

use super::victim::{Victim, kills};
use super::{find, is_as_wished, pid};

const SHOP: &str = "examples/shop/app.graph";
const SUPERVISED: [&str; 4] = ["/balancer/lb", "/web-1/web", "/web-2/web", "/worker/worker"];

/// Kills in the suite; `ROBO_KILLS=200` for the long run.
const KILLS: usize = 12;

/// A kill comes at most this many milliseconds after the one before: also while what was killed last comes back.
const LONGEST_PAUSE: u64 = 400;

#[test]
fn no_acknowledged_write_is_lost_and_nothing_healthy_is_restarted() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut victims: BTreeMap<String, Victim> = BTreeMap::new();
    let user = User::new();
    user.run(&["up", "--detach", SHOP]).expect(0);
    victims.extend(Victim::all(&user));
    let names: Vec<String> = victims.keys().cloned().collect();
    let before = processes_of_the_shop(&user);
    let writer = Writer::start(database(&user));
    let kills = kills(KILLS);
    for round in 0..kills {
        // The manager is one of six; it deserves a third of the kills.
        let name = if random.usize(..3) == 0 { "manager" } else { &names[random.usize(..names.len())] };
        let pause = Duration::from_millis(random.u64(..LONGEST_PAUSE));
        // Not a wait for anything: the random moment is what is tried.
        std::thread::sleep(pause);
        println!("kill {round}: {name} after {pause:?}");
        let victim = victims.get_mut(name).unwrap();
        victim.kill();
        victim.start();
    }
    eventually_blocking("everything as wished", || is_as_wished(&user).then_some(()));
    let written = writer.stop();
    assert_eq!(processes_of_the_shop(&user), before, "something healthy was restarted");
    assert!(written.failed.is_empty(), "the database was away: {:?}", written.failed);
    assert!(written.acknowledged > kills as u64, "the client hardly wrote: {}", written.acknowledged);
    let address = database(&user);
    let lost: Vec<u64> =
        (1..=written.acknowledged).filter(|n| get(&address, &key(*n)).as_deref() != Some(&*n.to_string())).collect();
    assert_eq!(lost, [0; 0], "acknowledged writes are lost");
    println!("{kills} kills, {} acknowledged writes, 0 lost, 0 processes restarted", written.acknowledged);
}

/// The pids of all that the shop consists of: what robo supervises, and the daemon that scripts started.
fn processes_of_the_shop(user: &User) -> BTreeMap<String, u32> {
    let status = eventually_blocking("the manager answers", || {
        let run = user.run(&["status", "-o", "json"]);
        (run.code == 0).then(|| run.json())
    });
    let mut pids: BTreeMap<String, u32> =
        SUPERVISED.iter().map(|path| ((*path).to_owned(), pid(&find(&status, path)))).collect();
    let daemon = fs::read_to_string(file_named(&user.state(), "store.pid").expect("the database's pid file")).unwrap();
    pids.insert("/database/db".to_owned(), daemon.trim().parse().unwrap());
    pids
}

fn file_named(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            if entry.file_name() == name {
                return Some(entry.path());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    None
}

/// Where the database listens.
fn database(user: &User) -> String {
    let status = user.run(&["status", "-o", "json"]).expect(0).json();
    let exports = find(&status, "/database/db")["report"]["exports"].clone();
    let export = |name: &str| exports[name].as_str().unwrap_or_else(|| panic!("no {name} in {exports}")).to_owned();
    format!("{}:{}", export("Database.ip"), export("Database.port"))
}

fn key(number: u64) -> String {
    format!("/keys/written/{number:08}")
}

/// What a client has seen of the database.
struct Written {
    /// Writes 1 to this were answered with 200.
    acknowledged: u64,
    failed: Vec<String>,
}

/// A client that writes one number after the other, each after the answer to the one before.
struct Writer {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

impl Writer {
    fn start(address: String) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut written = Written { acknowledged: 0, failed: Vec::new() };
            while !ended.load(Ordering::Relaxed) && written.failed.is_empty() {
                let number = written.acknowledged + 1;
                match request(&address, "PUT", &key(number), &number.to_string()) {
                    Ok(answer) if answer.starts_with("HTTP/1.0 200") => written.acknowledged = number,
                    Ok(answer) => written.failed.push(answer),
                    Err(error) => written.failed.push(error.to_string()),
                }
            }
            written
        });
        Self { end, thread }
    }

    fn stop(self) -> Written {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client goes on")
    }
}

fn get(address: &str, path: &str) -> Option<String> {
    let answer = request(address, "GET", path, "").ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let value: Value = serde_json::from_str(body).ok()?;
    head.starts_with("HTTP/1.0 200").then(|| value.to_string())
}

fn request(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
