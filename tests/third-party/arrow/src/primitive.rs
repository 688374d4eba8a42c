//! `PrimitiveArray`: rank 1.

use arrow_array::PrimitiveArray;
use bridge_core::{
    Accepts, Description, Descriptor, Element, Error, LayoutRule, ManagedTensor, NativeArray,
    Refused, Result, TensorSpec,
};

use crate::memory::{buffer_keeping, description, require_no_nulls, tensor_keeping};
use crate::{Arrow, DESCRIPTOR, Number};

impl<T: Number> NativeArray<Arrow> for PrimitiveArray<T> {
    const ACCEPTS: Accepts = Accepts::host(&[<T::Native as Element>::DATA_TYPE])
        .ranks(1, 1)
        .layout(LayoutRule::RowMajor);

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Ok(description(self.values().as_ptr().cast(), spec(self)?))
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let spec = match spec(&self) {
            Ok(spec) => spec,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let first = self.values().as_ptr().cast();
        // SAFETY: the values start there, one after the other, in a buffer that the array refers to.
        unsafe { tensor_keeping(self, first, spec) }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(flat);
        }
        if tensor.shape().len() != 1 {
            let what = format!("a tensor of rank {} as a primitive array", tensor.shape().len());
            let remedy = "reshape it to rank 1 first, or convert it to a FixedSizeListArray";
            let error = Error::Unsupported { what, remedy: remedy.to_owned() };
            return Err(Refused::new(tensor, error));
        }
        flat(tensor)
    }
}

fn spec<T: Number>(array: &PrimitiveArray<T>) -> Result<TensorSpec> {
    require_no_nulls(array)?;
    Ok(TensorSpec::row_major(<T::Native as Element>::DATA_TYPE, &[array.len()])?)
}

/// The elements of a row-major tensor of any rank, one after the other.
pub(crate) fn flat<T: Number>(
    tensor: ManagedTensor,
) -> Result<PrimitiveArray<T>, Refused<ManagedTensor>> {
    let values = buffer_keeping::<T::Native>(tensor)?;
    Ok(PrimitiveArray::new(values, None))
}
