//! The manager's API, as typed calls.
//!
//! - `calls`: those about history, bindings, acts and devices; `sessions`: about shell sessions; `jobs`: about jobs;
//!   `ssh`: about certificates and keys for SSH; `uploads`: about files of devices.
//! - `tls`: one pinned CA, TLS 1.3, the manager's own name whatever address it has.
//! - `failure`: why a call did not work; `again`: bodies that may have to be sent twice.
//!
//! A connection that cannot be made is tried again a few times; a request that was sent is never sent twice.

mod access;
mod again;
mod calls;
mod failure;
mod jobs;
mod sessions;
mod ssh;
mod tls;
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use robo_agent::proxy::Variables;
use robo_model::name::{ApplicationName, DeviceName, ProjectName};
use robo_model::spec::FileHash;
use robo_wire::api::{
    Accepted, ApplicationView, Applied, ApplyRequest, Bundle, DeviceView, FileHashes, PlanRequest, Status,
    TokenRequest, TokenView, WantedRequest,
};
use robo_wire::event::Event;
use robo_wire::plan::Plan;
use robo_wire::problem::{ErrorCode, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use again::Again;
pub(crate) use failure::ClientError;
pub(crate) use jobs::JobQuery;
pub(crate) use tls::Address;
pub(crate) use uploads::UploadQuery;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Ui;

/// How often a connection is tried: with the pauses between it covers a manager that is just restarting.
const CONNECT_ATTEMPTS: u32 = 4;

/// The first pause between two tries; it doubles, and each is drawn between half and all of it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How long a TCP connection and a TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take that the manager has at hand.
const QUICK: Duration = Duration::from_secs(30);

/// How long compiling, planning and applying the largest application may take.
const SLOW: Duration = Duration::from_secs(180);

/// How long a stream's connection may be dead before it is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a request waits altogether when the manager says that it is asked too often.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The shortest wait that is told of.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// Largest answer that is read whole, in bytes: a status of the most instances fits.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

/// Largest line of an event stream, in bytes; one carries at most the last lines of a failed step.
const MAX_LINE: usize = 1024 * 1024;

/// A stream of bytes of an answer.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, ClientError>>;

/// One manager, one project.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: Address,
    /// The proxy on the way there, without its password.
    proxy: Option<String>,
    context: String,
    project: ProjectName,
    token: String,
    /// How often a connection is tried.
    attempts: u32,
    /// Who is told when it takes longer.
    ui: Option<Ui>,
}

/// Which devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceQuery {
    /// Those whose labels match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) selector: Option<String>,
    /// Those of which this is so.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) question: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct EventQuery {
    /// Those after this id; nothing for the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    /// Those of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<ApplicationName>,
    /// At most so many of those there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Go on with those to come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) follow: bool,
}

impl Client {
    /// A client for what `context` says; nothing is dialled yet. `name` is for messages.
    ///
    /// # Errors
    /// When the context's address, CA or token is unusable.
    pub(crate) fn new(name: &str, context: &Context, project: ProjectName) -> Result<Self, CliError> {
        let address = Address::parse(&context.url)
            .map_err(|reason| CliError::new(format!("the context `{name}` has a wrong address: {reason}")))?;
        let variables = Variables::read(|name| std::env::var(name).ok());
        let proxy =
            variables.proxy_for(&address.host_and_port(), None).map_err(|error| CliError::new(error.to_string()))?;
        let config = tls::config(&context.ca, &address, proxy.as_ref())
            .map_err(|reason| CliError::new(format!("the CA of the context `{name}` cannot be used: {reason}")))?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .user_agent(concat!("robo/", env!("CARGO_PKG_VERSION")));
        let unusable = |error: reqwest::Error| CliError::new(format!("the HTTP client cannot be made: {error}"));
        // Which one is our decision, by the same rules as an agent's.
        let builder = match &proxy {
            Some(proxy) => {
                builder.proxy(reqwest::Proxy::all(proxy.url_with_password()).map_err(|e| unusable(e.without_url()))?)
            }
            None => builder.no_proxy(),
        };
        let http = builder.build().map_err(unusable)?;
        Ok(Self {
            http,
            address,
            proxy: proxy.map(|proxy| proxy.to_string()),
            context: name.to_owned(),
            project,
            token: context.read_token()?,
            attempts: CONNECT_ATTEMPTS,
            ui: None,
        })
    }

