//! The first process of a session: makes the terminal on its standard input its own, and becomes the program.
//!
//! Only a process itself can do this between its start and the program's, so the agent starts its own executable again
//! with hidden arguments. Standard error is a pipe to the agent at first: it closes without a word when the program
//! runs, and tells the reason when it cannot.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, stderr, stdin};

/// The hidden argument that makes the executable a leader; the program, its name for itself and its arguments follow.
pub const ARGUMENT: &str = "terminal";

/// The first descriptor that is none of the three standard ones.
const FIRST_FREE: i32 = 3;

/// What shells exit with when a program cannot be run; the agent reads the reason, and nobody this number.
const NOT_RUN: u8 = 127;

/// Becomes the program; comes back only when that is not possible.
#[must_use]
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(agent) = fcntl_dupfd_cloexec(stderr(), FIRST_FREE) else { return NOT_RUN.into() };
    let error = become_program(words);
    // An agent that is gone needs to know nothing.
    std::fs::File::from(agent).write_all(error.to_string().as_bytes()).ok();
    NOT_RUN.into()
}

fn become_program(mut words: impl Iterator<Item = OsString>) -> io::Error {
    let (Some(program), Some(name)) = (words.next(), words.next()) else {
        return io::Error::other("no program was given");
    };
    if let Err(error) = setsid().and_then(|_| ioctl_tiocsctty(stdin())).and_then(|()| dup2_stderr(stdin())) {
        return io::Error::other(format!("the terminal cannot be had: {error}"));
    }
    Command::new(program).arg0(name).args(words).exec()
}
