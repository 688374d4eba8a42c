//! The numbers that Arrow and tensors both have.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use bridge_core::{DataType, Element, ManagedTensor, Refused, Result};

use crate::primitive;

/// An Arrow type whose values are numbers and nothing more: no date, no decimal.
pub trait Number: ArrowPrimitiveType<Native: Element> {}

/// Numbers of a type that is known at run time only.
pub(crate) struct Numbers {
    pub(crate) data_type: DataType,
    pub(crate) first: *const u8,
}

macro_rules! numbers {
    ($($arrow:ident),* $(,)?) => {
        $(impl Number for $arrow {})*

        /// The element types of all numbers.
        pub(crate) const DATA_TYPES: &[DataType] =
            &[$(<<$arrow as ArrowPrimitiveType>::Native as Element>::DATA_TYPE),*];

        /// What an array of numbers holds; `None` for every other array.
        pub(crate) fn numbers_of(array: &dyn Array) -> Option<Numbers> {
            $(if let Some(array) = array.as_primitive_opt::<$arrow>() {
                return Some(Numbers {
                    data_type: <<$arrow as ArrowPrimitiveType>::Native as Element>::DATA_TYPE,
                    first: array.values().as_ptr().cast(),
                });
            })*
            None
        }

        /// The array of a tensor's elements, one after the other.
        pub(crate) fn flat(tensor: ManagedTensor) -> Result<ArrayRef, Refused<ManagedTensor>> {
            $(if tensor.data_type() == <<$arrow as ArrowPrimitiveType>::Native as Element>::DATA_TYPE {
                let array: PrimitiveArray<$arrow> = primitive::flat(tensor)?;
                return Ok(std::sync::Arc::new(array));
            })*
            let error = bridge_core::Error::UnsupportedDataType {
                target: "arrow",
                data_type: tensor.data_type(),
                supported: DATA_TYPES.to_vec(),
                remedy: tensor.data_type().narrowest_holding(DATA_TYPES),
            };
            Err(Refused::new(tensor, error))
        }
    };
}

numbers![
    Int8Type,
    Int16Type,
    Int32Type,
    Int64Type,
    UInt8Type,
    UInt16Type,
    UInt32Type,
    UInt64Type,
    Float16Type,
    Float32Type,
    Float64Type,
];
