//! The blocks of memory that the driver knows: where they are, and who touched them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::handle::{ContextId, PoolId, StreamId};
use super::mapping::{Mapping, PAGE, address};

/// Addresses of each device, and of pinned and managed memory.
const SPACE: u64 = 1 << 38;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Device,
    Managed,
    Pinned { flags: u32 },
    Registered { flags: u32 },
}

/// How far a block's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// A free is queued, under this ticket: work with a later one comes too late.
    Freeing {
        ticket: u64,
    },
    Freed,
}

/// An access to a part of a block.
#[derive(Debug, Clone)]
pub(crate) struct Touch {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) write: bool,
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
    pub(crate) label: Arc<str>,
}

/// One allocation or registration.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) device: usize,
    pub(crate) context: ContextId,
    pub(crate) pool: Option<PoolId>,
    /// What it counts for in the device's memory.
    pub(crate) charged: u64,
    /// Where the bytes of device memory really are.
    pub(crate) storage: Option<Mapping>,
    pub(crate) life: Life,
    pub(crate) sequence: u64,
    pub(crate) touches: Vec<Touch>,
    /// How many queued operations use it.
    pub(crate) pending: u64,
    /// How many operations have written to it.
    pub(crate) writes: u64,
}

impl Block {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// Where an address of the block is in the host's memory.
    pub(crate) fn host(&self, at: u64) -> *mut u8 {
        let start = self.storage.as_ref().map_or(self.start, Mapping::start);
        address(start + (at - self.start))
    }

    pub(crate) fn is_host_memory(&self) -> bool {
        matches!(self.kind, Kind::Pinned { .. } | Kind::Registered { .. })
    }

    pub(crate) fn describe(&self) -> String {
        let Self { bytes, start, device, .. } = self;
        match self.kind {
            Kind::Device => format!("{bytes} bytes of device {device} at {start:#x}"),
            Kind::Managed => format!("{bytes} bytes of managed memory at {start:#x}"),
            Kind::Pinned { .. } => format!("{bytes} bytes of pinned memory at {start:#x}"),
            Kind::Registered { .. } => format!("{bytes} registered bytes at {start:#x}"),
        }
    }
}

/// All blocks, the freed ones too: addresses are not used twice.
#[derive(Debug)]
pub(crate) struct Memory {
    reserved: Mapping,
    next: Vec<u64>,
    blocks: BTreeMap<u64, Block>,
    /// Bytes of device and managed memory that are there, and the most that were at one time.
    on_devices: u64,
    most_on_devices: u64,
}

impl Memory {
    /// Reserves the address ranges of the devices; `None` where the system refuses.
    pub(crate) fn of(devices: usize) -> Option<Self> {
        let spaces = devices as u64 + 1;
        let reserved = Mapping::reserve(SPACE.checked_mul(spaces)?)?;
        let next = (0..spaces).map(|space| reserved.start() + space * SPACE + PAGE).collect();
        Some(Self { reserved, next, blocks: BTreeMap::new(), on_devices: 0, most_on_devices: 0 })
    }

    /// The range of all addresses: of the devices, and after them of host memory.
    pub(crate) fn addresses(&self) -> (u64, u64, u64) {
        let devices = self.next.len() as u64 - 1;
        (self.reserved.start(), self.reserved.start() + devices * SPACE, self.reserved.end())
    }

    /// Opens or closes the page of an address again, after an access of the host to it.
    pub(crate) fn close_page(&self, at: u64) {
        self.reserved.close(at & !(PAGE - 1), PAGE);
    }

    /// A range of a device's addresses with its storage.
    pub(crate) fn place_on_device(&mut self, device: usize, bytes: u64) -> Option<(u64, Mapping)> {
        let storage = Mapping::memory(bytes)?;
        // SAFETY: the mapping has just been made, with at least so many bytes.
        unsafe { address(storage.start()).write_bytes(0xc5, bytes as usize) };
        Some((self.take(device, bytes)?, storage))
    }

    /// A range of addresses that the host can access too.
    pub(crate) fn place_on_host(&mut self, bytes: u64) -> Option<u64> {
        let start = self.take(self.next.len() - 1, bytes)?;
        self.reserved.open(start, bytes).then(|| {
            // SAFETY: the pages have just been opened, with at least so many bytes.
            unsafe { address(start).write_bytes(0xc5, bytes as usize) };
            start
        })
    }

    /// New addresses, with a page that belongs to nobody behind them.
    fn take(&mut self, space: usize, bytes: u64) -> Option<u64> {
        let end = self.reserved.start() + (space as u64 + 1) * SPACE;
        let start = self.next[space];
        let next = bytes.checked_next_multiple_of(PAGE)?.checked_add(start)?.checked_add(PAGE)?;
        (next <= end).then(|| {
            self.next[space] = next;
            start
        })
    }

    pub(crate) fn insert(&mut self, block: Block) {
        if !block.is_host_memory() {
            self.on_devices += block.bytes;
            self.most_on_devices = self.most_on_devices.max(self.on_devices);
        }
        self.blocks.insert(block.start, block);
    }

    /// The most bytes of device and managed memory that were there at one time.
    pub(crate) fn most_on_devices(&self) -> u64 {
        self.most_on_devices
    }

    /// The block that an address lies in, freed or not.
    pub(crate) fn find(&self, at: u64) -> Option<&Block> {
        let (_, block) = self.blocks.range(..=at).next_back()?;
        (at < block.end()).then_some(block)
    }

    /// The first block that shares an address with the range.
    pub(crate) fn overlapping(&self, start: u64, bytes: u64) -> Option<&Block> {
        let (_, block) = self.blocks.range(..start.saturating_add(bytes)).next_back()?;
        (block.end() > start).then_some(block)
    }

    pub(crate) fn at(&self, start: u64) -> Option<&Block> {
        self.blocks.get(&start)
    }

    pub(crate) fn at_mut(&mut self, start: u64) -> Option<&mut Block> {
        self.blocks.get_mut(&start)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }

    /// Takes the bytes of a block away, and lets its addresses be nobody's.
    pub(crate) fn bury(&mut self, start: u64) {
        let Some(block) = self.blocks.get_mut(&start) else { return };
        if block.life != Life::Freed && !block.is_host_memory() {
            self.on_devices -= block.bytes;
        }
        block.life = Life::Freed;
        block.storage = None;
        block.touches = Vec::new();
        match block.kind {
            Kind::Device => {}
            Kind::Managed | Kind::Pinned { .. } => self.reserved.close(start, block.bytes),
            Kind::Registered { .. } => drop(self.blocks.remove(&start)), // the caller's own again
        }
    }
}
