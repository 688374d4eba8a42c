//! The pool of a device's memory.

use std::fmt;
use std::sync::{Arc, Weak};

use bridge_core::{
    Allocator, DataType, Device, Error, Facts, ManagedTensor, Registry, Result, Runtime, TensorSpec,
};

use super::device_buffer::DeviceBuffer;
use super::host_pool::{ALIGNMENT, PoolOptions};
use super::room::{Block, Budgeted, Keeper, released_by};
use super::shelf::Limits;
use super::size_class::{Exact, SizeClass};
use super::stats::{PoolStats, Released};
use super::store::Store;
use crate::recovery::ReleaseHook;
use crate::sync::{AtomicU64, Ordering};

/// Memory of one device that is used again: of an accelerator, or pinned memory of the host.
///
/// It comes from the allocator of a backend. Where that one [keeps](Allocator::caches) freed memory
/// itself, as torch's does, the pool keeps nothing and only counts. Memory that came back is handed
/// out again once the device has finished with it: the pool waits for the device where nobody has since. All
/// that is kept is freed when the [caches of the device are released](crate::recovery::release_caches).
/// Where the device has addresses, blocks are aligned to 64 bytes; an allocator that gives others is refused.
///
/// Clones are the same pool, which all threads can use at any time.
///
/// ```
/// # use bridge_core::{Registration, Registry};
/// use bridge_memory::pool::DevicePool;
/// # use bridge_testkit::fake_accelerator::{DEVICES, REGISTRATIONS};
/// # let registry = Registry::new(REGISTRATIONS.iter().copied());
/// # let device = DEVICES[0];
///
/// let pool = DevicePool::new(&registry, device)?;
/// drop(pool.acquire(1000)?);
/// let again = pool.acquire(1000)?;
/// assert_eq!((pool.stats().hits, again.tensor().device()), (1, device));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Clone)]
pub struct DevicePool {
    home: Arc<DeviceHome>,
}

/// Where device buffers come from and go back to.
pub(super) struct DeviceHome {
    store: Store<Block<ManagedTensor>>,
    classes: Box<dyn SizeClass>,
    allocator: &'static dyn Allocator,
    /// Who waits for the device; nobody has to for memory of a host without one.
    runtime: Option<&'static dyn Runtime>,
    device: Device,
    /// The device has finished with all blocks that came back until then.
    finished: AtomicU64,
    budgeted: Option<Budgeted>,
    _released: ReleaseHook,
}

impl Keeper for DeviceHome {
    type Block = Block<ManagedTensor>;

    fn store(&self) -> &Store<Block<ManagedTensor>> {
        &self.store
    }
}

impl DevicePool {
    /// A pool of the device's memory as [`PoolOptions::new`] describes it.
    ///
    /// # Errors
    ///
    /// As [`PoolOptions::build_on`].
    pub fn new(registry: &Registry, device: Device) -> Result<Self> {
        PoolOptions::new().build_on(registry, device)
    }

    /// A buffer of so many bytes. What they are is not told: zeros, or what was there before.
    ///
    /// # Errors
    ///
    /// Out of memory, after all that the pool keeps has been freed; a
    /// [`Shortage`](crate::budget::Shortage) of the pool's budget; what else the device reports. An
    /// allocator that gives something else than it was asked for is named, in an [`Error::Framework`].
    pub fn acquire(&self, bytes: usize) -> Result<DeviceBuffer> {
        let size = self.home.classes.size(bytes).max(bytes);
        let block = match self.home.store.take(size, bytes) {
            Some((came, block)) => {
                if let Err(error) = self.home.wait_for_block(came) {
                    self.home.give_back(size, block);
                    return Err(error);
                }
                block
            }
            None => self.home.allocate(size, bytes)?,
        };
        // All bytes of it: of a budget that is nearly full it is no larger than was asked for.
        let size = block.memory.layout().element_count();
        Ok(DeviceBuffer::new(block, bytes, size, Arc::clone(&self.home)))
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.home.device
    }

    /// Whose memory it is.
    pub fn allocator(&self) -> &'static dyn Allocator {
        self.home.allocator
    }

    /// Frees the buffers that came back first until at most `bytes` are kept.
    pub fn trim_to(&self, bytes: u64) -> Released {
        self.home.store.release(|kept, _| kept.bytes > bytes)
    }

    /// Frees all that is kept. Buffers in use come back as ever.
    pub fn clear(&self) -> Released {
        self.trim_to(0)
    }

    /// Whether a budget counts what the pool holds.
    pub(super) fn is_budgeted(&self) -> bool {
        self.home.budgeted.as_ref().is_some_and(Budgeted::counts)
    }

    /// What the pool holds, and how often it could help.
    pub fn stats(&self) -> PoolStats {
        self.home.store.stats()
    }
}

