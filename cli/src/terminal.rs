//! The user's terminal while another one is shown in it: every key goes through, and afterwards all is as before.

use std::io;
use std::sync::OnceLock;

use robo_wire::shell::Size;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was before.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// Every key goes through as long as this is there.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Lets every key through. A program that panics puts things in order too.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        if BEFORE.set(before).is_ok() {
            let tell = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                tell(panic);
            }));
        }
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.get() {
        // A terminal that is gone needs no order.
        tcsetattr(stdin(), OptionalActions::Now, before).ok();
    }
}

/// The size of the terminal on standard output.
pub(crate) fn size() -> Size {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size { cols: size.ws_col, rows: size.ws_row }.bounded(),
        Ok(_) | Err(_) => Size::USUAL,
    }
}
