//! `robo bind`, `robo unbind`: where an application's external imports come from.

use robo_model::name::{ApplicationName, ComponentName};
use robo_wire::api::{BindRequest, BindingView};

use crate::cli::{Env, Format};
use crate::client::Client;
use crate::error::{CliError, Exit};
use crate::output::{bindings, shell_word};

/// Says which applications an application's external imports come from; without a prefix it shows how it stands.
///
/// All applications of the prefix are replaced by those that are named. Instances that wait for these imports start,
/// those that lose one they cannot do without stop and wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo bind billing                  what billing imports from others, from whom, and who could give it
  robo bind billing Shop tokyo       its imports of the prefix Shop come from the application tokyo
  robo bind billing Shop tokyo osaka and from a second one")]
pub(crate) struct BindArgs {
    /// The application that imports.
    #[arg(value_name = "APPLICATION", add = crate::complete::applications())]
    application: ApplicationName,
    /// The prefix of the imports, as in `external Shop.url`.
    #[arg(value_name = "PREFIX")]
    prefix: Option<ComponentName>,
    /// The applications that they come from.
    #[arg(value_name = "OTHER", add = crate::complete::applications())]
    others: Vec<ApplicationName>,
}

/// Ends it: an application's imports of a prefix come from nobody.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo unbind billing Shop")]
pub(crate) struct UnbindArgs {
    /// The application that imports.
    #[arg(value_name = "APPLICATION", add = crate::complete::applications())]
    application: ApplicationName,
    /// The prefix of the imports.
    #[arg(value_name = "PREFIX")]
    prefix: ComponentName,
}

pub(crate) async fn run(args: BindArgs, env: &Env) -> Result<Exit, CliError> {
    let client = env.client()?;
    let BindArgs { application, prefix, others } = args;
    match prefix {
        None => show(&client, &application, env).await,
        Some(prefix) if others.is_empty() => Err(from_whom(&client, &application, &prefix).await?),
        Some(prefix) => bind(&client, &application, &prefix, others, env).await,
    }
}

pub(crate) async fn unbind(args: UnbindArgs, env: &Env) -> Result<Exit, CliError> {
    bind(&env.client()?, &args.application, &args.prefix, Vec::new(), env).await
}

async fn show(client: &Client, application: &ApplicationName, env: &Env) -> Result<Exit, CliError> {
    let (ui, views) = (&env.ui, client.bindings(application).await?);
    match ui.format {
        Format::Json | Format::Yaml => ui.value(&views)?,
        Format::Name => views.iter().try_for_each(|view| ui.line(&view.prefix))?,
        Format::Table | Format::Wide if views.is_empty() => {
            ui.note(format!("{application} imports nothing from other applications."));
        }
        Format::Table | Format::Wide => ui.text(&bindings::table(&views, ui.out))?,
    }
    Ok(Exit::Done)
}

/// The refusal of a prefix without an application, with those that could be meant.
async fn from_whom(
    client: &Client,
    application: &ApplicationName,
    prefix: &ComponentName,
) -> Result<CliError, CliError> {
    let views = client.bindings(application).await?;
    let error = CliError::new(format!("from which application should the prefix `{prefix}` come?"));
    let Some(BindingView { candidates, .. }) = views.iter().find(|view| view.prefix == *prefix) else {
        return Ok(error
            .note(format!("{application} imports nothing of that prefix from other applications"))
            .help(format!("see what it does: `robo bind {application}`")));
    };
    let word = shell_word(prefix.as_str());
    Ok(match candidates.as_slice() {
        [] => error
            .note("no application of the project offers it")
            .help(format!("apply one that says `exports-prefix: {prefix};`")),
        some => some.iter().fold(error, |error, other| error.help(format!("robo bind {application} {word} {other}"))),
    })
}

async fn bind(
    client: &Client,
    application: &ApplicationName,
    prefix: &ComponentName,
    applications: Vec<ApplicationName>,
    env: &Env,
) -> Result<Exit, CliError> {
    let request = BindRequest { applications };
    let accepted = client.bind(application, prefix, &request).await?;
    let ui = &env.ui;
    if ui.is_machine() {
        let views = client.bindings(application).await?;
        ui.value(&views)?;
        return Ok(Exit::Done);
    }
    let names: Vec<_> = request.applications.iter().map(ApplicationName::as_str).collect();
    let from = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let count = match accepted.instances.len() {
        1 => "1 instance imports".to_owned(),
        count => format!("{count} instances import"),
    };
    ui.note(format!(
        "{prefix} of {application} comes from {from} now; {count} from it. Look with `robo status {application}`"
    ));
    Ok(Exit::Done)
}
