//! The only place that prints. Data goes to standard output, words for people to standard error.
//!
//! - `paint`: colours, or none; `when`: times as people read them.
//! - `table`: tables of instances and devices; `detail`: all of one thing; `event`; `plan`;
//! - `diagnostics`: mistakes in a graph; `sarif`: the same for code review tools; `explain`: what a code means;
//! - `diff`: what differs between two texts; `history`: revisions, and what differs between two of them;
//! - `acts`: what came of a cancel or a retry; `bindings`: where external imports come from; `circle`: who waits for whom;
//! - `sessions`: terminals on devices; `jobs`: commands in the background;
//! - `harmless`: takes out what would steer a terminal; all text goes through it.
//!
//! The submodules make text from values and print nothing, so that tests can look at it.

pub(crate) mod access;
pub(crate) mod acts;
pub(crate) mod bindings;
pub(crate) mod circle;
pub(crate) mod detail;
pub(crate) mod diagnostics;
pub(crate) mod diff;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod harmless;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod installs;
pub(crate) mod jobs;
pub(crate) mod log_files;
pub(crate) mod paint;
pub(crate) mod plan;
pub(crate) mod sarif;
pub(crate) mod sessions;
pub(crate) mod ssh_keys;
pub(crate) mod table;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod when;

use std::fmt::{Display, Write as _};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::cli::Format;
use crate::error::CliError;
use harmless::{Harmless, harmless};
use paint::Palette;

/// The width that is assumed where nobody says it.
const DEFAULT_WIDTH: usize = 80;

/// The height that is assumed where nobody says it.
const DEFAULT_HEIGHT: usize = 24;

/// Longest answer to a question, in bytes.
const MAX_ANSWER: u64 = 1024;

/// What the user's terminal can do, and how data is wished.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// How data is printed.
    pub(crate) format: Format,
    /// Colours on standard output.
    pub(crate) out: Palette,
    /// Colours on standard error.
    pub(crate) err: Palette,
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Lines of the terminal.
    pub(crate) height: usize,
    /// Somebody can answer: standard input and standard error are a terminal.
    pub(crate) can_ask: bool,
    /// Standard output is a terminal.
    pub(crate) out_is_terminal: bool,
    /// Standard error is a terminal: lines may be drawn anew.
    pub(crate) can_animate: bool,
}

