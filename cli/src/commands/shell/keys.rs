//! What is typed: for the other side, but for the few keys that are for us.

/// Ctrl-], as in telnet: nothing else has a use for it.
const ESCAPE: u8 = 0x1d;

/// What the keys after Ctrl-] do, for people.
pub(super) const HELP: &str = "after Ctrl-]: d detach, x end the session, Ctrl-] itself, ? this help";

/// Something that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// For the other side.
    Typed(Vec<u8>),
    /// Leave, and let the session go on.
    Detach,
    /// End the session.
    End,
    /// Say what there is.
    Help,
}

/// Tells the keys apart.
#[derive(Debug, Default)]
pub(super) struct Keys {
    is_escaped: bool,
}

impl Keys {
    /// What these bytes mean, in order.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut typed = Vec::new();
        for byte in bytes {
            if !std::mem::take(&mut self.is_escaped) {
                if *byte == ESCAPE {
                    self.is_escaped = true;
                } else {
                    typed.push(*byte);
                }
                continue;
            }
            let key = match byte {
                b'd' | b'D' | 0x04 => Key::Detach,
                b'x' | b'X' => Key::End,
                b'?' | b'h' => Key::Help,
                &ESCAPE => {
                    typed.push(ESCAPE);
                    continue;
                }
                other => {
                    typed.extend([ESCAPE, *other]);
                    continue;
                }
            };
            if !typed.is_empty() {
                keys.push(Key::Typed(std::mem::take(&mut typed)));
            }
            keys.push(key);
        }
        if !typed.is_empty() {
            keys.push(Key::Typed(typed));
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_escapes_goes_through() {
        let check = |pieces: &[&[u8]], expect: &[Key]| {
            let mut keys = Keys::default();
            let read: Vec<Key> = pieces.iter().flat_map(|piece| keys.read(piece)).collect();
            assert_eq!(read, expect, "{pieces:?}");
        };
        let typed = |text: &[u8]| Key::Typed(text.to_vec());
        check(&[b"ls\r\x03\xff"], &[typed(b"ls\r\x03\xff")]);
        check(&[b"a\x1ddb"], &[typed(b"a"), Key::Detach, typed(b"b")]);
        check(&[b"a\x1d", b"x"], &[typed(b"a"), Key::End]);
        check(&[b"\x1d", b"\x1d", b"d"], &[typed(b"\x1d"), typed(b"d")]);
        check(&[b"\x1d?\x1d\x04"], &[Key::Help, Key::Detach]);
        check(&[b"\x1dq"], &[typed(b"\x1dq")]);
        check(&[b"\x1d"], &[]);
    }
}
