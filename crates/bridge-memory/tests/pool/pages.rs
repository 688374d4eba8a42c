//! The pages that large buffers lie on, as Linux tells them.
#![cfg(all(target_os = "linux", not(miri)))]

use bridge_memory::pool::{Pool, PooledBuffer};

const BYTES: usize = 24 << 20;

fn filled(pool: &Pool) -> PooledBuffer<u8> {
    pool.uninit::<u8>(BYTES).unwrap().fill(7)
}

fn in_large_pages(buffer: &PooledBuffer<u8>) -> u64 {
    // Where advice was asked for, the ends may be mappings of their own.
    bytes_in_large_pages(buffer.as_ptr().addr() + BYTES / 2)
}

/// How many bytes of the mapping that an address lies in are in large pages, as Linux tells; 0 where it does not.
fn bytes_in_large_pages(address: usize) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let mut is_here = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let ends = range.map(|(first, end)| {
            [first, end].map(|at| usize::from_str_radix(at, 16).unwrap_or_default())
        });
        match (ends, line.strip_prefix("AnonHugePages:")) {
            (Some([first, end]), _) => is_here = (first..end).contains(&address),
            (None, Some(rest)) if is_here => {
                let kib = rest.trim().trim_end_matches(" kB").parse::<u64>();
                return kib.unwrap_or_default() << 10;
            }
            _ => {}
        }
    }
    0
}

/// Gives the system advice about the pages of memory that nobody else uses, but for its ends.
fn advise(first: *mut u8, advice: libc::c_int) {
    const PAGE: usize = 64 << 10;
    let before = first.align_offset(PAGE);
    // SAFETY: the range lies in the memory, and these kinds of advice change no byte.
    let done = unsafe { libc::madvise(first.add(before).cast(), BYTES - PAGE, advice) };
    assert_eq!(done, 0);
}

#[expect(clippy::print_stderr, reason = "the log of a test run says what was left out")]
fn say(what: &str) {
    eprintln!("{what}");
}

/// As memory that smaller blocks have left, the pool's has small pages at first.
#[test]
fn a_large_buffer_that_is_used_again_and_again_has_large_pages() {
    let pool = Pool::new();
    let mut unused = pool.uninit::<u8>(BYTES).unwrap();
    let address = unused.as_mut_ptr().cast::<u8>();
    advise(address, libc::MADV_NOHUGEPAGE);
    let first = unused.fill(7);
    advise(address, libc::MADV_HUGEPAGE);
    let before = in_large_pages(&first);
    drop(first);
    for _ in 0..3 {
        drop(filled(&pool));
    }
    let again = filled(&pool);
    assert_eq!(again.as_ptr(), address.cast_const(), "it is the same memory");
    let after = in_large_pages(&again);
    // SAFETY: no memory is given; 6.1 is the first Linux that knows this advice.
    let knows = unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_COLLAPSE) } == 0;
    if !knows {
        say("this system makes no large pages on request: nothing more was tried");
        return;
    }
    assert!(before < 4 << 20 && after >= 20 << 20, "{before} bytes in large pages, then {after}");
}
