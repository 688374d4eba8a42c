//! Taking arrays apart along an axis, and mapping over the slices.

use std::fmt;

use bridge_core::{
    Admission, Array, Backend, ManagedTensor, MemorySource, NativeType, Options, Refused, Registry,
    Result, SharedTensor, vec_with_room,
};

use crate::by_name::{ConvertByName, convert_into};
use crate::stack::{Stacker, no_such_axis, staying_on};

/// Takes an array apart along `axis` and hands the slices, each with one axis fewer, to the
/// backend `target`.
///
/// The slices share the array's memory where `target` can take such a part, and are as writable
/// as the array was.
///
/// # Errors
///
/// [`TensorError::InvalidArgument`](bridge_core::TensorError::InvalidArgument) for an axis out of range, and as [`ConvertByName::convert`]. The
/// array comes back. Where the backend keeps slices that it was given although their arrays are
/// gone, what comes back is a tensor of the slices that it was not given yet.
pub fn unstack(
    registry: &Registry,
    array: Array,
    axis: usize,
    target: &str,
    options: &Options,
) -> Result<Vec<Array>, Refused<Array>> {
    let (whole, count) = Whole::of(array, axis)?;
    let mut slices = match vec_with_room(count, SLICE_BYTES) {
        Ok(slices) => slices,
        Err(error) => return Err(Refused::new(whole.restored(0), error)),
    };
    for index in 0..count {
        // SAFETY: each index is taken once, and the whole is not given out while a slice lives.
        let slice = unsafe { whole.slice(index) };
        let slice =
            slice.and_then(|slice| Ok(registry.convert(Array::new(slice), target, *options)?));
        match slice {
            Ok(slice) => slices.push(slice),
            Err(error) => {
                drop(slices);
                // The refused slice, too, was in the backend's hands.
                return Err(Refused::new(whole.restored(index + 1), error));
            }
        }
    }
    Ok(slices)
}

/// Calls `map` with every slice of an array along `axis` and stacks what it returns along the same
/// axis, in the array's own backend. What else `map` returns is collected in order; return `()`
/// for nothing. The slices share the array's memory where its backend can take such a part, and are
/// read-only: the array comes back whole where `map` fails, even while a slice is kept.
///
/// # Errors
///
/// [`TensorError::InvalidArgument`](bridge_core::TensorError::InvalidArgument) for an axis that is out of range or empty, what `map` returns, and as
/// [`stack`](crate::stack). The array comes back; where `map` kept a slice, as a read-only tensor.
pub fn map_slices<E>(
    registry: &Registry,
    array: Array,
    axis: usize,
    mut map: impl FnMut(Array) -> Result<(Array, E)>,
) -> Result<(Array, Vec<E>), Refused<Array>> {
    let mut slices = SliceMap::new(registry, array, axis)?;
    let mapped: Result<_> = (|| {
        let mut extras = vec_with_room(slices.count(), SLICE_BYTES)?;
        while let Some(slice) = slices.next_slice()? {
            let (slice, extra) = map(slice)?;
            slices.push(slice)?;
            extras.push(extra);
        }
        Ok((slices.finish()?, extras))
    })();
    mapped.map_err(|error| Refused::new(slices.into_array(), error))
}

/// [`map_slices`], step by step: for work that no closure can hold, as what an `async fn` awaits.
///
/// ```
/// # use bridge_host as _;
/// use bridge_convert::SliceMap;
/// use bridge_core::{Array, ManagedTensor, Registry};
///
/// let rows = ManagedTensor::from_vec(vec![1_u8, 2, 3, 4], &[2, 2])?;
/// let mut slices = SliceMap::new(Registry::global()?, Array::new(rows), 0)?;
/// while let Some(row) = slices.next_slice()? {
///     // Any work on the row.
///     slices.push(row)?;
/// }
/// let stack = slices.finish()?.downcast::<ManagedTensor>()?;
/// assert_eq!(stack.as_slice::<u8>()?, [1, 2, 3, 4]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct SliceMap<'a> {
    registry: &'a Registry,
    backend: &'static dyn Backend,
    options: Options<'a>,
    whole: Whole,
    count: usize,
    given: usize,
    stacker: Stacker<'a>,
}

impl<'a> SliceMap<'a> {
    /// Cuts an array along `axis`, into slices of its own backend.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`](bridge_core::TensorError::InvalidArgument) for an axis out of range, [`Error::UnknownBackend`](bridge_core::Error::UnknownBackend) where `registry`
    /// does not have the array's backend. The array comes back.
    pub fn new(registry: &'a Registry, array: Array, axis: usize) -> Result<Self, Refused<Array>> {
        let backend = match registry.backend_of(&array) {
            Ok(backend) => backend,
            Err(error) => return Err(Refused::new(array, error)),
        };
        let (whole, count) = Whole::of(array, axis)?;
        let options = staying_on(whole.shared.device(), backend, Options::default());
        let stacker = Stacker::new(registry, count, axis);
        Ok(Self { registry, backend, options, whole, count, given: 0, stacker })
    }

