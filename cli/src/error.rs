//! How a command ends: an exit code, or an error that is shown once, on standard error.

use std::process::ExitCode;

/// What the shell is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// An error.
    Error,
    /// `plan`: an apply would change something.
    Changes,
    /// Some targets failed.
    SomeFailed,
    /// The manager cannot be reached.
    Unreachable,
    /// The login is over: somebody has to log in again.
    LoginOver,
    /// The time given was over.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// `exec` with one target: the remote command's own code.
    Remote(u8),
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Changes => 2,
            Self::SomeFailed => 3,
            Self::Unreachable => 4,
            Self::LoginOver => 5,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Remote(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// What happened, where, what to do. It is data; `output` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    what: String,
    notes: Vec<String>,
    help: Vec<String>,
    exit: Exit,
    quiet: bool,
}

impl CliError {
    /// `what` happened, in one sentence that names the thing.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), notes: Vec::new(), help: Vec::new(), exit: Exit::Error, quiet: false }
    }

    /// Whoever read our output went away (`robo status | head -1`): no fault, and nobody to tell.
    pub(crate) fn broken_pipe() -> Self {
        Self { quiet: true, ..Self::new("the reader of the output went away") }.exit_with(Exit::Done)
    }

    /// The command told everything already and only has to end with `exit`.
    pub(crate) fn told(exit: Exit) -> Self {
        Self { quiet: true, ..Self::new("told already") }.exit_with(exit)
    }

    /// Adds where it happened, or what else is known.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Ends with `exit` instead of 1.
    #[must_use]
    pub(crate) fn exit_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What the shell is told.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// True when there is nothing to show.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What happened.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Where, and what else is known.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What to do.
    pub(crate) fn helps(&self) -> &[String] {
        &self.help
    }
}
