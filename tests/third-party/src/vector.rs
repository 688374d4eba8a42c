//! `DVector`: rank 1.

use bridge_core::{
    Accepts, Access, Description, Descriptor, Device, Element, Error, Layout, LayoutRule,
    ManagedTensor, NativeArray, Ownership, Refused, Result, TensorError,
};
use nalgebra::{DVector, Dyn, Scalar, U1, VecStorage};

use crate::{DESCRIPTOR, Nalgebra};

impl<T: Element + Scalar> NativeArray<Nalgebra> for DVector<T> {
    const ACCEPTS: Accepts =
        Accepts::host(&[T::DATA_TYPE]).ranks(1, 1).layout(LayoutRule::RowMajor).only_vectors();

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Ok(Description {
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            layout: Layout::row_major(&[self.len()])?,
            access: Access::Exclusive,
            ownership: Ownership::Movable,
            alignment: T::DATA_TYPE.alignment(),
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let length = self.len();
        let elements: Vec<T> = self.data.into();
        ManagedTensor::from_vec(elements, &[length]).map_err(|refused| refused.map(vector))
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.shape().len() != 1 {
            let what = format!("a tensor of rank {} as a DVector", tensor.shape().len());
            let remedy = "reshape it to rank 1 first".to_owned();
            return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
        }
        if !tensor.layout().is_row_major() {
            let reason = format!("a DVector has no gaps, this is {:?}", tensor.layout());
            return Err(Refused::new(tensor, Error::Tensor(TensorError::InvalidLayout { reason })));
        }
        let (elements, _) = tensor.into_vec::<T>().map_err(Refused::widen)?;
        Ok(vector(elements))
    }
}

/// The vector of these elements. Nothing is copied.
fn vector<T: Scalar>(elements: Vec<T>) -> DVector<T> {
    DVector::from_data(VecStorage::new(Dyn(elements.len()), U1, elements))
}
