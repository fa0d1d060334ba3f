//! `robo audit`: what was done and refused, and whether that is what was written.

use robo_model::quantity::UnixMillis;

use crate::cli::{Env, Format};
use crate::error::{CliError, Exit};
use crate::output::access;
use crate::output::table::Look;

/// Shows what was done and refused, and proves that nobody changed it.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Lists the newest lines of the project, the oldest of them first; the manager looks for them.
    List {
        /// Only those with this verb, as in `exec`.
        #[arg(long)]
        verb: Option<String>,
        /// Only those of things whose text has this in it: a device, a user, a path.
        #[arg(long, value_name = "TEXT")]
        thing: Option<String>,
        /// Only those since then: so long ago, as in `2h`, or a time, as in `2026-01-31T13:45:00Z`.
        #[arg(long, value_name = "WHEN", value_parser = super::logs::point)]
        since: Option<UnixMillis>,
        /// Only those until then.
        #[arg(long, value_name = "WHEN", value_parser = super::logs::point)]
        until: Option<UnixMillis>,
        /// Only those of this user.
        #[arg(long, value_name = "USER")]
        who: Option<String>,
        /// At most so many.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only those before this line.
        #[arg(long, value_name = "LINE")]
        before: Option<u64>,
        /// Of all projects and the manager itself, and who was refused before it was known who it is.
        #[arg(long)]
        all_projects: bool,
    },
    /// Looks at each line whether it is what was written; exit code 3 when one is not.
    ///
    /// Each line is bound to the one before it. Who keeps the last line's number and hash elsewhere, and gives them
    /// with `--expect` later, finds out when lines were taken away at the end, or all were written anew.
    Verify {
        /// A line of before, as `NUMBER:HASH`.
        #[arg(long, value_name = "LINE:HASH", value_parser = expected)]
        expect: Option<(u64, String)>,
    },
}

fn expected(text: &str) -> Result<(u64, String), String> {
    let parts = text.split_once(':').and_then(|(id, hash)| Some((id.parse().ok()?, hash.to_ascii_lowercase())));
    let is_hash = |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts
        .filter(|(id, hash)| *id > 0 && is_hash(hash))
        .ok_or_else(|| "a line's number and its hash, as `robo audit verify` says them: `12:ab…`".to_owned())
}

pub(crate) async fn run(args: AuditArgs, env: &Env) -> Result<Exit, CliError> {
    match args.command {
        AuditCommand::List { verb, thing, since, until, who, limit, before, all_projects } => {
            if let (Some(since), Some(until)) = (since, until)
                && since > until
            {
                let error = CliError::new("`--since` is later than `--until`: nothing can be between them");
                return Err(error);
            }
            let mut query = vec![("limit", limit.to_string())];
            query.extend(verb.map(|verb| ("verb", verb)));
            query.extend(thing.map(|thing| ("thing", thing)));
            query.extend(since.map(|at| ("since", at.0.to_string())));
            query.extend(until.map(|at| ("until", at.0.to_string())));
            query.extend(who.map(|who| ("who", who)));
            query.extend(before.map(|line| ("before", line.to_string())));
            list(&query, all_projects, env).await?;
            Ok(Exit::Done)
        }
        AuditCommand::Verify { expect } => verify(expect, env).await,
    }
}

async fn list(query: &[(&str, String)], everywhere: bool, env: &Env) -> Result<(), CliError> {
    let ui = &env.ui;
    let lines = env.client()?.audit(everywhere, query).await?;
    match ui.format {
        Format::Json => lines.iter().try_for_each(|line| ui.element(line)),
        Format::Yaml => ui.value(&lines),
        Format::Name => lines.iter().try_for_each(|line| ui.line(line.id)),
        Format::Table | Format::Wide if lines.is_empty() => {
            ui.note("There is no such line.");
            Ok(())
        }
        Format::Table | Format::Wide => ui.text(&access::audit(&lines, Look::of(ui))),
    }
}

async fn verify(expect: Option<(u64, String)>, env: &Env) -> Result<Exit, CliError> {
    let (ui, client) = (&env.ui, env.client()?);
    let verdict = client.verify_audit().await?;
    let mut trouble: Vec<String> = verdict
        .broken
        .iter()
        .map(|broken| format!("line {} is not what was written: {}", broken.id, broken.reason))
        .collect();
    if let Some((id, hash)) = expect {
        let found = client.audit(true, &[("before", (id + 1).to_string()), ("limit", "1".to_owned())]).await?;
        let anchor = verdict.anchor.as_ref();
        match found.first().filter(|line| line.id == id) {
            None if anchor.is_some_and(|anchor| anchor.id == id && anchor.hash == hash) => {}
            None if anchor.is_some_and(|anchor| anchor.id > id) => {
                trouble.push(format!("line {id} went when its time was over: expect a later one"));
            }
            Some(line) if line.hash == hash => {}
            Some(_) => trouble.push(format!("line {id} is another one than you expect: the log was written anew")),
            None => trouble.push(format!("line {id} is gone: lines were taken away at the end")),
        }
    }
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&verdict)?,
        Format::Name | Format::Table | Format::Wide => {
            ui.line(format!("{}:{}", verdict.last, verdict.hash))?;
            if trouble.is_empty() {
                if let Some(anchor) = &verdict.anchor {
                    ui.note(format!("The lines up to {} went when their time was over.", anchor.id));
                }
                ui.note(format!("All {} lines are as they were written. Keep the last one elsewhere.", verdict.lines));
            }
        }
    }
    for line in &trouble {
        ui.note(ui.err.error(line));
    }
    Ok(if trouble.is_empty() { Exit::Done } else { Exit::SomeFailed })
}
