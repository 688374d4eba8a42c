//! DLPack descriptors of any numbers, imported as `ManagedTensor::from_dlpack` and its like do.
//!
//! A descriptor is a promise about memory, which nobody can check. The descriptors made here promise nothing
//! untrue: either all their elements lie within the buffer that is handed over with them, as
//! [`Descriptor::verdict`] counts, in wider numbers than the library; or they have to be refused whatever the
//! memory is, and then their pointers may lead nowhere. All others are left out.
//!
//! The one thing that is made up is the device: a descriptor may say that its elements, which are in host
//! memory, are a GPU's. No code that is linked here reads such memory, and the library has to refuse to.

mod descriptor;
mod producer;
mod reading;

use self::descriptor::{Descriptor, Verdict};
use self::producer::Producer;

/// Imports the descriptor that these bytes stand for, and reads what is accepted through the safe interface.
/// Answers whether there was one to import.
///
/// # Panics
///
/// Where a descriptor that has to be refused is accepted, where a tensor is not as its descriptor says or reads
/// other bytes than its elements, and where the deleter does not run exactly once.
pub fn import(bytes: &[u8]) -> bool {
    let descriptor = Descriptor::read(bytes);
    let verdict = descriptor.verdict();
    let Some(producer) = Producer::new(&descriptor, &verdict) else {
        return false;
    };
    let memory = producer.memory();
    let (imported, deletion) = producer.import();
    match imported {
        Ok(tensor) => {
            let Verdict::Within(extent) = &verdict else {
                panic!("accepted: {descriptor:?}");
            };
            assert_eq!(deletion.count(), 0, "the deleter has run before: {descriptor:?}");
            reading::read(tensor, &descriptor, extent, &memory);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(deletion.count(), deletion.expected(), "runs of the deleter: {descriptor:?}");
    true
}
