//! Shared arrays: a view and the owner of its memory.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use bridge_convert::Convert;
use bridge_core::{
    Accepts, Access, Description, Element, Error, Layout, ManagedTensor, NativeArray, Owner,
    Ownership, Refused, Result, SharedTensor, TensorError, TensorSpec,
};
use ndarray::{
    Array, ArrayD, ArrayViewD, ArrayViewMutD, Axis, Dimension, IxDyn, RawArrayView,
    RawArrayViewMut, ShapeBuilder, StrideShape,
};

use super::Ndarray;

/// An array over memory of any framework, which it keeps alive.
///
/// It is what `ndarray` lacks: an owned value over foreign memory. Reading goes through
/// [`view`](Self::view). Clones share the memory; writing needs that there are none.
///
/// ```
/// use bridge_convert::Convert;
/// use bridge_cpu::ndarray::SharedArray;
///
/// let owned = ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]).into_dyn();
/// let shared: SharedArray<f64> = owned.convert()?;
/// let reader = shared.clone();
/// assert_eq!(reader.view()[[1, 0]], 3.0);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct SharedArray<T> {
    tensor: SharedTensor,
    element: PhantomData<T>,
}

impl<T: Element> SharedArray<T> {
    /// The elements.
    pub fn view(&self) -> ArrayViewD<'_, T> {
        // SAFETY: `deref_into_view` asks that
        // - the pointer is aligned, not null, and leads to initialized, valid elements in every
        //   place of the layout: `import` checked element type, device, alignment and values, and
        //   `ManagedTensor` that there is memory for the layout;
        // - the memory lives as long as the view: the view borrows `self`, which keeps its owner;
        // - nobody writes meanwhile: `view_mut` takes `self` mutably and refuses when there are
        //   clones, and whoever made a tensor of foreign memory has promised it.
        unsafe {
            match forward(self.tensor.layout()) {
                Some(strides) => {
                    let shape = IxDyn(self.shape()).strides(IxDyn(strides));
                    ArrayViewD::from_shape_ptr(shape, self.as_ptr())
                }
                None => Placement::<T>::of(&self.tensor).view().deref_into_view(),
            }
        }
    }

    /// The elements, to be written.
    ///
    /// # Errors
    ///
    /// [`TensorError::NotWritable`] while there are clones, where the array is read-only or its memory is
    /// held by others, and where elements are repeated by broadcasting.
    pub fn view_mut(&mut self) -> Result<ArrayViewMutD<'_, T>> {
        let refuse = |reason| {
            Err(Error::Tensor(TensorError::NotWritable { what: "this shared array", reason }))
        };
        let Some(tensor) = self.tensor.unique() else {
            return refuse("it has clones; drop them, or copy it with to_owned()");
        };
        if tensor.layout().may_overlap() {
            return refuse("its elements are repeated by broadcasting; copy it with to_owned()");
        }
        match tensor.access() {
            Access::Exclusive => {
                // SAFETY: as in `view`, and nobody else reads or writes: access is exclusive, there
                // are no clones, the view borrows `self` mutably, and no two places overlap.
                Ok(unsafe { Placement::<T>::of(tensor).view_mut().deref_into_view_mut() })
            }
            Access::Shared => refuse("others hold its memory; copy it with to_owned()"),
            Access::ReadOnly => refuse("it is read-only; copy it with to_owned()"),
        }
    }

    /// The elements, to be written although others hold the memory: what is written appears there.
    ///
    /// # Errors
    ///
    /// [`TensorError::NotWritable`] where the array is read-only, and where elements are repeated.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes the memory while the view lives.
    pub unsafe fn view_mut_shared(&mut self) -> Result<ArrayViewMutD<'_, T>> {
        if self.tensor.access() == Access::ReadOnly || self.tensor.layout().may_overlap() {
            return Err(Error::Tensor(TensorError::NotWritable {
                what: "this shared array",
                reason: "it is read-only, or its elements are repeated; copy it with to_owned()",
            }));
        }
        // SAFETY: as in `view`; the caller promises that nobody else reads or writes.
        Ok(unsafe { Placement::<T>::of(&self.tensor).view_mut().deref_into_view_mut() })
    }

    /// A copy that shares nothing.
    pub fn to_owned(&self) -> ArrayD<T> {
        self.view().to_owned()
    }

    /// The array that owns the memory, where it is a vector's that nobody else holds. Nothing is
    /// copied.
    ///
    /// # Errors
    ///
    /// [`Error::WouldCopy`] with the reason; the array comes back.
    pub fn try_into_owned(self) -> Result<ArrayD<T>, Refused<Self>> {
        self.convert_to(bridge_core::Options::default().copy(bridge_core::CopyPolicy::Never))
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        self.tensor.layout()
    }

    /// Whether [`view_mut`](Self::view_mut) is refused whoever drops their clones: the memory is
    /// read-only, or a framework may hold it too (then see [`view_mut_shared`](Self::view_mut_shared)).
    pub fn is_read_only(&self) -> bool {
        self.tensor.access() != Access::Exclusive
    }

    /// The address of the element whose indices are all zero.
    pub fn as_ptr(&self) -> *const T {
        self.tensor.first_element().cast_const().cast()
    }
}

