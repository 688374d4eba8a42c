//! Chunks padded to a few sizes, for frameworks that compile once a size.

use std::ops::Range;

use bridge_core::{Element, Result, vec_with_room};

use crate::arguments::invalid;

/// The sizes that chunks are padded to.
pub const BUCKETS: Range<usize> = SMALLEST..LARGEST + 1;

const SMALLEST: usize = 1024;
const LARGEST: usize = 131_072;

/// The smallest power of two from 1024 to 131 072 that holds so many items; `None` where none does.
pub fn bucket(items: usize) -> Option<usize> {
    let size = items.max(SMALLEST).checked_next_power_of_two()?;
    BUCKETS.contains(&size).then_some(size)
}

/// A chunk padded to the size of its [`bucket`], so that chunks of different lengths look alike.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkBuffer<T> {
    data: Vec<T>,
    valid: usize,
}

impl<T: Element> ChunkBuffer<T> {
    /// A copy of the items, followed by as many `padding` as its bucket needs.
    ///
    /// # Errors
    ///
    /// For more items than the largest bucket holds, and out of memory.
    pub fn new(items: &[T], padding: T) -> Result<Self> {
        let size = bucket(items.len()).ok_or_else(|| {
            let expected = format!("the largest bucket holds {LARGEST}: make smaller chunks");
            invalid("the number of items of a chunk", &items.len(), &expected)
        })?;
        let mut data = vec_with_room(size, 0)?;
        data.extend_from_slice(items);
        data.resize(size, padding);
        Ok(Self { data, valid: items.len() })
    }

    /// All items, padding included.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The items that are no padding.
    pub fn valid(&self) -> &[T] {
        &self.data[..self.valid]
    }

    /// How many items are no padding.
    pub fn valid_length(&self) -> usize {
        self.valid
    }

    /// How many items there are with the padding.
    pub fn bucket_size(&self) -> usize {
        self.data.len()
    }

    /// For each item, whether it is no padding.
    pub fn mask(&self) -> impl ExactSizeIterator<Item = bool> + use<T> {
        let valid = self.valid;
        (0..self.data.len()).map(move |index| index < valid)
    }

    /// All items, padding included.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_the_smallest_power_of_two_that_holds_the_items() {
        for (items, size) in [
            (0, Some(1024)),
            (1024, Some(1024)),
            (1025, Some(2048)),
            (131_071, Some(131_072)),
            (131_072, Some(131_072)),
            (131_073, None),
            (usize::MAX, None),
        ] {
            assert_eq!(bucket(items), size, "{items}");
        }
    }

    #[test]
    fn a_padded_chunk_knows_what_is_padding() {
        let items: Vec<u16> = (0..1500).collect();
        let chunk = ChunkBuffer::new(&items, 7).unwrap();
        assert_eq!((chunk.valid_length(), chunk.bucket_size()), (1500, 2048));
        assert_eq!(chunk.valid(), items);
        assert!(chunk.data()[1500..].iter().all(|&item| item == 7));
        let mask: Vec<_> = chunk.mask().collect();
        assert_eq!(mask.iter().filter(|&&valid| valid).count(), 1500);
        assert!(mask[1499] && !mask[1500] && mask.len() == 2048);
        assert_eq!(chunk.into_data().len(), 2048);
        let error = ChunkBuffer::new(&vec![0_u8; 131_073], 0).unwrap_err().to_string();
        assert!(error.contains("131073") && error.contains("131072"), "{error}");
    }
}
