//! Senders that are cut, and senders that are enemies.

use std::sync::Mutex;

use robo_wire::copy::{Content, RawPath, Told};
use robo_wire::frame;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

use super::*;
use crate::api::pace::PATIENCE;

/// Has room for so many bytes, and remembers how far it is.
struct Room(u64, Mutex<u64>);

impl Host for Room {
    async fn reserve(&self, size: Option<u64>) -> Result<u64, Stop> {
        if size.unwrap_or(0) > self.0 { Err(refused("no room")) } else { Ok(size.unwrap_or(self.0)) }
    }

    fn at(&self, place: u64, _: Option<u64>) {
        *self.1.lock().unwrap() = place;
    }
}

struct Rig {
    _folder: tempfile::TempDir,
    shelf: Shelf,
    id: UploadId,
    room: Room,
}

impl Rig {
    fn new(room: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().join("uploads"));
        Self { _folder: folder, shelf, id: "a".parse().unwrap(), room: Room(room, Mutex::new(0)) }
    }

    /// What comes of a sender that says this, and then goes.
    async fn hear(&self, frames: Vec<CopyFrame>) -> Result<Whole, Stop> {
        let (ours, theirs) = duplex(64 * 1024);
        let (said, came) =
            tokio::join!(say(theirs, frames), receive(ours, (&self.shelf, &self.id), &self.room, PATIENCE));
        said.await.ok();
        came
    }
}

/// Says all of it and reads what it is told meanwhile. What it returns is to be waited for.
async fn say(stream: DuplexStream, frames: Vec<CopyFrame>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(stream);
        for frame in frames {
            if writer.write_all(&frame.encode().unwrap()).await.is_err() {
                return;
            }
        }
        drop(writer.shutdown().await);
        let mut told = Vec::new();
        drop(reader.read_to_end(&mut told).await);
    })
}

fn entry(kind: Kind) -> CopyFrame {
    CopyFrame::Entry(Entry { number: 0, name: RawPath::default(), kind, mode: 0o644, modified_at: None })
}

fn file(size: u64) -> CopyFrame {
    entry(Kind::File(Some(size)))
}

fn end(data: &[u8]) -> CopyFrame {
    CopyFrame::End(End { size: data.len() as u64, sha256: hex::encode(Sha256::digest(data)) })
}

fn told(reason: &str) -> Told {
    Told { number: Some(0), name: RawPath::default(), reason: reason.to_owned() }
}

const OK: CopyFrame = CopyFrame::Verdict(Verdict::Ok);

#[tokio::test]
async fn a_file_comes_whole_or_goes_on_where_it_was() {
    let rig = Rig::new(1 << 20);
    let small = rig.hear(vec![entry(Kind::Small(Content(b"tiny".to_vec()))), CopyFrame::Finish, OK]).await.unwrap();
    assert_eq!((small.size, small.sha256), (4, hex::encode(Sha256::digest(b"tiny"))));

    let rig = Rig::new(1 << 20);
    let data: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let piece = |from: usize, to: usize| CopyFrame::Data(from as u64, data[from..to].to_vec());
    let cut = rig.hear(vec![file(300_000), piece(0, 30_000), piece(30_000, 60_000)]).await;
    assert_eq!(cut.unwrap_err(), Stop::Cut("the link was cut".to_owned()));
    assert_eq!(rig.shelf.size_of_part(&rig.id), 60_000);
    // The sender has the same, and goes on.
    let mut frames = vec![file(300_000)];
    frames.extend((2..10).map(|n| piece(n * 30_000, (n + 1) * 30_000)));
    frames.extend([end(&data), CopyFrame::Skipped(told("it grew")), CopyFrame::Finish, OK]);
    let whole = rig.hear(frames).await.unwrap();
    assert_eq!((whole.size, *rig.room.1.lock().unwrap()), (300_000, 300_000));
    rig.shelf.keep(&rig.id, whole.part).unwrap();
    let (mut kept, size) = rig.shelf.read(&rig.id, 0).unwrap();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut kept, &mut read).unwrap();
    assert!(size == 300_000 && read == data);
}

