//! Entries of systemd's journal, as `journalctl` tells them. It runs for as long as they are wanted.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use robo_model::quantity::UnixMillis;
use robo_wire::tail::{Line, MAX_CURSOR, MAX_LINE, Position, Text};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::pick::Last;
use super::{Row, Stop, Teller};
use crate::limits;
use crate::runtime::DEFAULT_PATH;

/// Most bytes of one entry as JSON: what systemd takes of a message, with room for bytes that are told as numbers. What
/// is longer is left out, and that is told.
const MAX_ENTRY: usize = 1024 * 1024;

/// Most bytes of what the program says on standard error that are looked at.
const MAX_SAID: u64 = 4096;

/// How long the questions may take that have short answers: a journal of many files on a slow disk.
const QUESTION: Duration = Duration::from_secs(60);

/// Most entries that wait to be sent together.
const MAX_TOGETHER: usize = 256;

/// The programs that know.
pub(super) struct Journal {
    /// `journalctl`, with what stands before its own arguments.
    pub(super) journalctl: Vec<String>,
    /// `systemctl`, likewise.
    pub(super) systemctl: Vec<String>,
}

/// An entry.
struct Entry {
    at: Option<UnixMillis>,
    cursor: String,
    message: Vec<u8>,
}

impl Journal {
    /// Those of this device.
    pub(super) fn of_system() -> Self {
        Self { journalctl: vec!["journalctl".to_owned()], systemctl: vec!["systemctl".to_owned()] }
    }

    /// Tells the entries of `unit` after `position`.
    pub(super) async fn tell(
        &self,
        teller: &mut Teller<'_>,
        unit: &str,
        position: Option<&Position>,
    ) -> Result<(), Stop> {
        let mut cursor = match position {
            Some(Position::Cursor(cursor)) => Some(cursor.clone()),
            Some(Position::Beginning | Position::File(_)) => None,
            None => {
                self.probe(unit).await?;
                None
            }
        };
        if let (None, Some(lines)) = (position, teller.open.lines) {
            cursor = self.last(teller, unit, lines).await?;
            if !teller.open.follow {
                return Ok(());
            }
        }
        self.forward(teller, unit, cursor).await
    }

    /// Looks whether there is anything to be read.
    async fn probe(&self, unit: &str) -> Result<(), Stop> {
        let mut entries = self.run(unit, &["--lines=1".to_owned()])?;
        let until = Instant::now() + QUESTION;
        let late = || Stop::Refused(format!("the journal did not answer for {QUESTION:?}"));
        if timeout_at(until, entries.next()).await.map_err(|_| late())??.is_some() {
            return Ok(());
        }
        let (status, said) = timeout_at(until, entries.end()).await.map_err(|_| late())??;
        if said.contains("insufficient permissions") || said.contains("not seeing messages") {
            return Err("the agent's user may not read the journal: add it to the group `systemd-journal`, and start \
                        the agent again"
                .to_owned()
                .into());
        }
        if said.contains("No journal files were found") {
            return Err("this device keeps no journal".to_owned().into());
        }
        if !status.success() {
            return Err(format!("the journal cannot be read: {}", said.trim()).into());
        }
        self.must_exist(unit).await
    }

    /// Refuses a unit of which systemd knows nothing. One that has never run prints nothing yet.
    async fn must_exist(&self, unit: &str) -> Result<(), Stop> {
        let mut command = command(&self.systemctl)?;
        command.args(["show", "--property=LoadState", "--value", "--", unit]);
        // Without systemctl nobody knows better.
        let Ok(output) = command.output().await else { return Ok(()) };
        if output.stdout.trim_ascii() == b"not-found" {
            return Err(format!("this device has no unit `{unit}`, and its journal has nothing of one").into());
        }
        Ok(())
    }

