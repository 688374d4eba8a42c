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
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.is_watched && self.started.elapsed() > PATIENCE {
            let stderr = ProgressDrawTarget::stderr();
            self.bar = Some(new_bar(self.total, self.done, &self.label, stderr));
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

/// A bar whose rate and time left are of what is done from now on. It is drawn when that is known.
fn new_bar(total: u64, done: u64, label: &str, target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
    let template =
        "{prefix}{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    // The template is a constant; were it wrong, the default style would do.
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(if label.is_empty() { String::new() } else { format!("{label} ") });
    // This counts all that is done as done now, and draws that where it can.
    bar.set_position(done);
    bar.reset_eta();
    bar.set_draw_target(target);
    bar
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread;

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what is written to it.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn text(&self) -> String {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_rate_is_that_of_what_was_done_since_the_bar_is_there() {
        const BEFORE: u64 = 1 << 40;
        const AFTER: u64 = 1000;
        const TIME: Duration = Duration::from_millis(50);
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bar = new_bar(2 * BEFORE, BEFORE, "", target);
        thread::sleep(TIME);
        bar.set_position(BEFORE + AFTER);
        let rate = bar.per_sec();
        assert!(rate > 0.0 && rate <= AFTER as f64 / TIME.as_secs_f64(), "{rate}");
        let drawn = terminal.text();
        let units: Vec<&str> =
            drawn.split_whitespace().filter(|word| word.ends_with("B/s")).collect();
        assert!(units == ["KiB/s"] || units == ["B/s"], "{drawn}");
    }
}
