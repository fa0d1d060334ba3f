//! Runs a command for a stream that the manager opened.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use robo_wire::frame::MAX_STREAM_FRAME;
use robo_wire::stream::{Command, MAX_CHUNK, StreamFrame, Verdict};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::place::{Begin, Place};
use super::{DEFAULT_PATH, ending::GRACE};
use crate::framing::{read_frame, write_frame};
use crate::keeper::user::User;
use crate::limits;

/// Frames of output that wait for a slow stream; then the command waits.
const WAITING_FRAMES: usize = 4;

/// How long after a command's end, and after the last byte, output of what it left behind is still waited for.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// Most output that is taken after a command's end: all that it can have left in a pipe itself.
pub(crate) const MAX_LEFT: usize = 1024 * 1024;

/// A process group that does not outlive our interest in it.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Option<Pid>,
    over: AtomicBool,
}

impl Group {
    /// The group that `child`, which was not waited for yet, leads.
    pub(crate) fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { leader, over: AtomicBool::new(false) }
    }

    /// The leader has been waited for: from now on its id may be another's.
    pub(crate) fn disarm(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.leader.filter(|_| !self.over.load(Ordering::Relaxed)) {
            // It may have ended since.
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How the running of a command ended.
enum End {
    Status(ExitStatus),
    Timeout,
    /// Nobody listens any more.
    Gone,
}

/// Runs `command` as the agent's own user. Takes its input from `stream`, gives its output and one verdict. When the
/// stream ends before that, the command is ended.
pub async fn exec<S: AsyncRead + AsyncWrite + Unpin>(command: Command, stream: S) {
    let (reader, mut writer) = tokio::io::split(stream);
    let verdict = match start(&command, None) {
        Err(reason) => Some(Verdict::Refused { reason }),
        Ok(child) => Box::pin(Session::new(&command, child).run(reader, &mut writer)).await,
    };
    if let Some(verdict) = verdict {
        // The manager gives its own verdict if ours does not come.
        send(&mut writer, &StreamFrame::Verdict(verdict)).await.ok();
        writer.shutdown().await.ok();
    }
}

/// Starts a command, as the user that it names.
///
/// # Errors
/// One sentence that says why it cannot be run.
pub(crate) fn start(command: &Command, place: Option<Place>) -> Result<Child, String> {
    if command.within.is_some() && place.is_none() {
        return Err("where the instance runs is not known here".to_owned());
    }
    let mut begin = Begin::find(command.user.as_deref(), command.cwd.as_deref(), place)?;
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err("no command was given".to_owned());
    };
    let path = std::env::var("PATH").ok().filter(|p| !p.is_empty()).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let usual =
        [("PATH", path), ("HOME", begin.home()), ("LANG", "C.UTF-8".to_owned()), ("USER", begin.user.name.clone())];
    let env = begin.environment(usual, &command.env);
    let Begin { cwd, other, .. } = begin;
    let mut process = tokio::process::Command::new(program);
    process.args(arguments).env_clear().envs(env).current_dir(&cwd).process_group(0).kill_on_drop(true);
    process.stdin(if command.stdin { Stdio::piped() } else { Stdio::null() });
    process.stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(user) = &other {
        user.run(process.as_std_mut());
    }
    let child = process.spawn().map_err(|e| explain(&e, program, &cwd, other.as_ref()))?;
    limits::give_back(child.id());
    Ok(child)
}

/// Who runs something for `name`, and that user's home; at last the user to become, where that is not the agent's own.
///
/// # Errors
/// One sentence that says why it cannot be.
pub(crate) fn whom(name: Option<&str>) -> Result<(User, PathBuf, Option<User>), String> {
    let other = name.map(user_to_become).transpose()?.flatten();
    Ok(match &other {
        Some(user) => (user.clone(), user.home.clone(), other),
        None => {
            let own = User::own();
            let home = std::env::var_os("HOME").map_or_else(|| own.home.clone(), PathBuf::from);
            (own, home, None)
        }
    })
}

/// The words for a command are others than those for an instance: there is no `user:` to change.
fn user_to_become(name: &str) -> Result<Option<User>, String> {
    User::to_become(name).map_err(|reason| reason.split(';').next().unwrap_or_default().to_owned())
}

fn explain(error: &io::Error, program: &str, cwd: &Path, user: Option<&User>) -> String {
    match (error.kind(), user) {
        (io::ErrorKind::NotFound, _) => format!("this device has no program `{program}`"),
        (io::ErrorKind::PermissionDenied, Some(user)) => {
            format!("`{}` may not run `{program}` in `{}`", user.name, cwd.display())
        }
        _ => format!("`{program}` cannot be run: {error}"),
    }
}

/// A command that runs.
struct Session {
    child: Child,
    group: Group,
    until: Option<Instant>,
    /// The command has ended; what still comes is of what it left behind.
    ended: CancellationToken,
    /// Nobody takes the output any more.
    broken: CancellationToken,
}

impl Session {
    fn new(command: &Command, child: Child) -> Self {
        let group = Group::of(&child);
        let until = command.timeout.map(|limit| Instant::now() + limit.duration());
        Self { child, group, until, ended: CancellationToken::new(), broken: CancellationToken::new() }
    }

    /// The verdict; nothing when nobody listens any more.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        reader: ReadHalf<S>,
        writer: &mut WriteHalf<S>,
    ) -> Option<Verdict> {
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let (give, take) = mpsc::channel(WAITING_FRAMES);
        let ended = self.ended.clone();
        let flow = async {
            let pumps = async {
                let (out, err) = (give.clone(), give);
                tokio::join!(pump(stdout, StreamFrame::Stdout, out), pump(stderr, StreamFrame::Stderr, err));
                // The other branch ends when it has delivered what we gave.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                delivered = deliver(take, writer, &ended) => delivered,
                () = pumps => Ok(()),
            }
        };
        let mut flow = std::pin::pin!(flow);
        let broken = self.broken.clone();
        let mut watch = std::pin::pin!(self.watch(reader, stdin));
        let (end, delivered) = tokio::select! {
            end = &mut watch => (end, None),
            result = &mut flow => {
                if result.is_err() {
                    broken.cancel();
                }
                (watch.await, Some(result))
            }
        };
        if let (End::Status(_) | End::Timeout, None) = (&end, &delivered) {
            flow.await.ok()?;
        }
        match end {
            End::Status(status) => Some(verdict(status)),
            End::Timeout => Some(Verdict::Timeout),
            End::Gone => None,
        }
    }

    /// Waits for the command's end, or brings it about.
    async fn watch<S: AsyncRead + AsyncWrite>(&mut self, reader: ReadHalf<S>, stdin: Option<ChildStdin>) -> End {
        let over = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            status = self.child.wait() => status.map_or(End::Gone, End::Status),
            () = over => End::Timeout,
            () = self.broken.cancelled() => End::Gone,
            () = control(reader, stdin, &self.group) => End::Gone,
        };
        let grace = match end {
            End::Status(_) => None,
            End::Timeout => Some(Duration::ZERO),
            End::Gone => Some(GRACE),
        };
        if let Some(grace) = grace {
            self.group.signal(Signal::TERM);
            if timeout(grace, self.child.wait()).await.is_err() {
                self.group.signal(Signal::KILL);
                // Killed: it cannot stay.
                self.child.wait().await.ok();
            }
        }
        self.group.disarm();
        self.ended.cancel();
        end
    }
}

