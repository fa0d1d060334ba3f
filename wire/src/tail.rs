//! Logs: what instances, the agent and the units of the system's journal print, over a stream of its own.
//!
//! The manager passes a [`TailOpen`] on, and the device answers with [`TailFrame`]s: lines of each source, and with them
//! the [`Position`] after them. Whoever was cut says the positions that it has, and gets every line after them once.

use robo_model::quantity::UnixMillis;
use robo_model::spec::InstanceKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::copy::BytesOf;
use crate::frame::{self, Frame, FrameError, MAX_STREAM_FRAME};
use crate::stream::{VERDICT, Verdict, expect};

/// Most sources of one stream: each holds a file, or a program, on the device.
pub const MAX_SOURCES: usize = 64;

/// Most lines at first: they are held in memory until the last ones are known.
pub const MAX_LINES: u32 = 100_000;

/// Most bytes of a line; what is longer comes in pieces.
pub const MAX_LINE: usize = 16 * 1024;

/// Most bytes of text in one frame, and most lines: with what stands around each line, it fits.
pub const MAX_BATCH_BYTES: usize = 32 * 1024;

/// As [`MAX_BATCH_BYTES`].
pub const MAX_BATCH_LINES: usize = 400;

/// Most bytes of a filter: more is no expression that somebody wrote.
pub const MAX_FILTER: usize = 1024;

/// Most bytes of a unit's name: what systemd takes.
pub const MAX_UNIT: usize = 255;

/// Most bytes of a journal's cursor; they have some 150.
pub const MAX_CURSOR: usize = 1024;

/// Which lines of which sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TailOpen {
    /// From where.
    pub sources: Vec<SourceAt>,
    /// At most so many of the last lines of each source at first; all where it is left out. Means nothing for a source
    /// with a position.
    #[serde(default)]
    pub lines: Option<u32>,
    /// Only lines from then on. A line whose time is not known is left out, and that is told.
    #[serde(default)]
    pub since: Option<UnixMillis>,
    /// Only lines before that.
    #[serde(default)]
    pub until: Option<UnixMillis>,
    /// Only lines in which this regular expression is found.
    #[serde(default)]
    pub filter: Option<String>,
    /// Go on with what comes.
    #[serde(default)]
    pub follow: bool,
}

/// A source, and how much of it is known already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceAt {
    /// From where.
    pub source: Source,
    /// What comes after this; the beginning where it is left out.
    #[serde(default)]
    pub position: Option<Position>,
}

/// What prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Source {
    /// An instance: its program, or its steps.
    Instance(InstanceKey),
    /// The agent itself.
    Agent,
    /// A unit of the system's journal.
    Unit(String),
}

/// A place in a source, as the device said it. Good for this source of this device alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Position {
    /// Before all that there is.
    Beginning,
    /// In a file, under whatever name it has by now.
    File(FilePlace),
    /// After the journal's entry with this cursor.
    Cursor(String),
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilePlace {
    /// The file's number in its file system.
    pub file: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system does not say. Numbers are used again.
    pub born: u64,
    /// So many bytes from its start.
    pub offset: u64,
}

/// A line's bytes, without its end. An entry of the journal may have several lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesOf(MAX_LINE)).map(Self)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it came, to about a second; nothing where nobody noted it.
    #[serde(default)]
    pub at: Option<UnixMillis>,
    /// What it says.
    pub text: Text,
    /// True when it is longer, and goes on in the next one.
    #[serde(default)]
    pub cut: bool,
}

/// Lines of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The source's place in [`TailOpen::sources`].
    pub source: u32,
    /// In the order in which they were printed; none where only the position moves.
    pub lines: Vec<Line>,
    /// After all of them.
    pub after: Position,
}

/// Something to know about a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The source's place in [`TailOpen::sources`].
    pub source: u32,
    /// One sentence.
    pub text: String,
}

/// A source is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEnd {
    /// The source's place in [`TailOpen::sources`].
    pub source: u32,
    /// Why it cannot be read; nothing when all of it was told.
    #[serde(default)]
    pub refused: Option<String>,
}

/// One frame of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailFrame {
    /// Lines.
    Lines(Lines),
    /// Something to know.
    Note(Note),
    /// One source is over; the others go on.
    End(SourceEnd),
    /// All are over; nothing follows.
    Verdict(Verdict),
    /// A frame of a newer version.
    Unknown(u8),
}

const TAIL_OPEN: u8 = 120;
const LINES: u8 = 121;
const NOTE: u8 = 122;
const SOURCE_END: u8 = 123;

impl TailOpen {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn check(&self) -> Result<(), String> {
        let count = self.sources.len();
        if count == 0 || count > MAX_SOURCES {
            return Err(format!("{count} logs are asked for; at least one and at most {MAX_SOURCES} are read at once"));
        }
        if let Some(lines) = self.lines.filter(|lines| *lines > MAX_LINES) {
            return Err(format!("the last {lines} lines are too many, at most {MAX_LINES} are kept; say since when"));
        }
        if self.since.zip(self.until).is_some_and(|(since, until)| since >= until) {
            return Err("`since` is not before `until`: no line is between them".to_owned());
        }
        if self.filter.as_ref().is_some_and(|filter| filter.len() > MAX_FILTER) {
            return Err(format!("the filter is longer than {MAX_FILTER} bytes"));
        }
        self.sources.iter().try_for_each(SourceAt::check)
    }

    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is too long for one frame.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        frame::encode(TAIL_OPEN, &frame::to_body(TAIL_OPEN, self)?, MAX_STREAM_FRAME)
    }

    /// Reads the first frame of a request.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        expect(frame, TAIL_OPEN)
    }
}

