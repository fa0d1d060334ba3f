//! Serves what the manager asks about the keys of a user: starts the process that does it, as that user.

use std::path::Path;
use std::time::Duration;

use robo_wire::api::SshKeys;
use robo_wire::ssh::{MAX_SSH_KEYS_ANSWER, SshKeysOpen};
use robo_wire::stream::Command;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use super::file;
use crate::framing::answer;
use crate::runtime::exec;

/// How long the process may take: it reads and writes one small file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest reason why nothing was done, in bytes.
const MAX_REASON: u64 = 4096;

/// Serves a stream that the manager opened. `exe` is a program whose `main` asks [`crate::as_helper`].
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(exe: &Path, open: SshKeysOpen, stream: S) {
    answer(stream, async {
        let done = timeout(PATIENCE, carry_out(exe, open)).await;
        let keys = done.unwrap_or_else(|_| Err(format!("it took longer than {} s", PATIENCE.as_secs())))?;
        serde_json::to_vec(&keys).map_err(|error| error.to_string())
    })
    .await;
}

async fn carry_out(exe: &Path, open: SshKeysOpen) -> Result<SshKeys, String> {
    open.change.check()?;
    let (user, home, _) = exec::whom(open.user.as_deref())?;
    let argv = vec![exe.to_string_lossy().into_owned(), file::ARGUMENT.to_owned(), home.to_string_lossy().into()];
    let command = Command {
        argv,
        env: [].into(),
        cwd: Some("/".into()),
        user: open.user,
        timeout: None,
        stdin: true,
        within: None,
    };
    let child = exec::start(&command, None)?;
    let change = serde_json::to_vec(&open.change).map_err(|error| error.to_string())?;
    let said = said(child, &change).await.map_err(|error| format!("the keys cannot be looked at: {error}"))??;
    let keys: SshKeys = serde_json::from_slice(&said).map_err(|error| error.to_string())?;
    Ok(SshKeys { user: user.name, ..keys })
}

/// What the process says, or why it did nothing.
async fn said(mut child: Child, change: &[u8]) -> std::io::Result<Result<Vec<u8>, String>> {
    if let Some(mut input) = child.stdin.take() {
        // One that ended early says why.
        input.write_all(change).await.ok();
    }
    let (mut said, mut reason) = (Vec::new(), String::new());
    if let Some(output) = child.stdout.take() {
        let max = u64::try_from(MAX_SSH_KEYS_ANSWER).unwrap_or(u64::MAX);
        output.take(max).read_to_end(&mut said).await?;
    }
    if let Some(errors) = child.stderr.take() {
        errors.take(MAX_REASON).read_to_string(&mut reason).await?;
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(Ok(said));
    }
    let reason = reason.trim();
    Ok(Err(if reason.is_empty() { format!("it ended with {status}") } else { reason.to_owned() }))
}
