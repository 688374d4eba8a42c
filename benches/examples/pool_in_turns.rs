//! The pool of host memory beside the system's allocator, mimalloc and fresh pages, in turns. Prints
//! the best time of each, which a neighbour on the machine disturbs least, and each peer's as a
//! multiple of ours; an argument selects jobs by a part of their name.
//!
//! `cargo run --release --package bridge-benches --example pool_in_turns -- "16 MiB"`

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::time::{Duration, Instant};

use bridge_memory::pool::Pool;
use mimalloc::MiMalloc;

const TURNS: usize = 500;
const LEAST_TURNS: usize = 5;
/// After so long and the least turns there are no more.
const ENOUGH: Duration = Duration::from_millis(1500);
/// How long one of a turn's jobs takes, at least.
const ONE_TURN: Duration = Duration::from_micros(100);
const PAGE: usize = 4096;

/// Does a job so often and says how long it took.
type Job<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

/// What is done with memory once it is there.
#[derive(Clone, Copy)]
enum Use {
    /// One byte of every page is written.
    Touched,
    /// Every byte is written.
    Filled,
}

/// Writes to memory that is not initialized, of which the caller owns `size` bytes.
fn write(first: *mut u8, size: usize, how: Use) {
    let step = match how {
        Use::Touched => PAGE,
        Use::Filled => {
            // SAFETY: the caller owns so many bytes.
            unsafe { first.write_bytes(1, size) };
            size
        }
    };
    for at in (0..size).step_by(step) {
        // SAFETY: as above, and `at` is below `size`.
        unsafe { first.add(at).write(1) };
    }
    black_box(first);
}

fn repeated<'a>(mut once: impl FnMut() + 'a) -> Job<'a> {
    Box::new(move |times| {
        let start = Instant::now();
        (0..times).for_each(|_| once());
        start.elapsed()
    })
}

/// `held` blocks at a time, of an allocator.
fn allocated<'a>(allocator: &'a impl GlobalAlloc, size: usize, held: usize, how: Use) -> Job<'a> {
    let layout = Layout::from_size_align(size, 64).expect("a size that there can be");
    repeated(move || {
        let mut blocks = [std::ptr::null_mut(); 8];
        for block in &mut blocks[..held] {
            // SAFETY: the size is not zero.
            *block = unsafe { allocator.alloc(layout) };
            assert!(!block.is_null());
            write(*block, size, how);
        }
        for block in &blocks[..held] {
            // SAFETY: allocated above, with this layout.
            unsafe { allocator.dealloc(*block, layout) };
        }
    })
}

/// Pages of the system's, as large blocks are made of where nothing is kept.
struct FreshPages;

// SAFETY: the kernel maps whole pages, which nobody else has, until they are unmapped.
unsafe impl GlobalAlloc for FreshPages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (rights, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        unsafe { libc::mmap(std::ptr::null_mut(), layout.size(), rights, flags, -1, 0) }.cast()
    }

    unsafe fn dealloc(&self, first: *mut u8, layout: Layout) {
        // SAFETY: the mapping was made with this size.
        unsafe { libc::munmap(first.cast(), layout.size()) };
    }
}

fn pooled<'a>(pool: &'a Pool, size: usize, held: usize, how: Use) -> Job<'a> {
    repeated(move || {
        let mut buffers = [const { None }; 8];
        for buffer in &mut buffers[..held] {
            let taken = buffer.insert(pool.uninit::<u8>(size).expect("memory"));
            write(taken.as_mut_ptr().cast(), size, how);
        }
    })
}

fn compare<'a>(name: &str, mut jobs: Vec<(&str, Job<'a>)>) {
    if std::env::args().nth(1).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let times: Vec<u64> = jobs
        .iter_mut()
        .map(|(_, job)| {
            let mut times = 1;
            while job(times) < ONE_TURN {
                times *= 2;
            }
            times
        })
        .collect();
    let mut best = vec![f64::MAX; jobs.len()];
    let start = Instant::now();
    for turn in 0..TURNS {
        if turn >= LEAST_TURNS && start.elapsed() > ENOUGH {
            break;
        }
        for step in 0..jobs.len() {
            // Forth and back, so that none is always behind the same other.
            let place = if turn % 2 == 0 { step } else { jobs.len() - 1 - step };
            let took = (jobs[place].1)(times[place]).as_secs_f64() / times[place] as f64;
            best[place] = best[place].min(took);
        }
    }
    print!("| {name} | {:.3} µs |", best[0] * 1e6);
    for ((peer, _), took) in jobs.iter().zip(&best).skip(1) {
        print!(" {peer} {:.2} |", took / best[0]);
    }
    println!();
}

fn main() {
    let pool = Pool::new();
    let sizes = [(4, 4 << 10), (128, 128 << 10), (1024, 1 << 20), (4096, 4 << 20)];
    let larger = [(16 << 10, 16 << 20), (64 << 10, 64 << 20), (256 << 10, 256 << 20)];
    for (kib, size) in sizes.into_iter().chain(larger) {
        let size_name =
            if kib < 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib / 1024) };
        for (how, doing) in [(Use::Touched, "touched"), (Use::Filled, "filled")] {
            for held in [1, 3] {
                if held * size > 300 << 20 {
                    continue;
                }
                let name = format!("{held} of {size_name}, {doing}");
                let jobs = vec![
                    ("ours", pooled(&pool, size, held, how)),
                    ("malloc", allocated(&System, size, held, how)),
                    ("mimalloc", allocated(&MiMalloc, size, held, how)),
                    ("fresh pages", allocated(&FreshPages, size, held, how)),
                ];
                compare(&name, jobs);
            }
        }
        pool.clear();
    }
}
