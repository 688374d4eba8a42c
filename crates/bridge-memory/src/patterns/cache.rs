//! Conversions that are made once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bridge_convert::ConvertByName;
use bridge_core::{Array, Device, Options, Refused, Registry, Result};

use super::conversion_source::{ConversionSource, Follower};

/// Keeps conversions of shared arrays: each is made when it is first asked for and given out again
/// from then on.
///
/// A conversion is known by its source, the backend and the device. The cache holds no source: when
/// the last clone of a [`ConversionSource`] is dropped, its conversions are freed, even those that share
/// its memory. Where the conversions take more bytes than the cache may hold, those that were not asked
/// for the longest go first. What has been given out lives on with who has it.
///
/// Several threads may use it; where they ask for the same conversion, one makes it.
///
/// ```
/// use bridge_core::{Array, ManagedTensor, Registration, Registry};
/// use bridge_memory::patterns::{ConversionCache, ConversionSource};
/// use bridge_testkit::fake_accelerator;
///
/// let tools = [Registration::host_tools(&bridge_host::HostKernels)];
/// let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
/// let cache = ConversionCache::of(&registry, 1 << 30);
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0], &[2])?);
/// let array = ConversionSource::new(array)?;
/// let uploaded = cache.get(&array, "fake-accelerator", None)?;
/// let again = cache.get(&array, "fake-accelerator", None)?;
/// assert!(uploaded.is_same(&again));
/// drop(array);
/// assert_eq!(cache.held().conversions, 0);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct ConversionCache<'r> {
    registry: &'r Registry,
    kept: Arc<Kept>,
}

/// An array that a [`ConversionCache`] has converted. Clones are the same array, which threads use one
/// at a time.
#[derive(Clone)]
pub struct Converted(Arc<Mutex<Array>>);

/// What a [`ConversionCache`] holds, and how often it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Conversions kept.
    pub conversions: usize,
    /// Bytes that they take. One that shares its source's memory takes none.
    pub bytes: u64,
    /// How often a conversion was there already.
    pub hits: u64,
    /// How often one had to be made.
    pub misses: u64,
    /// How many were given up for room.
    pub evictions: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: u64,
    backend: &'static str,
    device: Option<Device>,
}

/// One conversion, locked by whoever makes it; nothing where it failed.
type Slot = Arc<Mutex<Option<Converted>>>;

struct Kept {
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, Used>,
    time: u64,
    held: Held,
}

struct Used {
    slot: Slot,
    /// Bytes that are counted for it; `None` while it is made.
    bytes: Option<u64>,
    last: u64,
}

impl ConversionCache<'static> {
    /// A cache of conversions with what is linked into the program, which holds at most `capacity`
    /// bytes.
    ///
    /// # Errors
    ///
    /// As [`Registry::global`].
    pub fn new(capacity: u64) -> Result<Self> {
        Ok(Self::of(Registry::global()?, capacity))
    }
}

impl<'r> ConversionCache<'r> {
    /// A cache of conversions with what `registry` has, which holds at most `capacity` bytes. With 0 it
    /// keeps only conversions that share their source's memory.
    pub fn of(registry: &'r Registry, capacity: u64) -> Self {
        let state = Mutex::default();
        Self { registry, kept: Arc::new(Kept { capacity, state }) }
    }

    /// The array, converted to the backend of this name, on `device` or where the conversion leaves
    /// it. A conversion larger than the cache is made and not kept.
    ///
    /// # Errors
    ///
    /// As [`ConvertByName::convert`]. A conversion that failed is tried again the next time.
    pub fn get(
        &self,
        source: &ConversionSource,
        backend: &str,
        device: Option<Device>,
    ) -> Result<Converted> {
        let backend = self.registry.backend(backend)?.name();
        let key = Key { source: source.number(), backend, device };
        let kept: Weak<Kept> = Arc::downgrade(&self.kept);
        source.follow(kept);
        let slot = self.kept.slot(key);
        // Whoever is first makes the conversion, the others wait for it here.
        let mut made = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(converted) = &*made {
            self.kept.lock().held.hits += 1;
            return Ok(converted.clone());
        }
        let options = device.map_or_else(Options::default, |device| Options::default().on(device));
        let converted = self.registry.convert_reported(source.alias(), backend, options);
        let (array, report) = converted.map_err(Refused::into_error)?;
        let bytes = if report.is_zero_copy() { 0 } else { bytes_of(&array)? };
        let converted = Converted(Arc::new(Mutex::new(array)));
        *made = Some(converted.clone());
        drop(made);
        self.kept.keep(&key, &slot, bytes);
        Ok(converted)
    }