    /// Tells the last wanted entries; the cursor of the newest entry of all.
    async fn last(&self, teller: &mut Teller<'_>, unit: &str, lines: u32) -> Result<Option<String>, Stop> {
        let mut entries = self.run(unit, &["--reverse".to_owned()])?;
        let (mut newest, mut last) = (None, Last::new(lines));
        while let Some(entry) = entries.next().await? {
            let before = teller.pick.since().zip(entry.at).is_some_and(|(since, at)| at < since);
            newest.get_or_insert_with(|| entry.cursor.clone());
            let mut wanted = teller.pick.wanted(rows(entry, &Position::Beginning), &mut 0, &mut teller.silent);
            while let Some(row) = wanted.pop().filter(|_| !last.is_full()) {
                last.push_front(row);
            }
            if before || last.is_full() {
                break;
            }
        }
        let position = newest.clone().map_or(Position::Beginning, Position::Cursor);
        teller.told(last.rows(), position).await?;
        Ok(newest)
    }

    /// Tells the entries after `cursor`, and on request those to come.
    async fn forward(&self, teller: &mut Teller<'_>, unit: &str, cursor: Option<String>) -> Result<(), Stop> {
        let mut words = Vec::new();
        match (&cursor, teller.pick.since()) {
            (Some(cursor), _) => words.push(format!("--after-cursor={cursor}")),
            (None, Some(since)) => words.push(format!("--since=@{}", since.0 / 1000)),
            (None, None) => {}
        }
        if teller.open.follow {
            words.extend(["--follow".to_owned(), "--no-tail".to_owned()]);
        }
        let mut entries = self.run(unit, &words)?;
        let mut position = cursor.map_or(Position::Beginning, Position::Cursor);
        teller.lines(Vec::new(), position.clone()).await?;
        let (mut together, mut is_over) = (Vec::new(), false);
        while let Some(entry) = entries.next().await? {
            is_over = teller.pick.until().zip(entry.at).is_some_and(|(until, at)| at >= until);
            if !is_over {
                let next = Position::Cursor(entry.cursor.clone());
                together.extend(teller.pick.wanted(rows(entry, &position), &mut 0, &mut teller.silent));
                position = next;
            }
            if is_over || together.len() >= MAX_TOGETHER || !entries.has_more() {
                teller.rows(std::mem::take(&mut together), position.clone()).await?;
            }
            if is_over {
                break;
            }
        }
        if entries.take_left_out() > 0 {
            teller.note(format!("entries of more than {MAX_ENTRY} bytes are left out")).await?;
        }
        if is_over {
            return Ok(());
        }
        let (status, said) = entries.end().await?;
        teller.told(together, position).await?;
        if status.success() && !teller.open.follow {
            return Ok(());
        }
        Err(format!("the journal cannot be read on: {}", said.trim()).into())
    }

    fn run(&self, unit: &str, words: &[String]) -> Result<Entries, Stop> {
        let mut command = command(&self.journalctl)?;
        command.args(["--output=json", "--output-fields=MESSAGE", "--all", "--no-pager"]);
        command.arg(format!("--unit={unit}")).args(words).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return "this device has no journal: there is no `journalctl`".to_owned();
            }
            format!("`journalctl` cannot be run: {error}")
        })?;
        limits::give_back(child.id());
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("`journalctl` has no output".to_owned().into());
        };
        let said = tokio::spawn(async move {
            let mut said = Vec::new();
            // What was read before an error is still worth something.
            stderr.take(MAX_SAID).read_to_end(&mut said).await.ok();
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Entries { child, output: BufReader::new(stdout), said, left_out: 0 })
    }
}

