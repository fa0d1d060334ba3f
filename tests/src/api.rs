//! The manager's API as tests call it: the bodies of `robo_wire::api`, nothing retried, nothing hidden.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use robo_model::spec::{FileHash, FileRef, RecipeFiles, RelativePath};
use robo_wire::api::{
    Accepted, ActAnswer, ActRequest, Applied, ApplyRequest, BindRequest, Bundle, DeviceView, Entry, FileHashes,
    PlanRequest, RevisionDetail, RevisionView, Status, TokenRequest, TokenView, WantedRequest,
};
use robo_wire::event::Event;
use robo_wire::plan::Plan;
use robo_wire::problem::Problem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// TLS that trusts `ca_pem` alone, and shows no certificate.
///
/// # Panics
/// When `ca_pem` is no certificate.
#[must_use]
pub fn trusting(ca_pem: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client of one manager.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    /// A client that trusts `ca_pem` alone.
    ///
    /// # Panics
    /// When `ca_pem` is no certificate.
    #[must_use]
    pub fn new(address: SocketAddr, ca_pem: &str, token: &str) -> Self {
        let tls = trusting(ca_pem);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .resolve(robo_wire::SERVER_NAME, address)
            .build()
            .expect("a client");
        let base = format!("https://{}:{}/v1", robo_wire::SERVER_NAME, address.port());
        Self { client, base, token: token.to_owned() }
    }

    /// The same manager, asked by somebody else.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends a request and reads JSON.
    ///
    /// # Errors
    /// The manager's problem, with its status.
    ///
    /// # Panics
    /// When the manager does not answer, or not in its own terms.
    pub async fn call<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<A, (StatusCode, Problem)> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the manager answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        if status.is_success() {
            Ok(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}")))
        } else {
            let problem = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {status} {e}: {text}"));
            Err((status, problem))
        }
    }

    /// Sends a body as it comes, where there is one, and gives the answer as it comes.
    ///
    /// # Errors
    /// The manager's problem, with its status.
    ///
    /// # Panics
    /// When the manager refuses not in its own terms.
    pub async fn framed(
        &self,
        method: Method,
        path: &str,
        body: Option<reqwest::Body>,
    ) -> Result<reqwest::Response, Framed> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(|_| Framed::Unreachable)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.map_err(|_| Framed::Unreachable)?;
        Err(Framed::Problem(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))))
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> A {
        self.call::<(), A>(Method::GET, path, None).await.unwrap_or_else(|e| panic!("GET {path}: {e:?}"))
    }

    /// A fresh enrolment token for a device of that name.
    ///
    /// # Panics
    /// When the manager refuses.
    pub async fn enroll_token(&self, name: &str) -> String {
        let request = TokenRequest { name: Some(name.parse().expect("a device name")), ..TokenRequest::default() };
        let view: TokenView =
            self.call(Method::POST, "/projects/default/tokens", Some(&request)).await.expect("a token");
        view.token
    }

    /// All devices.
    pub async fn devices(&self) -> Vec<DeviceView> {
        self.get("/projects/default/devices").await
    }

    /// The status of everything.
    pub async fn status(&self) -> Status {
        self.get("/projects/default/status").await
    }

    /// The status of everything, where an instance is settled only when its device knows what others offer by now.
    pub async fn status_in_step(&self) -> Status {
        self.get("/projects/default/status?in_step=true").await
    }

    /// Every event that is kept, oldest first.
    ///
    /// # Panics
    /// When an event cannot be read.
    pub async fn events(&self) -> Vec<Event> {
        let url = format!("{}/projects/default/events?after=0&limit=10000", self.base);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await.expect("the manager answers");
        let text = answer.text().await.expect("a body");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Uploads what the manager lacks of `bundle`.
    ///
    /// # Panics
    /// When the manager refuses a file.
    pub async fn upload(&self, bundle: &Packed) {
        let hashes = FileHashes { hashes: bundle.files.keys().cloned().collect() };
        let missing: FileHashes =
            self.call(Method::POST, "/projects/default/files/missing", Some(&hashes)).await.expect("an answer");
        for hash in missing.hashes {
            let url = format!("{}/projects/default/files/{hash}", self.base);
            let body = bundle.files.get(&hash).expect("ours").clone();
            let answer = self.client.put(url).bearer_auth(&self.token).body(body).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
    }

    /// Plans.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn plan(&self, packed: &Packed) -> Result<Plan, (StatusCode, Problem)> {
        self.upload(packed).await;
        let request = PlanRequest { bundle: packed.bundle.clone(), keep_overrides: false };
        self.call(Method::POST, "/projects/default/plan", Some(&request)).await
    }

    /// Plans and applies what was planned.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn apply(&self, packed: &Packed) -> Result<Applied, (StatusCode, Problem)> {
        let plan = self.plan(packed).await?;
        self.apply_planned(packed, &plan.id).await
    }

    /// Applies a plan.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn apply_planned(&self, packed: &Packed, plan_id: &str) -> Result<Applied, (StatusCode, Problem)> {
        let request = ApplyRequest {
            bundle: packed.bundle.clone(),
            plan_id: plan_id.to_owned(),
            keep_overrides: false,
            note: None,
            rollback_of: None,
        };
        self.call(Method::POST, "/projects/default/apply", Some(&request)).await
    }

    /// An application's revisions, newest first.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn revisions(&self, application: &str) -> Result<Vec<RevisionView>, (StatusCode, Problem)> {
        let path = format!("/projects/default/applications/{application}/revisions");
        self.call::<(), _>(Method::GET, &path, None).await
    }

    /// Applies an earlier revision again.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn rollback(&self, application: &str, revision: u64) -> Result<Applied, (StatusCode, Problem)> {
        let path = format!("/projects/default/applications/{application}/revisions/{revision}");
        let RevisionDetail { bundle, .. } = self.call::<(), _>(Method::GET, &path, None).await?;
        let request = PlanRequest { bundle: bundle.clone(), keep_overrides: false };
        let plan: Plan = self.call(Method::POST, "/projects/default/plan", Some(&request)).await?;
        let request =
            ApplyRequest { bundle, plan_id: plan.id, keep_overrides: false, note: None, rollback_of: Some(revision) };
        self.call(Method::POST, "/projects/default/apply", Some(&request)).await
    }

    /// Cancels or retries.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn act(&self, application: &str, request: &ActRequest) -> Result<ActAnswer, (StatusCode, Problem)> {
        let path = format!("/projects/default/applications/{application}/act");
        self.call(Method::POST, &path, Some(request)).await
    }

    /// Says which applications the external imports of a prefix come from.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn bind(
        &self,
        application: &str,
        prefix: &str,
        request: &BindRequest,
    ) -> Result<Accepted, (StatusCode, Problem)> {
        let path = format!("/projects/default/applications/{application}/bindings/{prefix}");
        self.call(Method::PUT, &path, Some(request)).await
    }

    /// Asks for another state.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn wanted(&self, application: &str, request: &WantedRequest) -> Result<Accepted, (StatusCode, Problem)> {
        let path = format!("/projects/default/applications/{application}/wanted");
        self.call(Method::POST, &path, Some(request)).await
    }

    /// Deletes an application.
    ///
    /// # Errors
    /// The manager's problem.
    pub async fn delete(&self, application: &str) -> Result<Accepted, (StatusCode, Problem)> {
        self.call::<(), _>(Method::DELETE, &format!("/projects/default/applications/{application}"), None).await
    }
}

