//! Converting numbers one by one.

/// Calls `convert` for each of `count` numbers.
///
/// # Safety
///
/// `count` numbers of `S` can be read at the source, as many of `T` can be written at the target, and
/// the two do not overlap. Every bit pattern of `S` is valid.
#[inline(always)]
pub(super) unsafe fn map<S, T>(
    source: *const u8,
    target: *mut u8,
    count: usize,
    convert: impl Fn(S) -> T,
) {
    let (source, target) = (source.cast::<S>(), target.cast::<T>());
    for place in 0..count {
        // SAFETY: the caller promises `count` numbers on both sides; the reads and writes need no
        // alignment.
        unsafe {
            let number = source.add(place).read_unaligned();
            target.add(place).write_unaligned(convert(number));
        }
    }
}
