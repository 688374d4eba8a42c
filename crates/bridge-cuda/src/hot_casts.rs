//! Pairs of kinds that are cast often: their kernels know both when they are compiled.

/// The kernels of a pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HotCast {
    /// Without gaps on both sides.
    pub(crate) dense: &'static str,
    /// From any loops.
    pub(crate) strided: &'static str,
    /// In tiles.
    pub(crate) transposed: &'static str,
}

/// Kinds are counted as `Kind` of arithmetic.h.
macro_rules! hot {
    ($($from:literal to $to:literal is $name:literal,)*) => {
        /// Every pair with its kernels.
        const HOT: &[(u32, u32, HotCast)] = &[$((
            $from,
            $to,
            HotCast {
                dense: $name,
                strided: concat!($name, "_strided"),
                transposed: concat!($name, "_transposed"),
            },
        )),*];
    };
}

hot! {
    9 to 11 is "cast_f16_f32",
    11 to 9 is "cast_f32_f16",
    10 to 11 is "cast_bf16_f32",
    11 to 10 is "cast_f32_bf16",
    12 to 11 is "cast_f64_f32",
    11 to 12 is "cast_f32_f64",
    5 to 11 is "cast_u8_f32",
    11 to 5 is "cast_f32_u8",
    5 to 9 is "cast_u8_f16",
    3 to 11 is "cast_i32_f32",
    4 to 11 is "cast_i64_f32",
    4 to 3 is "cast_i64_i32",
    3 to 4 is "cast_i32_i64",
    11 to 16 is "cast_f32_f8e4m3fn",
    16 to 11 is "cast_f8e4m3fn_f32",
}

impl HotCast {
    pub(crate) fn of(from: u32, to: u32) -> Option<Self> {
        HOT.iter().find(|hot| (hot.0, hot.1) == (from, to)).map(|hot| hot.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_ptx::module_of;

    #[test]
    fn every_pair_has_its_kernels() {
        for (from, to, hot) in HOT {
            for kernel in [hot.dense, hot.strided, hot.transposed] {
                assert!(module_of(kernel).is_some(), "{kernel}");
            }
            assert_eq!(HotCast::of(*from, *to).map(|hot| hot.dense), Some(hot.dense));
        }
        assert!(HotCast::of(0, 1).is_none());
    }
}
