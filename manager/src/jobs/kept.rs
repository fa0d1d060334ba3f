//! The output of jobs on disk: for each target a file of the frames that its agent sent.
//!
//! Each frame has the place of its first byte, so that a file says by itself how far it is and what is missing. It is
//! bounded by what agents keep, and all files together by [`MAX_TOGETHER`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use robo_model::name::JobId;
use robo_wire::frame::{self, MAX_STREAM_FRAME};
use robo_wire::job::{MAX_HEAD, MAX_TAIL, Output, RunFrame};

use super::line::Sink;

/// Most bytes of output of all jobs: what a small machine's disk can spare.
const MAX_TOGETHER: u64 = 2 * 1024 * 1024 * 1024;

/// Most bytes of output of one run: what an agent of ours sends. One that sends more takes no room from others.
const MAX_KEPT: u64 = MAX_HEAD + MAX_TAIL;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// All output that is kept.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    bytes: AtomicU64,
}

/// One target's output, to be added to.
pub(super) struct Kept {
    file: Option<File>,
    path: PathBuf,
    shelf: Arc<Shelf>,
    place: u64,
    missing: u64,
    /// Bytes of output in the file.
    kept: u64,
    begun: Box<dyn Fn() + Send>,
}

impl Shelf {
    /// What lies in `folder`.
    pub(super) fn open(folder: PathBuf) -> Self {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let sizes = files.flat_map(|job| std::fs::read_dir(job.path())).flatten().flatten();
        let bytes = sizes.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        Self { folder, bytes: AtomicU64::new(bytes) }
    }

    /// The file of a target.
    pub(super) fn path(&self, job: &JobId, number: usize) -> PathBuf {
        self.folder.join(job.as_str()).join(number.to_string())
    }

    /// Removes the output of a job.
    pub(super) fn remove(&self, job: &JobId) {
        let folder = self.folder.join(job.as_str());
        let sizes = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let bytes: u64 = sizes.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => drop(self.bytes.fetch_sub(bytes, Ordering::Relaxed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%job, %error, "the output of a job cannot be removed"),
        }
    }
}

impl Kept {
    /// The output of a target, gone on with where it ends. `begun` is called when its run is there.
    pub(super) fn open(shelf: Arc<Shelf>, path: PathBuf, begun: impl Fn() + Send + 'static) -> io::Result<Self> {
        let mut kept = Self { file: None, path, shelf, place: 0, missing: 0, kept: 0, begun: Box::new(begun) };
        let Some(mut reader) = Reader::open(&kept.path)? else { return Ok(kept) };
        while let Some((_, place, bytes)) = reader.next()? {
            kept.missing += place.saturating_sub(kept.place);
            kept.place = place + bytes.len() as u64;
            kept.kept += bytes.len() as u64;
        }
        // A write that was torn by a crash is made again.
        let mut file = OpenOptions::new().write(true).open(&kept.path)?;
        file.set_len(reader.offset)?;
        file.seek(SeekFrom::End(0))?;
        kept.file = Some(file);
        Ok(kept)
    }

    /// So many bytes of the output are not here.
    pub(super) const fn missing(&self) -> u64 {
        self.missing
    }

    /// Waits until it is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn write(&mut self, kind: Output, place: u64, bytes: &[u8]) -> Result<(), String> {
        let frame = RunFrame::Output(kind, place, bytes.to_vec()).encode().map_err(|error| error.to_string())?;
        let written = match &mut self.file {
            Some(file) => file.write_all(&frame),
            none => create(&self.path).and_then(|mut file| {
                file.write_all(&frame)?;
                *none = Some(file);
                Ok(())
            }),
        };
        written.map_err(|error| format!("the manager cannot keep its output: {error}"))?;
        self.shelf.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

impl Sink for Kept {
    fn place(&self) -> u64 {
        self.place
    }

    fn begun(&mut self) {
        (self.begun)();
    }