/// What is said of an exit status.
pub(crate) fn verdict(status: ExitStatus) -> Verdict {
    match status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) {
        0 => Verdict::Ok,
        code => Verdict::Failed { code },
    }
}

/// Passes what the peer sends to the command, until the peer goes.
async fn control<S: AsyncRead + AsyncWrite>(mut reader: ReadHalf<S>, mut stdin: Option<ChildStdin>, group: &Group) {
    while let Ok(Some(frame)) = read_frame(&mut reader, MAX_STREAM_FRAME).await {
        match StreamFrame::decode(frame) {
            Ok(StreamFrame::Stdin(data)) => {
                if let Some(input) = &mut stdin
                    && input.write_all(&data).await.is_err()
                {
                    // The command reads no more; that is its affair.
                    stdin = None;
                }
            }
            Ok(StreamFrame::StdinEnd) => stdin = None,
            Ok(StreamFrame::Signal(number)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    group.signal(signal);
                }
            }
            Ok(
                StreamFrame::Stdout(_)
                | StreamFrame::Stderr(_)
                | StreamFrame::Verdict(_)
                | StreamFrame::Received(..)
                | StreamFrame::Seen(_)
                | StreamFrame::Taken(_)
                | StreamFrame::Unknown(_),
            ) => {}
            Err(_) => return,
        }
    }
}

/// Reads one output of the command, only while there is room for what it reads.
async fn pump(
    output: Option<impl AsyncRead + Unpin>,
    frame: fn(Vec<u8>) -> StreamFrame,
    give: mpsc::Sender<StreamFrame>,
) {
    let Some(mut output) = output else { return };
    while let Ok(room) = give.reserve().await {
        let mut piece = Vec::with_capacity(MAX_CHUNK);
        match (&mut output).take(MAX_CHUNK as u64).read_buf(&mut piece).await {
            Ok(read) if read > 0 => room.send(frame(piece)),
            Ok(_) | Err(_) => return,
        }
    }
}

/// Writes output until there is none, or nothing came for a while after the command's end.
async fn deliver<S: AsyncRead + AsyncWrite>(
    mut take: mpsc::Receiver<StreamFrame>,
    writer: &mut WriteHalf<S>,
    ended: &CancellationToken,
) -> io::Result<()> {
    let mut left = MAX_LEFT;
    loop {
        let frame = if ended.is_cancelled() {
            timeout(IDLE, take.recv()).await.ok().flatten()
        } else {
            tokio::select! {
                biased;
                frame = take.recv() => frame,
                () = ended.cancelled() => continue,
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        send(writer, &frame).await?;
        if let (true, StreamFrame::Stdout(data) | StreamFrame::Stderr(data)) = (ended.is_cancelled(), &frame) {
            left = left.saturating_sub(data.len());
            if left == 0 {
                return Ok(());
            }
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), frame: &StreamFrame) -> io::Result<()> {
    let bytes = frame.encode().map_err(io::Error::other)?;
    write_frame(writer, &bytes).await
}
