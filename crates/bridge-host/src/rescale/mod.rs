//! Floats on the range of another type: from their smallest to their largest value, or from two given ones.
//!
//! Elements are read by pointers, as copies and casts read them: others may hold the memory too.

/// What `$body` gives for the integer type that is `$to`, where it is one.
macro_rules! with_whole {
    ($to:expr, $T:ident => $body:expr) => {
        with_whole!(@ $to, $T, $body; U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,)
    };
    (@ $to:expr, $T:ident, $body:expr; $($name:ident = $type:ty,)*) => {
        match $to {
            $(DataType::$name => { type $T = $type; Some($body) })*
            _ => None,
        }
    };
}

mod blocks;
mod numbers;
mod run;
mod spread;
mod stretch;
#[cfg(test)]
mod tests;

use bridge_core::{DataType, Layout, ManagedTensor, Options, Overflow, Result};

pub use self::spread::spread;
pub use self::stretch::stretch;
use crate::new_tensor::to_data_type_with;

/// What became of a tensor's values.
#[derive(Debug)]
pub enum Rescaled {
    /// The new tensor, in row-major host memory.
    Made(ManagedTensor),
    /// There are no two different values to stretch between.
    Level,
    /// The rule does not say what becomes of a value: of the first such, in row-major order.
    Undefined {
        /// The value.
        value: f64,
        /// Its index in row-major order.
        place: usize,
    },
}

/// Elements that a thread works on at once: they stay in the first-level cache from one loop to the next.
const BLOCK: usize = 2048;

/// Whether [`stretch`] and [`spread`] read elements of `from` in this layout where they lie when they compute in `data_type`; else
/// they cast them into new memory first.
pub fn is_read_in_place((from, layout): (DataType, &Layout), data_type: DataType) -> bool {
    from == data_type && layout.is_row_major()
}

/// What `read` makes of the elements as floats of `data_type`, in row-major order. Floats that are narrower widen, which
/// is exact.
fn as_floats(
    source: &ManagedTensor,
    data_type: DataType,
    options: &Options<'_>,
    read: impl FnOnce(&ManagedTensor) -> Result<Rescaled>,
) -> Result<Rescaled> {
    source.require_host()?;
    if is_read_in_place((source.data_type(), source.layout()), data_type) {
        return read(source);
    }
    read(&to_data_type_with(source, data_type, Overflow::Saturate, options)?)
}
