//! Takes out of text what would steer a terminal: text of devices may come from anybody.
//!
//! A device that was broken into could otherwise move the cursor of whoever looks at it, change what stands there already,
//! the window's title or the clipboard, or have the terminal type something. Colours and the like (`ESC [ … m`) do no
//! harm, and stay. A shell is the exception: its output is for a terminal.

use std::borrow::Cow;

/// Longest sequence that sets colours, in bytes: what is longer is none.
const MAX_SEQUENCE: usize = 64;

/// What stands in the place of what was taken out.
const MARK: &str = "\u{fffd}";

/// Sets all colours back.
const PLAIN: &[u8] = b"\x1b[0m";

/// What has to be known of the bytes before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Text,
    /// An ESC.
    Escape,
    /// `ESC [` and so much of what belongs to it.
    Sequence(Vec<u8>),
    /// A CR, where lines must not be written over.
    Return,
    /// The first bytes of a character, and how many are still to come.
    Character(Vec<u8>, usize),
}

/// A stream of bytes for a terminal; what one piece begins may end in the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Harmless {
    before: Before,
    is_coloured: bool,
    whole_lines: bool,
}

impl Harmless {
    /// One whose lines begin with something of ours, which nothing must be written over.
    pub(crate) fn with_whole_lines() -> Self {
        Self { whole_lines: true, ..Self::default() }
    }

    /// The next piece, without what would steer the terminal.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.take(*byte, &mut out);
        }
        out
    }

    /// The end: nothing of it is left in the terminal.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        match std::mem::take(&mut self.before) {
            Before::Text => {}
            Before::Return | Before::Escape | Before::Sequence(_) | Before::Character(..) => {
                out.extend_from_slice(MARK.as_bytes());
            }
        }
        if std::mem::take(&mut self.is_coloured) {
            out.extend_from_slice(PLAIN);
        }
        out
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match std::mem::take(&mut self.before) {
            Before::Text => self.begin(byte, out),
            Before::Return => {
                // A raw terminal needs both at the end of a line.
                out.extend_from_slice(if byte == b'\n' { b"\r" } else { MARK.as_bytes() });
                self.begin(byte, out);
            }
            Before::Escape if byte == b'[' => self.before = Before::Sequence(Vec::new()),
            Before::Escape => {
                out.extend_from_slice(MARK.as_bytes());
                self.begin(byte, out);
            }
            Before::Sequence(mut inside) => match byte {
                b'0'..=b'9' | b';' | b':' if inside.len() < MAX_SEQUENCE => {
                    inside.push(byte);
                    self.before = Before::Sequence(inside);
                }
                b'm' => {
                    self.is_coloured = !matches!(inside.as_slice(), b"" | b"0");
                    out.extend_from_slice(&[b"\x1b[", inside.as_slice(), b"m"].concat());
                }
                _ => {
                    out.extend_from_slice(&[MARK.as_bytes(), b"[", inside.as_slice()].concat());
                    self.begin(byte, out);
                }
            },
            Before::Character(mut character, missing) => {
                if !matches!(byte, 0x80..=0xbf) {
                    out.extend_from_slice(MARK.as_bytes());
                    return self.begin(byte, out);
                }
                character.push(byte);
                if missing > 1 {
                    self.before = Before::Character(character, missing - 1);
                } else {
                    show(&character, out);
                }
            }
        }
    }

    fn begin(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x1b => self.before = Before::Escape,
            b'\r' if self.whole_lines => self.before = Before::Return,
            b'\n' | b'\t' | b'\r' | 0x20..=0x7e => out.push(byte),
            0xc2..=0xdf => self.before = Before::Character(vec![byte], 1),
            0xe0..=0xef => self.before = Before::Character(vec![byte], 2),
            0xf0..=0xf4 => self.before = Before::Character(vec![byte], 3),
            _ => out.extend_from_slice(MARK.as_bytes()),
        }
    }
}

fn show(character: &[u8], out: &mut Vec<u8>) {
    let is_harmless = |text: &str| !text.chars().any(|c| c.is_control() || turns_text(c));
    let good = std::str::from_utf8(character).is_ok_and(is_harmless);
    out.extend_from_slice(if good { character } else { MARK.as_bytes() });
}

/// Characters that show a text in another order than it has.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text`, without what would steer the terminal. A line stays where it is: what would write over its begin is taken out.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c == '\n' || c == '\t' || !(c.is_control() || turns_text(c));
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut stream = Harmless::with_whole_lines();
    let mut bytes = stream.pass(text.as_bytes());
    bytes.extend(stream.end());
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_taken_out() {
        let check = |text: &str, expect: &str| assert_eq!(harmless(text), expect, "{text:?}");
        check("plain\n\ttext ü 🤖", "plain\n\ttext ü 🤖");
        check("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m");
        check("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m");
        check("a\u{1b}[2Jb", "a\u{fffd}[2Jb");
        check("a\u{1b}[1;1Hb", "a\u{fffd}[1;1Hb");
        check("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}");
        check("\u{1b}]52;c;aGk=\u{1b}\\", "\u{fffd}]52;c;aGk=\u{fffd}\\");
        check("\u{1b}P\u{1b}c\u{1b}", "\u{fffd}P\u{fffd}c\u{fffd}");
        check("\u{9b}2J\u{85}", "\u{fffd}2J\u{fffd}");
        check("good\rbad\r\n", "good\u{fffd}bad\r\n");
        check("a\u{8}\u{7f}\0", "a\u{fffd}\u{fffd}\u{fffd}");
        check("nothing\u{202e}evil", "nothing\u{fffd}evil");
        check("\u{1b}[?25l", "\u{fffd}[?25l");
        check(&format!("\u{1b}[{}m", "1;".repeat(100)), &format!("\u{fffd}[{}m", "1;".repeat(100)));
    }

    #[test]
    fn a_stream_is_the_same_in_any_pieces() {
        let bytes = "a\u{1b}[1mü\u{1b}[2Jb\u{9b}\u{1b}]0;x\u{7}🤖\r\n".as_bytes();
        let bytes = [bytes, &[0xff, 0x9b, 0xe2, 0x82, b'x', 0x1b]].concat();
        let whole = |size: usize| {
            let mut stream = Harmless::default();
            let mut out: Vec<u8> = bytes.chunks(size).flat_map(|piece| stream.pass(piece)).collect();
            out.extend(stream.end());
            out
        };
        let expect =
            "a\u{1b}[1mü\u{fffd}[2Jb\u{fffd}\u{fffd}]0;x\u{fffd}🤖\r\n\u{fffd}\u{fffd}\u{fffd}x\u{fffd}\u{1b}[0m";
        for size in 1..=bytes.len() {
            assert_eq!(String::from_utf8(whole(size)).unwrap(), expect, "in pieces of {size}");
        }
    }
}
