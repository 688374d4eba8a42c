//! How many threads a large copy or cast may use, and running its parts on them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

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

/// Parts for each thread, where their number costs nothing: a thread that is late, as one that has just been started is,
/// does fewer.
pub(crate) const PARTS_PER_THREAD: usize = 16;

/// How long the calling thread looks whether the others are done before it sleeps: to be woken takes it as long.
const PATIENCE: Duration = Duration::from_micros(100);

/// Runs `work(0)` to `work(parts - 1)` on at most `threads` threads, the calling one among them, and returns when all are
/// done. Each takes the next part when it is done with one, so that those which could not be had are not missed.
pub(crate) fn run_parts(threads: usize, parts: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            work(part);
        }
    };
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, take).ok();
        let others: Vec<_> = (1..threads.min(parts)).filter_map(spawn).collect();
        take();
        if others.is_empty() {
            return;
        }
        let until = Instant::now() + PATIENCE;
        while !others.iter().all(ScopedJoinHandle::is_finished) && Instant::now() < until {
            std::hint::spin_loop();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for threads in [0, 1, 2, 5, 9] {
            let runs: Vec<AtomicUsize> = (0..5).map(|_| AtomicUsize::new(0)).collect();
            run_parts(threads, 5, |part| {
                runs[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|run| run.load(Ordering::Relaxed) == 1));
        }
        run_parts(3, 0, |_| panic!("there is no part"));
    }

    #[test]
    fn as_many_threads_work_at_once_as_are_asked_for() {
        let all_here = std::sync::Barrier::new(3);
        run_parts(3, 3, |_| {
            all_here.wait();
        });
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_another_thread_is_not_lost() {
        let caller = thread::current().id();
        let started = std::sync::Barrier::new(2);
        run_parts(2, 2, |_| {
            started.wait();
            assert_eq!(thread::current().id(), caller);
        });
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
