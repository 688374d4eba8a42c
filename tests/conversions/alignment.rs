//! A target that needs more alignment than its elements gets it, wherever the memory comes from.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{
    Array, Convert, ConvertByName, ManagedTensor, Options, Registration, Registry, Step,
};
use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, Error, NativeArray,
    NativeType, Refused, Result,
};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator};

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

#[test]
fn what_a_device_downloads_is_copied_once_more_where_it_lies_wrong() {
    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
        Registration::backend(&PageAligned),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let array = Array::new(ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0], &[3]).unwrap());
    let there = Options::default().on(DEVICES[0]);
    let array = registry.convert(array, "fake-accelerator", there).unwrap();
    let (array, report) =
        registry.convert_reported(array, "page-aligned", Options::default()).unwrap();
    let download = Step::Download { from: DEVICES[0] };
    assert_eq!(report.steps.as_slice(), [download, Step::Copy, Step::Share]);
    assert_eq!(report.bytes_copied, 24);
    let Ok(Aligned(tensor)) = array.downcast::<Aligned>() else { panic!("another type") };
    let values: SharedArray<f32> = tensor.convert().unwrap();
    assert_eq!(values.view().as_slice(), Some(&[1.0, 2.0, 3.0][..]));
}
