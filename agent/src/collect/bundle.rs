//! The archive: a `.tar.gz` of texts without secrets, bounded in size, whose last file says what is in it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use robo_model::quantity::UnixMillis;
use robo_wire::collect::MAX_COLLECTED;
use serde::Serialize;
use serde_json::Value;

use super::redact::Redactor;
use crate::runtime::logs::open_file;

/// The folder of all files in the archive.
const FOLDER: &str = "robo-bundle";

/// Most files: a device has fewer instances, and the last file has a line for each.
const MAX_FILES: usize = 4096;

/// A text, and how long it would be as a whole where that is more.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) text: String,
    /// Bytes of the whole.
    pub(super) of: u64,
    /// True when the end is what was taken.
    pub(super) is_end: bool,
}

/// An archive that is being written.
pub(super) struct Bundle<W: Write> {
    archive: tar::Builder<GzEncoder<W>>,
    redactor: Redactor,
    made_at: UnixMillis,
    /// Bytes of content that still fit.
    room: u64,
    /// A line for each file.
    lines: Vec<String>,
    /// Files that have no line.
    untold: usize,
}

impl<W: Write> Bundle<W> {
    pub(super) fn new(out: W, redactor: Redactor, made_at: UnixMillis) -> Self {
        let archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        Self { archive, redactor, made_at, room: MAX_COLLECTED, lines: Vec::new(), untold: 0 }
    }

    /// Adds a file, or says why there is none.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn add(&mut self, name: &str, taken: Result<Taken, impl ToString>) -> io::Result<()> {
        let taken = match taken {
            Ok(taken) => taken,
            Err(reason) => {
                // What it says may come from anywhere.
                let reason = self.redactor.text(&reason.to_string());
                self.line("missing ", name, &reason);
                return Ok(());
            }
        };
        let text = self.redactor.text(&taken.text);
        self.put(name, &taken, &text)
    }

    /// Adds `value` as a file of JSON.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let value = self.redactor.value(serde_json::to_value(value)?);
        let taken = Taken::whole(serde_json::to_string_pretty(&value)? + "\n");
        self.put(name, &taken, &taken.text)
    }

    /// Adds `values` as a file with an object on each line, as many as have room in `max` bytes.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn json_lines(&mut self, name: &str, values: impl Iterator<Item = Value>, max: usize) -> io::Result<()> {
        let mut taken = Taken::whole(String::new());
        for value in values {
            let line = self.redactor.value(value).to_string() + "\n";
            taken.of += line.len() as u64;
            // Once one is left out, those behind it are, too.
            if taken.of <= max as u64 {
                taken.text.push_str(&line);
            }
        }
        self.put(name, &taken, &taken.text)
    }

    /// Adds what was taken, as `text` without secrets.
    fn put(&mut self, name: &str, taken: &Taken, text: &str) -> io::Result<()> {
        let size = text.len() as u64;
        if size > self.room || self.lines.len() >= MAX_FILES {
            self.line("left out", name, &format!("{size} bytes: the bundle is full"));
            return Ok(());
        }
        self.room -= size;
        self.append(name, text.as_bytes())?;
        let cut = taken.of > taken.text.len() as u64;
        let which = if taken.is_end { "the last" } else { "the first" };
        let found = format!("{which} {} of {} bytes", taken.text.len(), taken.of);
        let (how, what) = if cut { ("cut     ", found) } else { ("whole   ", format!("{} bytes", taken.of)) };
        self.line(how, name, &what);
        Ok(())
    }

    /// Writes what is in it, and the end; gives back what it was written to.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let text = self.manifest();
        self.append("MANIFEST", text.as_bytes())?;
        self.archive.into_inner()?.finish()
    }

    fn manifest(&self) -> String {
        let made_at = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(self.made_at.0));
        let mut text = format!(
            "Made by robo-agent {} at {made_at}.\n\
             Secrets are taken out as far as they can be known, {} times: look through it before it goes further.\n\n",
            env!("CARGO_PKG_VERSION"),
            self.redactor.taken(),
        );
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        if self.untold > 0 {
            text.push_str(&format!("left out  {} more files: there are too many\n", self.untold));
        }
        text
    }

    fn line(&mut self, how: &str, name: &str, what: &str) {
        if self.lines.len() >= 2 * MAX_FILES {
            self.untold += 1;
        } else {
            let what = what.replace('\n', " ");
            self.lines.push(format!("{how}  {}  {what}", name.escape_debug()));
        }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.made_at.0 / 1000);
        self.archive.append_data(&mut header, Path::new(FOLDER).join(name), bytes)
    }
}

impl Taken {
    /// All of it.
    pub(super) fn whole(text: String) -> Self {
        Self { of: text.len() as u64, text, is_end: false }
    }

    /// The first whole lines of `text` in at most `max` bytes.
    pub(super) fn first_lines(text: String, max: usize) -> Self {
        let of = text.len() as u64;
        if text.len() <= max {
            return Self::whole(text);
        }
        let end = text.get(..text.floor_char_boundary(max)).and_then(|fits| fits.rfind('\n')).map_or(0, |end| end + 1);
        Self { text: text.get(..end).unwrap_or_default().to_owned(), of, is_end: false }
    }