    /// The same, which says so when the manager lets it wait.
    pub(crate) fn telling(self, ui: &Ui) -> Self {
        Self { ui: Some(ui.clone()), ..self }
    }

    /// The manager's address as the context has it.
    pub(crate) fn url(&self) -> String {
        self.address.to_string()
    }

    /// The same, for who would rather have no answer than a late one: one try, no pauses.
    pub(crate) fn impatient(self) -> Self {
        Self { attempts: 1, ..self }
    }

    /// The project it works in.
    pub(crate) const fn project(&self) -> &ProjectName {
        &self.project
    }

    /// All devices of the project.
    pub(crate) async fn devices(&self) -> Result<Vec<DeviceView>, ClientError> {
        self.json(self.request(Method::GET, "devices")).await
    }

    /// One device.
    pub(crate) async fn device(&self, name: &DeviceName) -> Result<DeviceView, ClientError> {
        self.json(self.request(Method::GET, &format!("devices/{name}"))).await
    }

    /// A new enrolment token.
    pub(crate) async fn make_token(&self, request: &TokenRequest) -> Result<TokenView, ClientError> {
        self.json(self.request(Method::POST, "tokens").json(request)).await
    }

    /// The script that makes a machine a device of the manager, which devices reach at `manager`.
    pub(crate) async fn install_script(&self, manager: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.raw(Method::GET, "/v1/install.sh").timeout(SLOW).query(&[("manager", manager)]);
        let response = self.send(request).await?;
        self.whole(response).await
    }

    /// Which of `hashes` the manager lacks.
    pub(crate) async fn missing_files(&self, hashes: Vec<FileHash>) -> Result<Vec<FileHash>, ClientError> {
        let answer: FileHashes =
            self.json(self.request(Method::POST, "files/missing").json(&FileHashes { hashes })).await?;
        Ok(answer.hashes)
    }

