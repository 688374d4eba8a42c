//! An array whose conversions are made when they are asked for.

use bridge_core::{Array, Device, Refused, Registry, Result};

use super::cache::{ConversionCache, Converted, Held};
use super::conversion_source::ConversionSource;

/// An array, and its conversions: each is made when it is first asked for, and kept until the array is
/// dropped or they are [cleared](Self::clear).
///
/// ```
/// use bridge_core::{Array, ManagedTensor, Registration, Registry};
/// use bridge_memory::patterns::Lazy;
/// use bridge_testkit::fake_accelerator;
///
/// let tools = [Registration::host_tools(&bridge_host::HostKernels)];
/// let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
/// let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0], &[2])?);
/// let lazy = Lazy::of(&registry, array)?;
/// let uploaded = lazy.as_type("fake-accelerator", None)?; // converts
/// let again = lazy.as_type("fake-accelerator", None)?; // does not
/// assert!(uploaded.is_same(&again));
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Lazy<'r> {
    source: ConversionSource,
    cache: ConversionCache<'r>,
}

impl Lazy<'static> {
    /// An array that is converted with what is linked into the program.
    ///
    /// # Errors
    ///
    /// As [`Registry::global`], or where the array cannot be handed over; it comes back.
    pub fn new(array: Array) -> Result<Self, Refused<Array>> {
        match Registry::global() {
            Ok(registry) => Self::of(registry, array),
            Err(error) => Err(Refused::new(array, error)),
        }
    }
}

impl<'r> Lazy<'r> {
    /// An array that is converted with what `registry` has.
    ///
    /// # Errors
    ///
    /// Where the array cannot be handed over; it comes back.
    pub fn of(registry: &'r Registry, array: Array) -> Result<Self, Refused<Array>> {
        let cache = ConversionCache::of(registry, u64::MAX);
        Ok(Self { source: ConversionSource::new(array)?, cache })
    }

    /// The array as one of the backend of this name, on `device` or where the conversion leaves it.
    ///
    /// # Errors
    ///
    /// As [`ConversionCache::get`].
    pub fn as_type(&self, backend: &str, device: Option<Device>) -> Result<Converted> {
        self.cache.get(&self.source, backend, device)
    }

    /// The array itself.
    pub fn source(&self) -> &ConversionSource {
        &self.source
    }

    /// What its conversions take, and how often they were asked for.
    pub fn held(&self) -> Held {
        self.cache.held()
    }

    /// Frees the conversions.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// The array itself, where nobody else uses its memory. The conversions kept are freed first.
    ///
    /// # Errors
    ///
    /// The array, lazy as before, its conversions freed.
    pub fn into_array(self) -> Result<Array, Self> {
        let Self { source, cache } = self;
        cache.clear();
        source.try_unwrap().map_err(|source| Self { source, cache })
    }
}
