//! Upgrades of agents over their links: which devices are meant, and with which program.

use std::collections::{BTreeMap, HashSet};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header;
use robo_model::access::Verb;
use robo_model::label::Selector;
use robo_model::name::ProjectName;
use robo_wire::api::{AuditOutcome, UPGRADES_AT_A_TIME, UpgradeLine, UpgradeRequest, UpgradeVerdict};
use robo_wire::code::Code;
use robo_wire::problem::{ErrorCode, Problem};
use robo_wire::stream::{MAX_TARGETS, Targets};
use tokio::sync::mpsc;

use super::ApiState;
use super::auth::May;
use super::extract::{Json, Project};
use super::problem::Refusal;
use crate::install::{Architecture, Program, Programs};
use crate::service::ServiceError;
use crate::store::DeviceRecord;
use crate::upgrades::{Common, One, Upgrade, UpgradeTarget};

/// One value of JSON a line.
const NDJSON: &str = "application/x-ndjson";

/// Lines on their way to the client.
const OUTPUT_QUEUE: usize = 64;

/// The programs that there are, read before anything is begun.
type Shelf = BTreeMap<Architecture, Program>;

/// Brings agents up to the program that this manager gives away, over their links. The answer is lines of JSON: the
/// targets, how far each is, and one verdict for each. An empty line only shows that the manager lives. An answer that ends
/// before all verdicts are there was cut: asking again is harmless.
#[utoipa::path(post, path = "/v1/projects/{project}/upgrade", tag = "devices", security(("token" = [])),
    params(("project" = String, Path)), request_body = UpgradeRequest,
    responses((status = 200, body = UpgradeLine, content_type = "application/x-ndjson", description = "one a line"),
        (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn upgrade(
    State(state): State<ApiState>,
    Extension(may): Extension<May>,
    Project(project): Project,
    Json(request): Json<UpgradeRequest>,
) -> Result<Response, Refusal> {
    request.check().map_err(Refusal::bad_request)?;
    let devices = state.service.store().devices(&project).await.map_err(ServiceError::from)?;
    let meant = meant(&devices, &may, &project, &request.targets)?;
    let programs = state.programs.clone();
    let reading = tokio::task::spawn_blocking(move || shelf(&programs)).await;
    let shelf = reading.map_err(|error| ServiceError::Broken(error.to_string()))?;
    let names: Vec<&str> = meant.iter().map(|(name, _)| name.as_str()).collect();
    let noun = if names.len() == 1 { "device" } else { "devices" };
    let thing = format!("{} {noun}: {}", names.len(), names.join(" "));
    let what = said(&request, &shelf);
    state.service.audit(&may.actor, (Verb::ManageDevices.name(), &thing), AuditOutcome::Allowed, &what).await?;
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let targets = meant.into_iter().map(|(name, device)| UpgradeTarget { name, todo: todo(&request, &shelf, device) });
    let (output, answer) = mpsc::channel(OUTPUT_QUEUE);
    let upgrade = Upgrade {
        targets: targets.collect(),
        concurrency: number(request.concurrency.unwrap_or(UPGRADES_AT_A_TIME)),
        max_failures: request.max_failures.map(number),
        common: Common {
            id: crate::jobs::new_id()?.to_string(),
            service: state.service,
            links: state.links,
            project,
            force: request.force,
        },
        output,
    };
    drop(tokio::spawn(upgrade.run()));
    Ok(([(header::CONTENT_TYPE, NDJSON)], lines(answer)).into_response())
}

/// What is asked for, for the audit log.
fn said(request: &UpgradeRequest, shelf: &Shelf) -> String {
    let programs: Vec<String> =
        shelf.iter().map(|(of, program)| format!("{} {}", of.as_str(), program.sha256)).collect();
    let how = if request.dry_run { "asks what an upgrade would do" } else { "upgrades the agent" };
    let force = if request.force { ", also where somebody works" } else { "" };
    format!("{how}{force}: {}", programs.join(", "))
}

fn lines(answer: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(stream::unfold(answer, |mut answer| async move {
        let line = answer.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), answer))
    }))
}

/// What there is to give away. Reads what is new, so it takes a while.
fn shelf(programs: &Programs) -> Shelf {
    let read = |of: Architecture| match programs.program(of) {
        Ok(program) => Some((of, program?)),
        Err(error) => {
            tracing::warn!(architecture = of.as_str(), %error, "cannot read an agent's program; it is not given away");
            None
        }
    };
    Architecture::ALL.into_iter().filter_map(read).collect()
}

/// The devices that are meant, each once, with their names as they were asked for; nothing for a name that no device has.
fn meant<'a>(
    devices: &'a [DeviceRecord],
    may: &May,
    project: &ProjectName,
    targets: &Targets,
) -> Result<Vec<(String, Option<&'a DeviceRecord>)>, Refusal> {
    let seen = || devices.iter().filter(|device| may.access.sees(project, &device.labels));
    let named = |device: &'a DeviceRecord| (device.name.to_string(), Some(device));
    let found: Vec<(String, Option<&DeviceRecord>)> = match targets {
        Targets::All => seen().map(named).collect(),
        Targets::Selector(text) => {
            let selector: Selector = text.parse().map_err(ServiceError::Label)?;
            seen().filter(|device| selector.matches(&device.labels)).map(named).collect()
        }
        Targets::Names(names) => {
            let by_name: BTreeMap<&str, &DeviceRecord> = seen().map(|device| (device.name.as_str(), device)).collect();
            let mut once = HashSet::new();
            let names = names.iter().filter(|name| once.insert(name.as_str()));
            names.map(|name| (name.clone(), by_name.get(name.as_str()).copied())).collect()
        }
    };
    if found.len() > MAX_TARGETS {
        let title = format!("{} devices were named, at most {MAX_TARGETS} are allowed at once", found.len());
        return Err(Refusal::new(ErrorCode::TooLarge, title));
    }
    Ok(found)
}

/// What is to be done on a device, or why nothing is.
fn todo(request: &UpgradeRequest, shelf: &Shelf, device: Option<&DeviceRecord>) -> Result<Box<One>, UpgradeVerdict> {
    let refused = |code: &str, reason: String| UpgradeVerdict::Refused { code: code.to_owned(), reason };
    let Some(device) = device else { return Err(refused("", "there is no such device".to_owned())) };
    if !device.online {
        return Err(UpgradeVerdict::Offline);
    }
    let arch = &device.facts.arch;
    let Some(program) = Architecture::named(arch).and_then(|of| shelf.get(&of)) else {
        let reason = format!(
            "the manager has no agent for `{arch}`: put it as robo-agent-{arch} into the folder that `robo manager \
             --agent-binaries DIR` names"
        );
        return Err(refused(Code::NoProgram.as_str(), reason));
    };
    let (from, to) = (device.facts.program.clone(), program.sha256.clone());
    match (from == to, request.dry_run, from.is_empty()) {
        (true, ..) => Err(UpgradeVerdict::Same),
        (false, true, false) => Err(UpgradeVerdict::WouldUpgrade { from, to }),
        (false, true, true) => Err(refused(
            "",
            "its agent does not say which program it is: it is a part of `robo`, very old, or began just now"
                .to_owned(),
        )),
        (false, false, _) => Ok(Box::new(One { device: device.id.clone(), from, program: program.clone() })),
    }
}