impl PoolOptions {
    /// A pool of memory of `device`, from the allocator of the backend that serves the device, or
    /// else from the first that holds memory of it.
    ///
    /// # Errors
    ///
    /// Where no allocator holds memory of the device.
    pub fn build_on(self, registry: &Registry, device: Device) -> Result<DevicePool> {
        let runtime = registry.runtime(device);
        let of_runtime = |one: &&dyn Allocator| {
            runtime.as_ref().is_ok_and(|own| own.backend().name() == one.backend().name())
        };
        let found = registry.allocators(device).find(of_runtime);
        match found.or_else(|| registry.allocators(device).next()) {
            Some(allocator) => self.build_over(allocator, runtime, device),
            None => Err(runtime.err().unwrap_or_else(|| no_allocator(device, "no backend"))),
        }
    }

    /// As [`build_on`](Self::build_on), from the allocator of the backend of this name.
    ///
    /// # Errors
    ///
    /// Where there is no such backend, or it holds no memory of the device.
    pub fn build_of(
        self,
        registry: &Registry,
        device: Device,
        backend: &str,
    ) -> Result<DevicePool> {
        let name = registry.backend(backend)?.name();
        let found = registry.allocators(device).find(|one| one.backend().name() == name);
        let allocator = found.ok_or_else(|| no_allocator(device, name))?;
        self.build_over(allocator, registry.runtime(device), device)
    }

    fn build_over(
        self,
        allocator: &'static dyn Allocator,
        runtime: Result<&'static dyn Runtime>,
        device: Device,
    ) -> Result<DevicePool> {
        let runtime = match runtime {
            Ok(runtime) => Some(runtime),
            // Without one nothing can be running that uses the host's memory.
            Err(_) if device.kind().is_host_accessible() => None,
            Err(error) => return Err(error),
        };
        let Self { mut limits, mut classes, room } = self;
        if allocator.caches(device) {
            (limits, classes) = (Limits { bytes: 0, blocks: 0 }, Box::new(Exact));
        }
        let home = Arc::new_cyclic(|home| {
            let _released = released_by(Weak::clone(home), room.as_ref(), device);
            let budgeted = room.map(|room| Budgeted::new(room, home, device));
            let (store, finished) = (Store::new(limits), AtomicU64::new(0));
            DeviceHome { store, classes, allocator, runtime, device, finished, budgeted, _released }
        });
        Ok(DevicePool { home })
    }
}

fn no_allocator(device: Device, who: &str) -> Error {
    Error::Unsupported {
        what: format!("a pool of memory of {device}"),
        remedy: format!("{who} allocates there: ask for another device or backend"),
    }
}

impl DeviceHome {
    #[cold]
    fn allocate(&self, size: usize, bytes: usize) -> Result<Box<Block<ManagedTensor>>> {
        let (room, size) = match &self.budgeted {
            Some(own) => {
                let (room, size) =
                    own.room.reserve_class(self.device, (size, bytes), &self.store)?;
                (Some(room), size)
            }
            None => (None, size),
        };
        let spec = TensorSpec::row_major(DataType::U8, &[size])?;
        let tensor = match self.allocator.allocate(&spec, self.device) {
            Err(error) if error.out_of_memory().is_some() => {
                if self.store.release(|_, _| true).count == 0 {
                    return Err(error);
                }
                self.allocator.allocate(&spec, self.device)?
            }
            other => other?,
        };
        self.check(&tensor, size)?;
        self.store.took_fresh(size, bytes);
        Ok(Box::new(Block::new(tensor, room)))
    }

    /// Checks that an allocator gave what it was asked for, on which unsafe code and plans rely.
    fn check(&self, tensor: &ManagedTensor, size: usize) -> Result<()> {
        let wrong = |found: String| Error::Framework {
            backend: self.allocator.backend().name(),
            operation: "allocate",
            message: format!("asked for {size} bytes of {}, it gave {found}", self.device),
        };
        let Facts { data_type, device, layout, alignment, .. } = tensor.facts();
        let whole = layout.is_row_major() && layout.shape() == [size];
        if !(whole && data_type == DataType::U8 && device == self.device) {
            return Err(wrong(format!("{tensor:?}")));
        }
        if device.kind().has_addresses() && alignment < ALIGNMENT && size > 0 {
            let found =
                format!("memory aligned to {alignment} bytes, and a pool needs {ALIGNMENT}");
            return Err(wrong(found));
        }
        Ok(())
    }

    /// Waits until the device has finished with a block that came back then.
    fn wait_for_block(&self, came: u64) -> Result<()> {
        if came <= self.finished.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(runtime) = self.runtime else { return Ok(()) };
        let until = self.store.tick();
        runtime.synchronize(self.device)?;
        self.finished.fetch_max(until, Ordering::AcqRel);
        Ok(())
    }

    pub(super) fn give_back(&self, size: usize, block: Box<Block<ManagedTensor>>) {
        self.store.give_back(size, block);
    }
}

impl fmt::Debug for DevicePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevicePool")
            .field("device", &self.home.device)
            .field("allocator", &self.home.allocator)
            .field("stats", &self.stats())
            .finish()
    }
}