    /// Asks `admission`, a budget, before memory is taken: for slices that have to be copied, for the
    /// stack, and for handing it to the array's backend.
    #[must_use]
    pub fn within(self, admission: &'a dyn Admission) -> Self {
        let (options, stacker) = (self.options.within(admission), self.stacker.within(admission));
        Self { options, stacker, ..self }
    }

    /// Takes memory from `source`, a pool: that of slices that have to be copied, of the stack, and of
    /// handing it to the array's backend. The stack is new memory where that backend owns vectors only, to
    /// which it would be copied.
    #[must_use]
    pub fn pool(self, source: &'a dyn MemorySource) -> Self {
        let mut natives = self.backend.native_types().iter();
        let stacker = match natives.all(|native| native.accepts().takes_only_vectors()) {
            true => self.stacker,
            false => self.stacker.pool(source),
        };
        Self { options: self.options.pool(source), stacker, ..self }
    }

    /// How many slices there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The next slice, which is read-only; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`ConvertByName::convert`].
    pub fn next_slice(&mut self) -> Result<Option<Array>> {
        if self.given == self.count {
            return Ok(None);
        }
        // SAFETY: the slice is made read-only before anybody sees it.
        let slice = unsafe { self.whole.slice(self.given) }?.into_read_only();
        let slice = convert_into(self.registry, Array::new(slice), self.backend, self.options)?;
        self.given += 1;
        Ok(Some(slice))
    }

    /// Puts what came of a slice on the stack, in the order of the slices.
    ///
    /// # Errors
    ///
    /// As [`Stacker::push`]. What came of it comes back.
    pub fn push(&mut self, made: Array) -> Result<(), Refused<Array>> {
        self.stacker.push(made)
    }

    /// What came of all slices, stacked along the axis that the array was cut along, in its backend.
    ///
    /// # Errors
    ///
    /// As [`Stacker::finish`].
    pub fn finish(&mut self) -> Result<Array> {
        self.stacker.finish_in(self.backend, self.options)
    }

    /// The array again; where somebody keeps a slice, a read-only tensor of its memory.
    pub fn into_array(self) -> Array {
        self.whole.restored_to_read()
    }
}

impl fmt::Debug for SliceMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SliceMap");
        debug.field("count", &self.count).field("given", &self.given).finish_non_exhaustive()
    }
}

/// What one slice of an array allocates, at most, in most backends: its own parts, the array's and
/// the box around it.
const SLICE_BYTES: usize = 512;

/// An array that is being taken apart and can be put together again.
struct Whole {
    shared: SharedTensor,
    native: &'static NativeType,
    axis: usize,
}

impl Whole {
    fn of(array: Array, axis: usize) -> Result<(Self, usize), Refused<Array>> {
        let native = array.native_type();
        let tensor = array.export()?;
        let Some(&count) = tensor.shape().get(axis) else {
            let error = no_such_axis(axis, tensor.layout().rank());
            return Err(Refused::new(Array::restored(tensor, native), error));
        };
        Ok((Self { shared: tensor.into_shared(), native, axis }, count))
    }

    /// # Safety
    ///
    /// As [`ManagedTensor::slice_of`].
    unsafe fn slice(&self, index: usize) -> Result<ManagedTensor> {
        // SAFETY: as the caller promises.
        Ok(unsafe { ManagedTensor::slice_of(&self.shared, self.axis, index) }?)
    }

    /// The array again; where a backend kept some of the first `given` slices, a tensor of the
    /// others, since those that were kept may be written to.
    fn restored(self, given: usize) -> Array {
        match self.shared.try_unwrap() {
            Ok(tensor) => Array::restored(tensor, self.native),
            Err(shared) => {
                // SAFETY: no slice from `given` on was made, and the whole is given up.
                let rest = |start| unsafe { ManagedTensor::rest_of(&shared, self.axis, start) };
                // Packed elements cannot be cut: then nothing is left.
                let rest = rest(given).or_else(|_| rest(usize::MAX)).unwrap_or_else(|error| {
                    unreachable!("no slices of an axis that there is: {error}")
                });
                Array::new(rest)
            }
        }
    }

    /// The array again, of which all slices were read-only; where somebody kept one, a read-only
    /// tensor of its memory.
    fn restored_to_read(self) -> Array {
        match self.shared.try_unwrap() {
            Ok(tensor) => Array::restored(tensor, self.native),
            Err(shared) => Array::new(ManagedTensor::alias(&shared)),
        }
    }
}