impl<T: Element> SharedArray<T> {
    /// The array over a tensor's memory, where its elements are valid values of `T`.
    #[inline]
    fn over(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        match tensor.typed_first::<T>().and_then(|_| check_values::<T>(&tensor)) {
            Ok(()) => Ok(Self { tensor: tensor.into_shared(), element: PhantomData }),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }
}

/// Where ndarray finds the elements: it wants the lowest address and strides that are not negative,
/// and turns axes around itself.
struct Placement<T> {
    lowest: *mut T,
    shape: StrideShape<IxDyn>,
    backwards: Vec<Axis>,
}

impl<T: Element> Placement<T> {
    fn of(tensor: &ManagedTensor) -> Self {
        let layout = tensor.layout();
        let mut lowest = tensor.first_element().cast::<T>();
        if layout.is_empty() {
            lowest = std::ptr::NonNull::dangling().as_ptr();
        }
        let mut backwards = Vec::new();
        let mut strides = IxDyn::zeros(layout.rank());
        for (axis, (&extent, &stride)) in layout.shape().iter().zip(layout.strides()).enumerate() {
            if extent <= 1 || layout.is_empty() {
                continue;
            }
            strides[axis] = stride.unsigned_abs();
            if stride < 0 {
                lowest = lowest.wrapping_offset(stride.wrapping_mul((extent - 1).cast_signed()));
                backwards.push(Axis(axis));
            }
        }
        Self { lowest, shape: IxDyn(layout.shape()).strides(strides), backwards }
    }

    fn view(self) -> RawArrayView<T, IxDyn> {
        // SAFETY: `from_shape_ptr` asks that the pointer is not null and aligned (an imported
        // tensor's is, or it dangles where there are no elements), that strides are not negative,
        // that all elements lie in one allocation, and that their span is at most `isize::MAX`
        // bytes (a checked layout's is).
        let mut view = unsafe { RawArrayView::from_shape_ptr(self.shape, self.lowest) };
        for axis in self.backwards {
            view.invert_axis(axis);
        }
        view
    }

    fn view_mut(self) -> RawArrayViewMut<T, IxDyn> {
        // SAFETY: as in `view`; callers have seen that no element is repeated.
        let mut view = unsafe { RawArrayViewMut::from_shape_ptr(self.shape, self.lowest) };
        for axis in self.backwards {
            view.invert_axis(axis);
        }
        view
    }
}

/// The strides as ndarray writes them, where there are elements and no axis runs backwards.
#[inline]
fn forward(layout: &Layout) -> Option<&[usize]> {
    let strides = layout.strides();
    if layout.is_empty() || strides.iter().any(|&stride| stride < 0) {
        return None;
    }
    // SAFETY: `usize` has the size and alignment of `isize` and every bit pattern is one; the slice
    // borrows the same elements for the same time.
    Some(unsafe { std::slice::from_raw_parts(strides.as_ptr().cast(), strides.len()) })
}

impl<T: Element> NativeArray<Ndarray> for SharedArray<T> {
    const ACCEPTS: Accepts = Accepts::host(&[T::DATA_TYPE]);

