//! Windows: the parts that a large array is converted in, one after the other.

use arraybridge::{DataType, Layout, Shape, TensorSpec};

use super::arrays::Order;
use crate::failure::Outcome;

/// A part of an array: where it starts along each axis, and how far it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    starts: Shape,
    extents: Shape,
}

impl Window {
    /// The number of elements.
    pub(crate) fn element_count(&self) -> usize {
        self.extents.iter().product()
    }

    /// Where it starts along each axis.
    pub(super) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// How far it reaches along each axis.
    pub(super) fn extents(&self) -> &[usize] {
        &self.extents
    }

    /// Where the elements lie in memory that holds nothing but the window.
    pub(super) fn alone(&self, data_type: DataType, order: Order) -> Outcome<TensorSpec> {
        let layout = match order {
            Order::RowMajor => Layout::row_major(&self.extents),
            Order::ColumnMajor => Layout::column_major(&self.extents),
        }?;
        Ok(TensorSpec { data_type, layout })
    }

    /// Where the elements lie in memory that holds the whole array.
    pub(super) fn within(&self, whole: &TensorSpec) -> Outcome<TensorSpec> {
        let data_type = whole.data_type;
        if data_type.size_in_bytes().is_none() {
            // Packed elements are row-major, and windows of them start at whole bytes.
            let first = self
                .starts
                .iter()
                .zip(whole.layout.shape())
                .fold(0, |first, (start, extent)| first * extent + start);
            let offset = data_type.bytes_for(first).unwrap_or(usize::MAX);
            let layout = Layout::row_major(&self.extents)?.at_byte_offset(offset);
            return Ok(TensorSpec { data_type, layout });
        }
        let mut layout = whole.layout.clone();
        for (axis, (&start, &extent)) in self.starts.iter().zip(&self.extents).enumerate() {
            if extent != layout.shape()[axis] {
                layout = layout.sliced(axis, start, extent, 1, data_type)?;
            }
        }
        Ok(TensorSpec { data_type, layout })
    }
}

/// Cuts an array into windows of at most about `bytes` bytes that follow each other in the order
/// the elements are written in. There is at least one window, even of no element.
///
/// Windows of packed elements start at whole bytes, which may make them larger.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    shape: Shape,
    order: Order,
    data_type: DataType,
    /// The axes from the sparsest to the densest, up to the one that is cut.
    outer: Vec<usize>,
    /// How many indices of the last of these axes a window has.
    count: usize,
    /// Where the next window starts along `outer`; `None` after the last.
    next: Option<Vec<usize>>,
}

impl Windows {
    pub(crate) fn new(shape: &[usize], order: Order, data_type: DataType, bytes: usize) -> Self {
        let axes = order.axes(shape.len());
        let bits = data_type.size_in_bits();
        let whole = |elements: usize| elements.saturating_mul(bits).is_multiple_of(8);
        // Elements of one index of each axis.
        let mut inner = vec![1_usize; axes.len()];
        for place in (1..axes.len()).rev() {
            inner[place - 1] = inner[place].saturating_mul(shape[axes[place]]);
        }
        let bytes_of = |elements: usize| data_type.bytes_for(elements).unwrap_or(usize::MAX);
        let mut cut = (0..axes.len()).find(|&place| bytes_of(inner[place]) <= bytes);
        if cut.is_none() {
            cut = axes.len().checked_sub(1);
        }
        // What lies outside the cut axis must come in whole bytes.
        while let Some(place) = cut
            && place > 0
            && !whole(inner[place - 1])
        {
            cut = Some(place - 1);
        }
        let empty = shape.contains(&0);
        let (Some(place), false) = (cut, empty) else {
            return Self {
                shape: Shape::from_slice(shape),
                order,
                data_type,
                outer: Vec::new(),
                count: 1,
                next: Some(Vec::new()),
            };
        };
        let extent = shape[axes[place]];
        let mut count = (bytes / bytes_of(inner[place]).max(1)).clamp(1, extent);
        if !whole(count.saturating_mul(inner[place])) {
            // Four 4-bit or 6-bit elements fill whole bytes.
            count = count.next_multiple_of(4).min(extent);
        }
        Self {
            shape: Shape::from_slice(shape),
            order,
            data_type,
            outer: axes[..=place].to_vec(),
            count,
            next: Some(vec![0; place + 1]),
        }
    }

