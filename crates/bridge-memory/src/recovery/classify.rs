//! Which errors say that memory ran out.

use std::collections::TryReserveError;
use std::error::Error as StdError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_core::{Array, Backend, Device, Error, ManagedTensor, Refused, Registry, TensorError};

use crate::budget::Shortage;

/// The most errors of one chain that are looked at: a chain that is longer goes in a circle.
const LONGEST_CHAIN: usize = 64;

/// What an error tells of the memory that ran out.
#[derive(Debug, Clone, Copy)]
pub struct OutOfMemory {
    /// Whose memory, where the error says so.
    pub device: Option<Device>,
    /// How many bytes were asked for, where the error says so.
    pub bytes: Option<u64>,
    /// The backend whose framework reported it, where one did.
    pub backend: Option<&'static dyn Backend>,
}

impl OutOfMemory {
    fn on(device: Device, bytes: Option<u64>) -> Self {
        Self { device: Some(device), bytes, backend: None }
    }
}

/// Whether an error says that memory ran out: as [`out_of_memory`].
pub fn is_out_of_memory(registry: &Registry, error: &(dyn StdError + 'static)) -> bool {
    out_of_memory(Some(registry), error).is_some()
}

/// What an error tells of memory that ran out; `None` where it is about something else.
///
/// It and its sources are looked at one after the other: errors of arraybridge, [`TryReserveError`],
/// [`io::ErrorKind::OutOfMemory`], and then what each backend of the registry says of its framework's
/// own ([`Backend::is_out_of_memory`]). Types and codes tell, not texts.
///
/// A budget that has no room *now* counts, as others give some back; what is more than its whole
/// capacity does not.
pub fn out_of_memory(
    registry: Option<&Registry>,
    error: &(dyn StdError + 'static),
) -> Option<OutOfMemory> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain
        .take(LONGEST_CHAIN)
        .find_map(|error| of_known_type(error).or_else(|| asked(registry, error)))
}

/// What the errors of arraybridge and of the standard library tell.
fn of_known_type(error: &(dyn StdError + 'static)) -> Option<OutOfMemory> {
    if let Some(error) = of_arraybridge(error) {
        return of_core(error);
    }
    if let Some(error) = error.downcast_ref::<TensorError>() {
        return of_tensor(error);
    }
    if let Some(refused) = error.downcast_ref::<Refused<ManagedTensor, TensorError>>() {
        return of_tensor(refused.error());
    }
    if let Some(shortage) = error.downcast_ref::<Shortage>() {
        return of_shortage(shortage);
    }
    if error.is::<TryReserveError>() {
        return Some(OutOfMemory::on(Device::CPU, None));
    }
    let io = error.downcast_ref::<io::Error>()?;
    if io.kind() == io::ErrorKind::OutOfMemory {
        return Some(OutOfMemory::on(Device::CPU, None));
    }
    // The source of an io::Error is that of the error inside, which it passes over.
    of_known_type(io.get_ref()?)
}

/// An error of arraybridge, also in the boxes and refusals that are errors of their own.
fn of_arraybridge<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let boxed = || error.downcast_ref::<Box<Error>>().map(|error| &**error);
    let array = || error.downcast_ref::<Refused<Array>>().map(Refused::error);
    let tensor = || error.downcast_ref::<Refused<ManagedTensor>>().map(Refused::error);
    error.downcast_ref().or_else(boxed).or_else(array).or_else(tensor)
}

fn of_core(error: &Error) -> Option<OutOfMemory> {
    match error {
        Error::Tensor(error) => of_tensor(error),
        Error::NotAdmitted(why) => of_known_type(&**why),
        // The sources of others are looked at in their turn.
        _ => None,
    }
}

fn of_tensor(error: &TensorError) -> Option<OutOfMemory> {
    match *error {
        TensorError::OutOfMemory { device, requested } => {
            Some(OutOfMemory::on(device, Some(requested)))
        }
        _ => None,
    }
}

/// A budget may have room for it later, or never.
fn of_shortage(shortage: &Shortage) -> Option<OutOfMemory> {
    let &Shortage::NotNow { need, device, .. } = shortage else { return None };
    Some(OutOfMemory { device, bytes: Some(need), backend: None })
}

/// What the backends say. One that panics says nothing.
fn asked(registry: Option<&Registry>, error: &(dyn StdError + 'static)) -> Option<OutOfMemory> {
    let says = |backend: &&'static dyn Backend| {
        catch_unwind(AssertUnwindSafe(|| backend.is_out_of_memory(error))).unwrap_or(false)
    };
    let backend = registry?.backends().iter().copied().find(says)?;
    Some(OutOfMemory { device: None, bytes: None, backend: Some(backend) })
}
