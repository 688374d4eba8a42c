//! What copies and casts take beside their target.

use bridge_core::{DataType, Layout};

use crate::cast::cast_buffers;
use crate::strided_copy::copy_buffers;

/// The bytes of host memory that [`copy`](crate::copy) or [`cast`](crate::cast) takes at any time, from elements of
/// one type and layout to another: where axes lie in another order, a buffer of at most 144 KiB for each thread that
/// turns them, and where packed elements are cast, a byte for each. Everything else takes none.
///
/// It holds as long as [`set_max_threads`](crate::set_max_threads) is not called. A copy without memory for its
/// buffers goes on without them; a cast fails.
///
/// ```
/// use bridge_core::{DataType, Layout};
///
/// let (rows, columns) = (Layout::row_major(&[500, 500])?, Layout::column_major(&[500, 500])?);
/// let f32 = |layout| (DataType::F32, layout);
/// assert_eq!(bridge_host::working_memory(f32(&rows), f32(&rows)), 0);
/// assert_eq!(bridge_host::working_memory(f32(&columns), f32(&rows)), 135_168);
///
/// let packed = (DataType::F4E2M1FN, &rows);
/// assert_eq!(bridge_host::working_memory(packed, f32(&rows)), 250_000);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub fn working_memory(source: (DataType, &Layout), target: (DataType, &Layout)) -> u64 {
    let bytes = match source.0 == target.0 {
        true => copy_buffers(source.1, target.1, source.0),
        false => cast_buffers(source, target),
    };
    bytes as u64
}
