//! What comes from a device, for a target that needs more alignment than elements have.

use std::borrow::Cow;

use bridge_convert::{ConvertByName, Step};
use bridge_core::{
    Accepts, Array, Availability, Backend, DataType, Description, Descriptor, Device,
    ManagedTensor, NativeArray, NativeType, Options, Refused, Registration, Registry, Result,
};
use bridge_memory::budget::Budget;
use bridge_testkit::fake_accelerator::{self, DEVICES, Faults};

/// More than any allocator gives unasked.
const ALIGNMENT: usize = 4096;

struct Pages;

struct PageArray(ManagedTensor);

static DESCRIPTOR: Descriptor =
    Descriptor { name: "pages", aliases: &[], framework: "a test", priority: 0 };

impl Backend for Pages {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(&[Device::CPU]) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<PageArray, Pages>()] }
    }
}

impl NativeArray<Pages> for PageArray {
    const ACCEPTS: Accepts = Accepts::host(DataType::NAMED).aligned_to(ALIGNMENT);

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
        assert!(tensor.data().addr().is_multiple_of(ALIGNMENT));
        Ok(Self(tensor))
    }
}

#[test]
fn a_device_writes_into_aligned_memory_and_a_driver_that_cannot_has_room_for_a_copy() {
    let own = [Registration::backend(&Pages), Registration::host_tools(&bridge_host::HostKernels)];
    let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(own));
    let there = || {
        let tensor = ManagedTensor::from_vec(vec![1.0_f32; 250], &[250]).unwrap();
        let options = Options::default().on(DEVICES[0]);
        registry.convert(Array::new(tensor), "fake-accelerator", options).unwrap()
    };
    let download = Step::Download { from: DEVICES[0] };
    let convert = |array: Array| {
        let plan = registry.plan(&array, "pages", &Options::default()).unwrap();
        let told: u64 = plan.peaks.iter().map(|peak| peak.bytes).sum();
        let budget = Budget::new("test", told).unwrap();
        let options = Options::default().within(&budget);
        let (_, report) = registry.convert_reported(array, "pages", options).unwrap();
        assert_eq!((budget.status().peak, budget.reserved()), (told, 0));
        (told, report.steps.to_vec())
    };
    assert_eq!(convert(there()), (1000, vec![download.clone(), Step::Share]));
    let array = there();
    let _pinned = Faults::pinned_downloads().install();
    // Whether there is a copy is chance: the download may lie on a page of its own.
    let (told, steps) = convert(array);
    assert_eq!((told, steps.first(), steps.last()), (2000, Some(&download), Some(&Step::Share)));
}
