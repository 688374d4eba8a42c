//! A tensor split into pieces in row-major order, each small enough for a staging buffer.

use bridge_core::{DataType, Layout, Result};

/// A piece: its elements in the tensor, and its bytes in the row-major copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its elements, from the tensor's data pointer on.
    pub(crate) layout: Layout,
    /// Its first byte in row-major order.
    pub(crate) start: usize,
    /// Its bytes.
    pub(crate) bytes: usize,
}

/// The pieces of a tensor, in row-major order.
pub(crate) struct Pieces {
    layout: Layout,
    item: usize,
    /// The axis that is cut; those after it lie in a piece whole.
    axis: usize,
    /// Elements along it in a piece.
    step: usize,
    /// Where the next piece starts: the indices of the axes up to the one that is cut.
    next: Option<Vec<usize>>,
    start: usize,
}

impl Pieces {
    /// Pieces of at most `chunk` bytes, or of one element where that is more.
    ///
    /// The second value is the element type of the pieces' layouts: packed elements and those
    /// without gaps are bytes.
    pub(crate) fn new(
        layout: &Layout,
        data_type: DataType,
        chunk: usize,
    ) -> Result<(Self, DataType)> {
        let (layout, data_type, item) = match data_type.size_in_bytes() {
            Some(item) if !layout.is_row_major() => (layout.clone(), data_type, item),
            _ => {
                let bytes = layout.compact_bytes(data_type)?;
                let flat = Layout::row_major(&[bytes])?.at_byte_offset(layout.byte_offset());
                (flat, DataType::U8, 1)
            }
        };
        let shape = layout.shape();
        let mut axis = shape.len();
        let mut inner = item;
        while axis > 0 && inner.saturating_mul(shape[axis - 1]) <= chunk {
            axis -= 1;
            inner *= shape[axis];
        }
        // All axes from `axis` on fit a piece; the one before it is cut. There is one: a tensor of
        // rank 0 has no gaps.
        let axis = axis.saturating_sub(1);
        let inner = shape.get(axis + 1..).unwrap_or(&[]).iter().product::<usize>() * item;
        let step = (chunk / inner.max(1)).max(1);
        let next = (!layout.is_empty()).then(|| vec![0; axis + 1]);
        Ok((Self { layout, item, axis, step, next, start: 0 }, data_type))
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        let index = self.next.as_mut()?;
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        // The layout's span fits `isize`, and every index is within its extent.
        let steps = index.iter().zip(strides).map(|(&at, &stride)| at.cast_signed() * stride);
        let offset = steps.sum::<isize>() * self.item.cast_signed();
        let byte_offset = self.layout.byte_offset().wrapping_add_signed(offset);
        let at = index[self.axis];
        let length = self.step.min(shape[self.axis] - at);
        let mut extents = shape[self.axis..].to_vec();
        extents[0] = length;
        let layout = match Layout::new(&extents, &strides[self.axis..], byte_offset) {
            Ok(layout) => layout,
            Err(error) => return Some(Err(error.into())),
        };
        let bytes = extents.iter().product::<usize>() * self.item;
        let piece = Piece { layout, start: self.start, bytes };
        self.start += bytes;

        index[self.axis] += length;
        let mut axis = self.axis;
        while index[axis] >= shape[axis] {
            if axis == 0 {
                self.next = None;
                break;
            }
            index[axis] = 0;
            axis -= 1;
            index[axis] += 1;
        }
        Some(Ok(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(layout: &Layout, data_type: DataType, chunk: usize) -> Vec<Piece> {
        let (pieces, _) = Pieces::new(layout, data_type, chunk).unwrap();
        pieces.collect::<Result<_>>().unwrap()
    }

    #[test]
    fn what_has_no_gaps_is_cut_anywhere() {
        let layout = Layout::row_major(&[5, 3]).unwrap();
        let found = pieces(&layout, DataType::F32, 16);
        assert_eq!(found.iter().map(|piece| piece.bytes).collect::<Vec<_>>(), [16, 16, 16, 12]);
        assert_eq!(found[3].layout.byte_offset(), 48);
        assert_eq!(pieces(&layout, DataType::F32, 60).len(), 1);
    }

    #[test]
    fn the_pieces_of_a_strided_tensor_are_the_tensor() {
        let columns = Layout::new(&[4, 3, 2], &[1, -8, 24], 64).unwrap();
        for chunk in [1, 4, 8, 12, 16, 24, 40, 96, 1000] {
            let mut seen = Vec::new();
            for piece in pieces(&columns, DataType::F32, chunk) {
                assert!(piece.bytes <= chunk.max(4), "{piece:?} for {chunk}");
                assert_eq!(piece.start, 4 * seen.len());
                offsets(&piece.layout, piece.layout.byte_offset().cast_signed(), 0, &mut seen);
            }
            let mut expected = Vec::new();
            offsets(&columns, 64, 0, &mut expected);
            assert_eq!(seen, expected, "{chunk}");
        }
    }

    #[test]
    fn a_scalar_is_one_piece_and_nothing_is_none() {
        let scalar = Layout::new(&[], &[], 0).unwrap();
        assert_eq!(pieces(&scalar, DataType::F64, 4096)[0].bytes, 8);
        assert_eq!(pieces(&Layout::row_major(&[3, 0]).unwrap(), DataType::F64, 4096), []);
    }

    /// The byte offsets of all elements in row-major order.
    fn offsets(layout: &Layout, start: isize, axis: usize, seen: &mut Vec<isize>) {
        if axis == layout.rank() {
            seen.push(start);
            return;
        }
        for index in 0..layout.shape()[axis].cast_signed() {
            offsets(layout, start + 4 * index * layout.strides()[axis], axis + 1, seen);
        }
    }
}
