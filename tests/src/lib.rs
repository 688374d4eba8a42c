//! What the tests across crates share.

use arraybridge::{Backend, DataType, Description, ManagedTensor, NativeArray, Overflow, Registry};

/// The registry of this program: ndarray and candle.
pub fn registry() -> &'static Registry {
    Registry::global().expect("no duplicates are linked")
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

/// What a plan is told of an array.
pub fn described<B: Backend, T: NativeArray<B>>(array: &T) -> Description {
    array.describe().expect("it can be exported")
}
