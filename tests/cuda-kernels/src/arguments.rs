//! The kernels' arguments that are structs, as kernels.h lays them out.

use simulated_cuda::Launch;

const MAX_LOOPS: usize = 64;

#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    extent: u32,
    magic: u32,
    shift: u32,
    unused: u32,
    stride: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Loops {
    count: u64,
    rank: u32,
    unused: u32,
    axis: [Axis; MAX_LOOPS],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    row_extent: u32,
    line_extent: u32,
    row_stride: i64,
    line_stride: i64,
    tiles: u64,
    along_row: Axis,
    along_line: Axis,
    others: Loops,
    target_stride: [i64; MAX_LOOPS],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AnyCast {
    from: u32,
    to: u32,
    overflow: u32,
    pub(crate) packed_bits: u32,
    pub(crate) from_bytes: u32,
    pub(crate) to_bytes: u32,
    pub(crate) widen: u32,
    unused: u32,
}

/// Any of the structs above, or a number, of which every bit pattern is a value.
pub(crate) trait Plain: Copy {}
impl Plain for Loops {}
impl Plain for Planes {}
impl Plain for AnyCast {}
impl Plain for u64 {}

/// An argument of a launch.
pub(crate) fn struct_of<T: Plain>(launch: &Launch<'_>, argument: usize) -> T {
    let bytes = launch.bytes(argument);
    assert_eq!(bytes.len(), size_of::<T>(), "the kernel was registered with this size");
    // SAFETY: there are as many bytes as the struct has, and every bit pattern is a value of it.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// The bytes that loops lead to, relative to where they start.
pub(crate) struct Span {
    pub(crate) start: isize,
    end: isize,
}

impl Span {
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self { start: 0, end: bytes.cast_signed() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.end.abs_diff(self.start)
    }

    fn stretch(&mut self, extent: u64, stride: i64) {
        let reach = (extent as isize - 1) * stride as isize;
        if reach < 0 { self.start += reach } else { self.end += reach }
    }
}

impl Loops {
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn span(&self, item: usize) -> Span {
        let mut span = Span::of_bytes(item);
        for loop_number in 0..self.rank as usize {
            let axis = &self.axis[loop_number];
            span.stretch(axis.extent.into(), axis.stride);
        }
        span
    }
}

impl Planes {
    pub(crate) fn count(&self) -> usize {
        self.others.count() * self.row_extent as usize * self.line_extent as usize
    }

    pub(crate) fn span(&self, unit: usize) -> Span {
        let mut span = self.others.span(unit);
        span.stretch(self.row_extent.into(), self.row_stride);
        span.stretch(self.line_extent.into(), unit as i64);
        span
    }
}
