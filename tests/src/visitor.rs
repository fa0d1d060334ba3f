//! Somebody at a shell session, through the manager's API: sees to it that no byte is missing and none comes twice.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Method, Response};
use robo_wire::frame::{self, MAX_STREAM_FRAME};
use robo_wire::shell::{AttachRequest, Joined, ShellFrame, ShellRequest, ShellStart, Size};
use robo_wire::stream::Verdict;
use tokio::sync::mpsc;

use crate::PATIENCE;
use crate::api::{Api, Framed};

/// Frames that wait to be sent: tests send few.
const QUEUE: usize = 64;

/// Somebody at a session.
pub struct Visitor {
    /// What the manager said first.
    pub joined: Joined,
    /// What was printed since.
    pub output: Vec<u8>,
    /// The place of the byte that comes next.
    pub place: u64,
    /// What people are told.
    pub notices: Vec<String>,
    /// Whether the device was said to be reachable, each time.
    pub reachable: Vec<bool>,
    /// How much of what was typed has been taken.
    pub taken: u64,
    to_manager: Option<mpsc::Sender<Bytes>>,
    answer: Response,
    buffer: Vec<u8>,
    typed: u64,
}

/// What to run, at 80 columns and 24 lines.
#[must_use]
pub fn start(argv: &[&str]) -> ShellStart {
    ShellStart {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: Some("/".to_owned()),
        user: None,
        term: "xterm".to_owned(),
        size: Size::USUAL,
        keep: ShellStart::KEEP,
        idle: ShellStart::IDLE,
        within: None,
    }
}

impl Visitor {
    /// Begins a session on a device.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub async fn begin(api: &Api, device: &str, start: ShellStart) -> Result<Self, Framed> {
        let first = ShellRequest { start, client: 1 }.encode().expect("it fits");
        Self::open(api, Method::POST, &format!("/projects/default/devices/{device}/shell"), Some(first)).await
    }

    /// Comes to a session.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub async fn attach(api: &Api, id: &str, client: u64, from: Option<u64>) -> Result<Self, Framed> {
        let first = AttachRequest { client, from, size: Size::USUAL }.encode().expect("it fits");
        Self::open(api, Method::POST, &format!("/projects/default/sessions/{id}/attach"), Some(first)).await
    }

    /// Watches a session.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub async fn watch(api: &Api, id: &str) -> Result<Self, Framed> {
        Self::open(api, Method::GET, &format!("/projects/default/sessions/{id}/watch"), None).await
    }

    async fn open(api: &Api, method: Method, path: &str, first: Option<Vec<u8>>) -> Result<Self, Framed> {
        let (give, take) = mpsc::channel::<Bytes>(QUEUE);
        let body = first.map(|first| {
            give.try_send(first.into()).expect("there is room");
            reqwest::Body::wrap_stream(stream::unfold(take, |mut take| async move {
                take.recv().await.map(|bytes| (Ok::<_, std::io::Error>(bytes), take))
            }))
        });
        let to_manager = body.is_some().then_some(give);
        let answer = api.framed(method, path, body).await?;
        let joined = Joined {
            session: "none".parse().expect("a name"),
            device: "none".parse().expect("a name"),
            from: 0,
            taken: None,
            keep: ShellStart::KEEP,
            size: Size::USUAL,
        };
        let mut visitor = Self {
            joined,
            output: Vec::new(),
            place: 0,
            notices: Vec::new(),
            reachable: Vec::new(),
            taken: 0,
            to_manager,
            answer,
            buffer: Vec::new(),
            typed: 0,
        };
        match visitor.frame().await {
            Some(ShellFrame::Joined(joined)) => {
                visitor.place = joined.from;
                visitor.typed = joined.taken.unwrap_or(0);
                visitor.joined = joined;
                Ok(visitor)
            }
            other => panic!("the first frame is {other:?}"),
        }
    }

    /// The next frame; nothing when the answer ends or breaks.
    async fn frame(&mut self) -> Option<ShellFrame> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_STREAM_FRAME).expect("a frame") {
                return Some(ShellFrame::decode(frame).expect("a frame of a session"));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something comes");
            self.buffer.extend_from_slice(&chunk.ok().flatten()?);
        }
    }

    /// Takes one frame. The verdict, when it is that; an error when the connection has ended.
    ///
    /// # Errors
    /// When the connection has ended.
    ///
    /// # Panics
    /// When output is missing or comes twice.
    pub async fn step(&mut self) -> Result<Option<Verdict>, ()> {
        match self.frame().await.ok_or(())? {
            ShellFrame::Output(place, bytes) => {
                assert_eq!(place, self.place, "output is missing or comes twice");
                self.place += bytes.len() as u64;
                self.output.extend(bytes);
            }
            ShellFrame::Notice(text) => self.notices.push(text),
            ShellFrame::Reachable(reachable) => self.reachable.push(reachable),
            ShellFrame::Taken(place) => self.taken = place,
            ShellFrame::Verdict(verdict) => return Ok(Some(verdict)),
            other @ (ShellFrame::Input(..)
            | ShellFrame::Resize(_)
            | ShellFrame::End
            | ShellFrame::Present(_)
            | ShellFrame::Redraw
            | ShellFrame::Attached(_)
            | ShellFrame::Joined(_)
            | ShellFrame::Unknown(_)) => panic!("{other:?}"),
        }
        Ok(None)
    }

    /// Waits until this was printed.
    ///
    /// # Panics
    /// When the session ends before.
    pub async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert_eq!(self.step().await, Ok(None), "no `{text}` in: {}", self.text());
        }
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the connection ends without it.
    pub async fn verdict(&mut self) -> Verdict {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(verdict)) => return verdict,
                Err(()) => panic!("no verdict after: {}", self.text()),
            }
        }
    }

    /// What was printed, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Types.
    ///
    /// # Panics
    /// When the visitor only watches.
    pub async fn type_in(&mut self, text: &str) {
        let frame = ShellFrame::Input(self.typed, text.as_bytes().to_vec());
        self.typed += text.len() as u64;
        self.send(&frame).await;
    }

    /// Sends a frame, or what should be none.
    ///
    /// # Panics
    /// When the visitor only watches.
    pub async fn send(&mut self, frame: &ShellFrame) {
        self.send_bytes(frame.encode().expect("it fits")).await;
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the visitor only watches.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        let to_manager = self.to_manager.as_ref().expect("not only a watcher");
        // A manager that hung up takes nothing, which the test sees by the end of the answer.
        drop(to_manager.send(bytes.into()).await);
    }
}