    fn descriptor() -> &'static bridge_core::Descriptor {
        bridge_core::Backend::descriptor(&Ndarray)
    }

    fn describe(&self) -> Result<Description> {
        let mut description = self.tensor.describe();
        if !self.tensor.is_unique() {
            description.access = Access::ReadOnly;
            description.ownership = Ownership::Kept;
            description.owner = Some(TypeId::of::<Self>());
        }
        Ok(description)
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let shared = match self.tensor.try_unwrap() {
            Ok(tensor) => return Ok(tensor),
            Err(shared) => shared,
        };
        // While there are clones the tensor keeps one of them, and nobody may write.
        let (first, spec) = (shared.first_element().cast(), shared.spec());
        let spec = TensorSpec { layout: spec.layout.at_byte_offset(0), ..spec };
        let (device, stream) = (shared.device(), shared.stream());
        let owner = Owner::keep(Self { tensor: shared, element: PhantomData });
        // SAFETY: the elements are those of the tensor that the owner keeps; it may be dropped on
        // any thread; nobody writes, since `view_mut` refuses while there are clones.
        unsafe { ManagedTensor::from_parts(first, spec, device, Access::ReadOnly, owner) }
            // SAFETY: it is the stream of the tensor that the owner keeps.
            .map(|tensor| unsafe { tensor.ready_on(stream) })
            .map_err(|refused| {
                refused.map(|owner| match owner.into_kept::<Self>() {
                    Ok(array) => array,
                    Err(_) => unreachable!("the owner was made of this array"),
                })
            })
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(Self::over);
        }
        Self::over(tensor)
    }
}

/// Fails where an element is not a valid value of `T`, as a byte 2 is no `bool`.
fn check_values<T: Element>(tensor: &ManagedTensor) -> Result<()> {
    if !T::NEEDS_CHECK {
        return Ok(());
    }
    let bytes = Placement::<T>::of(tensor).view().cast::<u8>();
    // SAFETY: elements that need a check are single bytes; each is an initialized `u8`, and nobody
    // writes them meanwhile.
    let bytes = unsafe { bytes.deref_into_view() };
    match bytes.as_slice_memory_order() {
        // SAFETY: the slice holds these elements, initialized.
        Some(slice) => unsafe { T::check(slice.as_ptr(), slice.len()) },
        None => bytes.iter().try_for_each(|byte| {
            // SAFETY: the reference leads to one initialized byte.
            unsafe { T::check(std::ptr::from_ref(byte), 1) }
        }),
    }
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self { tensor: self.tensor.clone(), element: PhantomData }
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl<T: Element + PartialEq> PartialEq for SharedArray<T> {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl<T: Element, D: Dimension + Send + 'static> From<Array<T, D>> for SharedArray<T> {
    /// Shares an owned array; nothing is copied.
    ///
    /// # Panics
    ///
    /// Where the array has more than [`MAX_RANK`](bridge_core::MAX_RANK) axes. `convert()` refuses
    /// such an array instead.
    fn from(array: Array<T, D>) -> Self {
        array.convert().unwrap_or_else(|refused| panic!("{refused}"))
    }
}

impl<T: Element> TryFrom<SharedArray<T>> for ArrayD<T> {
    type Error = Refused<SharedArray<T>>;

    /// As [`SharedArray::try_into_owned`].
    fn try_from(shared: SharedArray<T>) -> Result<Self, Self::Error> {
        shared.try_into_owned()
    }
}

impl<'a, T: Element> From<&'a SharedArray<T>> for ArrayViewD<'a, T> {
    fn from(shared: &'a SharedArray<T>) -> Self {
        shared.view()
    }
}