/// A program of the system, in an environment that makes it speak English.
fn command(words: &[String]) -> Result<Command, Stop> {
    let Some((program, arguments)) = words.split_first() else { return Err("no program is named".to_owned().into()) };
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", path).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// The output of a `journalctl` that runs; it ends with this.
struct Entries {
    child: Child,
    output: BufReader<ChildStdout>,
    said: JoinHandle<String>,
    left_out: u64,
}

impl Entries {
    /// The next entry; nothing at the end.
    async fn next(&mut self) -> Result<Option<Entry>, Stop> {
        let broken = |error: io::Error| Stop::Refused(format!("the journal cannot be read: {error}"));
        loop {
            let mut line = Vec::new();
            let mut bounded = (&mut self.output).take(MAX_ENTRY as u64);
            if bounded.read_until(b'\n', &mut line).await.map_err(broken)? == 0 {
                return Ok(None);
            }
            if !line.ends_with(b"\n") && line.len() == MAX_ENTRY {
                self.skip_line().await.map_err(broken)?;
                self.left_out += 1;
            } else if let Some(entry) = entry(&line) {
                return Ok(Some(entry));
            } else {
                self.left_out += 1;
            }
        }
    }

    async fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let waiting = self.output.fill_buf().await?;
            let (used, ended) = match waiting.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (waiting.len(), waiting.is_empty()),
            };
            self.output.consume(used);
            if ended {
                return Ok(());
            }
        }
    }

    /// True when the next entry is there already.
    fn has_more(&self) -> bool {
        self.output.buffer().contains(&b'\n')
    }

    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// How the program ended, and what it said on standard error.
    async fn end(mut self) -> Result<(ExitStatus, String), Stop> {
        let status = self.child.wait().await.map_err(|error| Stop::Refused(format!("`journalctl`: {error}")))?;
        Ok((status, self.said.await.unwrap_or_default()))
    }
}

/// An entry; nothing where this is none.
fn entry(line: &[u8]) -> Option<Entry> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let cursor = value.get("__CURSOR")?.as_str().filter(|cursor| cursor.len() <= MAX_CURSOR)?.to_owned();
    let micros = value.get("__REALTIME_TIMESTAMP").and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
    let message = value.get("MESSAGE").map(message).unwrap_or_default();
    Some(Entry { at: micros.map(|micros| UnixMillis(micros / 1000)), cursor, message })
}

/// A message: text, bytes as numbers where it is none, or several of these.
fn message(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect()
        }
        Value::Array(items) => items.iter().map(message).collect::<Vec<_>>().join(&b'\n'),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// The entry's rows. Who is cut between two pieces of a very long message gets it again as a whole: `before` is the
/// place before it.
fn rows(entry: Entry, before: &Position) -> Vec<Row> {
    let (at, after) = (entry.at, Position::Cursor(entry.cursor));
    let message = entry.message.strip_suffix(b"\n").unwrap_or(&entry.message);
    let mut pieces: Vec<&[u8]> = message.chunks(MAX_LINE).collect();
    let last = pieces.pop().unwrap_or_default();
    let piece = |text: &[u8], cut| Line { at, text: Text(text.to_vec()), cut };
    let first = pieces.into_iter().map(|text| Row { line: piece(text, true), after: before.clone() });
    let mut rows: Vec<Row> = first.collect();
    rows.push(Row { line: piece(last, false), after });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_or_left_out() {
        let read = |text: &str| entry(text.as_bytes()).map(|e| (e.at.map(|at| at.0), e.cursor, e.message));
        let cursor = || "s=1".to_owned();
        let text = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000123456","MESSAGE":"hello\nworld"}"#;
        assert_eq!(read(text), Some((Some(1_700_000_000_123), cursor(), b"hello\nworld".to_vec())));
        assert_eq!(read(r#"{"__CURSOR":"s=1","MESSAGE":[255,10,300]}"#), Some((None, cursor(), vec![255, 10])));
        assert_eq!(read(r#"{"__CURSOR":"s=1","MESSAGE":["a",[98]]}"#), Some((None, cursor(), b"a\nb".to_vec())));
        assert_eq!(read(r#"{"__CURSOR":"s=1","MESSAGE":null}"#), Some((None, cursor(), vec![])));
        for bad in ["", "-- No entries --", "{}", r#"{"MESSAGE":"x"}"#, r#"{"__CURSOR":7}"#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn long_messages_come_in_pieces() {
        let entry = Entry { at: None, cursor: "s=1".to_owned(), message: vec![b'x'; MAX_LINE + 1] };
        let rows = rows(entry, &Position::Beginning);
        let told: Vec<_> = rows.iter().map(|row| (row.line.text.0.len(), row.line.cut, &row.after)).collect();
        let after = Position::Cursor("s=1".to_owned());
        assert_eq!(told, [(MAX_LINE, true, &Position::Beginning), (1, false, &after)]);
        let empty = Entry { at: None, cursor: "s=1".to_owned(), message: vec![] };
        assert_eq!(super::rows(empty, &Position::Beginning).len(), 1);
    }
}
