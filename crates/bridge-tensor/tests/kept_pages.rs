//! Blocks that come and go keep their pages: in a process of its own, whose allocator has seen nothing yet.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64", not(miri)))]

use bridge_tensor::HostMemory;

/// Pages that this process has been given at their first touch.
fn pages_made() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold spaces, `minflt` is the eighth field.
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_whitespace().nth(7).unwrap().parse().unwrap()
}

#[test]
fn three_blocks_of_4_mib_by_turns_are_not_made_anew_each_time() {
    const BYTES: usize = 4 << 20;
    let turn = || {
        let blocks = [(); 3].map(|()| HostMemory::allocate(BYTES, 4).unwrap());
        for block in &blocks {
            // SAFETY: the block has so many bytes and is nobody else's.
            unsafe { block.as_ptr().write_bytes(1, BYTES) };
        }
    };
    turn();
    let before = pages_made();
    for _ in 0..20 {
        turn();
    }
    // Made anew each time, they would be 60,000.
    assert!(pages_made() - before < 4_000, "{} pages", pages_made() - before);
}
