//! A progress bar for long work, on a terminal only.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far the conversion is.
pub(crate) struct Progress {
    total: u64,
    done: u64,
    started: Instant,
    is_watched: bool,
    /// What the bar is of.
    label: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(total: u64, is_watched: bool, label: &str) -> Self {
        let label = label.to_owned();
        Self { total, done: 0, started: Instant::now(), is_watched, label, bar: None }
    }

    /// Another part is done.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.is_watched && self.bar.is_none() && self.started.elapsed() > PATIENCE {
            let bar = new_bar(self.total, &self.label);
            // What was done before is no part of the rate, whose clock starts now.
            bar.set_position(self.done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(total: u64, label: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template =
        "{prefix}{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    // The template is a constant; were it wrong, the default style would do.
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(if label.is_empty() { String::new() } else { format!("{label} ") });
    bar
}
