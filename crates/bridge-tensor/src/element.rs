//! The Rust types that elements can have.

use float8::{F8E4M3, F8E5M2};
use half::{bf16, f16};
use num_complex::Complex;

use crate::data_type::DataType;
use crate::error::{Error, Result};

/// A Rust type that is one tensor element.
///
/// # Safety
///
/// - The type's size is `DATA_TYPE.size_in_bytes()` and its alignment `DATA_TYPE.alignment()`.
/// - It has no padding bytes.
/// - `check` fails for every bit pattern that is not a valid value; the default accepts all. Where
///   it can fail, `NEEDS_CHECK` is true and the type is one byte.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The element type this is in DLPack.
    const DATA_TYPE: DataType;

    /// Whether there are bit patterns that are not a value, which [`check`](Self::check) finds.
    /// Only types of one byte may need it.
    const NEEDS_CHECK: bool = false;

    /// Fails where one of the `count` elements at `first` is not a valid value of the type.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTensor`] naming the first such element.
    ///
    /// # Safety
    ///
    /// `first` must lead to `count` readable, initialized elements' worth of bytes.
    unsafe fn check(first: *const u8, count: usize) -> Result<()> {
        let _ = (first, count);
        Ok(())
    }
}

macro_rules! elements {
    ($($type:ty = $name:ident),* $(,)?) => {
        $(
            // SAFETY:
            // - The assertions below compare size and alignment with those of `DATA_TYPE`.
            // - Primitive numbers have no padding; `f16`, `bf16`, `F8E4M3` and `F8E5M2` are
            //   `repr(transparent)` over integers, `Complex` is `repr(C)` of two equal floats.
            // - Every bit pattern is a valid value of each, so the default `check` is right.
            unsafe impl Element for $type {
                const DATA_TYPE: DataType = DataType::$name;
            }
            const _: () = {
                assert!(matches!(DataType::$name.size_in_bytes(), Some(size) if size == size_of::<$type>()));
                assert!(DataType::$name.alignment() == align_of::<$type>());
            };
        )*
    };
}

elements! {
    i8 = I8, i16 = I16, i32 = I32, i64 = I64,
    u8 = U8, u16 = U16, u32 = U32, u64 = U64,
    f16 = F16, bf16 = BF16, f32 = F32, f64 = F64,
    Complex<f32> = C64, Complex<f64> = C128,
    F8E4M3 = F8E4M3FN, F8E5M2 = F8E5M2,
}

// SAFETY:
// - `bool` has size and alignment 1, as `DataType::BOOL` has, and no padding.
// - Its valid bit patterns are 0 and 1; `check` fails for all others.
unsafe impl Element for bool {
    const DATA_TYPE: DataType = DataType::BOOL;
    const NEEDS_CHECK: bool = true;

    unsafe fn check(first: *const u8, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the caller promises `count` readable, initialized bytes at `first`, and every
        // byte is a valid `u8`.
        let bytes = unsafe { std::slice::from_raw_parts(first, count) };
        // Or-ing whole blocks lets the loop be vectorised; the exact place is sought only on error.
        for (block, chunk) in bytes.chunks(4096).enumerate() {
            if chunk.iter().fold(0, |seen, byte| seen | byte) > 1 {
                let at = chunk.iter().position(|&byte| byte > 1).unwrap_or_default();
                return Err(Error::InvalidTensor {
                    reason: format!(
                        "byte {} of a bool tensor is {}, only 0 and 1 are booleans; hand it over \
                         as uint8",
                        block * 4096 + at,
                        chunk[at]
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Does something with the Rust type that is the element type of a tensor: `Some` of what the body
/// gives, or `None` where no [`Element`] has that type. The body is compiled once for each type.
///
/// ```
/// use bridge_tensor::{DataType, ManagedTensor, with_element_type};
///
/// let tensor = ManagedTensor::from_vec(vec![1_u16, 2, 3], &[3])?;
/// let bytes = with_element_type!(tensor.data_type(), T => {
///     tensor.as_slice::<T>().map(|elements| size_of_val(elements))
/// });
/// assert_eq!(bytes.transpose()?, Some(6));
/// assert!(with_element_type!(DataType::F4E2M1FN, T => size_of::<T>()).is_none());
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
#[macro_export]
macro_rules! with_element_type {
    ($data_type:expr, $element:ident => $body:expr) => {
        $crate::with_element_type! {
            @match $data_type, $element, $body;
            I8 = i8, I16 = i16, I32 = i32, I64 = i64, U8 = u8, U16 = u16, U32 = u32, U64 = u64,
            F16 = $crate::half::f16, BF16 = $crate::half::bf16, F32 = f32, F64 = f64, BOOL = bool,
            C64 = $crate::num_complex::Complex<f32>, C128 = $crate::num_complex::Complex<f64>,
            F8E4M3FN = $crate::float8::F8E4M3, F8E5M2 = $crate::float8::F8E5M2,
        }
    };
    (@match $data_type:expr, $element:ident, $body:expr; $($name:ident = $type:ty,)*) => {
        match $data_type {
            $($crate::DataType::$name => {
                type $element = $type;
                Some($body)
            })*
            _ => None,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_and_one_are_booleans() {
        let mut bytes = vec![1_u8; 10_000];
        // SAFETY: the vector holds 10 000 initialized bytes.
        let check = |bytes: &[u8]| unsafe { bool::check(bytes.as_ptr(), bytes.len()) };
        assert!(check(&bytes).is_ok());
        bytes[7_777] = 2;
        assert!(check(&bytes).unwrap_err().to_string().contains("byte 7777"));
    }
}
