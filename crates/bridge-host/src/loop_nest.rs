//! The loops that lead through a source and a target together, brought into a normal form.

use bridge_core::{Layout, MAX_RANK};

/// One loop: its length, and the bytes it moves on in source and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) extent: usize,
    pub(crate) source: isize,
    pub(crate) target: isize,
}

/// Nested loops over the elements of two layouts of one shape, the outermost first.
///
/// Every extent is above 1, target strides are positive and descend, and no two neighbours could
/// be one loop. The starts lead, in bytes, from the elements with all indices zero to the elements
/// that the loops visit first: they differ where target axes run backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoopNest {
    pub(crate) axes: Vec<Axis>,
    pub(crate) source_start: isize,
    pub(crate) target_start: isize,
}

impl LoopNest {
    /// The loops over `source`, of elements of `source_item` bytes, and `target`. Neither may be
    /// empty, and their shapes must be equal.
    pub(crate) fn new(
        source: &Layout,
        source_item: usize,
        target: &Layout,
        target_item: usize,
    ) -> Self {
        let mut nest = Self::in_index_order(source, source_item, target, target_item);
        for axis in &mut nest.axes {
            if axis.target < 0 {
                let steps = (axis.extent - 1).cast_signed();
                nest.source_start += steps * axis.source;
                nest.target_start += steps * axis.target;
                axis.source = -axis.source;
                axis.target = -axis.target;
            }
        }
        nest.axes.sort_by_key(|axis| std::cmp::Reverse(axis.target));
        nest.join_neighbours();
        nest
    }

    /// As [`new`](Self::new), but in row-major order of the indices: for finding the first of
    /// several elements. Target strides may have any sign and order.
    pub(crate) fn in_index_order(
        source: &Layout,
        source_item: usize,
        target: &Layout,
        target_item: usize,
    ) -> Self {
        // The products fit: a layout with elements spans at most `isize::MAX` bytes, and its axes
        // of extent 1, whose strides may be anything, are left out.
        let axes = source.shape().iter().zip(source.strides()).zip(target.strides());
        let axes = axes.filter(|((extent, _), _)| **extent > 1);
        let axes = axes.map(|((&extent, &from), &to)| Axis {
            extent,
            source: from * source_item.cast_signed(),
            target: to * target_item.cast_signed(),
        });
        Self { axes: axes.collect(), source_start: 0, target_start: 0 }
    }

    /// Makes one loop of every two neighbours that can be one.
    pub(crate) fn join_neighbours(&mut self) {
        let mut joined: Vec<Axis> = Vec::with_capacity(self.axes.len());
        for &inner in &self.axes {
            let extent = inner.extent.cast_signed();
            match joined.last_mut() {
                Some(outer)
                    if outer.source == inner.source * extent
                        && outer.target == inner.target * extent =>
                {
                    *outer = Axis { extent: outer.extent * inner.extent, ..inner };
                }
                _ => joined.push(inner),
            }
        }
        self.axes = joined;
    }

    /// How many elements the loops visit.
    pub(crate) fn count(&self) -> usize {
        self.axes.iter().map(|axis| axis.extent).product()
    }

    /// The axis along which up to `parts` threads can share the work, and how many can: the
    /// outermost that is long enough, else the longest.
    pub(crate) fn axis_to_share(&self, parts: usize) -> Option<(usize, usize)> {
        let long_enough = self.axes.iter().position(|axis| axis.extent >= parts);
        let longest = || {
            (0..self.axes.len())
                .max_by_key(|&axis| (self.axes[axis].extent, std::cmp::Reverse(axis)))
        };
        let axis = long_enough.or_else(longest)?;
        Some((axis, parts.min(self.axes[axis].extent)))
    }

    /// The sum of what `of` says of the parts that up to `threads` threads share.
    pub(crate) fn sum_of_parts(&self, threads: usize, of: impl Fn(&Self) -> usize) -> usize {
        match self.axis_to_share(threads) {
            Some((axis, parts)) if parts > 1 => {
                (0..parts).map(|part| of(&self.part(axis, part, parts))).sum()
            }
            _ => of(self),
        }
    }

    /// Part `part` of `parts` parts along `axis`, which has at least `parts` elements.
    pub(crate) fn part(&self, axis: usize, part: usize, parts: usize) -> Self {
        let mut nest = self.clone();
        let Axis { extent, source, target } = self.axes[axis];
        let (size, longer) = (extent / parts, extent % parts);
        let first = (part * size + part.min(longer)).cast_signed();
        nest.axes[axis].extent = size + usize::from(part < longer);
        nest.source_start += first * source;
        nest.target_start += first * target;
        nest
    }
}

/// Calls `visit` with the byte offsets in source and target of every step of `axes`, the last axis
/// fastest, until it answers `false`.
pub(crate) fn while_each_offset(
    axes: &[Axis],
    mut visit: impl FnMut(isize, isize) -> bool,
) -> bool {
    let mut index = [0_usize; MAX_RANK];
    let (mut source, mut target) = (0, 0);
    loop {
        if !visit(source, target) {
            return false;
        }
        let mut depth = axes.len();
        loop {
            let Some(outer) = depth.checked_sub(1) else {
                return true;
            };
            depth = outer;
            let axis = axes[depth];
            index[depth] += 1;
            if index[depth] < axis.extent {
                source += axis.source;
                target += axis.target;
                break;
            }
            index[depth] = 0;
            let steps = (axis.extent - 1).cast_signed();
            source -= steps * axis.source;
            target -= steps * axis.target;
        }
    }
}

/// Calls `visit` with the byte offsets in source and target of every step of `axes`.
pub(crate) fn for_each_offset(axes: &[Axis], mut visit: impl FnMut(isize, isize)) {
    while_each_offset(axes, |source, target| {
        visit(source, target);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(shape: &[usize], source: &[isize], target: &[isize]) -> LoopNest {
        let source = Layout::new(shape, source, 0).unwrap();
        let target = Layout::new(shape, target, 0).unwrap();
        LoopNest::new(&source, 4, &target, 4)
    }

    #[test]
    fn compact_layouts_are_one_loop() {
        let nest = nest(&[5, 1, 7, 3], &[21, 99, 3, 1], &[21, -7, 3, 1]);
        assert_eq!(nest.axes, [Axis { extent: 105, source: 4, target: 4 }]);
    }

    #[test]
    fn loops_follow_the_target_and_run_forward_in_it() {
        let nest = nest(&[5, 7], &[7, 1], &[1, -5]);
        let [outer, inner] = nest.axes[..] else { panic!("{nest:?}") };
        assert_eq!(outer, Axis { extent: 7, source: -4, target: 20 });
        assert_eq!(inner, Axis { extent: 5, source: 28, target: 4 });
        assert_eq!((nest.source_start, nest.target_start), (24, -120));
    }

    #[test]
    fn the_parts_of_a_nest_are_the_nest() {
        let whole = nest(&[11, 3], &[1, 11], &[3, 1]);
        let offsets = |nest: &LoopNest| {
            let mut seen = Vec::new();
            for_each_offset(&nest.axes, |s, t| {
                seen.push((s + nest.source_start, t + nest.target_start));
            });
            seen
        };
        for parts in 1..=11 {
            let (axis, parts) = whole.axis_to_share(parts).unwrap();
            let pieces = (0..parts).flat_map(|part| offsets(&whole.part(axis, part, parts)));
            assert_eq!(pieces.collect::<Vec<_>>(), offsets(&whole));
        }
        assert_eq!(offsets(&whole).len(), whole.count());
    }
}
