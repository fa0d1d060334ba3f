//! Whether a started instance is well: a request, a connection or a command, again and again.

use std::time::Duration;

use robo_model::graph::{Check, Probe};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::exec::Group;
use super::{Shared, script, supervise};
use crate::keeper::output::Tail;
use crate::limits;
use crate::order::{Order, Report};

/// Failed tries in a row that make an instance unhealthy: one may be a hiccup.
const UNHEALTHY_AFTER: u32 = 3;

/// First pause between tries while an instance starts; doubled up to the check's own.
const START_PAUSE: Duration = Duration::from_millis(100);

/// Most that is read of an answer's first line: `HTTP/1.1 200 ` and some words.
const MAX_STATUS_LINE: usize = 1024;

/// Tries until the check passes; `last` is what the last try found.
pub(super) async fn first_pass(shared: &Shared, order: &Order, check: &Check, last: &mut String) {
    "the check has not been tried yet".clone_into(last);
    let mut pause = START_PAUSE;
    while let Err(reason) = attempt(shared, order, check).await {
        *last = reason;
        sleep(pause.min(check.every.duration())).await;
        pause = pause.saturating_mul(2);
    }
}

/// Reports the health of an instance until `token` says that it is being stopped.
pub(super) async fn watch(shared: &Shared, order: &Order, token: &CancellationToken) {
    token.run_until_cancelled(health(shared, order)).await;
}

/// Reports the health of an instance when it changes; never ends.
pub(super) async fn health(shared: &Shared, order: &Order) {
    let Some(check) = &order.settings.check else { return std::future::pending().await };
    let mut failures = 0;
    loop {
        sleep(check.every.duration()).await;
        let report = match attempt(shared, order, check).await {
            Ok(()) => {
                let was = std::mem::take(&mut failures);
                (was >= UNHEALTHY_AFTER).then(|| (true, "the check passes again".to_owned()))
            }
            Err(reason) => {
                failures = (failures + 1).min(UNHEALTHY_AFTER + 1);
                (failures == UNHEALTHY_AFTER).then_some((false, reason))
            }
        };
        if let Some((healthy, reason)) = report {
            shared.report(Report::Health { key: order.key.clone(), healthy, reason }).await;
        }
    }
}

async fn attempt(shared: &Shared, order: &Order, check: &Check) -> Result<(), String> {
    let address = shared.address(&order.key);
    let (what, trying) = match &check.probe {
        Probe::Http { port, path } => {
            let what = format!("GET http://{}{path}", endpoint(&address, port));
            (what, timeout(check.timeout.duration(), http(&address, port, path)).await)
        }
        Probe::Tcp { port } => {
            let what = format!("a connection to {}", endpoint(&address, port));
            (what, timeout(check.timeout.duration(), connect(&address, port)).await.map(|got| got.map(drop)))
        }
        Probe::Run { command } => {
            let what = format!("`{command}`");
            (what, timeout(check.timeout.duration(), run(shared, order, command)).await)
        }
    };
    match trying {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(format!("the check fails: {what}: {reason}")),
        Err(_) => Err(format!("the check fails: {what}: nothing within {}", check.timeout)),
    }
}

fn endpoint(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

async fn connect(address: &str, port: &str) -> Result<TcpStream, String> {
    let port: u16 = port.trim().parse().map_err(|_| format!("`{port}` is no port"))?;
    TcpStream::connect((address, port)).await.map_err(|e| e.to_string())
}

async fn http(address: &str, port: &str, path: &str) -> Result<(), String> {
    let mut stream = connect(address, port).await?;
    let host = endpoint(address, port);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: robo-check\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < MAX_STATUS_LINE {
        let mut piece = [0; MAX_STATUS_LINE];
        let read = stream.read(&mut piece).await.map_err(|e| e.to_string())?;
        if read == 0 {
            break;
        }
        line.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    match status(&line) {
        Some(200..=399) => Ok(()),
        Some(other) => Err(format!("status {other}")),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next()?.strip_prefix("HTTP/1.")?;
    words.next()?.parse().ok()
}

async fn run(shared: &Shared, order: &Order, line: &str) -> Result<(), String> {
    let recipe = shared.folder(order).recipe();
    let env = shared.environment(order);
    let words = supervise::command(line, &recipe, env.get("PATH").map_or("", String::as_str))?;
    let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let both = writer.try_clone().map_err(|e| e.to_string())?;
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1)).env_clear().envs(env).current_dir(&recipe).process_group(0);
    command.stdin(std::process::Stdio::null()).stdout(both).stderr(writer).kill_on_drop(true);
    if let Some(user) = script::owner(order).map_err(|failed| failed.reason)? {
        user.run(command.as_std_mut());
    }
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    limits::give_back(child.id());
    drop(command);
    let group = Group::of(&child);
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).map_err(|e| e.to_string())?;
    let mut tail = Tail::default();
    let mut piece = [0; 4096];
    let mut open = true;
    let status = loop {
        tokio::select! {
            // Output first: it comes before the end.
            biased;
            read = output.read(&mut piece), if open => match read {
                Ok(read) if read > 0 => tail.push(piece.get(..read).unwrap_or_default()),
                Ok(_) | Err(_) => open = false,
            },
            status = child.wait() => break status.map_err(|e| e.to_string())?,
        }
    };
    group.disarm();
    if status.success() {
        return Ok(());
    }
    let last = tail.lines().pop().map(|line| format!(": {line}")).unwrap_or_default();
    Err(format!("{status}{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read() {
        let check = |answer: &str, expect| assert_eq!(status(answer.as_bytes()), expect, "{answer}");
        check("HTTP/1.1 200 OK\r\n", Some(200));
        check("HTTP/1.0 404\r\nX: 1", Some(404));
        check("SSH-2.0-x\r\n", None);
        check("HTTP/1.1\r\n200", None);
        check("", None);
    }

    #[tokio::test]
    async fn an_answer_is_judged_by_its_status() {
        let mut addresses = vec!["127.0.0.1"];
        // Where the kernel has no IPv6, nobody has such an address.
        addresses.extend(std::net::TcpListener::bind("[::1]:0").is_ok().then_some("::1"));
        let answers = [("HTTP/1.1 204 No\r\n\r\n", true), ("HTTP/1.1 500 Oh\r\n\r\n", false), ("garbage", false)];
        for (address, (answer, good)) in addresses.iter().flat_map(|address| answers.map(|answer| (*address, answer))) {
            let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut piece = [0; 1000];
                let read = stream.read(&mut piece).await.unwrap();
                let expect = format!("GET /x HTTP/1.1\r\nHost: {}\r\n", endpoint(address, &port));
                assert!(piece[..read].starts_with(expect.as_bytes()));
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (got, ()) = tokio::join!(http(address, &port, "/x"), serve);
            assert_eq!(got.is_ok(), good, "{address}: {answer}: {got:?}");
            connect(address, &port).await.unwrap();
        }
        assert!(connect("127.0.0.1", "no").await.unwrap_err().contains("`no` is no port"));
    }
}
