//! The agent's own log, in its folder: whatever else becomes of what it says, `robo logs --agent` finds it there.
//!
//! A few files of bounded size, as instances have them. Agents within another program, as tests have them, keep none.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::registry::Registry;
use tracing_subscriber::{Layer, fmt};

use crate::folders::Folders;
use crate::keeper::output::{Log, Shelf};

/// What of a log may be added to others.
pub type DiaryLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A log that is written to.
struct Diary(Log);

impl io::Write for Diary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is logged from now on to the log in the agent's folder `state`, which is made where there is none.
///
/// # Errors
/// When the folder or the log cannot be made.
pub fn layer(state: &Path) -> io::Result<DiaryLayer> {
    let folders = Folders::new(state);
    folders.create_log()?;
    let log = Log::open_on(Shelf::of_agent(&folders.log()))?;
    // On a full disk there is nothing to be said about it that could be written.
    Ok(fmt::layer().with_ansi(false).log_internal_errors(false).with_writer(Mutex::new(Diary(log))).boxed())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn what_is_logged_lies_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("new").join("state");
        let subscriber = tracing_subscriber::registry().with(layer(&state).unwrap());
        tracing::subscriber::with_default(subscriber, || tracing::info!("link up"));
        let text = fs::read_to_string(state.join("log").join("agent.log")).unwrap();
        assert!(text.contains("INFO") && text.ends_with("link up\n") && !text.contains('\u{1b}'), "{text}");
        let other = folder.path().join("file");
        fs::write(&other, "").unwrap();
        assert!(layer(&other).is_err());
    }
}