impl SourceAt {
    fn check(&self) -> Result<(), String> {
        if let Source::Unit(name) = &self.source {
            check_unit(name)?;
        }
        match (&self.source, &self.position) {
            (_, None | Some(Position::Beginning))
            | (Source::Instance(_) | Source::Agent, Some(Position::File(_)))
            | (Source::Unit(_), Some(Position::Cursor(_))) => {}
            (_, Some(_)) => return Err("a position is of another kind of log".to_owned()),
        }
        match &self.position {
            // It becomes a word of a program's argument.
            Some(Position::Cursor(cursor))
                if cursor.is_empty() || cursor.len() > MAX_CURSOR || !cursor.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Err("this is no cursor of a journal".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Says why this is no unit's name. Patterns are none: they would be many units.
///
/// # Errors
/// One sentence for people.
pub fn check_unit(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'.' | b'\\' | b'@' | b'-');
    if name.is_empty() || name.len() > MAX_UNIT || name.starts_with('-') || !name.bytes().all(fits) {
        return Err(format!("`{}` is no name of a unit; write one as in `ssh.service`", name.escape_debug()));
    }
    Ok(())
}

impl TailFrame {
    /// The frame's bytes.
    ///
    /// # Errors
    /// When it is longer than a stream frame may be.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, body) = match self {
            Self::Lines(lines) => (LINES, frame::to_body(LINES, lines)?),
            Self::Note(note) => (NOTE, frame::to_body(NOTE, note)?),
            Self::End(end) => (SOURCE_END, frame::to_body(SOURCE_END, end)?),
            Self::Verdict(verdict) => (VERDICT, frame::to_body(VERDICT, verdict)?),
            Self::Unknown(kind) => (*kind, Vec::new()),
        };
        frame::encode(kind, &body, MAX_STREAM_FRAME)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When the body is not what the kind says.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let Frame { kind, body } = frame;
        Ok(match *kind {
            LINES => Self::Lines(frame::from_body(LINES, body)?),
            NOTE => Self::Note(frame::from_body(NOTE, body)?),
            SOURCE_END => Self::End(frame::from_body(SOURCE_END, body)?),
            VERDICT => Self::Verdict(frame::from_body(VERDICT, body)?),
            other => Self::Unknown(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(source: Source, position: Option<Position>) -> TailOpen {
        let sources = vec![SourceAt { source, position }];
        TailOpen { sources, lines: None, since: None, until: None, filter: None, follow: false }
    }

    fn unit(name: &str) -> Source {
        Source::Unit(name.to_owned())
    }

    fn instance() -> Source {
        Source::Instance(InstanceKey { application: "shop".parse().unwrap(), path: "/a/b".parse().unwrap() })
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let place = FilePlace { file: u64::MAX, born: 1, offset: 9 };
        let full = TailOpen {
            lines: Some(7),
            since: Some(UnixMillis(1)),
            until: Some(UnixMillis(2)),
            filter: Some("a.*b".to_owned()),
            follow: true,
            ..open(instance(), Some(Position::File(place)))
        };
        for open in [full, open(Source::Agent, Some(Position::Beginning)), open(unit("a"), None)] {
            let mut bytes = open.encode().unwrap();
            let frame = frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap();
            assert_eq!((open.check(), TailOpen::decode(&frame).unwrap()), (Ok(()), open));
        }
        let line = Line {
            at: Some(UnixMillis(u64::MAX)),
            text: Text(vec![0xff; MAX_BATCH_BYTES / MAX_BATCH_LINES]),
            cut: true,
        };
        let lines = vec![line; MAX_BATCH_LINES];
        for frame in [
            TailFrame::Lines(Lines { source: 1, lines, after: Position::Cursor("x".repeat(MAX_CURSOR)) }),
            TailFrame::Note(Note { source: 2, text: "lost".to_owned() }),
            TailFrame::End(SourceEnd { source: 3, refused: Some("no".to_owned()) }),
            TailFrame::Verdict(Verdict::Ok),
            TailFrame::Unknown(200),
        ] {
            let mut bytes = frame.encode().unwrap();
            let read = frame::take(&mut bytes, MAX_STREAM_FRAME).unwrap().unwrap();
            assert_eq!(TailFrame::decode(&read).unwrap(), frame);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = open(Source::Agent, None);
        let place = FilePlace { file: 1, born: 1, offset: 1 };
        let cursor = |text: &str| Some(Position::Cursor(text.to_owned()));
        let (since, until) = (Some(UnixMillis(5)), Some(UnixMillis(5)));
        for bad in [
            TailOpen { sources: vec![], ..good.clone() },
            TailOpen {
                sources: vec![SourceAt { source: Source::Agent, position: None }; MAX_SOURCES + 1],
                ..good.clone()
            },
            TailOpen { lines: Some(MAX_LINES + 1), ..good.clone() },
            TailOpen { since, until, ..good.clone() },
            TailOpen { filter: Some("x".repeat(MAX_FILTER + 1)), ..good },
            open(Source::Agent, cursor("s=1")),
            open(unit("ssh"), Some(Position::File(place))),
            open(unit("ssh"), cursor("")),
            open(unit("ssh"), cursor("s=1 --root")),
            open(unit("ssh"), cursor(&"x".repeat(MAX_CURSOR + 1))),
            open(unit(""), None),
            open(unit("--file=/etc/shadow"), None),
            open(unit("ssh*"), None),
            open(unit("a b"), None),
            open(unit("a/b"), None),
            open(unit(&"x".repeat(MAX_UNIT + 1)), None),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(open(unit(r"dev-disk\x2d1.swap"), cursor("s=1;i=2")).check(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(kind in 118_u8..126, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = Frame { kind, body };
            drop(TailFrame::decode(&frame));
            if let Ok(open) = TailOpen::decode(&frame) {
                drop(open.check());
            }
        }
    }
}
