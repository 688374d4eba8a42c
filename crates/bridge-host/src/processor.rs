//! What the processor can do, as far as the choice between kernels depends on it. Asked once, when
//! the program runs.

use crate::threads::BYTES_TO_SHARE;

/// What is known of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    vendor: Vendor,
    avx2: bool,
    avx512: bool,
    /// Bytes of the last-level cache; 0 where it is not known.
    last_cache: usize,
}

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Intel,
    Other,
}

/// What copies bytes that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyingRuns {
    /// The C library.
    Library,
    /// `runs_avx2.rs`.
    Avx2,
    /// `runs_avx512.rs`.
    Avx512,
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
        Self { vendor: Vendor::Other, avx2: false, avx512: false, last_cache: 0 }
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
        let avx2 = std::arch::is_x86_feature_detected!("avx2");
        let avx512 = avx2 && std::arch::is_x86_feature_detected!("avx512f");
        Self { vendor, avx2, avx512, last_cache: Self::amd_last_cache() }
    }

    /// Bytes of the third-level cache, in the leaf that AMD's processors have for it.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn amd_last_cache() -> usize {
        const HIGHEST: u32 = 0x8000_0000;
        const CACHES: u32 = 0x8000_0006;
        const UNIT: usize = 512 << 10;
        // The call is unsafe in Rust 1.88 and safe in later ones.
        #[allow(unused_unsafe)]
        // SAFETY: every x86-64 processor has `cpuid` and the first of these leaves, which names the last.
        let caches = unsafe {
            let has_it = std::arch::x86_64::__cpuid(HIGHEST).eax >= CACHES;
            if has_it { std::arch::x86_64::__cpuid(CACHES).edx } else { 0 }
        };
        (caches >> 18) as usize * UNIT
    }

    /// Whether it has AVX2.
    #[inline]
    pub(crate) fn has_avx2(self) -> bool {
        self.avx2
    }

    /// How a run of so many bytes is copied the fastest.
    ///
    /// The C library takes `rep movsb` for a few KiB. AMD's Zen 3 moves 2 GB/s by it where the target lies
    /// a few bytes after the source in its page, as blocks of one size often do, and Intel's Sapphire
    /// Rapids 18 GB/s for 8 KiB. There vectors of AVX-512 are the fastest while source and target leave some
    /// of the first-level cache's 48 KiB free; beyond nothing is faster than the C library.
    #[inline]
    pub(crate) fn copying_runs_of(self, bytes: usize) -> CopyingRuns {
        match self.vendor {
            Vendor::Intel if self.avx512 && (512..=20 << 10).contains(&bytes) => {
                CopyingRuns::Avx512
            }
            Vendor::Other if self.avx2 && bytes >= 2048 => CopyingRuns::Avx2,
            _ => CopyingRuns::Library,
        }
    }

    /// Bytes of a copy of compact elements below which one thread is the fastest.
    ///
    /// On two shared cores of Intel's Sapphire Rapids another thread took longer to wake than it saved
    /// at 4 MiB, and twice the time of one at 16 MiB. From 32 MiB on, whose pages are mostly new, two took 0.6 to
    /// 0.75 of the time of one.
    #[inline]
    pub(crate) fn compact_bytes_to_share(self) -> usize {
        match self.vendor {
            Vendor::Intel => 32 << 20,
            Vendor::Other => BYTES_TO_SHARE,
        }
    }

    /// Whether a large new block is still in the caches, so that stores around them would have to drive it
    /// out: the system has just filled its pages with zeros, or somebody has just freed it.
    ///
    /// Measured on Intel's Sapphire Rapids, with 2 MiB of second-level cache; not so on AMD's Zen 3.
    pub(crate) fn keeps_new_memory(self) -> bool {
        self.vendor == Vendor::Intel
    }

    /// Whether `count` elements, many MiB of them, are cast faster around the caches: else a line is fetched
    /// before it is written.
    ///
    /// Measured on Intel's Sapphire Rapids for wider elements: from 32 MiB of source and target on they take 0.6
    /// to 0.7 of the time where the target is not in the last-level cache, which neighbours share, and 1.2
    /// times as long where it is; below it mostly is. On AMD's Zen 3 those of the same size gain as much,
    /// narrower ones do not. On Zen 4 they take 1.1 to 1.6 times as long where source and target fit into the
    /// last-level cache, and 0.65 to 0.85 where they do not.
    pub(crate) fn streams_casts(
        self,
        count: usize,
        source_size: usize,
        target_size: usize,
    ) -> bool {
        const MUCH_OF_INTELS_LAST_CACHE: usize = 32 << 20;
        let bytes = count * (source_size + target_size);
        let gains = match self.vendor {
            Vendor::Intel => target_size > source_size && bytes >= MUCH_OF_INTELS_LAST_CACHE,
            Vendor::Other if self.avx512 => target_size >= source_size && bytes >= self.last_cache,
            Vendor::Other => target_size >= source_size,
        };
        gains && self.avx2
    }

    /// Whether a cast to half precision gains where what it reads next is asked for: the processor itself
    /// stops at the end of a page. AMD's Zen 4 loses a tenth by it.
    #[inline]
    pub(crate) fn asks_ahead_in_casts(self) -> bool {
        self.vendor == Vendor::Intel || !self.avx512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_on_one_kind_is_chosen_on_that_kind_only() {
        let last_cache = 32 << 20;
        let intel = Processor { vendor: Vendor::Intel, avx2: true, avx512: true, last_cache };
        let zen4 = Processor { vendor: Vendor::Other, ..intel };
        let zen3 = Processor { avx512: false, ..zen4 };
        let choices = |processor: Processor| {
            let of_4_kib = processor.copying_runs_of(4096);
            let streams = [(2, 4), (4, 8), (4, 4), (8, 4)]
                .map(|(from, to)| processor.streams_casts(4 << 20, from, to));
            (of_4_kib, processor.keeps_new_memory(), streams, processor.asks_ahead_in_casts())
        };
        assert_eq!(choices(intel), (CopyingRuns::Avx512, true, [false, true, false, false], true));
        assert_eq!(choices(zen3), (CopyingRuns::Avx2, false, [true, true, true, false], true));
        assert_eq!(choices(zen4), (CopyingRuns::Avx2, false, [false, true, true, false], false));
        // 24 MiB fit into the cache, 48 do not.
        assert!(zen4.streams_casts(8 << 20, 2, 4));
    }

    /// Loops with instructions that a processor has not are undefined behaviour.
    #[test]
    fn what_a_processor_lacks_is_not_chosen() {
        let runs = |processor: Processor| {
            let lengths = (0..20).map(|power| 1_usize << power);
            lengths.map(move |bytes| processor.copying_runs_of(bytes))
        };
        for vendor in [Vendor::Intel, Vendor::Other] {
            let plain = Processor { vendor, avx2: false, avx512: false, last_cache: 0 };
            assert!(!plain.streams_casts(8 << 20, 2, 4));
            assert!(runs(plain).all(|copying| copying == CopyingRuns::Library));
            let avx2 = Processor { avx2: true, ..plain };
            assert!(runs(avx2).all(|copying| copying != CopyingRuns::Avx512));
        }
    }

    /// Shorter runs would be undefined behaviour, in both loops.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn no_run_is_shorter_than_its_loop_takes() {
        use crate::{runs_avx2, runs_avx512};

        for vendor in [Vendor::Intel, Vendor::Other] {
            let all = Processor { vendor, avx2: true, avx512: true, last_cache: 32 << 20 };
            for bytes in 0..4096 {
                let fits = match all.copying_runs_of(bytes) {
                    CopyingRuns::Library => true,
                    CopyingRuns::Avx2 => bytes > runs_avx2::BLOCK,
                    CopyingRuns::Avx512 => bytes >= runs_avx512::SHORTEST,
                };
                assert!(fits, "{vendor:?} {bytes}");
            }
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
