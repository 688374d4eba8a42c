//! Owned arrays: `Array<T, D>`.

use std::any::type_name;

use bridge_core::{
    Accepts, Access, Description, Device, Element, Error, Layout, LayoutRule, ManagedTensor,
    NativeArray, Owner, Ownership, Refused, Result, TensorSpec, alignment_of,
};
use ndarray::{Array, Array1, ArrayD, Axis, Dimension, IxDyn, Slice};

use super::Ndarray;
use super::placement::check_values;

impl<T: Element, D: Dimension + Send + 'static> NativeArray<Ndarray> for Array<T, D> {
    const ACCEPTS: Accepts = {
        let any_rank = Accepts::host(&[T::DATA_TYPE]).layout(LayoutRule::Dense).only_vectors();
        match D::NDIM {
            Some(rank) => any_rank.ranks(rank, rank),
            None => any_rank,
        }
    };

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Ndarray)
    }

    /// An array that `slice_move` cut out of a longer one is described as movable although it is
    /// not: ndarray tells only when the array is taken apart.
    fn describe(&self) -> Result<Description> {
        let layout = Layout::new(self.shape(), self.strides(), 0)?;
        let ownership = if layout.is_dense() { Ownership::Movable } else { Ownership::Kept };
        Ok(Description {
            data_type: T::DATA_TYPE,
            device: Device::CPU,
            layout,
            access: Access::Exclusive,
            ownership,
            alignment: alignment_of(self.as_ptr()),
            owner: None,
        })
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let layout = match Layout::new(self.shape(), self.strides(), 0) {
            Ok(layout) => layout,
            Err(error) => return Err(Refused::new(self, error)),
        };
        if !layout.is_dense() {
            return export_kept(self, layout);
        }
        let count = self.len();
        let (vec, offset) = self.into_raw_vec_and_offset();
        match offset {
            // It was cut out of a longer array: put that together again and keep it whole.
            Some(offset) if offset > 0 => {
                let flat = Array1::from_vec(vec);
                let cut = flat.slice_axis_move(Axis(0), Slice::from(offset..offset + count));
                export_kept(dense_array(cut, &layout), layout)
            }
            _ => ManagedTensor::from_vec_with_layout(vec, layout).map_err(|refused| {
                unreachable!("an array's layout lies within its vector: {refused}")
            }),
        }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if !tensor.is_kept_by::<Self>() {
            return from_vector(tensor);
        }
        // Somebody may have written bytes to the exported tensor that are no values of `T`.
        // SAFETY: the tensor holds the array alone, so that nobody writes meanwhile.
        match unsafe { check_values::<T>(&tensor) } {
            Ok(()) => tensor.into_owner().or_else(from_vector),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }
}

/// Takes over the vector that the tensor lies in.
fn from_vector<T: Element, D: Dimension>(
    tensor: ManagedTensor,
) -> Result<Array<T, D>, Refused<ManagedTensor>> {
    let rank = tensor.layout().rank();
    if D::NDIM.is_some_and(|needed| needed != rank) {
        let error = Error::Unsupported {
            what: format!("an array of rank {rank} as {}", type_name::<Array<T, D>>()),
            remedy: "convert it to an ArrayD, or to an array of that rank".to_owned(),
        };
        return Err(Refused::new(tensor, error));
    }
    let (vec, layout) = tensor.into_vec::<T>().map_err(Refused::widen)?;
    Ok(dense_array(Array1::from_vec(vec), &layout))
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

/// The array whose elements lie in `flat` without gaps, as `layout` says.
fn dense_array<T: Element, D: Dimension>(flat: Array1<T>, layout: &Layout) -> Array<T, D> {
    let order = layout.dense_order().expect("callers have seen that the layout is dense");
    let mut axes = IxDyn::zeros(order.len());
    for (place, &axis) in order.iter().enumerate() {
        axes[axis] = place;
    }
    let mut in_memory = IxDyn::zeros(order.len());
    for (place, &axis) in order.iter().enumerate() {
        in_memory[place] = layout.shape()[axis];
    }
    let array: ArrayD<T> = flat
        .into_shape_with_order(in_memory)
        .expect("as many elements as the shape has")
        .permuted_axes(axes);
    array.into_dimensionality().expect("the rank was compared with the array type's")
}
