//! How deep a CBOR value nests, looked at before anything is made of it.
//!
//! Decoders of some types (those that are told apart by a field) follow an unknown value into its depth by calling
//! themselves. Without a bound a few thousand bytes of opened arrays would use up the stack, and with it the process.

use crate::frame::FrameError;

/// Most levels of a message. Ours have about a dozen; so many more take no stack worth speaking of.
pub const MAX_NESTING: usize = 64;

/// How much of a value is still to come.
enum Open {
    /// So many items.
    Items(u64),
    /// Items until a break.
    UntilBreak,
}

/// Refuses a body whose first value nests deeper than [`MAX_NESTING`]. Takes no stack and reads no further than the
/// value; what is no CBOR is left for the decoder to say.
///
/// # Errors
/// When it nests too deep.
pub(crate) fn check(kind: u8, body: &[u8]) -> Result<(), FrameError> {
    let mut open = Vec::with_capacity(MAX_NESTING);
    let mut rest = body;
    loop {
        let Some((head, after)) = head(rest) else { return Ok(()) };
        rest = after;
        match head {
            Head::Bytes(length) => {
                let Some(after) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else {
                    return Ok(());
                };
                rest = after;
            }
            Head::Plain | Head::Of(Open::Items(0)) => {}
            Head::Of(more) => {
                if open.len() >= MAX_NESTING {
                    let reason = format!("it nests deeper than {MAX_NESTING} levels");
                    return Err(FrameError::Body { kind, reason });
                }
                open.push(more);
                continue;
            }
            Head::Break => match open.pop() {
                Some(Open::UntilBreak) => {}
                Some(Open::Items(_)) | None => return Ok(()),
            },
        }
        // An item is over, and with it what it was the last of.
        loop {
            match open.last_mut() {
                None => return Ok(()),
                Some(Open::UntilBreak) => break,
                Some(Open::Items(left)) => {
                    *left -= 1;
                    if *left > 0 {
                        break;
                    }
                    open.pop();
                }
            }
        }
    }
}

/// What an item begins with.
enum Head {
    /// It is whole.
    Plain,
    /// So many bytes follow.
    Bytes(u64),
    /// Items follow.
    Of(Open),
    /// The end of what has no length.
    Break,
}

/// Reads an item's head (RFC 8949, 3); nothing where the bytes are none.
fn head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (major, info) = (first >> 5, first & 0x1f);
    if info == 31 {
        let head = match major {
            2..=5 => Head::Of(Open::UntilBreak),
            7 => Head::Break,
            _ => return None,
        };
        return Some((head, rest));
    }
    let width = match info {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (field, rest) = rest.split_at_checked(width)?;
    let value =
        if width == 0 { u64::from(info) } else { field.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)) };
    let head = match major {
        2 | 3 => Head::Bytes(value),
        4 => Head::Of(Open::Items(value)),
        5 => Head::Of(Open::Items(value.saturating_mul(2))),
        6 => Head::Of(Open::Items(1)),
        _ => Head::Plain,
    };
    Some((head, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(body: &[u8]) -> bool {
        check(1, body).is_err()
    }

    #[test]
    fn depth_is_bounded_in_every_form() {
        for opening in [&[0x81][..], &[0x9f], &[0xa1, 0x00], &[0xbf, 0x00], &[0xc1], &[0x82, 0x00], &[0x98, 0x01]] {
            let deep = |levels: usize| [opening.repeat(levels), vec![0]].concat();
            assert!(!refused(&deep(MAX_NESTING)), "{opening:?}");
            assert!(refused(&deep(MAX_NESTING + 1)), "{opening:?}");
            assert!(refused(&deep(1_000_000)), "{opening:?}");
        }
    }

    #[test]
    fn what_only_is_long_is_not_deep() {
        let long = [vec![0x9a, 0, 1, 0, 0], [0x81, 0x00].repeat(65_536)].concat();
        assert!(!refused(&long));
        // Text that looks like opened arrays is text; so is what stands behind the value.
        let text = [vec![0x79, 0x03, 0xe8], vec![0x81; 1_000]].concat();
        assert!(!refused(&text));
        assert!(!refused(&[vec![0x00], vec![0x81; 1_000]].concat()));
        let ended = [vec![0x9f; 60], vec![0xff; 59], vec![0x81; 3], vec![0x00, 0xff]].concat();
        assert!(!refused(&ended));
    }

    #[test]
    fn the_error_says_what_is_the_matter() {
        let error = check(7, &[0x81; 100]).unwrap_err();
        assert_eq!(error.to_string(), "the body of a frame of kind 7 cannot be read: it nests deeper than 64 levels");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(check(1, &bytes));
        }
    }
}
