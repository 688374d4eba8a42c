//! A target that needs more alignment than its elements gets it, wherever the memory comes from.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::memory::budget::Budget;
use arraybridge::{
    Array, Convert, ConvertByName, ManagedTensor, Options, Registration, Registry, Step,
};
use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, Error, NativeArray,
    NativeType, Refused, Result,
};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator, Faults};

/// As much as a page, which no small allocation has by chance.
const NEEDED: usize = 4096;

struct Aligned(ManagedTensor);

struct PageAligned;

static DESCRIPTOR: Descriptor =
    Descriptor { name: "page-aligned", aliases: &[], framework: "of this test", priority: 0 };

impl NativeArray<PageAligned> for Aligned {
    const ACCEPTS: Accepts = Accepts::host(&[DataType::F32]).aligned_to(NEEDED);

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
        if tensor.first_element().addr().is_multiple_of(NEEDED) {
            return Ok(Self(tensor));
        }
        let (what, remedy) = ("another alignment".to_owned(), "copy it".to_owned());
        Err(Refused::new(tensor, Error::Unsupported { what, remedy }))
    }
}

impl Backend for PageAligned {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::HOST
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<Aligned, PageAligned>()] }
    }
}

/// What a driver downloads into memory of its own is copied once more; else the device writes where it suits.
#[test]
fn what_a_device_downloads_lies_right_in_the_end() {
    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
        Registration::backend(&PageAligned),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    // In this order: an aligned block that was freed may be handed out again.
    for pins in [true, false] {
        let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0], &[3]).unwrap());
        let there = Options::default().on(DEVICES[0]);
        let array = registry.convert(array, "fake-accelerator", there).unwrap();
        let _pinned = pins.then(|| Faults::pinned_downloads().install());
        let plan = registry.plan(&array, "page-aligned", &Options::default()).unwrap();
        let told: u64 = plan.peaks.iter().map(|peak| peak.bytes).sum();
        let budget = Budget::new("test", told).unwrap();
        let within = Options::default().within(&budget);
        let (array, report) = registry.convert_reported(array, "page-aligned", within).unwrap();
        let (download, share) = (Step::Download { from: DEVICES[0] }, Step::Share);
        let (steps, bytes) = match pins {
            false => (vec![download, share], 12),
            true => (vec![download, Step::Copy, share], 24),
        };
        assert_eq!((report.steps.to_vec(), report.bytes_copied), (steps, bytes));
        // Room for both is had before anything is taken.
        assert_eq!((told, budget.status().peak, budget.reserved()), (bytes, bytes, 0));
        let Ok(Aligned(tensor)) = array.downcast::<Aligned>() else { panic!("another type") };
        let values: SharedArray<f32> = tensor.convert().unwrap();
        assert_eq!(values.view().as_slice(), Some(&[1.0, 2.0, 3.0][..]));
    }
}