impl Ui {
    /// Looks at the terminal and at `NO_COLOR`, `CLICOLOR_FORCE`, `COLUMNS`.
    pub(crate) fn from_environment(format: Format) -> Self {
        let told = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| Palette::new(!told("NO_COLOR") && (forced || terminal && !dumb));
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let terminal = if stdout.is_terminal() { console::Term::stdout() } else { console::Term::stderr() };
        let size = terminal.size_checked().map(|(height, width)| (usize::from(height), usize::from(width)));
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width >= 20);
        Self {
            format,
            out: colour(stdout.is_terminal()),
            err: colour(stderr.is_terminal()),
            width: columns.or(size.map(|s| s.1)).filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH),
            height: size.map(|s| s.0).filter(|height| *height > 0).unwrap_or(DEFAULT_HEIGHT),
            can_ask: stdin.is_terminal() && stderr.is_terminal(),
            out_is_terminal: stdout.is_terminal(),
            can_animate: stderr.is_terminal() && !dumb,
        }
    }

    /// True when data is for programs.
    pub(crate) const fn is_machine(&self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// When standard output takes no more; quietly so when its reader went away.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), CliError> {
        self.text(&format!("{text}\n"))
    }

    /// Prints data as it is.
    ///
    /// # Errors
    /// As [`Ui::line`].
    #[expect(clippy::unused_self, reason = "printing goes through the Ui, whatever it needs of it")]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| closed(&error))
    }

    /// Standard output for a stream of bytes: a write of it waits on a thread of its own.
    ///
    /// # Errors
    /// When there is no standard output.
    #[expect(clippy::unused_self, reason = "printing goes through the Ui, whatever it needs of it")]
    pub(crate) fn stream(&self) -> std::io::Result<tokio::fs::File> {
        let out = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned()?;
        Ok(tokio::fs::File::from_std(out.into()))
    }

    /// Prints data to standard error as it is: the error output of something that was run.
    ///
    /// # Errors
    /// As [`Ui::line`].
    #[expect(clippy::unused_self, reason = "printing goes through the Ui, whatever it needs of it")]
    pub(crate) fn error_bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stderr().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| closed(&error))
    }

    /// Prints text that ends its lines itself.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        if self.out_is_terminal { self.bytes(harmless(text).as_bytes()) } else { self.bytes(text.as_bytes()) }
    }

    /// Prints what a device printed. A terminal gets it without what would steer it, everybody else as it is.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn printed(&self, stream: &mut Harmless, bytes: &[u8]) -> Result<(), CliError> {
        if self.out_is_terminal { self.bytes(&stream.pass(bytes)) } else { self.bytes(bytes) }
    }

    /// The same, for what a device printed to its error output.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn error_printed(&self, stream: &mut Harmless, bytes: &[u8]) -> Result<(), CliError> {
        if std::io::stderr().is_terminal() { self.error_bytes(&stream.pass(bytes)) } else { self.error_bytes(bytes) }
    }

    /// Prints a value for programs: JSON when it is wished, YAML else.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        self.text(&self.value_text(value)?)
    }

    /// What [`Ui::value`] prints.
    ///
    /// # Errors
    /// When the value has no form in the format.
    pub(crate) fn value_text<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, CliError> {
        if self.format == Format::Json {
            Ok(serde_json::to_string_pretty(value).map_err(|error| unprintable(&error))? + "\n")
        } else {
            serde_yaml::to_string(value).map_err(|error| unprintable(&error))
        }
    }

    /// Prints one element of a stream for programs: a line of JSON, or a document of YAML.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn element<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        if self.format == Format::Json {
            self.line(serde_json::to_string(value).map_err(|error| unprintable(&error))?)
        } else {
            let text = serde_yaml::to_string(value).map_err(|error| unprintable(&error))?;
            self.text(&format!("---\n{text}"))
        }
    }

    /// Tells people something.
    #[expect(clippy::unused_self, reason = "printing goes through the Ui, whatever it needs of it")]
    pub(crate) fn note(&self, text: impl Display) {
        // A terminal that was closed can be told nothing, and what we are doing must be brought to its end all the same.
        // The end of the line belongs to it: in a raw terminal a line ends with a return and that.
        let _told = write!(std::io::stderr().lock(), "{}", harmless(&format!("{text}\n")));
    }

    /// Begins the line anew after Ctrl-C, of which the terminal has written `^C`.
    pub(crate) fn after_interrupt(&self) {
        if self.can_animate {
            let _cleared = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }

    /// Shows an error, unless it was told already.
    pub(crate) fn error(&self, error: &CliError) {
        if !error.is_quiet() {
            self.note(render_error(error, self.err));
        }
    }

    /// Asks; only an explicit yes is one.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        use std::io::Read as _;
        let mut terminal = std::io::stderr().lock();
        let asked = write!(terminal, "{} [y/N] ", self.err.bold(question)).and_then(|()| terminal.flush());
        asked.map_err(|error| CliError::new(format!("the question cannot be asked: {error}")))?;
        drop(terminal);
        let mut answer = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_ANSWER)
            .read_line(&mut answer)
            .map_err(|error| CliError::new(format!("the answer cannot be read: {error}")))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// `error: …`, where it was, what to do.
pub(crate) fn render_error(error: &CliError, palette: Palette) -> String {
    let mut text = format!("{} {}", palette.error("error:"), error.what());
    for note in error.notes() {
        write_line(&mut text, &format!("  {note}"));
    }
    for help in error.helps() {
        write_line(&mut text, &format!("  {} {help}", palette.hint("→")));
    }
    text
}

/// Standard output itself, for a file's content: any bytes, written away from the loop.
///
/// # Errors
/// When it is closed.
pub(crate) fn standard_output() -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd as _;
    std::io::stdout().as_fd().try_clone_to_owned()
}

/// `text` as one word of a shell's command, for hints that can be copied.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | ':' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn write_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    if writeln!(text).is_ok() {
        text.push_str(line);
    }
}

/// Logs of this process for people: warnings always, with `-v` what is done, with `-vv` every detail.
pub(crate) fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "robo=debug,robo_manager=info,robo_agent=info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROBO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let set = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().try_init();
    if let Err(error) = set {
        tracing::debug!("logging is set up already: {error}");
    }
}

fn closed(error: &std::io::Error) -> CliError {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        CliError::broken_pipe()
    } else {
        CliError::new(format!("cannot write the output: {error}"))
    }
}

fn unprintable(error: &dyn Display) -> CliError {
    CliError::new(format!("the answer cannot be printed in this format: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Without colours, for a file.
    pub(crate) fn ui() -> Ui {
        Ui {
            format: Format::Table,
            out: Palette::new(false),
            err: Palette::new(false),
            width: DEFAULT_WIDTH,
            height: DEFAULT_HEIGHT,
            can_ask: false,
            out_is_terminal: false,
            can_animate: false,
        }
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(shell_word("shop/web-1/web"), "shop/web-1/web");
        assert_eq!(shell_word("lamp/Apache VM"), "'lamp/Apache VM'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        let error = CliError::new("it broke").note("here").help("mend it").help("or leave it");
        insta::assert_snapshot!(render_error(&error, Palette::new(false)), @r"
        error: it broke
          here
          → mend it
          → or leave it
        ");
    }
}
