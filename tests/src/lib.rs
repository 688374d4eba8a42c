//! What the tests across crates share.

use arraybridge::{
    Array, Backend, DataType, Description, Device, ManagedTensor, Mapping, NativeArray, Overflow,
    Registry,
};

/// The registry of this program: ndarray, candle, and what the features add.
pub fn registry() -> &'static Registry {
    Registry::global().expect("no duplicates are linked")
}

/// Every pair of backends that can run here. Those that cannot are said on the standard error, once
/// a call.
#[expect(clippy::print_stderr, reason = "what is not tested is said")]
pub fn pairs() -> Vec<(&'static dyn Backend, &'static dyn Backend)> {
    for backend in registry().backends() {
        if let Err(error) = backend.devices() {
            assert!(!bridge_testkit::is_required(backend.name()), "{error}");
            eprintln!("not tested: {error}");
        }
    }
    let available: Vec<_> = registry().available().collect();
    let with_all = |&source| available.iter().map(move |&target| (source, target));
    available.iter().flat_map(with_all).collect()
}

/// A 4×6 tensor of 0, 1, 2, … cast to `data_type`; booleans and unsigned scales wrap.
pub fn counting(data_type: DataType) -> ManagedTensor {
    let numbers = (0..24).map(f64::from).collect();
    let numbers = ManagedTensor::from_vec(numbers, &[4, 6]).expect("24 elements");
    bridge_host::to_data_type(&numbers, data_type, Overflow::Saturate).expect("a numeric type")
}

/// The elements of any host tensor as `f64`, in row-major order.
pub fn values(tensor: &ManagedTensor) -> Vec<f64> {
    let doubles = bridge_host::to_data_type(tensor, DataType::F64, Overflow::Refuse);
    doubles.expect("a real type").as_slice::<f64>().expect("row-major").to_vec()
}

/// The address of the element whose indices are all zero.
pub fn address(tensor: &ManagedTensor) -> usize {
    tensor.first_element().addr()
}

/// Where elements are: an address of the host, or a place on a device that the host cannot see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The address of the element whose indices are all zero.
    Host(usize),
    /// The same on the device, or its handle and the offset.
    Device(Device, usize),
}

/// Where an array's elements are. Memory that a device uses in place is the host's.
pub fn place(array: Array) -> (Place, Array) {
    let native = array.native_type();
    let tensor = array.export().expect("it can be exported");
    let (device, first) = (tensor.device(), address(&tensor));
    let runtime = || registry().runtime(device).expect("somebody serves the device");
    let (place, tensor) = if device.kind().is_host_accessible() {
        (Place::Host(first), tensor)
    } else if runtime().mapping(&tensor.describe(), Device::CPU) == Mapping::Possible {
        let on_host = runtime().map(tensor, Device::CPU).expect("it said so");
        let place = Place::Host(address(&on_host));
        (place, runtime().map(on_host, device).expect("it came from there"))
    } else {
        (Place::Device(device, first), tensor)
    };
    (place, Array::import(tensor, native).expect("it was exported"))
}

/// What a plan is told of an array.
pub fn described<B: Backend, T: NativeArray<B>>(array: &T) -> Description {
    array.describe().expect("it can be exported")
}

/// The examples of the pages, which need what only this package has together. Those of
/// docs/writing-a-backend.md are excerpts of tests/third-party, whose tests compare them.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    mod readme {}

    #[doc = include_str!("../../docs/memory.md")]
    mod memory {}

    #[cfg(feature = "cuda")]
    #[doc = include_str!("../../docs/cuda.md")]
    mod cuda {}

    #[cfg(feature = "opencl")]
    #[doc = include_str!("../../docs/opencl.md")]
    mod opencl {}

    #[cfg(feature = "torch")]
    #[doc = include_str!("../../docs/torch.md")]
    mod torch {}
}