#[tokio::test]
async fn another_content_begins_anew() {
    let rig = Rig::new(100);
    rig.hear(vec![file(6), CopyFrame::Data(0, b"old".to_vec())]).await.unwrap_err();
    assert_eq!(rig.shelf.size_of_part(&rig.id), 3);
    let again = vec![file(6), CopyFrame::Data(0, b"newest".to_vec()), end(b"newest"), CopyFrame::Finish, OK];
    assert_eq!(rig.hear(again).await.unwrap().sha256, hex::encode(Sha256::digest(b"newest")));
    // It became shorter than what is here.
    let again = vec![file(2), CopyFrame::Data(0, b"no".to_vec()), end(b"no"), CopyFrame::Finish, OK];
    assert_eq!(rig.hear(again).await.unwrap().size, 2);
}

#[tokio::test]
async fn an_enemy_gets_nothing_through() {
    let check = async |frames: Vec<CopyFrame>, expect: &str| {
        let rig = Rig::new(1_000);
        match rig.hear(frames).await {
            Err(Stop::Refused(why)) => assert!(why.contains(expect), "{why}, not {expect}"),
            other => panic!("{other:?}, not {expect}"),
        }
        assert!(rig.shelf.size_of_part(&rig.id) <= 1_000);
    };
    let data = |at: u64, text: &str| CopyFrame::Data(at, text.as_bytes().to_vec());
    check(vec![file(3), data(0, "abc"), end(b"abd"), OK], "checksum").await;
    check(vec![file(3), data(0, "ab"), end(b"ab"), OK], "less than it announced").await;
    check(vec![file(3), data(0, "abcd")], "more than the 3 bytes").await;
    check(vec![file(3), data(0, "ab"), data(0, "abc")], "as it was announced").await;
    check(vec![file(3), data(1, "ab")], "as it was announced").await;
    check(vec![file(1 << 50)], "no room").await;
    let endless = std::iter::once(entry(Kind::File(None))).chain((0..20).map(|n| data(n * 60, &"x".repeat(60))));
    check(endless.collect(), "larger than the 1000 bytes").await;
    check(vec![file(3), file(3)], "more than one file").await;
    check(vec![data(0, "abc")], "nobody asked").await;
    check(vec![end(b"")], "nobody asked").await;
    check(vec![entry(Kind::Folder)], "robo cp -r").await;
    check(vec![entry(Kind::Link("/etc/shadow".into()))], "robo cp -r").await;
    check(vec![OK], "without sending the file").await;
    check(vec![file(3), data(0, "abc"), OK], "without sending the file").await;
    check(vec![CopyFrame::Skipped(told("x")); 300], "says much").await;
    check(vec![CopyFrame::Unknown(255); 300], "says much").await;
    let reason = "cannot read `/x`: there is no such file or folder".to_owned();
    check(vec![CopyFrame::Verdict(Verdict::Refused { reason })], "there is no such file").await;
    let changed =
        vec![file(3), CopyFrame::Failed(told("it was changed")), CopyFrame::Verdict(Verdict::Failed { code: 1 })];
    check(changed, "it was changed").await;
}

#[tokio::test]
async fn what_is_no_frame_is_refused() {
    let rig = Rig::new(100);
    let (ours, mut theirs) = duplex(1024);
    theirs.write_all(&frame::encode(34, b"\xff\xff", MAX_STREAM_FRAME).unwrap()).await.unwrap();
    let came = receive(ours, (&rig.shelf, &rig.id), &rig.room, PATIENCE).await;
    assert!(matches!(came, Err(Stop::Refused(why)) if why.contains("cannot be understood")));
}

#[tokio::test]
async fn who_hardly_sends_is_not_waited_for() {
    let rig = Rig::new(1 << 30);
    let (ours, theirs) = duplex(1024);
    let (_reader, mut writer) = tokio::io::split(theirs);
    let drip = async {
        writer.write_all(&file(1 << 30).encode().unwrap()).await.unwrap();
        for at in 0_u64.. {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if writer.write_all(&CopyFrame::Data(at, vec![7]).encode().unwrap()).await.is_err() {
                break;
            }
        }
    };
    let came = tokio::select! {
        came = receive(ours, (&rig.shelf, &rig.id), &rig.room, Duration::from_millis(200)) => came,
        () = drip => panic!("it is never over"),
    };
    assert!(matches!(came, Err(Stop::Cut(why)) if why.contains("nothing came")));
}
