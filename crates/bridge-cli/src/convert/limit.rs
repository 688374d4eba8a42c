//! Limits that are too small for any part of an array.

use super::chain::Chain;
use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile};
use crate::room::Room;

/// The failure where `room` has none for a part that takes `least` bytes.
pub(super) fn too_small(room: &Room, least: Option<u64>) -> Failure {
    let limit = room.limit().unwrap_or(u64::MAX);
    // What elements take can differ a little with where they lie in the file.
    let least = least.unwrap_or(0).max(limit.saturating_add(1));
    Failure::usage(format!("--memory-limit {limit} is too small"))
        .why(format!("the smallest part takes {least} bytes, as it is read and as it is converted"))
        .remedy(format!("allow --memory-limit {least} or more"))
}

/// Fails where there is no room for one element of each array. No element is read: zeros stand for it.
pub(crate) fn check_room(
    file: &ArrayFile,
    arrays: &[(&Array, &str)],
    chain: &Chain,
    room: &Room,
) -> Outcome<()> {
    for (array, name) in arrays.iter().filter(|(array, _)| !array.spec.layout.is_empty()) {
        let counting = Room::counting()?;
        let read = counting.take(array.spec.data_type.bytes_for(1).unwrap_or(0) as u64)?;
        chain.pass(file.stand_in(array, 1)?, &counting)?;
        drop(read);
        if counting.peak() > room.limit() {
            let place = format!("the array \"{name}\"");
            return Err(too_small(room, counting.peak()).within(&place));
        }
    }
    Ok(())
}

#[cfg(all(test, feature = "ndarray", feature = "candle"))]
mod tests {
    use arraybridge::memory::profile::{CountingAllocator, PeakScope};

    use crate::{Console, Exit, Output, run_on};

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator::new();

    /// What the conversion itself allocates beside arrays, and other tests meanwhile.
    const BESIDE: u64 = 256 << 10;

    /// The budget's word against the allocator's.
    #[test]
    fn a_limit_is_kept_by_what_is_really_allocated() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut array = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2097152,), }";
        array.extend(format!("{header:<117}\n").bytes());
        array.resize(array.len() + (8 << 20), 0);
        std::fs::write(path("a.npy"), array).unwrap();
        let run = |limit: &[&str]| {
            let (input, output) = (path("a.npy"), path("b.npy"));
            let args = ["arraybridge", "convert", &input, &output, "--dtype", "f64"];
            let way = ["--via", "candle,ndarray,candle", "--copy", "always"];
            let (mut out, mut errors) = (Vec::new(), Vec::new());
            let console = Console::new(Output::plain(&mut out), Output::plain(&mut errors));
            let scope = PeakScope::start();
            let exit = run_on(args.iter().chain(&way).chain(limit), console);
            let growth = scope.finish().expect("allocations are counted").growth();
            assert_eq!(exit, Exit::Done, "{}", String::from_utf8_lossy(&errors));
            growth
        };
        assert!(run(&[]) > 8 << 20, "without a limit it takes more");
        let limited = run(&["--memory-limit", "1MiB"]);
        assert!(limited <= (1 << 20) + BESIDE, "{limited}");
        assert!(limited >= 256 << 10, "{limited}: the limit is made use of");
        assert_eq!(std::fs::metadata(path("b.npy")).unwrap().len(), 128 + (16 << 20));
    }
}