    /// Frees the conversions of one array: it has been written to, say.
    pub fn forget(&self, source: &ConversionSource) {
        self.kept.gone(source.number());
    }

    /// Frees all conversions.
    pub fn clear(&self) {
        self.kept.take(|_, _| true);
    }

    /// What it holds, and how often it was asked.
    pub fn held(&self) -> Held {
        self.kept.lock().held
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a conversion, which is now the one asked for last.
    fn slot(&self, key: Key) -> Slot {
        let mut state = self.lock();
        state.time += 1;
        let last = state.time;
        let new = || Used { slot: Slot::default(), bytes: None, last };
        let used = state.slots.entry(key).or_insert_with(new);
        used.last = last;
        Arc::clone(&used.slot)
    }

    /// Counts a conversion that has been made, and gives others up until all have room.
    fn keep(&self, key: &Key, slot: &Slot, bytes: u64) {
        let mut freed = Vec::new();
        let mut state = self.lock();
        state.held.misses += 1;
        // Meanwhile it may have been cleared, or its source dropped.
        match state.slots.get_mut(key).filter(|used| Arc::ptr_eq(&used.slot, slot)) {
            Some(used) => used.bytes = Some(bytes),
            None => return,
        }
        state.held.conversions += 1;
        state.held.bytes = state.held.bytes.saturating_add(bytes);
        if bytes > self.capacity {
            freed.extend(state.remove(key));
        }
        while state.held.bytes > self.capacity {
            let takes_room = |used: &Used| used.bytes.is_some_and(|bytes| bytes > 0);
            let candidates = state.slots.iter().filter(|(_, used)| takes_room(used));
            let Some(oldest) = candidates.min_by_key(|(_, used)| used.last).map(|(&key, _)| key)
            else {
                break;
            };
            freed.extend(state.remove(&oldest));
            state.held.evictions += 1;
        }
        drop(state);
        // Freeing an array may take a while, or ask the cache.
        drop(freed);
    }

    /// Frees the conversions that `chosen` says.
    fn take(&self, chosen: impl Fn(&Key, &Used) -> bool) {
        let mut state = self.lock();
        let found = state.slots.iter().filter(|(key, used)| chosen(key, used));
        let keys: Vec<_> = found.map(|(&key, _)| key).collect();
        let freed: Vec<_> = keys.iter().filter_map(|key| state.remove(key)).collect();
        drop(state);
        drop(freed);
    }
}

impl State {
    fn remove(&mut self, key: &Key) -> Option<Used> {
        let used = self.slots.remove(key)?;
        if let Some(bytes) = used.bytes {
            self.held.conversions -= 1;
            self.held.bytes = self.held.bytes.saturating_sub(bytes);
        }
        Some(used)
    }
}

impl Follower for Kept {
    fn gone(&self, source: u64) {
        self.take(|key, _| key.source == source);
    }
}

impl Converted {
    /// Lets `look` see the array. It must not ask for the same array again meanwhile, which would wait
    /// for itself.
    pub fn with<R>(&self, look: impl FnOnce(&Array) -> R) -> R {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A clone of the framework's own array, where it is a `T`: for frameworks whose clones are cheap
    /// and share their memory.
    pub fn cloned<T: Clone + 'static>(&self) -> Option<T> {
        self.with(|array| array.downcast_ref::<T>().cloned())
    }

    /// Whether both are the same array.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_lock() {
            Ok(array) => write!(f, "Converted({array:?})"),
            Err(_) => f.write_str("Converted(in use)"),
        }
    }
}

impl fmt::Debug for ConversionCache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ConversionCache");
        debug.field("capacity", &self.kept.capacity).field("held", &self.held());
        debug.finish_non_exhaustive()
    }
}

/// The bytes of an array's elements.
fn bytes_of(array: &Array) -> Result<u64> {
    let found = array.describe()?;
    Ok(found.layout.compact_bytes(found.data_type)? as u64)
}