/// Why a framed request has no answer.
#[derive(Debug)]
pub enum Framed {
    /// The manager refuses.
    Problem(Problem),
    /// Nobody answers.
    Unreachable,
}

/// A bundle with the bytes of its files.
pub struct Packed {
    /// The manifest.
    pub bundle: Bundle,
    files: BTreeMap<FileHash, Vec<u8>>,
}

impl Packed {
    /// One graph file called `app.graph`, and recipe files: (component, path, content).
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn new(graph: &str, recipes: &[(&str, &str, &str)]) -> Self {
        let mut packed = Self {
            bundle: Bundle {
                entry: Entry::File(path("app.graph")),
                default_name: Some("app".to_owned()),
                properties: BTreeMap::new(),
                sources: BTreeMap::new(),
                recipes: BTreeMap::new(),
            },
            files: BTreeMap::new(),
        };
        let source = packed.add(graph.as_bytes());
        packed.bundle.sources.insert(path("app.graph"), source);
        for (component, file, content) in recipes {
            let reference = packed.add(content.as_bytes());
            let files: &mut RecipeFiles =
                packed.bundle.recipes.entry(component.parse().expect("a component")).or_default();
            files.insert(path(file), reference);
        }
        packed
    }

    fn add(&mut self, bytes: &[u8]) -> FileRef {
        let hash = FileHash::new(hex::encode(Sha256::digest(bytes))).expect("a hash");
        self.files.insert(hash.clone(), bytes.to_owned());
        FileRef { hash, size: bytes.len() as u64, executable: false }
    }
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).expect("a path")
}

/// Reads a file of the repository.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn read(below_root: impl AsRef<Path>) -> String {
    let path = crate::programs::root().join(below_root);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
