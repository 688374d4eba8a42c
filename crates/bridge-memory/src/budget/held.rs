//! Results that keep their room in a budget.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bridge_convert::{Convert, ConvertByName, Report};
use bridge_core::{
    Admission, Array, Device, DeviceBytes, Error, NativeArray, Options, Permit, Refused, Result,
};

use super::account::Consumer;
use super::reservation::Reservation;

/// A value, and the room that the memory it took has in a budget: given back when this is dropped.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    reservation: Reservation,
}

impl<T> Held<T> {
    /// Keeps a reservation as long as a value lives.
    pub fn new(value: T, reservation: Reservation) -> Self {
        Self { value, reservation }
    }

    /// The room that it has.
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// The value and its room, apart.
    pub fn into_parts(self) -> (T, Reservation) {
        (self.value, self.reservation)
    }

    /// The same room for what is made of the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Held<U> {
        Held { value: f(self.value), reservation: self.reservation }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Converts arrays within a budget, where the result keeps the room of its memory.
///
/// Under [`Options::within`] alone, a conversion gives all its room back when it is done, the result's
/// too. A result that shares memory with its source, or takes it over, takes none.
///
/// ```
/// use bridge_core::{DataType, ManagedTensor, Options};
/// use bridge_memory::budget::{Budget, ConvertHeld};
/// # use bridge_host as _;
///
/// let budget = Budget::new("images", 1 << 20)?;
/// let tensor = ManagedTensor::from_vec(vec![1_u8; 1000], &[1000])?;
/// let options = Options::default().cast(DataType::F32);
/// let wide = tensor.convert_held::<ManagedTensor>(options, &budget.consumer("wide"))?;
/// assert_eq!((budget.reserved(), wide.shape()), (4000, &[1000][..]));
/// drop(wide);
/// assert_eq!(budget.reserved(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ConvertHeld<A, B: 'static>: Convert<A, B> {
    /// Converts under `options`, within the budget of `consumer`.
    ///
    /// # Errors
    ///
    /// As [`Convert::convert_to`], and [`Shortage`](super::Shortage) where there is no room. The array
    /// comes back.
    fn convert_held<T: NativeArray<B>>(
        self,
        options: Options<'_>,
        consumer: &Consumer,
    ) -> Result<Held<T>, Refused<Self>> {
        let keeping = Keeping::of(consumer);
        let (value, report) = self.convert_reported::<T>(options.within(&keeping))?;
        Ok(keeping.held(value, &report))
    }
}

impl<S: Convert<A, B>, A, B: 'static> ConvertHeld<A, B> for S {}

/// Converts arrays by name within a budget, where the result keeps the room of its memory.
pub trait ConvertHeldByName: ConvertByName {
    /// Converts under `options`, within the budget of `consumer`.
    ///
    /// # Errors
    ///
    /// As [`ConvertByName::convert`], and [`Shortage`](super::Shortage) where there is no room. The
    /// array comes back.
    fn convert_held(
        &self,
        array: Array,
        target: &str,
        options: Options<'_>,
        consumer: &Consumer,
    ) -> Result<Held<Array>, Refused<Array>> {
        let keeping = Keeping::of(consumer);
        let (value, report) = self.convert_reported(array, target, options.within(&keeping))?;
        Ok(keeping.held(value, &report))
    }
}

impl<R: ConvertByName + ?Sized> ConvertHeldByName for R {}

/// Reserves for a conversion, and keeps what it reserved when that is done.
struct Keeping<'a> {
    consumer: &'a Consumer,
    kept: Arc<Mutex<Option<Reservation>>>,
}

/// Room of a conversion, or of a way of it that was tried; kept where it ends, until another way is tried.
struct Room {
    reservation: Option<Reservation>,
    kept: Arc<Mutex<Option<Reservation>>>,
}

impl<'a> Keeping<'a> {
    fn of(consumer: &'a Consumer) -> Self {
        Self { consumer, kept: Arc::default() }
    }

    /// The value with as much of what was reserved as it took.
    fn held<T>(self, value: T, report: &Report) -> Held<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut reservation = kept.unwrap_or_else(|| self.consumer.nothing());
        let taken = report.taken.filter(|taken| self.consumer.account.budget.counts(taken.device));
        let needed = taken.map_or(0, |taken| taken.bytes).min(reservation.bytes());
        let reservation = reservation.split(needed).unwrap_or(reservation);
        Held { value, reservation }
    }
}

impl Admission for Keeping<'_> {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
        // A shortcut that refused has given its memory back, and its room with it.
        drop(self.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
        let reservation = Some(self.consumer.reserve_peaks(peaks)?);
        Ok(Permit::new(Room { reservation, kept: Arc::clone(&self.kept) }))
    }

    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool {
        self.consumer.recover(device, error, attempt)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *kept, &mut self.reservation) {
            (Some(kept), Some(more)) => kept.absorb(more),
            (kept, reservation) => *kept = reservation.take(),
        }
    }
}
