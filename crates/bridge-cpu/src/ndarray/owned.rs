//! Owned arrays: `Array<T, D>`.

use std::any::type_name;

use bridge_core::{
    Accepts, Access, Description, Device, Element, Error, Layout, LayoutRule, ManagedTensor,
    NativeArray, Owner, Ownership, Refused, Result, TensorSpec,
};
use ndarray::{Array, Array1, ArrayD, Dimension, IxDyn, Slice};

use super::Ndarray;

impl<T: Element, D: Dimension + Send + 'static> NativeArray<Ndarray> for Array<T, D> {
    const ACCEPTS: Accepts = {
        let any_rank = Accepts::host(&[T::DATA_TYPE])
            .layout(LayoutRule::Dense)
            .only_vectors()
            .ignores_read_only();
        match D::NDIM {
            Some(rank) => any_rank.ranks(rank, rank),
            None => any_rank,
        }
    };

    fn backend() -> &'static Ndarray {
        &Ndarray
    }

    /// An array that `slice_move` cut out of a longer one is described as movable although it is
    /// not: ndarray tells only when the array is taken apart.
    fn describe(&self) -> Result<Description> {
        let layout = Layout::new(self.shape(), self.strides(), 0)?;
        let ownership = match layout.dense_order() {
            Some(_) => Ownership::Movable,
            None => Ownership::Kept,
        };
        Ok(Description {
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            layout,
            access: Access::Exclusive,
            ownership,
            alignment: T::DATA_TYPE.alignment(),
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let layout = match Layout::new(self.shape(), self.strides(), 0) {
            Ok(layout) => layout,
            Err(error) => return Err(Refused::new(self, error)),
        };
        let Some(order) = layout.dense_order() else {
            return export_kept(self, layout);
        };
        let count = self.len();
        let (vec, offset) = self.into_raw_vec_and_offset();
        match offset {
            // It was cut out of a longer array: put that together again and keep it whole.
            Some(offset) if offset > 0 => {
                let flat = Array1::from_vec(vec);
                let cut =
                    flat.slice_axis_move(ndarray::Axis(0), Slice::from(offset..offset + count));
                export_kept(dense_array(cut, layout.shape(), &order), layout)
            }
            _ => ManagedTensor::from_vec_with_layout(vec, layout.clone()).map_err(|refused| {
                refused.map(|vec| dense_array(Array1::from_vec(vec), layout.shape(), &order))
            }),
        }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let tensor = match tensor.into_owner_if::<Self>(describes) {
            Ok(array) => return Ok(array),
            Err(tensor) => tensor,
        };
        let rank = tensor.layout().rank();
        if D::NDIM.is_some_and(|needed| needed != rank) {
            let error = Error::Unsupported {
                what: format!("an array of rank {rank} as {}", type_name::<Self>()),
                remedy: "convert it to an ArrayD, or to an array of that rank".to_owned(),
            };
            return Err(Refused::new(tensor, error));
        }
        let (vec, layout) = tensor.into_vec::<T>()?;
        let order = layout.dense_order().expect("into_vec gives out dense layouts only");
        Ok(dense_array(Array1::from_vec(vec), layout.shape(), &order))
    }
}

/// Whether a tensor still describes the array that it was exported from.
fn describes<T: Element, D: Dimension>(array: &Array<T, D>, tensor: &ManagedTensor) -> bool {
    let layout = tensor.layout();
    let same_place = array.is_empty() || array.as_ptr().cast() == tensor.first_element();
    same_place
        && tensor.access() == Access::Exclusive
        && Layout::new(array.shape(), array.strides(), layout.byte_offset())
            .is_ok_and(|own| own.is_same_as(layout))
}

/// Keeps the array itself as the owner of its memory.
fn export_kept<T: Element, D: Dimension + Send + 'static>(
    array: Array<T, D>,
    layout: Layout,
) -> Result<ManagedTensor, Refused<Array<T, D>>> {
    let spec = TensorSpec { data_type: T::DATA_TYPE, layout };
    let first = array.as_ptr().cast_mut().cast();
    let owner = Owner::keep(array);
    // SAFETY:
    // - The layout is the array's own: its elements are initialized and live in memory that the
    //   array owns, which moving the array into the owner does not move.
    // - Arrays of elements may be dropped on any thread.
    // - The array is owned and out of reach, so access is exclusive.
    unsafe { ManagedTensor::from_parts(first, spec, Device::CPU, Access::Exclusive, owner) }
        .map_err(|refused| {
            refused.map(|owner| match owner.into_kept::<Array<T, D>>() {
                Ok(array) => array,
                Err(_) => unreachable!("the owner was made of this array"),
            })
        })
}

/// The array of this shape whose elements lie in `flat` without gaps, the axes from sparsest to
/// densest being `order`.
fn dense_array<T: Element, D: Dimension>(
    flat: Array1<T>,
    shape: &[usize],
    order: &[usize],
) -> Array<T, D> {
    let mut axes = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        axes[axis] = place;
    }
    let in_memory: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let array: ArrayD<T> = flat
        .into_shape_with_order(IxDyn(&in_memory))
        .expect("as many elements as the shape has")
        .permuted_axes(IxDyn(&axes));
    array.into_dimensionality().expect("the rank was compared with the array type's")
}
