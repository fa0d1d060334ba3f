//! `robo session play`: what was on a session's screen, as fast as it was.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use robo_model::name::SessionId;
use robo_model::quantity::Millis;
use serde::Deserialize;

use crate::cli::Env;
use crate::error::{CliError, Exit};

/// Most bytes of a recording: ours are smaller, others' may be larger.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The longest pause where nothing is said: nobody watches nothing.
const LONGEST_PAUSE: Millis = Millis::from_secs(2);

/// How often faster or slower it may be.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

/// Plays the recording of a session, or a file (asciicast, version 2).
///
/// A session that goes on is played as far as it is. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  robo session play 4f0c9a21d3
  robo session play 4f0c9a21d3 --speed 4
  robo session play broken.cast --at-once | less -R")]
pub(super) struct PlayArgs {
    /// The session, or a file.
    #[arg(value_name = "SESSION|FILE", add = crate::complete::sessions(true))]
    what: String,
    /// How many times as fast.
    #[arg(long, default_value_t = 1.0, value_parser = speed, conflicts_with = "at_once")]
    speed: f64,
    /// The longest pause; longer ones are cut to this.
    #[arg(long, value_name = "DURATION", default_value_t = LONGEST_PAUSE)]
    pause: Millis,
    /// Without any pauses.
    #[arg(long)]
    at_once: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| SPEEDS.contains(speed));
    speed.ok_or_else(|| format!("a speed is a number from {} to {}", SPEEDS.start(), SPEEDS.end()))
}

pub(super) async fn run(args: PlayArgs, env: &Env) -> Result<Exit, CliError> {
    let path = Path::new(&args.what);
    let is_file = args.what.contains(['/', '.']) || path.is_file();
    let bytes = if is_file { read(path)? } else { env.client()?.recording(&session(&args.what)?).await? };
    let cast = Cast::read(&bytes).map_err(|reason| {
        CliError::new(format!("`{}` cannot be played: {reason}", args.what))
            .help("what can be played are recordings of sessions, and asciicasts of version 2")
    })?;
    let playing = play(&cast, &args, env);
    tokio::select! {
        done = playing => done.map(|()| Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

fn session(text: &str) -> Result<SessionId, CliError> {
    text.parse().map_err(|error| CliError::new(format!("`{text}` is neither a file nor a session: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |error: io::Error| CliError::new(format!("cannot read {}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(CliError::new(format!("{} has more than {MAX_FILE} bytes", path.display())));
    }
    fs::read(path).map_err(unreadable)
}

async fn play(cast: &Cast, args: &PlayArgs, env: &Env) -> Result<(), CliError> {
    let (width, height) = (env.ui.width, env.ui.height);
    if env.ui.out_is_terminal && (cast.header.width > width || cast.header.height > height) {
        env.ui.note(format!(
            "It was recorded at {} columns and {} lines; this terminal has {width} and {height}.",
            cast.header.width, cast.header.height
        ));
    }
    let mut before = 0.0;
    for (at, text) in &cast.output {
        let pause = Duration::try_from_secs_f64((at - before) / args.speed).unwrap_or_default();
        before = *at;
        if !args.at_once {
            tokio::time::sleep(pause.min(args.pause.duration())).await;
        }
        env.ui.text(text)?;
    }
    Ok(())
}

/// A recording.
#[derive(Debug, PartialEq)]
struct Cast {
    header: Header,
    /// When, in seconds, and what was printed.
    output: Vec<(f64, String)>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Header {
    version: u32,
    width: usize,
    height: usize,
}

impl Cast {
    /// Reads a recording. Half a line at the end is of one that goes on.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let mut lines = text.lines().enumerate().peekable();
        let (_, first) = lines.next().ok_or("it is empty")?;
        let header: Header = serde_json::from_str(first).map_err(|error| format!("line 1: {error}"))?;
        if header.version != 2 {
            return Err(format!("it is an asciicast of version {}", header.version));
        }
        let mut output = Vec::new();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_str::<(f64, String, String)>(line) {
                Ok((at, kind, text)) if kind == "o" => output.push((at, text)),
                Ok(_) => {}
                Err(_) if line.trim().is_empty() => {}
                Err(_) if lines.peek().is_none() && !text.ends_with('\n') => {}
                Err(error) => return Err(format!("line {}: {error}", number + 1)),
            }
        }
        Ok(Self { header, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_or_refused_with_its_line() {
        let header = r#"{"version":2,"width":80,"height":24,"title":"x"}"#;
        let read = |lines: &str| Cast::read(format!("{header}\n{lines}").as_bytes()).map(|cast| cast.output);
        let all = "[0.5, \"o\", \"a\\u001b\"]\n[1, \"r\", \"100x30\"]\n\n[2.25, \"o\", \"ü\"]\n";
        assert_eq!(read(all), Ok(vec![(0.5, "a\u{1b}".to_owned()), (2.25, "ü".to_owned())]));
        assert_eq!(read("[0.5, \"o\", \"a\"]\n[0.6, \"o"), Ok(vec![(0.5, "a".to_owned())]));
        assert!(read("[0.5]\n[1, \"o\", \"a\"]\n").unwrap_err().starts_with("line 2: "));
        assert!(Cast::read(b"").unwrap_err().contains("empty"));
        assert!(Cast::read(b"\xff").unwrap_err().contains("no text"));
        assert!(Cast::read(b"#!/bin/sh\n").unwrap_err().starts_with("line 1: "));
        assert!(Cast::read(br#"{"version":3,"width":1,"height":1}"#).unwrap_err().contains("version 3"));
    }

    #[test]
    fn a_speed_is_bounded() {
        assert_eq!(speed("2.5"), Ok(2.5));
        for bad in ["0", "-1", "x", "NaN", "inf", "1e9"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
