//! A registry with the fake accelerator and a host backend, and counts of conversions.

use std::borrow::Cow;
use std::sync::Arc;

use bridge_convert::{Counters, Watching, observe};
use bridge_core::{
    Accepts, Array, Availability, Backend, DataType, Description, Descriptor, Device,
    ManagedTensor, NativeArray, NativeType, Refused, Registration, Registry, Result,
};
use bridge_testkit::fake_accelerator;

/// A backend over host memory whose array is a tensor.
pub(crate) struct Host;

pub(crate) struct HostArray(pub(crate) ManagedTensor);

static DESCRIPTOR: Descriptor =
    Descriptor { name: "host", aliases: &["plain"], framework: "a test", priority: 0 };

impl Backend for Host {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(&[Device::CPU]) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<HostArray, Host>()] }
    }
}

impl NativeArray<Host> for HostArray {
    const ACCEPTS: Accepts = Accepts::host(DataType::NAMED);

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Ok(self.0.describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(self.0)
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        Ok(Self(tensor))
    }
}

pub(crate) const FAKE: &str = "fake-accelerator";

pub(crate) fn registry() -> Registry {
    let tools = Registration::host_tools(&bridge_host::HostKernels);
    let own = [Registration::backend(&Host), tools];
    Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(own))
}

pub(crate) fn fake(ordinal: usize) -> Device {
    fake_accelerator::DEVICES[ordinal]
}

/// 0, 1, 2 and so on as float32, an array of the host backend.
pub(crate) fn numbers(count: usize) -> Array {
    let values = (0..count).map(|n| n as f32).collect();
    Array::new(HostArray(ManagedTensor::from_vec(values, &[count]).unwrap()))
}

/// The elements of a host array.
pub(crate) fn elements(array: Array) -> Vec<f32> {
    let tensor = array.downcast::<HostArray>().unwrap().0;
    tensor.as_slice::<f32>().unwrap().to_vec()
}

/// Counts this thread's conversions.
pub(crate) struct Counted {
    counters: Arc<Counters>,
    _watching: Watching,
}

pub(crate) fn count() -> Counted {
    let counters = Arc::new(Counters::default());
    let watching = observe(counters.clone());
    Counted { counters, _watching: watching }
}

impl Counted {
    pub(crate) fn conversions(&self) -> u64 {
        self.counters.rows().iter().map(|row| row.count.conversions).sum()
    }
}
