//! What `robo-agent` does besides being the agent: it looks, packs, queues, and lets people in by SSH.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use robo_agent::args::{CollectArgs, DoctorArgs, Output, SshTrustArgs, UploadArgs, default_state};
use robo_agent::ssh::trust;
use robo_agent::{collect, doctor};

pub(crate) fn examine(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let is_json = args.output == Output::Json;
    let report = runtime()?.block_on(doctor::examine(&args.into_options(default_state())));
    print(&if is_json { report.json() } else { report.text() });
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn collected(args: CollectArgs) -> anyhow::Result<ExitCode> {
    let (options, file) = args.into_options(default_state());
    let done = runtime()?.block_on(collect::to_file(options, &file));
    done.with_context(|| format!("there is no bundle in {}", file.display()))?;
    print(&format!("{}\n", file.display()));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn trusted(args: SshTrustArgs) -> anyhow::Result<ExitCode> {
    print(&trust::carry_out(&args.into_options(default_state())).map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn queued(args: UploadArgs) -> anyhow::Result<ExitCode> {
    let path = args.queue(default_state())?;
    print(&format!("queued: {path}; it is sent when this device is linked to its manager\n"));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Prints it. Who reads may stop reading; what was to be done is done all the same.
fn print(text: &str) {
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}
