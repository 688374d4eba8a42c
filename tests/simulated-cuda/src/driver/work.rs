//! What is queued in a stream.

use std::ffi::c_void;
use std::sync::Arc;

use super::clock::Clock;
use super::code::Code;
use super::handle::{EventId, StreamId};
use super::kernels::Kernel;

/// An operation that waits for its turn.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its place in the order of all calls.
    pub(crate) ticket: u64,
    /// Its place in its stream, from 1.
    pub(crate) number: u64,
    /// Everything that has to happen before.
    pub(crate) clock: Clock,
    pub(crate) label: Arc<str>,
    pub(crate) work: Work,
    /// The blocks that are known to be used, by their first address.
    pub(crate) uses: Vec<u64>,
    /// How often it is still passed over.
    pub(crate) delay: u64,
    /// The error that was injected for it.
    pub(crate) fails: Option<Code>,
}

/// Who touches memory, and when.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
    pub(crate) ticket: u64,
    pub(crate) clock: Clock,
    pub(crate) label: Arc<str>,
    pub(crate) device: usize,
}

/// What an operation does.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing but its place in the order.
    Nothing,
    Record(EventId),
    Copy(Copy),
    Fill(Fill),
    Launch(Launch),
    HostFunction {
        function: unsafe extern "C" fn(*mut c_void),
        user: usize,
    },
    /// Stream-ordered memory begins to be there.
    Birth(u64),
    /// Stream-ordered memory ends.
    Free(u64),
}

/// The size of a box of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) depth: u64,
}

impl Extent {
    pub(crate) fn line(width: u64) -> Self {
        Self { width, height: 1, depth: 1 }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0 || self.depth == 0
    }

    pub(crate) fn bytes(self) -> Option<u64> {
        self.width.checked_mul(self.height)?.checked_mul(self.depth)
    }
}

/// A box of bytes in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: u64,
    /// From one row to the next.
    pub(crate) row: u64,
    /// From one plane to the next.
    pub(crate) plane: u64,
}

impl Place {
    pub(crate) fn line(start: u64) -> Self {
        Self { start, row: 0, plane: 0 }
    }

    /// From the first to behind the last byte; `None` where that is no number.
    pub(crate) fn span(self, extent: Extent) -> Option<u64> {
        let rows = self.row.checked_mul(extent.height - 1)?;
        let planes = self.plane.checked_mul(extent.depth - 1)?;
        rows.checked_add(planes)?.checked_add(extent.width)
    }

    /// Where each row begins, counted from the start.
    pub(crate) fn rows(self, extent: Extent) -> impl Iterator<Item = u64> {
        (0..extent.depth)
            .flat_map(move |z| (0..extent.height).map(move |y| z * self.plane + y * self.row))
    }

    /// The ranges that the box covers, those in a row joined.
    pub(crate) fn ranges(self, extent: Extent) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for offset in self.rows(extent) {
            match ranges.last_mut() {
                Some((start, bytes)) if *start + *bytes == self.start + offset => {
                    *bytes += extent.width;
                }
                _ => ranges.push((self.start + offset, extent.width)),
            }
        }
        ranges
    }
}

/// One end of a copy.
#[derive(Debug)]
pub(crate) enum End {
    /// Memory that the driver knows.
    Known(Place),
    /// Pageable memory, for the time of the call.
    Pageable(Place),
    /// Pageable memory as it was at the call, its rows packed.
    Staged(Vec<u8>),
}

/// Which counter a copy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Upload { pinned: bool },
    Download { pinned: bool },
    Device,
    Peer,
    Host,
}

#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) to: End,
    pub(crate) from: End,
    pub(crate) extent: Extent,
    pub(crate) direction: Direction,
    /// The pinned source as it was at the call: its check sum, and the block's writes.
    pub(crate) source: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) to: Place,
    pub(crate) extent: Extent,
    pub(crate) pattern: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: Kernel,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) arguments: Vec<u8>,
}
