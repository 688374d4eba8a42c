//! How many threads a large copy or cast may use, and running its parts on them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes moved below which another thread costs more than it saves.
const BYTES_PER_THREAD: usize = 2 << 20;

/// Bytes moved below which the calling thread does all the work.
pub(crate) const BYTES_TO_SHARE: usize = 2 * BYTES_PER_THREAD;

/// What [`set_max_threads`] was given; 0 where it was not called.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Limits how many threads one copy or cast uses; with 1, all work is done on the calling thread.
///
/// The default, which `set_max_threads(0)` restores, is the value of the environment variable
/// `ARRAYBRIDGE_THREADS`, which is read once, or else the number of cores that the process may use.
/// Copies and casts below 4 MiB always stay on the calling thread.
pub fn set_max_threads(n: usize) {
    LIMIT.store(n, Ordering::Relaxed);
}

/// The most threads that one copy or cast uses.
pub fn max_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    match LIMIT.load(Ordering::Relaxed) {
        0 => *DEFAULT.get_or_init(|| {
            let told = std::env::var("ARRAYBRIDGE_THREADS").ok();
            let told = told.and_then(|text| number_of_threads(&text));
            let cores = || thread::available_parallelism().ok().map(usize::from);
            told.or_else(cores).unwrap_or(1)
        }),
        limit => limit,
    }
}

/// The number in the environment variable, where it is one of threads.
fn number_of_threads(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&threads| threads > 0)
}

/// How many threads pay off for work that moves `bytes`.
pub(crate) fn threads_for(bytes: usize) -> usize {
    if bytes < BYTES_TO_SHARE { 1 } else { max_threads().min(bytes / BYTES_PER_THREAD) }
}

/// Runs `work(0)` to `work(parts - 1)`, each on a thread of its own, and returns when all are done.
/// A part for which no thread can be had runs on the calling thread.
pub(crate) fn run_parts(parts: usize, work: impl Fn(usize) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        for part in 1..parts {
            let spawned = thread::Builder::new().spawn_scoped(scope, move || work(part));
            if spawned.is_err() {
                work(part);
            }
        }
        if parts > 0 {
            work(0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        let runs: Vec<AtomicUsize> = (0..5).map(|_| AtomicUsize::new(0)).collect();
        run_parts(5, |part| {
            runs[part].fetch_add(1, Ordering::Relaxed);
        });
        assert!(runs.iter().all(|run| run.load(Ordering::Relaxed) == 1));
        run_parts(0, |_| panic!("there is no part"));
    }

    /// One test, since the limit holds for all threads.
    #[test]
    fn small_work_stays_on_the_calling_thread_and_large_work_within_the_limit() {
        set_max_threads(3);
        assert_eq!(max_threads(), 3);
        let threads = [0, BYTES_TO_SHARE - 1, BYTES_TO_SHARE, 1 << 40].map(threads_for);
        assert_eq!(threads, [1, 1, 2, 3]);
        set_max_threads(1);
        assert_eq!(threads_for(1 << 40), 1);
        set_max_threads(0);
        assert!(max_threads() >= 1);
    }

    #[test]
    fn the_environment_says_a_number_of_threads_or_nothing() {
        assert_eq!(["4", " 2\n", "1"].map(number_of_threads), [Some(4), Some(2), Some(1)]);
        assert_eq!(["0", "", "many", "-1", "1.5"].map(number_of_threads), [None; 5]);
    }
}
