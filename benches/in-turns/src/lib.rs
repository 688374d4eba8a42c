//! Jobs that take turns: what a neighbour on the machine takes from one, it takes from the others
//! too. For each comparison a line of a table is printed: our median time, and that of each peer as a
//! multiple of it, in brackets the same of the best times. Above 1 means that ours is faster.

#![allow(clippy::print_stdout, reason = "for programs that people read")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Does something so often and says how long it took.
pub type Job<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// A job that calls `once` so often.
pub fn job<'a>(mut once: impl FnMut() + 'a) -> Job<'a> {
    Box::new(move |times| {
        let start = Instant::now();
        (0..times).for_each(|_| once());
        start.elapsed()
    })
}

/// A job that calls `once` so often on each of several threads at a time, and says how long the
/// slowest took.
///
/// # Panics
///
/// Where `once` does.
pub fn on_threads<'a>(threads: usize, once: impl Fn() + Sync + 'a) -> Job<'a> {
    if threads == 1 {
        return job(once);
    }
    Box::new(move |times| {
        let (ready, once) = (Barrier::new(threads), &once);
        let work = || {
            ready.wait();
            let start = Instant::now();
            (0..times).for_each(|_| once());
            start.elapsed()
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let took = workers.into_iter().map(|worker| worker.join().expect("no job panics"));
            took.max().unwrap_or_default()
        })
    })
}

/// Whether the program's argument, where there is one, is a part of this name.
pub fn is_chosen(name: &str) -> bool {
    std::env::args().nth(1).is_none_or(|part| name.contains(&part))
}

/// How often jobs take turns.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    /// As many as this, at most.
    pub most: usize,
    /// As many as this, at least.
    pub least: usize,
    /// No more after so long.
    pub enough: Duration,
    /// How long one job takes in a turn, at least: it is done so often.
    pub each: Duration,
}

/// So many turns of 4 ms or one round each.
pub const fn turns(number: usize) -> Turns {
    Turns { most: number, least: number, enough: Duration::MAX, each: Duration::from_millis(4) }
}

/// Seconds that something took once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Took {
    /// The least of all turns.
    pub best: f64,
    /// The median of all turns.
    pub median: f64,
}

impl Took {
    /// Of the times of each turn.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self { best: seconds[0], median: seconds[seconds.len() / 2] }
    }
}

/// What each job took, in turns. Each begins as often as the others, and goes before and after each of its
/// neighbours as often: where all lies in the caches that the others leave, a place of one's own is an advantage.
pub fn in_turns(jobs: &mut [(&str, Job<'_>)], turns: Turns) -> Vec<Took> {
    let times: Vec<u64> = jobs
        .iter_mut()
        .map(|(_, job)| {
            let mut times = 1;
            while job(times) < turns.each {
                times *= 2;
            }
            times
        })
        .collect();
    let mut seconds = vec![Vec::new(); jobs.len()];
    let start = Instant::now();
    for turn in 0..turns.most {
        if turn >= turns.least && start.elapsed() > turns.enough {
            break;
        }
        for step in 0..jobs.len() {
            let place = place(turn, step, jobs.len());
            let took = (jobs[place].1)(times[place]).as_secs_f64();
            seconds[place].push(took / times[place] as f64);
        }
    }
    seconds.into_iter().map(Took::of).collect()
}

/// Which of so many jobs comes at a step of a turn: from another one on each time round, in one direction and then
/// in the other.
fn place(turn: usize, step: usize, jobs: usize) -> usize {
    let place = (turn + step) % jobs;
    if (turn / jobs).is_multiple_of(2) { place } else { jobs - 1 - place }
}

/// Measures ours, the first job, beside its peers, and prints the line; nothing where it is [not
/// chosen](is_chosen).
pub fn compare(name: &str, mut jobs: Vec<(&str, Job<'_>)>, turns: Turns) {
    if !is_chosen(name) {
        return;
    }
    let took = in_turns(&mut jobs, turns);
    let peers = jobs.iter().map(|(peer, _)| *peer).zip(took.iter().copied()).skip(1);
    print_line(name, took[0], "", peers);
}

/// Prints the line of a comparison that was measured otherwise; `more` is told behind our time.
pub fn print_line<'a>(
    name: &str,
    ours: Took,
    more: &str,
    peers: impl IntoIterator<Item = (&'a str, Took)>,
) {
    print!("| {name} | {}{more} |", time(ours.median));
    for (peer, took) in peers {
        print!(" {peer} {:.2} ({:.2}) |", took.median / ours.median, took.best / ours.best);
    }
    println!();
}

/// Seconds in the unit that people would say.
fn time(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.1} ns", seconds * 1e9),
        ..1e-3 => format!("{:.2} µs", seconds * 1e6),
        _ => format!("{:.2} ms", seconds * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_measured_by_what_it_says_it_took() {
        let says = |seconds| -> Job<'static> {
            Box::new(move |times| Duration::from_secs_f64(seconds * times as f64))
        };
        let mut jobs = [("a", says(1.0)), ("b", says(0.002))];
        let took = in_turns(&mut jobs, turns(3));
        assert!((took[0].median - 1.0).abs() < 1e-9 && (took[1].best - 0.002).abs() < 1e-9);
    }

    #[test]
    fn every_job_begins_as_often_as_the_others_and_comes_once_in_a_turn() {
        for jobs in 1..6 {
            let mut begins = vec![0; jobs];
            for turn in 0..2 * jobs {
                begins[place(turn, 0, jobs)] += 1;
                let mut places: Vec<_> = (0..jobs).map(|step| place(turn, step, jobs)).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(0..jobs), "{turn} of {jobs}");
            }
            assert!(begins.iter().all(|&times| times == 2), "{begins:?}");
        }
    }

    #[test]
    fn the_middle_and_the_least_are_told() {
        assert_eq!(Took::of(vec![3.0, 1.0, 2.0]), Took { best: 1.0, median: 2.0 });
    }

    #[test]
    fn times_have_the_unit_that_people_would_say() {
        assert_eq!(
            [2e-9, 3.5e-6, 0.25].map(time),
            ["2.0 ns", "3.50 µs", "250.00 ms"].map(str::to_owned)
        );
    }
}
