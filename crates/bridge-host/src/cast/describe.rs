//! Printing one element for an error.

use super::kernels::with_native;
use super::part::{Native, Numbers, Part};
use crate::small_floats::{decode_bf16, decode_f16};

/// The element at `first` as text.
///
/// # Safety
///
/// An element of `numbers` can be read at `first`, which need not be aligned.
pub(super) unsafe fn describe(first: *const u8, numbers: Numbers) -> String {
    // SAFETY: the element's first number is at `first`.
    let real = unsafe { describe_number(first, numbers.part) };
    if !numbers.complex {
        return real;
    }
    // SAFETY: a complex element's second number follows the first.
    let imaginary = unsafe { describe_number(first.add(numbers.part.size()), numbers.part) };
    format!("{real} + {imaginary}i")
}

/// # Safety
///
/// As [`describe`], for one number.
unsafe fn describe_number(first: *const u8, part: Part) -> String {
    // SAFETY: the caller promises a number of this type; the reads need no alignment.
    unsafe {
        match part {
            Part::Native(native) => {
                with_native!(native, T => format!("{:?}", first.cast::<T>().read_unaligned()))
            }
            Part::Bool => (first.read() != 0).to_string(),
            Part::F16 => format!("{:?}", decode_f16(first.cast::<u16>().read_unaligned())),
            Part::BF16 => format!("{:?}", decode_bf16(first.cast::<u16>().read_unaligned())),
            Part::Small(_, table) | Part::Scale(table) => {
                format!("{:?}", table[usize::from(first.read())])
            }
        }
    }
}