    /// The beginning of a file of the system.
    pub(super) fn head(path: &str, max: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        // One byte more shows that there is more; these files do not say how long they are.
        let read = File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self::first_lines(text, usize::try_from(max).unwrap_or(read)))
    }

    /// The last whole lines of a log in at most `max` bytes; its files are given newest first.
    pub(super) fn tail(files: impl Iterator<Item = PathBuf>, max: u64) -> io::Result<Self> {
        let (mut pieces, mut size, mut room, mut seen) = (Vec::new(), 0, max, Vec::new());
        for path in files {
            let Some(mut file) = open_file(&path)? else { break };
            let found = file.metadata()?;
            // The folder may be another user's, who could lead us to anything.
            if !found.is_file() || found.nlink() != 1 {
                return Err(io::Error::other(format!("`{}` is no file of its own", path.display())));
            }
            // Somebody began a new file just now, and this one has another name already.
            if seen.contains(&found.ino()) {
                continue;
            }
            seen.push(found.ino());
            size += found.len();
            let fits = found.len().min(room);
            file.seek(SeekFrom::Start(found.len() - fits))?;
            let mut bytes = Vec::new();
            file.take(fits).read_to_end(&mut bytes)?;
            room -= fits;
            pieces.push(bytes);
        }
        pieces.reverse();
        let bytes = pieces.concat();
        let is_cut = size > bytes.len() as u64;
        // What is left of a line may be a secret whose name was cut off.
        let start =
            if is_cut { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1) } else { 0 };
        let text = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned();
        Ok(Self { of: if is_cut { size } else { text.len() as u64 }, text, is_end: true })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use flate2::read::GzDecoder;

    use super::*;

    /// The files of an archive by their names.
    pub(in crate::collect) fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(bytes));
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().strip_prefix(FOLDER).unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (name, text)
        });
        files.collect()
    }

    fn bundle() -> Bundle<Vec<u8>> {
        Bundle::new(Vec::new(), Redactor::default(), UnixMillis(1_700_000_000_000))
    }

    #[test]
    fn the_manifest_says_what_there_is_and_what_there_is_not() {
        let mut bundle = bundle();
        bundle.add("a", Ok::<_, io::Error>(Taken::whole("password=hunter2\n".to_owned()))).unwrap();
        bundle.add("b", Ok::<_, io::Error>(Taken::first_lines("one\ntwo\n".to_owned(), 6))).unwrap();
        bundle.add("c", Err::<Taken, _>("token=abc\nis away")).unwrap();
        bundle.add(&"d/".repeat(100), Ok::<_, io::Error>(Taken::whole("x".to_owned()))).unwrap();
        let files = unpacked(&bundle.finish().unwrap());
        assert_eq!((files["a"].as_str(), files["b"].as_str()), ("password=[redacted]\n", "one\n"));
        let manifest = &files["MANIFEST"];
        assert!(manifest.contains("at Tue, 14 Nov 2023 22:13:20 GMT") && manifest.contains(", 2 times"), "{manifest}");
        for line in
            ["whole     a  17 bytes", "cut       b  the first 4 of 8 bytes", "missing   c  token=[redacted] is away"]
        {
            assert!(manifest.lines().any(|found| found == line), "{line}: {manifest}");
        }
    }

    #[test]
    fn it_is_bounded_however_much_there_is() {
        let mut bundle = Bundle { room: 10, ..bundle() };
        for (name, text) in [("a", "12345678"), ("b", "123"), ("c", "12"), ("d", "1")] {
            bundle.add(name, Ok::<_, io::Error>(Taken::whole(text.to_owned()))).unwrap();
        }
        let numbers = (0..9).map(Value::from);
        bundle.json_lines("e", numbers, 4).unwrap();
        bundle.lines.extend(std::iter::repeat_n(String::new(), 2 * MAX_FILES));
        bundle.add("f", Ok::<_, io::Error>(Taken::whole(String::new()))).unwrap();
        let files = unpacked(&bundle.finish().unwrap());
        assert_eq!(files.keys().collect::<Vec<_>>(), ["MANIFEST", "a", "c"]);
        let manifest = &files["MANIFEST"];
        for line in [
            "left out  b  3 bytes: the bundle is full",
            "left out  e  4 bytes: the bundle is full",
            "left out  1 more files",
        ] {
            assert!(manifest.contains(line), "{line}: {manifest}");
        }
    }

    #[test]
    fn the_last_lines_of_a_log_lie_in_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("new"), "three\nfour\n").unwrap();
        fs::write(path("old"), "one\ntwo\n").unwrap();
        let tail = |max| Taken::tail([path("new"), path("old"), path("none")].into_iter(), max);
        let whole = tail(100).unwrap();
        assert_eq!((whole.text.as_str(), whole.of), ("one\ntwo\nthree\nfour\n", 19));
        let cut = tail(14).unwrap();
        assert_eq!((cut.text.as_str(), cut.of), ("three\nfour\n", 19));
        assert_eq!(tail(2).unwrap().text, "");
        fs::hard_link(path("new"), path("other")).unwrap();
        assert!(tail(100).is_err(), "it may be anybody's");
        fs::remove_file(path("old")).unwrap();
        std::os::unix::fs::symlink(path("other"), path("old")).unwrap();
        assert!(Taken::tail([path("old")].into_iter(), 9).is_err());
    }

    #[test]
    fn files_of_the_system_are_cut_at_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "one\ntwo\n").unwrap();
        let head = |max| Taken::head(path.to_str().unwrap(), max).unwrap();
        assert_eq!((head(8).text.as_str(), head(8).of), ("one\ntwo\n", 8));
        assert_eq!((head(6).text.as_str(), head(6).of), ("one\n", 7));
        assert!(Taken::head("/nowhere/at/all", 9).is_err());
    }
}
