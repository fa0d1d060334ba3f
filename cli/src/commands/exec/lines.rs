//! Output of many targets on one terminal: whole lines, each with its target's name in front.

/// Longest line that is waited for, in bytes: a target that never ends a line must not fill memory. What is longer
/// is shown as several lines.
const MAX_LINE: usize = 64 * 1024;

/// One output stream of one target. Bytes that are no text are passed on as they are.
#[derive(Debug)]
pub(super) struct Lines {
    prefix: Vec<u8>,
    partial: Vec<u8>,
}

impl Lines {
    /// Lines that begin with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().to_vec(), partial: Vec::new() }
    }

    /// Takes what came, and adds the lines that are whole now to `out`.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.partial.extend_from_slice(line);
            self.end_line(out);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > MAX_LINE {
            self.end_line(out);
        }
    }

    /// Adds what is left of a last line without an end to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.append(&mut self.partial);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expect: &[u8]) {
        let mut lines = Lines::new("a | ");
        let mut out = Vec::new();
        for piece in pieces {
            lines.push(piece, &mut out);
        }
        lines.finish(&mut out);
        assert_eq!(out.escape_ascii().to_string(), expect.escape_ascii().to_string());
    }

    #[test]
    fn every_line_gets_its_prefix_once() {
        check(&[], b"");
        check(&[b"one\ntwo\n"], b"a | one\na | two\n");
        check(&[b"on", b"e\nt", b"wo"], b"a | one\na | two\n");
        check(&[b"\n\n"], b"a | \na | \n");
        check(&[b"caf\xc3", b"\xa9\n"], "a | café\n".as_bytes());
        check(&[b"\xff\xfe\n"], b"a | \xff\xfe\n");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::new("");
        let mut out = Vec::new();
        for _ in 0..10 {
            lines.push(&[b'x'; 32 * 1024], &mut out);
            assert!(lines.partial.len() <= MAX_LINE);
        }
        lines.finish(&mut out);
        assert_eq!(out.iter().filter(|b| **b == b'x').count(), 320 * 1024);
    }
}
