//! What the code refers to that the attribute `on` writes. It is not for people.

use std::future::Future;

pub use bridge_core::{Admission, Array, Device, Error, MemorySource, Registry, Result, inventory};

use super::{Call, CallOptions};

/// Begins a call in the program's registry.
///
/// # Errors
///
/// As [`Registry::global`].
pub fn begin(options: CallOptions<'_>) -> Result<Call<'_>> {
    Ok(Call::new(Registry::global()?, options))
}

/// The device that a text names.
///
/// # Errors
///
/// Where it names none.
pub fn device(text: &str) -> Result<Device> {
    Ok(text.parse::<Device>()?)
}

/// The device that an expression gives.
///
/// # Errors
///
/// None; it is a result to be like [`device`].
pub fn given_device(device: Device) -> Result<Device> {
    Ok(device)
}

/// The future, known to give `T`.
pub fn giving<T, F: Future<Output = T>>(future: F) -> F {
    future
}

/// The parts of a [`Result`] type, whatever it is called.
pub trait Fallible {
    /// What it holds where all went well.
    type Value;
    /// Its error.
    type Error;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;
}
