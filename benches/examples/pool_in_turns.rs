//! The pool of host memory beside the system's allocator, mimalloc, fresh pages, NumPy's allocation and
//! the pool of NLSQ's memory manager (both with Python's own time), [in turns](in_turns). An argument
//! selects jobs by a part of their name.
//!
//! `cargo run --release --package bridge-benches --example pool_in_turns -- "16 MiB"`

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::time::Duration;

use bridge_benches::PythonPeer;
use bridge_memory::pool::Pool;
use in_turns::{Job, Turns, is_chosen, job};
use mimalloc::MiMalloc;

const TURNS: Turns = Turns {
    most: 500,
    least: 5,
    enough: Duration::from_millis(1500),
    each: Duration::from_millis(1),
};
const PAGE: usize = 4096;

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

/// `held` blocks at a time, of an allocator.
fn allocated<'a>(allocator: &'a impl GlobalAlloc, size: usize, held: usize, how: Use) -> Job<'a> {
    let layout = Layout::from_size_align(size, 64).expect("a size that there can be");
    job(move || {
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
    job(move || {
        let mut buffers = [const { None }; 8];
        for buffer in &mut buffers[..held] {
            let taken = buffer.insert(pool.uninit::<u8>(size).expect("memory"));
            write(taken.as_mut_ptr().cast(), size, how);
        }
    })
}

/// Arrays of NumPy's or of NLSQ's manager: `get` makes one of `size` bytes, `give` gives `a` back.
fn python<'a>(
    peer: &'static str,
    (setup, get, give): (&str, &str, &str),
    (size, held, how): (usize, usize, Use),
) -> Option<(&'static str, Job<'a>)> {
    let write = match how {
        Use::Touched => format!("a[::{PAGE}] = 1"),
        Use::Filled => "a.fill(1)".to_owned(),
    };
    let setup = format!(
        "import numpy\n{setup}\nsize = {size}\ndef job():\n    held = []\n    \
         for _ in range({held}):\n        a = {get}\n        {write}\n        held.append(a)\n    \
         for a in held: {give}\n    a = None"
    );
    let mut peer_process = PythonPeer::start(peer, &setup)?;
    Some((peer, Box::new(move |times| peer_process.run(times))))
}

/// Does it once before it counts: as where memory is taken and given back in a loop, and not with what other
/// jobs' memory has driven out of the caches.
fn warmed_up(mut rounds: Job<'_>) -> Job<'_> {
    Box::new(move |times| {
        rounds(1);
        rounds(times)
    })
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
                if !is_chosen(&name) {
                    continue;
                }
                let numpy = ("", "numpy.empty(size, numpy.uint8)", "pass");
                let nlsq = (
                    "from nlsq.caching.memory_manager import MemoryManager\nm = MemoryManager()",
                    "m.allocate_array((size,), numpy.uint8, zero=False)",
                    "m.free_array(a)",
                );
                // NLSQ hands an array out again while it is in use: its three would be one.
                let nlsq = (held == 1).then_some(("nlsq", nlsq));
                let peers = [Some(("numpy", numpy)), nlsq].into_iter().flatten();
                let python =
                    peers.filter_map(|(peer, calls)| python(peer, calls, (size, held, how)));
                let mut jobs = vec![
                    ("ours", pooled(&pool, size, held, how)),
                    ("malloc", allocated(&System, size, held, how)),
                    ("mimalloc", allocated(&MiMalloc, size, held, how)),
                    ("fresh pages", allocated(&FreshPages, size, held, how)),
                ];
                jobs.extend(python);
                let jobs =
                    jobs.into_iter().map(|(name, rounds)| (name, warmed_up(rounds))).collect();
                in_turns::compare(&name, jobs, TURNS);
            }
        }
        pool.clear();
    }
}
