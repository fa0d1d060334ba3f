//! What another side has done to the user's terminal, to undo it when we leave in the middle.

/// The longest sequence that is looked for, but one byte: what of it may stand at the end of a piece.
const OVERLAP: usize = 7;

/// Ways to the other screen that full-screen programs use, and back.
const OTHER: [(&[u8], bool); 4] =
    [(b"\x1b[?1049h", true), (b"\x1b[?1049l", false), (b"\x1b[?47h", true), (b"\x1b[?47l", false)];

/// Mouse reports, bracketed paste, cursor keys, keypad and colours as they are at first; a cursor that is seen.
const PLAIN: &str = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m\x1b[?25h";

/// Looks at what is shown.
#[derive(Debug, Default)]
pub(super) struct Picture {
    is_other: bool,
    tail: Vec<u8>,
}

impl Picture {
    /// This is shown.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(bytes);
        let last = |sequence: &[u8]| text.windows(sequence.len()).rposition(|window| window == sequence);
        let seen = OTHER.iter().filter_map(|(sequence, is_other)| Some((last(sequence)?, *is_other)));
        if let Some((_, is_other)) = seen.max() {
            self.is_other = is_other;
        }
        self.tail = text.split_off(text.len().saturating_sub(OVERLAP));
    }

    /// What makes the terminal the user's own again.
    pub(super) fn undo(&self) -> String {
        let back = if self.is_other { "\x1b[?1049l" } else { "" };
        format!("{PLAIN}{back}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_screen_is_left_when_it_was_entered() {
        let check = |pieces: &[&str], expect: bool| {
            let mut picture = Picture::default();
            for piece in pieces {
                picture.see(piece.as_bytes());
            }
            assert_eq!(picture.undo().ends_with("\x1b[?1049l"), expect, "{pieces:?}");
        };
        check(&["$ ls\r\n"], false);
        check(&["\x1b[?1049h~"], true);
        check(&["x\x1b[?10", "49", "h"], true);
        check(&["\x1b[?1049h", "text", "\x1b[?1049l$ "], false);
        check(&["\x1b[?1049l\x1b[?1049h"], true);
        check(&["\x1b[?47h"], true);
    }
}
