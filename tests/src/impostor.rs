//! Somebody with the manager's keys who is no manager: what it says and gives to a real agent is up to a test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use robo_manager::ca::Ca;
use robo_model::quantity::Millis;
use robo_wire::frame::{self, MAX_CONTROL_FRAME};
use robo_wire::link::{Ack, FromAgent, FromManager, Hello, PROTOCOL, Update, Welcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use crate::PATIENCE;

/// Links that no test took yet: an agent has one at a time.
const LINKS: usize = 16;

/// How often both say something: so seldom that a test need not.
const HEARTBEAT: Millis = Millis::from_secs(60);

/// What is written to whoever asks for a file, and how often; then the connection ends.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The head of the answer and what comes first.
    pub begin: Vec<u8>,
    /// What comes then, again and again, until nobody takes it.
    pub without_end: Vec<u8>,
}

/// A port where an agent takes somebody for its manager.
pub struct Impostor {
    links: mpsc::Receiver<Line>,
    give: watch::Sender<Given>,
    asked: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// The link of an agent, seen from the other end.
pub struct Line {
    control: Compat<yamux::Stream>,
    buffer: Vec<u8>,
    /// Its first words.
    pub hello: Hello,
    open: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    driver: JoinHandle<()>,
}

impl Impostor {
    /// Takes the place of the manager that had this folder and this address, and is gone.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn take(data: &Path, address: SocketAddr) -> Self {
        let ca = Ca::load_or_create(data).expect("its keys");
        let tls = TlsAcceptor::from(robo_manager::tls::server_config(&ca).expect("TLS"));
        let listener = crate::eventually("the port is free", || async { TcpListener::bind(address).await.ok() }).await;
        let (found, links) = mpsc::channel(LINKS);
        let (give, given) = watch::channel(Given::default());
        let (ask, asked) = watch::channel(0);
        let ask = Arc::new(ask);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, found, given, ask) = (tls.clone(), found.clone(), given.clone(), Arc::clone(&ask));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(socket).await else { return };
                    if stream.get_ref().1.alpn_protocol() == Some(robo_wire::ALPN_LINK) {
                        if let Some(line) = Line::begin(stream).await {
                            drop(found.try_send(line));
                        }
                    } else {
                        ask.send_modify(|count| *count += 1);
                        let given = given.borrow().clone();
                        drop(answer(stream, given).await);
                    }
                });
            }
        });
        Self { links, give, asked, task }
    }

    /// The next link of the agent.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn link(&mut self) -> Line {
        let next = tokio::time::timeout(PATIENCE, self.links.recv()).await;
        next.expect("the agent comes again").expect("the port is open")
    }

    /// The same, and it is welcomed: it has told what it has.
    ///
    /// # Panics
    /// When it does not come, or goes.
    pub async fn welcomed(&mut self) -> Line {
        let mut line = self.link().await;
        assert!(line.say(&welcome(HEARTBEAT)).await, "the agent hung up");
        loop {
            if let FromAgent::Update(Update { seq, events, more: false, .. }) = line.hear().await.expect("it stays") {
                let events_stored = events.last().map_or(0, |event| event.seq);
                assert!(line.say(&FromManager::Ack(Ack { seq, events_stored })).await, "the agent hung up");
                return line;
            }
        }
    }

    /// From now on whoever asks for a file gets this.
    ///
    /// # Panics
    /// When the port is closed.
    pub fn give(&self, given: Given) {
        self.give.send(given).expect("the port is open");
    }

    /// Waits until files were asked for so many times.
    ///
    /// # Panics
    /// When they are not.
    pub async fn asked(&mut self, times: usize) {
        let enough = tokio::time::timeout(PATIENCE, self.asked.wait_for(|count| *count >= times)).await;
        enough.expect("files are asked for").expect("the port is open");
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A welcome for the device `one`, which is to say something this often.
#[must_use]
pub fn welcome(heartbeat: Millis) -> FromManager {
    FromManager::Welcome(Welcome {
        protocol: PROTOCOL,
        manager_version: String::new(),
        name: "one".parse().expect("a name"),
        project: "default".parse().expect("a name"),
        heartbeat,
        events_stored: 0,
        ssh_authority: None,
    })
}

async fn answer(mut stream: TlsStream<TcpStream>, given: Given) -> std::io::Result<()> {
    let mut request = [0; 4096];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    stream.write_all(&given.begin).await?;
    while !given.without_end.is_empty() {
        stream.write_all(&given.without_end).await?;
    }
    stream.flush().await?;
    stream.shutdown().await
}

impl Line {
    async fn begin(stream: TlsStream<TcpStream>) -> Option<Self> {
        let mut connection = yamux::Connection::new(stream.compat(), yamux::Config::default(), yamux::Mode::Server);
        let control = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await?.ok()?;
        let (open, mut wanted) = mpsc::channel::<oneshot::Sender<yamux::Stream>>(1);
        let driver = tokio::spawn(async move {
            let mut opening: Option<oneshot::Sender<yamux::Stream>> = None;
            std::future::poll_fn(|cx| {
                loop {
                    if opening.is_none()
                        && let std::task::Poll::Ready(Some(next)) = wanted.poll_recv(cx)
                    {
                        opening = Some(next);
                    }
                    if opening.is_some()
                        && let std::task::Poll::Ready(opened) = connection.poll_new_outbound(cx)
                    {
                        if let (Some(opening), Ok(stream)) = (opening.take(), opened) {
                            drop(opening.send(stream));
                        }
                        continue;
                    }
                    match connection.poll_next_inbound(cx) {
                        std::task::Poll::Ready(Some(Ok(_))) => {}
                        std::task::Poll::Ready(_) => return std::task::Poll::Ready(()),
                        std::task::Poll::Pending => return std::task::Poll::Pending,
                    }
                }
            })
            .await;
        });
        let (control, buffer) = (control.compat(), Vec::new());
        let hello = Hello {
            protocol: 0,
            facts: robo_wire::api::Facts::default(),
            generation: robo_model::spec::Generation::default(),
            assignment: None,
            imports: None,
        };
        let mut line = Self { control, buffer, hello, open, driver };
        let Some(FromAgent::Hello(hello)) = line.hear().await else { return None };
        line.hello = hello;
        Some(line)
    }

    /// Says something; false when the agent has hung up.
    ///
    /// # Panics
    /// When it is too long for a frame.
    pub async fn say(&mut self, message: &FromManager) -> bool {
        self.send(&message.encode().expect("it fits")).await
    }

    /// Sends bytes on the control stream; false when the agent has hung up.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.control.write_all(bytes).await.is_ok() && self.control.flush().await.is_ok()
    }

    /// What the agent says next; nothing when it has hung up.
    ///
    /// # Panics
    /// When it says nothing for too long, or what cannot be read.
    pub async fn hear(&mut self) -> Option<FromAgent> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, MAX_CONTROL_FRAME).expect("a frame") {
                return Some(FromAgent::decode(&frame).expect("a message"));
            }
            let read = tokio::time::timeout(PATIENCE, self.control.read_buf(&mut self.buffer)).await;
            match read.expect("the agent neither speaks nor hangs up") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Opens a stream to the agent; nothing when it takes no more.
    pub async fn open(&self) -> Option<Compat<yamux::Stream>> {
        let (give, opened) = oneshot::channel();
        self.open.send(give).await.ok()?;
        Some(opened.await.ok()?.compat())
    }

    /// Waits until the agent has hung up.
    pub async fn end(mut self) {
        while self.hear().await.is_some() {}
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
