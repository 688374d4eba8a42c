//! Staging buffers: pinned memory that copies of pageable memory go through. They are kept and reused;
//! nothing is pinned for a single copy.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bridge_core::{Holdings, Result};

use crate::gpu::Opened;
use crate::gpu::event::Event;
use crate::memory::pinned::Pinned;

/// The smallest buffer.
const SMALLEST: usize = 64 << 10;
/// The most bytes that the buffers of all threads take together, unless [`LIMIT`] says otherwise.
const MOST: usize = 256 << 20;
/// The environment variable for another number of bytes.
const LIMIT: &str = "ARRAYBRIDGE_CUDA_STAGING";

/// A staging buffer of one thread, put back for all threads on drop.
pub(crate) struct Staging {
    /// `None` once it was put back.
    memory: Option<Pinned>,
    /// The last use by a device; until it is over, nobody writes to the buffer.
    used: Option<Event>,
}

struct Idle {
    memory: Pinned,
    used: Option<Event>,
}

struct Shelf {
    /// In the order in which they were put back.
    idle: Vec<Idle>,
    /// Bytes of all buffers, idle or not, until they are freed, and from before they are pinned.
    total: usize,
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { idle: Vec::new(), total: 0 });
static RETURNED: Condvar = Condvar::new();

/// The most bytes. A larger buffer is given to one thread at a time, when nobody else has any.
fn most() -> usize {
    static LIMITED: OnceLock<usize> = OnceLock::new();
    *LIMITED.get_or_init(|| {
        let limit = std::env::var(LIMIT).ok().and_then(|bytes| bytes.parse().ok());
        limit.unwrap_or(MOST)
    })
}

fn shelf() -> MutexGuard<'static, Shelf> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Staging {
    /// A buffer of at least `bytes`. Waits while other threads have all there may be; so a thread takes
    /// only its first buffer this way, and more with [`try_take`](Self::try_take).
    pub(crate) fn take(gpu: &'static Opened, bytes: usize) -> Result<Self> {
        let size = size_for(bytes);
        let mut shelf = shelf();
        loop {
            match shelf.find(size) {
                Some(found) => {
                    drop(shelf);
                    return found.ready(gpu, size);
                }
                None => shelf = RETURNED.wait(shelf).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// As [`take`](Self::take), but `None` where it would wait for other threads.
    pub(crate) fn try_take(gpu: &'static Opened, bytes: usize) -> Result<Option<Self>> {
        let size = size_for(bytes);
        let found = shelf().find(size);
        found.map(|found| found.ready(gpu, size)).transpose()
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), Pinned::as_ptr)
    }

    /// Says that a device uses the buffer until `event`.
    pub(crate) fn used_until(&mut self, event: Event) {
        self.used = Some(event);
    }

    /// Whether a device was given work with the buffer that has not been waited for.
    pub(crate) fn is_used(&self) -> bool {
        self.used.is_some()
    }

    /// Waits until the device that uses the buffer is done.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.used.take().map_or(Ok(()), |used| used.synchronize())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            shelf().idle.push(Idle { memory, used: self.used.take() });
            // Those who wait want different sizes; one of them may not be served by this.
            RETURNED.notify_all();
        }
    }
}

/// Bytes of the buffer that serves so many.
pub(crate) fn size_for(bytes: usize) -> usize {
    bytes.max(SMALLEST).checked_next_power_of_two().unwrap_or(bytes)
}

/// What a thread is given: a buffer, or the right to pin one once those that make room for it are freed.
struct Found {
    reused: Option<Idle>,
    given_up: Vec<Idle>,
    /// Bytes by which those given up are more than what they make room for.
    surplus: usize,
}

impl Shelf {
    fn find(&mut self, size: usize) -> Option<Found> {
        let free = |idle: &Idle| idle.used.as_ref().is_none_or(is_over);
        let of_size = |idle: &Idle| idle.memory.bytes() == size;
        let reused = self
            .idle
            .iter()
            .position(|idle| of_size(idle) && free(idle))
            // Two of a size let packing and copying overlap; more make the device no faster.
            .or_else(|| {
                let busy = self.idle.iter().filter(|idle| of_size(idle)).count();
                self.idle.iter().position(of_size).filter(|_| busy > 1)
            });
        if let Some(place) = reused {
            let reused = Some(self.idle.remove(place));
            return Some(Found { reused, given_up: Vec::new(), surplus: 0 });
        }
        let has_room = |total: usize| total == 0 || total.saturating_add(size) <= most();
        let (mut count, mut freed) = (0, 0);
        while !has_room(self.total - freed) {
            // Where too little is idle, the rest has to come back first.
            freed += self.idle.get(count)?.memory.bytes();
            count += 1;
        }
        let given_up = self.idle.drain(..count).collect();
        // Until the old ones are freed, they count.
        self.total += size.saturating_sub(freed);
        Some(Found { reused: None, given_up, surplus: freed.saturating_sub(size) })
    }
}

impl Found {
    fn ready(self, gpu: &'static Opened, size: usize) -> Result<Staging> {
        self.given_up.into_iter().for_each(Idle::free);
        if self.surplus > 0 {
            give_back(self.surplus);
        }
        if let Some(Idle { memory, used }) = self.reused {
            wait_out(used);
            return Ok(Staging { memory: Some(memory), used: None });
        }
        match Pinned::allocate(gpu, size) {
            Ok(memory) => Ok(Staging { memory: Some(memory), used: None }),
            Err(error) => {
                give_back(size);
                Err(error)
            }
        }
    }
}

/// Notes that so many bytes are no longer pinned.
fn give_back(bytes: usize) {
    shelf().total -= bytes;
    RETURNED.notify_all();
}

impl Idle {
    fn free(self) {
        wait_out(self.used);
    }
}

/// Waits until a use is over. An error is that of whoever used the buffer, who was told; a device
/// whose context is lost uses nothing any more.
fn wait_out(used: Option<Event>) {
    if let Some(used) = used {
        let _ = used.synchronize();
    }
}

fn is_over(used: &Event) -> bool {
    used.is_reached().unwrap_or(true)
}

/// Bytes of the staging buffers, those in use and those that are kept.
pub(crate) fn staging_bytes() -> Holdings {
    let shelf = shelf();
    let kept: usize = shelf.idle.iter().map(|one| one.memory.bytes()).sum();
    Holdings { in_use: shelf.total.saturating_sub(kept) as u64, cached: kept as u64 }
}

/// Gives the idle staging buffers back to the operating system, and returns how many bytes they had.
pub fn release_staging() -> u64 {
    let idle = std::mem::take(&mut shelf().idle);
    let freed = idle.iter().map(|one| one.memory.bytes()).sum();
    idle.into_iter().for_each(Idle::free);
    give_back(freed);
    freed as u64
}
