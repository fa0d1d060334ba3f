//! `robo graph`: draws a graph; needs no manager.

use std::path::{Path, PathBuf};

use super::plan::GraphArgs;
use crate::bundle;
use crate::cli::{Env, Format, Output, formats_and_drawings};
use crate::draw::{self, Near, Picture, View};
use crate::error::{CliError, Exit};

/// Draws a graph: what stands on what, and what needs what.
///
/// In the terminal, or with -o as dot (Graphviz), mermaid, svg, or json (boxes and arrows as data);
/// `-o wide` shortens no list.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo graph app.graph                       all components, in the terminal
  robo graph app.graph --component Web       Web and what is next to it
  robo graph app.graph --instances           the instances on their machines
  robo graph app.graph -o svg --out app.svg  a picture
  robo graph app.graph -o dot | dot -Tpdf > app.pdf")]
pub(crate) struct DrawArgs {
    #[command(flatten)]
    graph: GraphArgs,
    /// Only this component and what is near: where it may stand, what may stand on it, what it needs, who needs it.
    #[arg(long, value_name = "NAME", conflicts_with = "instances")]
    component: Option<String>,
    /// How many steps from the component are still near.
    #[arg(long, value_name = "STEPS", requires = "component", default_value_t = 1, value_parser = depth)]
    depth: usize,
    /// Draw the instances instead of the components.
    #[arg(long)]
    instances: bool,
    /// Write to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to draw.
    // Of the same name as the option of every command, which it replaces here.
    #[arg(short, long, value_parser = formats_and_drawings(), default_value = "table", value_name = "FORMAT")]
    #[arg(help_heading = "Options of every command")]
    output: Output,
}

fn depth(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a component is at least one step from what is near it; give 1 or more".into()),
        Ok(depth) => Ok(depth),
        Err(_) => Err("give a number of steps, 1 or more".into()),
    }
}

pub(crate) fn run(args: &DrawArgs, env: &Env) -> Result<Exit, CliError> {
    let graph = bundle::compile_or(&args.graph.path, &args.graph.properties.map(), "nothing is drawn", &env.ui)?;
    let application = graph.application().ok_or_else(|| CliError::new("a graph with errors cannot be drawn"))?;
    let whole = if args.instances { draw::instances(application) } else { draw::components(application) };
    let picture = match args.component.as_deref() {
        Some(component) => {
            let unknown = unknown(component, &whole);
            draw::near(whole, Near { component, depth: args.depth }).ok_or(unknown)?
        }
        None => whole,
    };
    let text = rendered(&picture, args, env)?;
    match &args.out {
        Some(file) => write(file, &text, env)?,
        None => env.ui.text(&text)?,
    }
    Ok(Exit::Done)
}

fn rendered(picture: &Picture<'_>, args: &DrawArgs, env: &Env) -> Result<String, CliError> {
    let ui = &env.ui;
    let palette = if args.out.is_some() { crate::output::paint::Palette::new(false) } else { ui.out };
    match args.output {
        Output::Dot => Ok(draw::dot(picture)),
        Output::Mermaid => {
            if picture.edges.len() > draw::MERMAID_EDGES {
                let most = draw::MERMAID_EDGES;
                ui.note(format!("Mermaid draws more than {most} arrows only where its setting `maxEdges` allows it."));
            }
            Ok(draw::mermaid(picture))
        }
        Output::Svg => draw::svg(picture, draw::Place::File).map_err(|error| {
            let error = CliError::new(error.to_string());
            error.help("draw a part with `--component NAME`, or let Graphviz draw it: `-o dot`")
        }),
        Output::Data(Format::Json | Format::Yaml) => ui.value_text(&draw::data(picture)),
        Output::Data(Format::Name) => Ok(picture.nodes.iter().map(|node| format!("{}\n", node.id)).collect()),
        // Those of other commands do not come here: this command's option has none of them.
        Output::Sarif | Output::Html | Output::Markdown | Output::Data(Format::Table | Format::Wide) => {
            let full = args.output == Output::Data(Format::Wide);
            Ok(draw::terminal(picture, View { palette, width: ui.width, full }))
        }
    }
}

fn unknown(component: &str, picture: &Picture<'_>) -> CliError {
    let components = picture.application.components.keys().map(|name| name.as_str());
    let error = CliError::new(format!("there is no component `{component}` in {}", picture.application.name));
    match robo_dsl::closest(component, components) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`robo graph PATH -o name` lists what there is"),
    }
}

/// Writes a file as others must never see it half, and says so.
pub(crate) fn write(file: &Path, text: &str, env: &Env) -> Result<(), CliError> {
    if file.is_dir() {
        let error = CliError::new(format!("{} is a folder", file.display()));
        return Err(error.help("name the file that is to be written in it"));
    }
    if file.exists() && !file.is_file() {
        // A device or pipe would be replaced, not written to.
        let error = CliError::new(format!("{} is no ordinary file", file.display()));
        return Err(error.help("without --out it goes to standard output, and from there anywhere"));
    }
    // The folder is synchronised too, so it must have a name.
    std::path::absolute(file)
        .and_then(|path| robo_agent::folders::write_atomic(&path, text.as_bytes(), READABLE))
        .map_err(|error| CliError::new(format!("cannot write {}: {error}", file.display())))?;
    env.ui.note(format!("Wrote {}.", file.display()));
    Ok(())
}

/// A drawing is no secret.
const READABLE: u32 = 0o644;
