//! What the processor can do, as far as the choice between kernels depends on it. Asked once, when
//! the program runs.

use crate::threads::BYTES_TO_SHARE;

/// What is known of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    vendor: Vendor,
    avx2: bool,
}

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Intel,
    Other,
}

impl Processor {
    /// The one that runs this.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline]
    pub(crate) fn get() -> Self {
        static FOUND: std::sync::OnceLock<Processor> = std::sync::OnceLock::new();
        *FOUND.get_or_init(Self::ask)
    }

    /// Of others, and of Miri's, nothing is known.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline]
    pub(crate) fn get() -> Self {
        Self { vendor: Vendor::Other, avx2: false }
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn ask() -> Self {
        // The call is unsafe in Rust 1.88 and safe in later ones.
        #[allow(unused_unsafe)]
        // SAFETY: every x86-64 processor has `cpuid` and its leaf 0.
        let leaf = unsafe { std::arch::x86_64::__cpuid(0) };
        let name = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
        let vendor = match name.as_flattened() {
            b"GenuineIntel" => Vendor::Intel,
            _ => Vendor::Other,
        };
        Self { vendor, avx2: std::arch::is_x86_feature_detected!("avx2") }
    }

    /// Whether it has AVX2.
    #[inline]
    pub(crate) fn has_avx2(self) -> bool {
        self.avx2
    }

    /// Whether runs of a few KiB are copied faster by a loop of our own than by the C library.
    ///
    /// The C library takes `rep movsb` from 2 KiB on. AMD's Zen 3 moves 2 GB/s by it where the target
    /// lies a few bytes after the source in its page, as blocks of one size often do. On Intel's
    /// processors nothing that AVX2 can do is faster.
    #[inline]
    pub(crate) fn has_slow_rep_movsb(self) -> bool {
        self.vendor != Vendor::Intel && self.avx2
    }

    /// Bytes of a copy of compact elements below which one thread is the fastest.
    ///
    /// On two shared cores of Intel's Sapphire Rapids another thread took longer to wake than it saved
    /// at 4 MiB, and twice the time of one at 16 MiB; more was not measured.
    #[inline]
    pub(crate) fn compact_bytes_to_share(self) -> usize {
        match self.vendor {
            Vendor::Intel => 64 << 20,
            Vendor::Other => BYTES_TO_SHARE,
        }
    }

    /// Whether the pages of a large new block, which the system has just filled with zeros, are
    /// still in its caches, so that stores around the caches would have to drive them out.
    ///
    /// Measured on Intel's Sapphire Rapids, with 2 MiB of second-level cache; not so on AMD's Zen 3.
    pub(crate) fn keeps_new_pages(self) -> bool {
        self.vendor == Vendor::Intel
    }

    /// Whether casts to many MiB of wider elements are faster around the caches: else half a line
    /// is written at a time, after it was fetched.
    ///
    /// Measured on Intel's Sapphire Rapids, where they take 0.6 to 0.95 of the time; not measured on
    /// others.
    pub(crate) fn streams_casts(self) -> bool {
        self.vendor == Vendor::Intel && self.avx2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_on_one_kind_is_chosen_on_that_kind_only() {
        let intel = Processor { vendor: Vendor::Intel, avx2: true };
        let other = Processor { vendor: Vendor::Other, avx2: true };
        let choices = |processor: Processor| {
            [processor.has_slow_rep_movsb(), processor.keeps_new_pages(), processor.streams_casts()]
        };
        assert_eq!(choices(intel), [false, true, true]);
        assert_eq!(choices(other), [true, false, false]);
    }

    /// Loops with AVX2 on a processor without it are undefined behaviour.
    #[test]
    fn without_avx2_nothing_needs_it() {
        for vendor in [Vendor::Intel, Vendor::Other] {
            let processor = Processor { vendor, avx2: false };
            assert!(!processor.has_slow_rep_movsb() && !processor.streams_casts());
        }
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn the_vendor_is_the_one_that_the_system_names() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let is_intel = text.contains("GenuineIntel");
        assert_eq!(Processor::get().vendor == Vendor::Intel, is_intel);
    }
}