    /// Uploads one file of `size` bytes. Not tried again: the stream is used up.
    pub(crate) async fn put_file<S>(&self, hash: &FileHash, size: u64, bytes: S) -> Result<(), ClientError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let request = self
            .endless(Method::PUT, &format!("files/{hash}"))
            .header(reqwest::header::CONTENT_LENGTH, size)
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap_stream(bytes));
        let response = request.send().await.map_err(|error| self.failed(&error, 1))?;
        self.checked(response).await.map(drop)
    }

    /// What an apply of `bundle` would do.
    pub(crate) async fn plan(&self, bundle: &Bundle, keep_overrides: bool) -> Result<Plan, ClientError> {
        let request = PlanRequest { bundle: bundle.clone(), keep_overrides };
        self.json(self.request(Method::POST, "plan").timeout(SLOW).json(&request)).await
    }

    /// Does what the plan says that the request names.
    pub(crate) async fn apply(&self, request: &ApplyRequest) -> Result<Applied, ClientError> {
        self.json(self.request(Method::POST, "apply").timeout(SLOW).json(request)).await
    }

    /// All applications of the project.
    pub(crate) async fn applications(&self) -> Result<Vec<ApplicationView>, ClientError> {
        self.json(self.request(Method::GET, "applications")).await
    }

    /// Undeploys and forgets an application; with `force` even while others are bound to it.
    pub(crate) async fn delete_application(
        &self,
        name: &ApplicationName,
        force: bool,
    ) -> Result<Accepted, ClientError> {
        let request = self.request(Method::DELETE, &format!("applications/{name}"));
        self.json(if force { request.query(&[("force", true)]) } else { request }).await
    }

    /// Asks for another state than the application says.
    pub(crate) async fn want(&self, name: &ApplicationName, request: &WantedRequest) -> Result<Accepted, ClientError> {
        self.json(self.request(Method::POST, &format!("applications/{name}/wanted")).json(request)).await
    }

    /// What is, of one application or of all.
    pub(crate) async fn status(&self, application: Option<&ApplicationName>) -> Result<Status, ClientError> {
        let request = self.request(Method::GET, "status");
        let request = match application {
            Some(name) => request.query(&[("application", name.as_str())]),
            None => request,
        };
        self.json(request).await
    }

    /// What is, of one application or of all, where an instance is settled only when its device knows what others
    /// offer by now. Costs the manager some looks more.
    pub(crate) async fn status_in_step(&self, application: Option<&ApplicationName>) -> Result<Status, ClientError> {
        let request = self.request(Method::GET, "status").query(&[("in_step", "true")]);
        let application = application.map(|name| [("application", name.as_str())]);
        self.json(request.query(&application)).await
    }

    /// Events, oldest first; with `follow` the stream ends only when the connection does.
    pub(crate) async fn events(
        &self,
        query: &EventQuery,
    ) -> Result<BoxStream<'static, Result<Event, ClientError>>, ClientError> {
        let request =
            if query.follow { self.endless(Method::GET, "events") } else { self.request(Method::GET, "events") };
        let response = self.send(request.query(query)).await?;
        Ok(lines(self.bytes(response), "events").boxed())
    }

    /// Sends a body of frames as it comes and gives the answer's frames as they come. Tried again only when the manager
    /// took nothing of it and said when to come again.
    pub(crate) async fn framed_post<S>(&self, path: &str, body: S) -> Result<ByteStream, ClientError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let (body, mut patience) = (Again::new(body), MAX_WAIT);
        loop {
            let request = self
                .endless(Method::POST, path)
                .header(reqwest::header::CONTENT_TYPE, robo_wire::stream::MEDIA_TYPE)
                .body(reqwest::Body::wrap_stream(body.body()));
            let response = request.send().await.map_err(|error| self.failed(&error, 1))?;
            if !self.is_to_wait(&response, &mut patience).await {
                body.taken();
                return Ok(self.bytes(self.checked(response).await?));
            }
        }
    }

    /// Asks for an answer of frames.
    pub(crate) async fn framed_get<Q: Serialize + ?Sized>(
        &self,
        path: &str,
        query: &Q,
    ) -> Result<ByteStream, ClientError> {
        let response = self.send(self.endless(Method::GET, path).query(query)).await?;
        Ok(self.bytes(response))
    }

    /// A request below the project, for an answer that comes at once.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.endless(method, path).timeout(QUICK)
    }

    /// A request below the project whose answer may take as long as it likes.
    fn endless(&self, method: Method, path: &str) -> RequestBuilder {
        self.raw(method, &format!("/v1/projects/{}/{path}", self.project))
    }

    fn raw(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.address)).bearer_auth(&self.token)
    }

    /// Sends; as long as no connection can be made, some more times.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let (mut pause, mut patience) = (FIRST_PAUSE, MAX_WAIT);
        let mut attempt = 0;
        while let Some(again) = request.try_clone() {
            attempt += 1;
            match again.send().await {
                Ok(response) if self.is_to_wait(&response, &mut patience).await => continue,
                Ok(response) => return self.checked(response).await,
                Err(error) => {
                    let failure = self.failed(&error, attempt);
                    if attempt >= self.attempts || !matches!(failure, ClientError::Unreachable { .. }) {
                        return Err(failure);
                    }
                    tracing::debug!("try {attempt} of {}: {failure}", self.attempts);
                }
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause *= 2;
        }
        let response = request.send().await.map_err(|error| self.failed(&error, 1))?;
        self.checked(response).await
    }

    /// Waits when the manager says so and there is patience for it; false when it does not, or there is none.
    async fn is_to_wait(&self, response: &Response, patience: &mut Duration) -> bool {
        let Some(wait) = told_to_wait(response).filter(|wait| *wait <= *patience) else { return false };
        // At least a second, so that a manager that says none is not asked for ever.
        *patience -= wait.max(Duration::from_secs(1)).min(*patience);
        self.wait(wait).await;
        true
    }

    /// Waits as the manager says, and tells whoever is there.
    async fn wait(&self, wait: Duration) {
        if let Some(ui) = &self.ui
            && wait >= WORTH_TELLING
        {
            ui.note(format!("The manager is asked too often: going on in {} s.", wait.as_secs()));
        }
        // Others were told the same.
        tokio::time::sleep(wait.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// What an answer says.
    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let path = response.url().path().to_owned();
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer { path, reason: error.to_string() })
    }

    /// Turns an answer that tells a problem into that problem.
    async fn checked(&self, response: Response) -> Result<Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let path = response.url().path().to_owned();
        let body = self.whole(response).await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) if status == StatusCode::UNAUTHORIZED => Err(ClientError::Problem(Box::new(Problem {
                code: ErrorCode::Unauthorized,
                status: status.as_u16(),
                title: "the manager does not know this token".into(),
                detail: None,
                help: None,
            }))),
            Err(_) => Err(ClientError::NotAManager { url: self.url(), status: status.as_u16(), path }),
        }
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error, 1))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                let path = response.url().path().to_owned();
                return Err(ClientError::Answer { path, reason: format!("it has more than {MAX_ANSWER} bytes") });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn bytes(&self, response: Response) -> ByteStream {
        let client = self.clone();
        response.bytes_stream().map(move |chunk| chunk.map_err(|error| client.failed(&error, 1))).boxed()
    }

    fn failed(&self, error: &reqwest::Error, tries: u32) -> ClientError {
        failure::classify(error, self, tries)
    }
}

