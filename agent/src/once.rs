//! What `robo-agent` does once, for whoever is at the machine, beside running the agent.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use robo_agent::args::{CollectArgs, DoctorArgs, Output, SshTrustArgs, default_state};
use robo_agent::ssh::trust;
use robo_agent::{collect, doctor};

pub(super) fn examine(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_json = args.output == Output::Json;
    let report = runtime.block_on(doctor::examine(&args.into_options(default_state())));
    let text = if is_json { report.json() } else { report.text() };
    // Who reads may stop reading; the exit code says it all the same.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn collected(args: CollectArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (options, file) = args.into_options(default_state());
    runtime
        .block_on(collect::to_file(options, &file))
        .with_context(|| format!("there is no bundle in {}", file.display()))?;
    // Who reads may stop reading; the file is there all the same.
    drop(writeln!(std::io::stdout().lock(), "{}", file.display()));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn trusted(args: SshTrustArgs) -> anyhow::Result<ExitCode> {
    let done = trust::carry_out(&args.into_options(default_state())).map_err(anyhow::Error::msg)?;
    // Who reads may stop reading; it is done all the same.
    drop(std::io::stdout().lock().write_all(done.as_bytes()));
    Ok(ExitCode::SUCCESS)
}
