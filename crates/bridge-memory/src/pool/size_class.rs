//! Which buffers can stand in for each other.

/// Rounds sizes up, so that requests of about the same size use the same buffers.
pub trait SizeClass: Send + Sync + 'static {
    /// The size of the buffer for so many bytes. A smaller one is taken for `bytes` themselves.
    fn size(&self, bytes: usize) -> usize;
}

/// Powers of two and three steps between each two: a buffer is less than a quarter larger than what
/// it is for. The smallest is 64 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuarterSteps;

impl SizeClass for QuarterSteps {
    fn size(&self, bytes: usize) -> usize {
        if bytes <= 64 {
            return 64;
        }
        // A quarter of the largest power of two below, less one: what is rounded up has these bits clear.
        let within_step = ((1_usize << (bytes - 1).ilog2()) >> 2) - 1;
        bytes.checked_add(within_step).map_or(bytes, |above| above & !within_step)
    }
}

/// The buckets of NLSQ's memory pool: multiples of 1 KiB below 10 KiB, of 10 KiB below 100 KiB, of
/// 100 KiB from there on.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecimalBuckets;

impl SizeClass for DecimalBuckets {
    fn size(&self, bytes: usize) -> usize {
        const KIB: usize = 1024;
        let step = match bytes {
            0..10_240 => KIB,
            10_240..102_400 => 10 * KIB,
            _ => 100 * KIB,
        };
        bytes.checked_next_multiple_of(step).unwrap_or(bytes)
    }
}

/// Every size is a class of its own: for programs that ask for the same sizes again and again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exact;

impl SizeClass for Exact {
    fn size(&self, bytes: usize) -> usize {
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_are_those_of_nlsq() {
        for (bytes, size) in [
            (800, 1024),
            (8500, 9216),
            (85_000, 92_160),
            (1024, 1024),
            (10_239, 10_240),
            (10_241, 20_480),
            (102_401, 204_800),
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(DecimalBuckets.size(bytes), size, "{bytes}");
        }
    }

    #[test]
    fn quarter_steps_are_at_most_a_quarter_larger() {
        for (bytes, size) in
            [(0, 64), (64, 64), (65, 80), (128, 128), (4096, 4096), (4097, 5120), (7000, 7168)]
        {
            assert_eq!(QuarterSteps.size(bytes), size, "{bytes}");
        }
        for bytes in (65..5000).chain([1 << 28, (1 << 28) + 1, (1 << 40) - 1]) {
            let size = QuarterSteps.size(bytes);
            assert!(size >= bytes && size - bytes < bytes.div_ceil(4), "{bytes} {size}");
            assert_eq!(QuarterSteps.size(size), size);
        }
        assert_eq!(QuarterSteps.size(usize::MAX), usize::MAX);
        assert_eq!(Exact.size(17), 17);
    }
}
