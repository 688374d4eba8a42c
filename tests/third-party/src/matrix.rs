//! `DMatrix`: rank 2, column-major.

use bridge_core::{
    Accepts, Access, Description, Descriptor, Device, Element, Error, Layout, LayoutRule,
    ManagedTensor, NativeArray, Ownership, Refused, Result, TensorError,
};
use nalgebra::{DMatrix, Dyn, Scalar, VecStorage};

use crate::{DESCRIPTOR, Nalgebra};

impl<T: Element + Scalar> NativeArray<Nalgebra> for DMatrix<T> {
    const ACCEPTS: Accepts =
        Accepts::host(&[T::DATA_TYPE]).ranks(2, 2).layout(LayoutRule::ColumnMajor).only_vectors();

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Ok(Description {
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            layout: Layout::column_major(&[self.nrows(), self.ncols()])?,
            access: Access::Exclusive,
            ownership: Ownership::Movable,
            alignment: T::DATA_TYPE.alignment(),
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let (rows, columns) = self.shape();
        let layout = match Layout::column_major(&[rows, columns]) {
            Ok(layout) => layout,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let elements: Vec<T> = self.data.into();
        ManagedTensor::from_vec_with_layout(elements, layout)
            .map_err(|refused| refused.map(|elements| matrix(elements, rows, columns)))
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let &[rows, columns] = tensor.shape() else {
            let what = format!("a tensor of rank {} as a DMatrix", tensor.shape().len());
            let remedy = "reshape it to rank 2 first".to_owned();
            return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
        };
        if !tensor.layout().is_column_major() {
            let reason = format!("a DMatrix is column-major, this is {:?}", tensor.layout());
            let error = TensorError::InvalidLayout { reason };
            return Err(Refused::new(tensor, error));
        }
        let (elements, _) = tensor.into_vec::<T>().map_err(Refused::widen)?;
        Ok(matrix(elements, rows, columns))
    }
}

/// The matrix whose columns lie in `elements` one after the other. Nothing is copied.
fn matrix<T: Scalar>(elements: Vec<T>, rows: usize, columns: usize) -> DMatrix<T> {
    DMatrix::from_data(VecStorage::new(Dyn(rows), Dyn(columns), elements))
}
