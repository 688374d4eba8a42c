//! What the fake accelerator counts and what it is told to fail at, for one thread.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use bridge_core::Device;

/// What the fake accelerator shall fail at, on the thread that [installs](Self::install) it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Which allocation on a fake device fails, counted from 0; all later ones succeed.
    pub out_of_memory_at: Option<u64>,
    /// Whether its array type refuses every tensor.
    pub refuse_imports: bool,
    /// Whether the unified device refuses what it said it could use in place.
    pub refuse_maps: bool,
    /// Whether the unified device copies what it says it uses in place.
    pub copy_maps: bool,
    /// Whether it downloads into memory that no vector can own, as pinned memory is.
    pub pinned_downloads: bool,
}

/// How often the fake accelerator moved memory on this thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfers {
    /// From the host to a fake device.
    pub uploads: u64,
    /// From a fake device to the host.
    pub downloads: u64,
    /// From one fake device to the other.
    pub peer_copies: u64,
    /// Within one fake device.
    pub device_copies: u64,
}

/// Ends the faults of this thread when dropped.
#[must_use = "the faults end when this is dropped"]
#[derive(Debug)]
pub struct FaultsInstalled(PhantomData<Rc<()>>);

thread_local! {
    static FAULTS: Cell<Faults> = const {
        Cell::new(Faults {
            out_of_memory_at: None,
            refuse_imports: false,
            refuse_maps: false,
            copy_maps: false,
            pinned_downloads: false,
        })
    };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static TRANSFERS: Cell<Transfers> = const {
        Cell::new(Transfers { uploads: 0, downloads: 0, peer_copies: 0, device_copies: 0 })
    };
}

impl Faults {
    /// Out of memory at the `nth` allocation from now on, counted from 0.
    pub fn out_of_memory_at(nth: u64) -> Self {
        Self { out_of_memory_at: Some(nth), ..Self::default() }
    }

    /// Refuses every import.
    pub fn refused_imports() -> Self {
        Self { refuse_imports: true, ..Self::default() }
    }

    /// Refuses every tensor that it would use in place.
    pub fn refused_maps() -> Self {
        Self { refuse_maps: true, ..Self::default() }
    }

    /// Copies every tensor that it says it uses in place.
    pub fn copied_maps() -> Self {
        Self { copy_maps: true, ..Self::default() }
    }

    /// Downloads into memory that no vector can own, as pinned memory is.
    pub fn pinned_downloads() -> Self {
        Self { pinned_downloads: true, ..Self::default() }
    }

    /// Fails so on this thread until the guard is dropped.
    pub fn install(self) -> FaultsInstalled {
        FAULTS.set(self);
        ALLOCATIONS.set(0);
        FaultsInstalled(PhantomData)
    }
}

impl Drop for FaultsInstalled {
    fn drop(&mut self) {
        FAULTS.set(Faults::default());
    }
}

/// What was moved on this thread since the last call.
pub fn transfers() -> Transfers {
    TRANSFERS.take()
}

pub(super) fn refuses_imports() -> bool {
    FAULTS.get().refuse_imports
}

pub(super) fn refuses_maps() -> bool {
    FAULTS.get().refuse_maps
}

pub(super) fn copies_maps() -> bool {
    FAULTS.get().copy_maps
}

pub(super) fn pins_downloads() -> bool {
    FAULTS.get().pinned_downloads
}

/// Counts one allocation and says whether it fails.
pub(super) fn allocation_fails() -> bool {
    let nth = ALLOCATIONS.replace(ALLOCATIONS.get() + 1);
    FAULTS.get().out_of_memory_at == Some(nth)
}

pub(super) fn count(from: Device, to: Device) {
    let mut counts = TRANSFERS.get();
    let host = |device: Device| device.kind().is_host_accessible();
    match (host(from), host(to)) {
        (true, false) => counts.uploads += 1,
        (false, true) => counts.downloads += 1,
        (false, false) if from != to => counts.peer_copies += 1,
        (false, false) => counts.device_copies += 1,
        (true, true) => {}
    }
    TRANSFERS.set(counts);
}