/// How long the manager says to wait before the same is asked again, where it says so.
fn told_to_wait(response: &Response) -> Option<Duration> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let seconds = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Cuts a stream of bytes into lines of JSON; empty ones only show that the other side lives.
fn lines<T: DeserializeOwned + Send + 'static>(
    bytes: ByteStream,
    path: &'static str,
) -> impl Stream<Item = Result<T, ClientError>> + Send {
    let start = (bytes, Vec::<u8>::new());
    futures_util::stream::try_unfold(start, move |(mut bytes, mut rest)| async move {
        loop {
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    return Ok(Some((value(&line, path)?, (bytes, rest))));
                }
            }
            if rest.len() > MAX_LINE {
                return Err(bad_line(path, format!("a line has more than {MAX_LINE} bytes")));
            }
            match bytes.next().await {
                Some(chunk) => rest.extend_from_slice(&chunk?),
                None if rest.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some((value(&rest, path)?, (bytes, Vec::new())))),
            }
        }
    })
}

fn value<T: DeserializeOwned>(line: &[u8], path: &str) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| bad_line(path, error.to_string()))
}

fn bad_line(path: &str, reason: String) -> ClientError {
    ClientError::Answer { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(chunks: &[&str]) -> Result<Vec<u64>, ClientError> {
        let chunks: Vec<_> = chunks.iter().map(|c| Ok(Bytes::copy_from_slice(c.as_bytes()))).collect();
        let events = lines::<Event>(futures_util::stream::iter(chunks).boxed(), "events");
        let all: Vec<_> = events.collect().await;
        all.into_iter().map(|event| event.map(|e| e.id)).collect()
    }

    #[tokio::test]
    async fn events_are_cut_at_line_ends() {
        let one = r#"{"id":1,"at":0,"kind":"enrolled"}"#;
        let two = r#"{"id":2,"at":0,"kind":"from-the-future","x":1}"#;
        let text = format!("{one}\n\n{two}");
        let (left, right) = text.split_at(20);
        assert_eq!(read(&[left, right]).await.unwrap(), [1, 2]);
        assert_eq!(read(&["\n", "\n"]).await.unwrap(), [] as [u64; 0]);
        assert!(matches!(read(&["{nonsense}\n"]).await, Err(ClientError::Answer { .. })));
        let long = "x".repeat(MAX_LINE + 1);
        assert!(matches!(read(&[&long]).await, Err(ClientError::Answer { .. })));
    }

    #[tokio::test]
    async fn a_manager_that_is_down_is_unreachable_and_says_what_was_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let context = Context {
            url: format!("https://localhost:{port}"),
            ca: tls::tests::CA.into(),
            token_file: None,
            token: Some("t".into()),
            login: None,
            project: None,
        };
        let client = Client::new("lab", &context, ProjectName::default_project()).unwrap();
        let error = CliError::from(client.devices().await.unwrap_err());
        assert_eq!(error.exit(), crate::error::Exit::Unreachable);
        assert!(error.what().contains(&format!("https://localhost:{port}")), "{}", error.what());
        assert!(error.notes().iter().any(|n| n.contains("4 times") && n.contains("lab")), "{:?}", error.notes());
    }
}
