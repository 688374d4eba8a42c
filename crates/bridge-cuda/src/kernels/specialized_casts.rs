//! Casts with kernels of their own: pairs of kinds that are cast often, compiled for exactly those.

/// The kernels of one pair of kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecializedCast {
    /// For a source and a target without gaps.
    pub(crate) dense: &'static str,
    /// For any strides.
    pub(crate) strided: &'static str,
    /// Tile by tile, for transposed axes.
    pub(crate) transposed: &'static str,
}

/// Kinds are numbered as `Kind` of arithmetic.h.
macro_rules! specialized {
    ($($from:literal to $to:literal is $name:literal,)*) => {
        /// Every pair with its kernels.
        const SPECIALIZED: &[(u32, u32, SpecializedCast)] = &[$((
            $from,
            $to,
            SpecializedCast {
                dense: $name,
                strided: concat!($name, "_strided"),
                transposed: concat!($name, "_transposed"),
            },
        )),*];
    };
}

specialized! {
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

impl SpecializedCast {
    pub(crate) fn of(from: u32, to: u32) -> Option<Self> {
        SPECIALIZED.iter().find(|one| (one.0, one.1) == (from, to)).map(|one| one.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::ptx::module_of;

    #[test]
    fn every_pair_has_its_kernels() {
        for (from, to, one) in SPECIALIZED {
            for kernel in [one.dense, one.strided, one.transposed] {
                assert!(module_of(kernel).is_some(), "{kernel}");
            }
            assert_eq!(SpecializedCast::of(*from, *to).map(|one| one.dense), Some(one.dense));
        }
        assert!(SpecializedCast::of(0, 1).is_none());
    }
}
