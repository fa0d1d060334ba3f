//! Bars that show how far something is.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use robo_agent::copy::Gauge;

use crate::output::Ui;

/// The bars of all copies.
pub(in crate::commands) struct Bars {
    all: MultiProgress,
    ui: Ui,
}

/// One copy's.
pub(in crate::commands) struct Bar(ProgressBar);

impl Bars {
    /// None yet; none are ever drawn where there is no terminal.
    pub(in crate::commands) fn new(ui: &Ui) -> Self {
        let target = if ui.can_animate { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target), ui: ui.clone() }
    }

    /// One more.
    pub(in crate::commands) fn begin(&self, title: &str) -> Bar {
        let bar = self.all.add(ProgressBar::new(0));
        let template = "{prefix}  {bar:25}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━─"));
        }
        bar.set_prefix(title.to_owned());
        Bar(bar)
    }

    /// Says something to people.
    pub(in crate::commands) fn note(&self, text: &str) {
        self.all.suspend(|| self.ui.note(text));
    }
}

impl Bar {
    /// As far as a copy is.
    pub(in crate::commands) fn show(&self, gauge: &Gauge) {
        let (expected, there, _) = gauge.read();
        self.at(there, Some(expected));
    }

    /// At this byte, of so many where that is known.
    pub(in crate::commands) fn at(&self, there: u64, total: Option<u64>) {
        self.0.set_length(total.unwrap_or(0).max(there));
        self.0.set_position(there);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
