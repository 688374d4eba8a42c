//! Shared arrays: a view and the owner of its memory.

mod native;
mod traits;

use std::any::type_name;
use std::marker::PhantomData;

use bridge_core::{
    Access, Device, Element, Error, HostMemory, Layout, ManagedTensor, NativeArray, Refused,
    Registry, Result, SharedTensor, TensorError, TensorSpec, broken_law,
};
use ndarray::{ArrayD, ArrayView, ArrayViewD, ArrayViewMutD, Dimension, IxDyn, ShapeBuilder, iter};

use super::placement::{Placement, check_values, forward};

/// An array over memory of any framework, which it keeps alive.
///
/// It is what `ndarray` lacks: an owned value over foreign memory. Reading goes through
/// [`view`](Self::view), [`iter`](Self::iter) and indexing. Clones share the memory; writing needs
/// that there are none.
///
/// ```
/// use bridge_convert::Convert;
/// use bridge_cpu::ndarray::SharedArray;
///
/// let owned = ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]).into_dyn();
/// let shared: SharedArray<f64> = owned.convert()?;
/// let reader = shared.clone();
/// assert_eq!(reader[[1, 0]], 3.0);
/// assert_eq!(reader.view().sum(), 10.0);
/// assert_eq!(reader.iter().copied().fold(0.0, f64::max), 4.0);
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Memory that others may write
///
/// Where another handle of a framework holds the memory too and may write it
/// ([`Access::Shared`], as of a torch tensor of which you keep an alias), a Rust reference into it
/// would be unsound: [`others_may_write`](Self::others_may_write) tells. Safe reading is then
/// refused, by [`try_view`](Self::try_view) with an error and by `view`, `iter` and indexing with a
/// panic. [`try_to_owned`](Self::try_to_owned) makes a copy that is yours, and the unsafe
/// [`view_shared`](Self::view_shared) reads in place.
pub struct SharedArray<T> {
    tensor: SharedTensor,
    element: PhantomData<T>,
}

