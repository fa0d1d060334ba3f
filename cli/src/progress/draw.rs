//! How the waiting looks: lines that are drawn anew on a terminal, a line for each change without.

use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use robo_wire::api::InstanceView;
use robo_wire::event::Event;

use super::Element;
use super::watch::Watch;
use crate::output::Ui;
use crate::output::event;
use crate::output::table::note;
use crate::output::when;

/// Lines of the terminal that are left to the shell's prompt and to the summary.
const SPARE_LINES: usize = 3;

/// Widest column of paths.
const MAX_PATH_WIDTH: usize = 32;

/// What a turning wheel looks like, a frame each.
const WHEEL: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The part of the terminal that shows how it goes.
pub(super) struct Screen<'a> {
    ui: &'a Ui,
    multi: MultiProgress,
    lines: Vec<ProgressBar>,
    frame: usize,
    started: tokio::time::Instant,
}

impl<'a> Screen<'a> {
    pub(super) fn new(ui: &'a Ui) -> Self {
        let target = if ui.can_animate && !ui.is_machine() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let multi = MultiProgress::with_draw_target(target);
        Self { ui, multi, lines: Vec::new(), frame: 0, started: tokio::time::Instant::now() }
    }

    fn is_animated(&self) -> bool {
        self.ui.can_animate && !self.ui.is_machine()
    }

    /// Draws how it stands.
    pub(super) fn draw(&mut self, watch: &Watch) {
        if !self.is_animated() || watch.status().instances.is_empty() {
            return;
        }
        self.frame = (self.frame + 1) % WHEEL.len();
        let texts = self.texts(watch);
        while self.lines.len() < texts.len() {
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.lines.push(self.multi.add(ProgressBar::new_spinner().with_style(style)));
        }
        while self.lines.len() > texts.len() {
            if let Some(line) = self.lines.pop() {
                self.multi.remove(&line);
            }
        }
        for (line, text) in self.lines.iter().zip(texts) {
            if line.message() != text {
                line.set_message(text);
            }
        }
    }

    /// The lines: instances as far as there is room, those that are not done first, then a summary.
    fn texts(&self, watch: &Watch) -> Vec<String> {
        let all: Vec<&InstanceView> = watch.instances().collect();
        let room = self.ui.height.saturating_sub(SPARE_LINES).max(1);
        let done = all.iter().filter(|view| watch.is_done(view)).count();
        let mut shown = all.clone();
        if shown.len() > room {
            shown.sort_by_key(|view| watch.is_done(view));
            shown.truncate(room);
        }
        let width = shown.iter().map(|v| v.path.as_str().len()).max().unwrap_or_default().min(MAX_PATH_WIDTH);
        let mut texts: Vec<_> = shown.iter().map(|view| self.line(view, watch.is_done(view), width)).collect();
        let more = all.len() - shown.len();
        let more = if more > 0 { format!("… and {more} more; ") } else { String::new() };
        let time = self.started.elapsed().as_secs();
        texts.push(self.ui.err.dim(&format!("{more}{done} of {} as wished, {time}s", all.len())));
        texts
    }

    fn line(&self, view: &InstanceView, done: bool, width: usize) -> String {
        let palette = self.ui.err;
        let failed = view.report.as_ref().is_some_and(|r| r.failure.is_some());
        let sign = if done {
            palette.good("✓")
        } else if failed {
            palette.bad("✗")
        } else {
            palette.busy(WHEEL.get(self.frame).copied().unwrap_or("·"))
        };
        let now = when::now();
        let since = view.report.as_ref().map(|r| when::ago(r.since, now)).unwrap_or_default();
        let state = palette.state(view.state, &format!("{:<16}", view.state));
        let note = note(view, now);
        format!("{sign} {:<width$}  {state}  {since:>4}  {}", view.path, palette.dim(&note))
    }

    /// Tells of an event, where nothing is drawn.
    pub(super) fn event(&self, event: &Event) {
        if self.ui.is_machine() {
            // A reader that went away is noticed when the result is printed.
            if let Err(error) = self.ui.element(&Element::Event(event)) {
                tracing::debug!("{}", error.what());
            }
        } else if !self.is_animated() {
            self.ui.note(event::line(event, self.ui.err));
        }
    }

    /// Tells something beside the lines.
    pub(super) fn say(&self, text: &str) {
        if self.is_animated() {
            self.multi.suspend(|| self.ui.note(text));
        } else {
            self.ui.note(text);
        }
    }

    /// Removes what was drawn.
    pub(super) fn clear(&mut self) {
        if let Err(error) = self.multi.clear() {
            tracing::debug!("the terminal cannot be cleared: {error}");
        }
        self.leave();
    }

    /// Draws no more, and leaves what was drawn.
    fn leave(&mut self) {
        // Hidden first: each line that ends would draw the others anew.
        self.multi.set_draw_target(ProgressDrawTarget::hidden());
        self.lines.clear();
    }
}

/// Who gives up in the middle sees how far it came. To clear would go wrong then: the terminal's own `^C` has moved
/// the cursor to another line.
impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// How many bytes were sent.
#[derive(Debug, Clone)]
pub(crate) struct BytesBar {
    bar: Arc<ProgressBar>,
}

impl BytesBar {
    /// For `files` files of `size` bytes together; nothing is shown for none.
    pub(crate) fn new(ui: &Ui, files: usize, size: u64) -> Self {
        let target =
            if ui.can_animate && files > 0 { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(size), target);
        let template = format!("Uploading {files} files  {{bar:30}}  {{bytes}}/{{total_bytes}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━━─"));
        }
        Self { bar: Arc::new(bar) }
    }

    /// So many more.
    pub(crate) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// All are sent.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