    async fn take(&mut self, kind: Output, place: u64, bytes: &[u8]) -> Result<(), String> {
        // What came already does not come twice.
        let known = usize::try_from(self.place.saturating_sub(place)).unwrap_or(usize::MAX);
        let (place, bytes) = (place.max(self.place), bytes.get(known..).unwrap_or_default());
        if bytes.is_empty() {
            return Ok(());
        }
        self.missing += place - self.place;
        let length = bytes.len() as u64;
        if self.kept + length > MAX_KEPT || self.shelf.bytes.load(Ordering::Relaxed) >= MAX_TOGETHER {
            self.missing += length;
        } else {
            self.write(kind, place, bytes)?;
            self.kept += length;
        }
        self.place = place + bytes.len() as u64;
        (self.begun)();
        Ok(())
    }
}

/// Reads a target's output.
pub(crate) struct Reader {
    file: File,
    buffer: Vec<u8>,
    /// So far the file has whole frames.
    offset: u64,
}

impl Reader {
    /// Reads from the begin; nothing when there is no output.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file, buffer: Vec::new(), offset: 0 })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next piece; nothing when there is none yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Output, u64, Vec<u8>)>> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_STREAM_FRAME).map_err(io::Error::other)? {
                self.offset += (frame.body.len() + frame::HEADER_BYTES) as u64;
                let RunFrame::Output(kind, place, bytes) = RunFrame::decode(frame).map_err(io::Error::other)? else {
                    return Err(io::Error::other("a file of output holds something else"));
                };
                return Ok(Some((kind, place, bytes)));
            }
            let mut piece = vec![0; PIECE];
            let count = self.file.read(&mut piece)?;
            if count == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_device_that_sends_without_end_fills_only_its_own_share() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::open(folder.path().join("jobs")));
        let path = shelf.path(&"j1".parse().unwrap(), 0);
        let mut kept = Kept::open(Arc::clone(&shelf), path.clone(), || ()).unwrap();
        let piece = vec![7; 32 * 1024];
        let size = piece.len() as u64;
        let pieces = MAX_KEPT / size + 20;
        for number in 0..pieces {
            kept.take(Output::Stdout, number * size, &piece).await.unwrap();
        }
        assert_eq!((kept.place(), kept.missing()), (pieces * size, 20 * size));
        assert!(std::fs::metadata(&path).unwrap().len() < MAX_KEPT + MAX_KEPT / 100);
        // After a restart of the manager, too.
        drop(kept);
        let mut kept = Kept::open(shelf, path.clone(), || ()).unwrap();
        kept.take(Output::Stdout, pieces * size, &piece).await.unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < MAX_KEPT + MAX_KEPT / 100);
    }

    #[tokio::test]
    async fn output_goes_on_after_a_torn_write_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::open(folder.path().join("jobs")));
        let job = "j1".parse().unwrap();
        let path = shelf.path(&job, 3);
        let open = || Kept::open(Arc::clone(&shelf), path.clone(), || ()).unwrap();
        let mut kept = open();
        kept.take(Output::Stdout, 0, b"abc").await.unwrap();
        kept.take(Output::Stderr, 1, b"bcdef").await.unwrap();
        kept.take(Output::Stdout, 10, b"xyz").await.unwrap();
        assert_eq!((kept.place(), kept.missing()), (13, 4));
        kept.sync().unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mut kept = open();
        assert_eq!((kept.place(), kept.missing()), (6, 0));
        kept.take(Output::Stdout, 10, b"xyz").await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let mut reader = Reader::open(&path).unwrap().unwrap();
        let pieces: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1], (Output::Stderr, 3, b"def".to_vec()));
        assert_eq!(Shelf::open(folder.path().join("jobs")).bytes.load(Ordering::Relaxed), whole.len() as u64);
        shelf.remove(&job);
        shelf.remove(&job);
        assert!(!path.exists());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"no frames at all").unwrap();
        assert!(Kept::open(Arc::clone(&shelf), path.clone(), || ()).is_err());
    }
}