impl<T: Element> SharedArray<T> {
    /// The elements.
    ///
    /// # Panics
    ///
    /// Where [`others_may_write`](Self::others_may_write); [`try_view`](Self::try_view) returns an
    /// error there.
    #[track_caller]
    pub fn view(&self) -> ArrayViewD<'_, T> {
        self.try_view().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The elements.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where [`others_may_write`](Self::others_may_write).
    #[inline]
    pub fn try_view(&self) -> Result<ArrayViewD<'_, T>> {
        if self.others_may_write() {
            return Err(written_by_others());
        }
        // SAFETY: nobody writes while `self` is borrowed: the memory is read-only, or this array is
        // its only holder, and `view_mut` takes `self` mutably and refuses when there are clones.
        // `import` has checked the values, and nobody has written others since.
        Ok(unsafe { self.view_unchecked() })
    }

    /// The elements, with the number of axes known to the compiler.
    ///
    /// ```
    /// use bridge_cpu::ndarray::SharedArray;
    /// use ndarray::{Ix2, array};
    ///
    /// let shared = SharedArray::from(array![[1, 2], [3, 4]]);
    /// let matrix = shared.view_as::<Ix2>()?;
    /// assert_eq!(matrix.dot(&matrix), array![[7, 10], [15, 22]]);
    /// # Ok::<(), bridge_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the array has another number of axes, and as
    /// [`try_view`](Self::try_view).
    pub fn view_as<D: Dimension>(&self) -> Result<ArrayView<'_, T, D>> {
        let view = self.try_view()?;
        let rank = view.ndim();
        view.into_dimensionality().map_err(|_| Error::Unsupported {
            what: format!("a view of rank {} of an array of rank {rank}", D::NDIM.unwrap_or(rank)),
            remedy: "ask for the rank of the array, or for IxDyn".to_owned(),
        })
    }

    /// The elements, although others may write them: what they write is seen.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidTensor`] where an element is not a valid `T`, as a byte 2 is no `bool`.
    ///
    /// # Safety
    ///
    /// Nobody writes the memory while the view lives, on any thread: no other handle that a
    /// framework has of it is used to write.
    pub unsafe fn view_shared(&self) -> Result<ArrayViewD<'_, T>> {
        // SAFETY: the caller promises that nobody writes, neither during the check nor after it.
        unsafe {
            check_values::<T>(&self.tensor)?;
            Ok(self.view_unchecked())
        }
    }

    /// # Safety
    ///
    /// Nobody writes the memory while the view lives, and every element is a valid `T`.
    unsafe fn view_unchecked(&self) -> ArrayViewD<'_, T> {
        // SAFETY: `deref_into_view` asks that
        // - the pointer is aligned, not null, and leads to initialized, valid elements in every
        //   place of the layout: `import` checked element type, device and alignment,
        //   `ManagedTensor` that there is memory for the layout, and the caller promises the values;
        // - the memory lives as long as the view: the view borrows `self`, which keeps its owner;
        // - nobody writes meanwhile, which the caller promises.
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

    /// The elements in row-major order.
    ///
    /// # Panics
    ///
    /// As [`view`](Self::view).
    #[track_caller]
    pub fn iter(&self) -> iter::Iter<'_, T, IxDyn> {
        self.view().into_iter()
    }

    /// The elements, to be written.
    ///
    /// # Errors
    ///
    /// [`TensorError::NotWritable`] while there are clones, where the array is read-only or
    /// [others may write it](Self::others_may_write), and where elements are repeated by
    /// broadcasting.
    pub fn view_mut(&mut self) -> Result<ArrayViewMutD<'_, T>> {
        let refuse = |reason| Err(not_writable(reason));
        let Some(tensor) = self.tensor.unique() else {
            return refuse("it has clones; drop them, or copy it with try_to_owned()");
        };
        if tensor.layout().may_overlap() {
            return refuse(REPEATED);
        }
        match tensor.access() {
            Access::ReadOnly => return refuse("it is read-only; copy it with try_to_owned()"),
            Access::Shared => {
                return refuse(
                    "others may hold its memory; copy it with try_to_owned(), or promise that they \
                     leave it alone with the unsafe view_mut_shared()",
                );
            }
            Access::Exclusive => {}
        }
        // SAFETY: as in `view_unchecked`; and nobody else reads or writes: access is exclusive, there
        // are no clones, the view borrows `self` mutably, and no two places overlap. The values were
        // checked by `import`.
        Ok(unsafe { Placement::<T>::of(tensor).view_mut().deref_into_view_mut() })
    }

    /// The elements, to be written although others hold the memory: what is written appears there.
    ///
    /// # Errors
    ///
    /// [`TensorError::NotWritable`] where the array is read-only, and where elements are repeated;
    /// [`TensorError::InvalidTensor`] as [`view_shared`](Self::view_shared).
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes the memory while the view lives: neither a clone nor a handle of
    /// a framework.
    pub unsafe fn view_mut_shared(&mut self) -> Result<ArrayViewMutD<'_, T>> {
        if self.tensor.access() == Access::ReadOnly {
            return Err(not_writable("it is read-only; copy it with try_to_owned()"));
        }
        if self.layout().may_overlap() {
            return Err(not_writable(REPEATED));
        }
        // SAFETY: as in `view_unchecked`; the caller promises that nobody else reads or writes.
        unsafe {
            check_values::<T>(&self.tensor)?;
            Ok(Placement::<T>::of(&self.tensor).view_mut().deref_into_view_mut())
        }
    }

    /// A row-major copy that shares nothing.
    ///
    /// Memory that [others may write](Self::others_may_write) is copied as a conversion copies it,
    /// by the host tools (`use bridge_host as _;`). Its elements are those of the time of the copy;
    /// one that is written meanwhile may be old, new or a mixture.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`]; where others may write, also [`TensorError::InvalidTensor`] for an element
    /// that is not a valid `T`, and an error where the host tools are not linked.
    pub fn try_to_owned(&self) -> Result<ArrayD<T>> {
        if self.others_may_write() {
            let spec = TensorSpec::row_major(T::DATA_TYPE, self.shape())?;
            let bytes = spec.layout.compact_bytes(T::DATA_TYPE)?;
            let memory = HostMemory::zeroed(bytes, T::DATA_TYPE.alignment())?;
            // SAFETY: the memory is initialized with zeros.
            let mut copy = unsafe { ManagedTensor::from_host_memory(memory, spec) }?;
            Registry::global()?.host_tools()?.copy(&self.tensor, &mut copy)?;
            return Ok(ArrayD::import(copy)?);
        }
        let view = self.try_view()?;
        let mut elements = Vec::new();
        elements.try_reserve_exact(view.len()).map_err(|_| {
            Error::Tensor(TensorError::OutOfMemory {
                device: Device::CPU,
                requested: (view.len() as u64).saturating_mul(size_of::<T>() as u64),
            })
        })?;
        match view.as_slice() {
            Some(slice) => elements.extend_from_slice(slice),
            None => elements.extend(view.iter()),
        }
        Ok(ArrayD::from_shape_vec(view.raw_dim(), elements)
            .unwrap_or_else(|_| unreachable!("a view has as many elements as its shape says")))
    }

    /// The array that owns the memory, where it is a vector's that nobody else holds. Nothing is
    /// copied.
    ///
    /// # Errors
    ///
    /// Where the memory is read-only, others hold it, or it is no vector's; the array comes back.
    pub fn try_into_owned(self) -> Result<ArrayD<T>, Refused<Self>> {
        if !self.tensor.is_unique() {
            let error = not_writable("it has clones; drop them, or copy it with try_to_owned()");
            return Err(Refused::new(self, error));
        }
        ArrayD::import(self.export()?).map_err(|refused| {
            refused.map(|tensor| {
                Self::import(tensor)
                    .unwrap_or_else(|kept| broken_law(type_name::<Self>(), kept.error()))
            })
        })
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// The number of axes.
    pub fn ndim(&self) -> usize {
        self.layout().rank()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.layout().element_count()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.layout().is_empty()
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        self.tensor.layout()
    }

    /// Whether [`view_mut`](Self::view_mut) is refused even when there are no clones: the memory is
    /// read-only, or [others may write it](Self::others_may_write) too.
    pub fn is_read_only(&self) -> bool {
        self.tensor.access() != Access::Exclusive
    }

    /// Whether another handle, of whichever framework, may write to the memory: then safe Rust gets
    /// no view of it.
    #[inline]
    pub fn others_may_write(&self) -> bool {
        self.tensor.others_may_write()
    }

    /// The address of the element whose indices are all zero.
    pub fn as_ptr(&self) -> *const T {
        self.tensor.first_element().cast_const().cast()
    }

    /// The array over a tensor's memory, where its elements are valid values of `T`. Where others
    /// may write it, every view looks at them anew.
    #[inline]
    fn over(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let checked = tensor.typed_first::<T>().map_err(Error::from).and_then(|_| {
            if tensor.others_may_write() {
                return Ok(());
            }
            // SAFETY: nobody writes to it.
            unsafe { check_values::<T>(&tensor) }
        });
        match checked {
            Ok(()) => Ok(Self { tensor: tensor.into_shared(), element: PhantomData }),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }
}

const REPEATED: &str = "its elements are repeated by broadcasting; copy it with try_to_owned()";

#[cold]
fn not_writable(reason: &'static str) -> Error {
    Error::Tensor(TensorError::NotWritable { what: "this shared array", reason })
}

#[cold]
fn written_by_others() -> Error {
    Error::Unsupported {
        what: "a safe view of memory that others may write".to_owned(),
        remedy: "drop the other handles of the framework before the conversion, copy it with \
                 try_to_owned(), or promise that nobody writes meanwhile with the unsafe \
                 view_shared()"
            .to_owned(),
    }
}