    /// Goes back to where `window` starts, which was the last one, and on in windows of at most half its
    /// bytes. Answers `false`, and changes nothing, where there are no smaller ones.
    pub(crate) fn narrow(&mut self, window: &Window) -> bool {
        let bytes = self.data_type.bytes_for(window.element_count()).unwrap_or(usize::MAX);
        let mut narrower = Self::new(&self.shape, self.order, self.data_type, bytes / 2);
        // They are cut along the same axis or a denser one, which the window starts at the beginning of.
        narrower.next = Some(narrower.outer.iter().map(|&axis| window.starts[axis]).collect());
        let first = narrower.clone().next();
        let is_smaller = first.is_some_and(|one| one.element_count() < window.element_count());
        if is_smaller {
            *self = narrower;
        }
        is_smaller
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let mut at = self.next.take()?;
        let mut starts = Shape::from_elem(0, self.shape.len());
        let mut extents = self.shape.clone();
        let last = self.outer.len().saturating_sub(1);
        for (place, (&axis, &start)) in self.outer.iter().zip(&at).enumerate() {
            starts[axis] = start;
            extents[axis] =
                if place == last { self.count.min(self.shape[axis] - start) } else { 1 };
        }
        for (place, &axis) in self.outer.iter().enumerate().rev() {
            at[place] += extents[axis];
            if at[place] < self.shape[axis] {
                self.next = Some(at);
                break;
            }
            at[place] = 0;
        }
        Some(Window { starts, extents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The linear indices of a window's elements, in the order they are written.
    fn indices(window: &Window, shape: &[usize], order: Order) -> Vec<usize> {
        let axes = order.axes(shape.len());
        let mut found = vec![0];
        for &axis in &axes {
            let from = window.starts[axis];
            found = found
                .into_iter()
                .flat_map(|base| {
                    (from..from + window.extents[axis]).map(move |index| base * shape[axis] + index)
                })
                .collect();
        }
        found
    }

    #[test]
    fn windows_follow_each_other_and_leave_nothing_out() {
        for shape in [&[][..], &[7], &[0, 3], &[3, 4, 5], &[1, 1, 9], &[5, 1, 2, 3]] {
            for order in [Order::RowMajor, Order::ColumnMajor] {
                for bytes in [1, 8, 13, 60, 100_000] {
                    let count: usize = shape.iter().product();
                    let all: Vec<usize> = Windows::new(shape, order, DataType::F32, bytes)
                        .flat_map(|window| indices(&window, shape, order))
                        .collect();
                    assert_eq!(all, (0..count).collect::<Vec<_>>(), "{shape:?} {bytes}");
                    let most = Windows::new(shape, order, DataType::F32, bytes)
                        .map(|window| window.element_count() * 4)
                        .max();
                    assert!(most.unwrap() <= bytes.max(4), "{shape:?} {bytes} {most:?}");
                }
            }
        }
    }

    #[test]
    fn narrower_windows_go_on_where_the_refused_one_starts() {
        for data_type in [DataType::F32, DataType::F4E2M1FN] {
            for shape in [&[][..], &[8], &[0, 3], &[3, 4, 8], &[1, 1, 16], &[2, 8]] {
                for order in [Order::RowMajor, Order::ColumnMajor] {
                    if order == Order::ColumnMajor && data_type.size_in_bytes().is_none() {
                        continue; // packed elements are row-major
                    }
                    let count: usize = shape.iter().product();
                    for bytes in [1, 20, 100_000] {
                        let mut windows = Windows::new(shape, order, data_type, bytes);
                        let mut all = Vec::new();
                        let mut seen = 0;
                        while let Some(window) = windows.next() {
                            seen += 1;
                            if seen % 3 == 1 && windows.narrow(&window) {
                                continue;
                            }
                            all.extend(indices(&window, shape, order));
                        }
                        assert_eq!(all, (0..count).collect::<Vec<_>>(), "{shape:?} {bytes}");
                    }
                }
            }
        }
        let mut one = Windows::new(&[3], Order::RowMajor, DataType::F32, 1);
        let first = one.next().unwrap();
        assert!(!one.narrow(&first), "there is nothing smaller than an element");
        assert_eq!(one.count(), 2, "and it went on");
    }

    #[test]
    fn windows_of_packed_elements_start_at_whole_bytes() {
        for data_type in [DataType::F4E2M1FN, DataType::F6E2M3FN] {
            for shape in [&[16][..], &[3, 5, 8], &[8, 3], &[2, 2, 2]] {
                let whole = TensorSpec::row_major(data_type, shape).unwrap();
                let mut end = 0;
                for window in Windows::new(shape, Order::RowMajor, data_type, 1) {
                    let spec = window.within(&whole).unwrap();
                    assert_eq!(spec.layout.byte_offset(), end, "{data_type} {shape:?}");
                    end += spec.layout.compact_bytes(data_type).unwrap();
                }
                assert_eq!(end, whole.layout.compact_bytes(data_type).unwrap());
            }
        }
    }
}
