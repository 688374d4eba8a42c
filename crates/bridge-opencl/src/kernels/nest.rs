//! The loops of a kernel: which places of the source the elements lie at.

use bridge_core::Layout;

/// Most axes that a kernel takes, after neighbours in memory have been joined.
const MOST_AXES: usize = 8;

/// Eight numbers as OpenCL C's `long8` lies in memory.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Long8(pub(crate) [i64; MOST_AXES]);

/// Extents and strides in pieces, of at most eight axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nest {
    /// The place of the element whose indices are all zero.
    pub(crate) first: u64,
    /// How many pieces there are.
    pub(crate) count: u64,
    pub(crate) rank: i32,
    pub(crate) extents: Long8,
    pub(crate) strides: Long8,
}

impl Nest {
    /// The loops over elements of `item` bytes, in pieces of `unit` bytes, which divides the item
    /// and the layout's byte offset. `None` where there are too many axes.
    pub(crate) fn new(layout: &Layout, item: usize, unit: usize) -> Option<Self> {
        let pieces = i64::try_from(item / unit).ok()?;
        let joined = layout.coalesced();
        let mut axes: Vec<(i64, i64)> = Vec::with_capacity(MOST_AXES);
        for (&extent, &stride) in joined.shape().iter().zip(joined.strides()) {
            axes.push((
                i64::try_from(extent).ok()?,
                i64::try_from(stride).ok()?.checked_mul(pieces)?,
            ));
        }
        if pieces > 1 {
            match axes.last_mut() {
                Some((extent, stride)) if *stride == pieces => {
                    (*extent, *stride) = (extent.checked_mul(pieces)?, 1);
                }
                _ => axes.push((pieces, 1)),
            }
        }
        if axes.is_empty() {
            axes.push((1, 0));
        }
        if axes.len() > MOST_AXES {
            return None;
        }
        let (mut extents, mut strides) = (Long8([1; MOST_AXES]), Long8([0; MOST_AXES]));
        for (place, &(extent, stride)) in axes.iter().enumerate() {
            (extents.0[place], strides.0[place]) = (extent, stride);
        }
        let count = axes.iter().try_fold(1_i64, |count, (extent, _)| count.checked_mul(*extent))?;
        Some(Self {
            first: u64::try_from(layout.byte_offset() / unit).ok()?,
            count: u64::try_from(count).ok()?,
            rank: i32::try_from(axes.len()).ok()?,
            extents,
            strides,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_several_pieces_are_one_more_axis() {
        let layout = Layout::new(&[2, 3], &[3, -1], 24).unwrap();
        let nest = Nest::new(&layout, 12, 4).unwrap();
        assert_eq!((nest.first, nest.count, nest.rank), (6, 18, 3));
        assert_eq!(nest.extents.0[..3], [2, 3, 3]);
        assert_eq!(nest.strides.0[..3], [9, -3, 1]);
    }

    #[test]
    fn dense_elements_are_one_run() {
        let layout = Layout::row_major(&[2, 3, 4]).unwrap();
        let nest = Nest::new(&layout, 16, 8).unwrap();
        assert_eq!((nest.count, nest.rank, nest.extents.0[0], nest.strides.0[0]), (48, 1, 48, 1));
        let one = Nest::new(&Layout::row_major(&[]).unwrap(), 4, 4).unwrap();
        assert_eq!((one.count, one.rank), (1, 1));
    }

    #[test]
    fn too_many_axes_are_left_to_the_host() {
        let shape = [2; 9];
        let strides: Vec<isize> = (0..9).map(|axis| 3_isize.pow(axis)).collect();
        assert_eq!(Nest::new(&Layout::new(&shape, &strides, 0).unwrap(), 4, 4), None);
    }
}
