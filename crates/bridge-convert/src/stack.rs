//! Stacking arrays along a new axis.

use bridge_core::{
    Admission, Array, Backend, DataType, Description, Device, DeviceBytes, Error, HostMemory,
    HostTools, Interrupt, ManagedTensor, MemorySource, Options, Overflow, PIECE_BYTES, Permit,
    Refused, Registry, Result, Runtime, Shape, SharedTensor, TensorError, TensorSpec,
    write_in_pieces,
};

use crate::by_name::convert_into;
use crate::plan::Peaks;

/// Stacks arrays of one shape and element type, from any backends, along a new axis, and hands the
/// result to the backend `target`.
///
/// The result has one axis more than the arrays: `axis` is its place, `arrays.len()` its extent.
/// The elements are copied once, into host memory, and from there to `target`, which can be
/// without a copy. Nothing is broadcast and no element type is changed, unless `options` ask for
/// a cast of the result. Who may interrupt by the options is asked while the arrays are copied, too.
///
/// # Errors
///
/// [`TensorError::InvalidArgument`] for no arrays or an axis out of range, [`Error::Mismatch`] where shape,
/// element type or device differ, and as [`ConvertByName::convert`](crate::ConvertByName::convert). All arrays come back.
pub fn stack(
    registry: &Registry,
    arrays: Vec<Array>,
    axis: usize,
    target: &str,
    options: Options,
) -> Result<Array, Refused<Vec<Array>>> {
    let mut pool = options.memory_source();
    let ready: Result<Options> = (|| {
        let (device, data_type) = check_alike(&arrays)?;
        let backend = registry.backend(target)?;
        backend.devices()?;
        let data_type = options.data_type().unwrap_or(data_type);
        let mut shape = arrays[0].describe()?.layout.shape().to_vec();
        if axis <= shape.len() {
            shape.insert(axis, arrays.len());
            let accepts = backend.native_type_for(data_type, &shape)?.accepts();
            // A pool's memory would be copied to a vector.
            pool = pool.filter(|_| !accepts.takes_only_vectors());
        }
        Ok(staying_on(device, backend, options))
    })();
    let options_there = match ready {
        Ok(options) => options,
        Err(error) => return Err(Refused::new(arrays, error)),
    };
    let natives: Vec<_> = arrays.iter().map(Array::native_type).collect();
    let count = arrays.len();
    let mut tensors = Vec::with_capacity(count);
    let mut arrays = arrays.into_iter();
    let mut failure = None;
    while let Some(array) = arrays.next() {
        match array.export() {
            Ok(tensor) => tensors.push(tensor),
            Err(refused) => {
                let (array, error) = refused.into_parts();
                let rest: Vec<_> = std::iter::once(array).chain(arrays).collect();
                failure = Some((error, rest));
                break;
            }
        }
    }
    let (error, rest) = match failure {
        Some(failure) => failure,
        None => {
            let stacked: Result<_> = (|| {
                let mut stacker = Stacker::new(registry, count, axis);
                stacker.admission = options_there.admission().or(stacker.admission);
                stacker.pool = pool;
                stacker.interrupt = options_there.interrupt();
                stacker.write_all(&tensors)?;
                stacker.finish(target, options_there)
            })();
            match stacked {
                Ok(array) => return Ok(array),
                Err(error) => (error, Vec::new()),
            }
        }
    };
    let restored =
        tensors.into_iter().zip(natives).map(|(tensor, native)| Array::restored(tensor, native));
    Err(Refused::new(restored.chain(rest).collect(), error))
}

/// The options, with the result where the arrays were unless the caller says otherwise: on their
/// device, if the target can be there.
pub(crate) fn staying_on<'a>(
    device: Device,
    target: &dyn Backend,
    options: Options<'a>,
) -> Options<'a> {
    let there = || target.native_types().iter().any(|native| native.accepts().is_on(device.kind()));
    match options.device() {
        None if !device.kind().is_host_accessible() && there() => options.on(device),
        _ => options,
    }
}

/// Writes each source to its target, in pieces of about `piece` bytes, and asks `interrupt` between them.
fn copy_in_pieces(
    tools: &dyn HostTools,
    parts: &mut Vec<(&ManagedTensor, ManagedTensor)>,
    interrupt: &dyn Interrupt,
    piece: usize,
) -> Result<()> {
    let bytes = parts
        .first()
        .map_or(Ok(0), |(source, _)| source.layout().compact_bytes(source.data_type()))?;
    if bytes <= piece {
        for (index, some) in parts.chunks_mut((piece / bytes.max(1)).max(1)).enumerate() {
            if index > 0 {
                interrupt.check()?;
            }
            tools.copy_parts(some)?;
        }
        return Ok(());
    }
    for (index, (source, target)) in parts.drain(..).enumerate() {
        if index > 0 {
            interrupt.check()?;
        }
        write_in_pieces(source, target, Some(interrupt), piece, |from, to| tools.copy(from, to))?;
    }
    Ok(())
}

/// Stacks arrays that come one after the other, so that no more than one of them and the stack are
/// in memory.
///
/// ```ignore
/// let mut stacker = Stacker::new(registry, files.len(), 0);
/// for file in files {
///     stacker.push(read(file)?)?;
/// }
/// let volume = stacker.finish("ndarray", Options::default())?;
/// ```
pub struct Stacker<'a> {
    registry: &'a Registry,
    count: usize,
    axis: usize,
    written: usize,
    stack: Option<Slots>,
    /// Who is asked before memory is taken.
    admission: Option<&'a dyn Admission>,
    /// Where it comes from, where it is not new.
    pool: Option<&'a dyn MemorySource>,
    /// Who is asked, while many arrays are copied at once, whether that shall go on.
    interrupt: Option<&'a dyn Interrupt>,
}

/// The stack's memory, and what every slice must be like.
struct Slots {
    whole: SharedTensor,
    shape: Shape,
    data_type: DataType,
    /// What was admitted for it.
    _permit: Option<Permit>,
}

impl<'a> Stacker<'a> {
    /// A stack of `count` arrays along a new axis `axis`. Its memory is allocated when the first
    /// array comes.
    pub fn new(registry: &'a Registry, count: usize, axis: usize) -> Self {
        let admission = registry.admission().map(|one| one as _);
        Self {
            registry,
            count,
            axis,
            written: 0,
            stack: None,
            admission,
            pool: None,
            interrupt: None,
        }
    }

    /// Asks `admission`, a budget, before memory is taken: for the stack, until it is handed over,
    /// and for each array that has to come from a device. It is not asked for what
    /// [`finish`](Self::finish) does: its options say who is.
    #[must_use]
    pub fn within(self, admission: &'a dyn Admission) -> Self {
        Self { admission: Some(admission), ..self }
    }

    /// Takes the stack's memory from `source`, a pool, and that of arrays on their way from a device.
    /// Handed to a target that owns vectors only, such a stack is copied once more. What the pool
    /// reserves itself is not asked of the budget.
    #[must_use]
    pub fn pool(self, source: &'a dyn MemorySource) -> Self {
        Self { pool: Some(source), ..self }
    }

    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Option<Permit>> {
        self.admission.map(|admission| admission.admit(peaks)).transpose()
    }

    /// Copies the next array into the stack and drops it.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where its shape or element type is not the first one's,
    /// [`TensorError::InvalidArgument`] for an axis out of range and beyond `count` arrays,
    /// out of memory. The array comes back and the stack is as before.
    pub fn push(&mut self, array: Array) -> Result<(), Refused<Array>> {
        let native = array.native_type();
        let tensor = array.export()?;
        self.write(&tensor).map_err(|error| Refused::new(Array::restored(tensor, native), error))
    }

    fn write(&mut self, tensor: &ManagedTensor) -> Result<()> {
        if self.written == self.count {
            return Err(Error::from(TensorError::InvalidArgument {
                what: "the number of arrays",
                found: (self.count + 1).to_string(),
                expected: format!("the stack was made for {}", self.count),
            }));
        }
        let (_admitted, downloaded);
        let tensor = if tensor.device().kind().is_host_accessible() {
            tensor
        } else {
            let runtime = self.registry.runtime(tensor.device())?;
            _admitted = match self.admission {
                Some(_) => self.admit(&self.download_peaks(runtime, tensor)?)?,
                None => None,
            };
            let alignment = tensor.data_type().alignment();
            downloaded = runtime.transfer_into(self.pool, alignment, tensor, Device::CPU)?;
            &downloaded
        };
        let tools = self.registry.host_tools()?;
        // Until the first array is written there is no stack, so that a failure leaves none.
        let made = match &self.stack {
            Some(_) => None,
            None => Some(self.slots_for_slices_like(tensor)?),
        };
        let Some(Slots { whole, shape, data_type, .. }) = made.as_ref().or(self.stack.as_ref())
        else {
            unreachable!("one of the two is there");
        };
        if shape.as_slice() != tensor.shape() {
            return Err(mismatch(
                self.written,
                "shape",
                format!("{shape:?}"),
                format!("{:?}", tensor.shape()),
            ));
        }
        if *data_type != tensor.data_type() {
            let found = tensor.data_type().to_string();
            return Err(mismatch(self.written, "data type", data_type.to_string(), found));
        }
        // SAFETY: the slot is dropped before the next one is made, and the whole given out after.
        let mut slot = unsafe { ManagedTensor::slice_of(whole, self.axis, self.written) }?;
        let _buffers = self.room_for_buffers(tools, [(tensor, &slot)])?;
        tools.copy(tensor, &mut slot)?;
        drop(slot);
        self.stack = made.or_else(|| self.stack.take());
        self.written += 1;
        Ok(())
    }

    /// Writes all arrays of the stack, which are alike. Where all are on the host, several may be written at the same
    /// time.
    fn write_all(&mut self, tensors: &[ManagedTensor]) -> Result<()> {
        let on_host = |tensor: &ManagedTensor| tensor.device().kind().is_host_accessible();
        let Some(first) = tensors.first().filter(|_| tensors.iter().all(on_host)) else {
            for (index, tensor) in tensors.iter().enumerate() {
                self.interrupt.filter(|_| index > 0).map_or(Ok(()), Interrupt::check)?;
                self.write(tensor)?;
            }
            return Ok(());
        };
        let slots = self.slots_for_slices_like(first)?;
        let slot = |(index, tensor)| {
            // SAFETY: each is the slot of another index; all are dropped before the whole is given out.
            let slot = unsafe { ManagedTensor::slice_of(&slots.whole, self.axis, index) }?;
            Ok((tensor, slot))
        };
        let mut parts = tensors.iter().enumerate().map(slot).collect::<Result<Vec<_>>>()?;
        let tools = self.registry.host_tools()?;
        let _buffers =
            self.room_for_buffers(tools, parts.iter().map(|(tensor, slot)| (*tensor, slot)))?;
        match self.interrupt {
            None => tools.copy_parts(&mut parts)?,
            Some(interrupt) => copy_in_pieces(tools, &mut parts, interrupt, PIECE_BYTES)?,
        }
        drop(parts);
        self.stack = Some(slots);
        self.written = tensors.len();
        Ok(())
    }

    /// Room for what copies on the host, done one after the other, take beside their targets.
    fn room_for_buffers<'t>(
        &self,
        tools: &dyn HostTools,
        copies: impl IntoIterator<Item = (&'t ManagedTensor, &'t ManagedTensor)>,
    ) -> Result<Option<Permit>> {
        let Some(admission) = self.admission else { return Ok(None) };
        let taken = copies.into_iter().map(|(from, to)| {
            let [from, to] = [from, to].map(|one| (one.data_type(), one.layout()));
            tools.working_memory(from, to)
        });
        match taken.max() {
            None | Some(0) => Ok(None),
            Some(bytes) => admission.admit(&[DeviceBytes { device: Device::CPU, bytes }]).map(Some),
        }
    }

    /// What downloading a tensor takes, but for what the pool reserves itself.
    fn download_peaks(&self, runtime: &dyn Runtime, tensor: &ManagedTensor) -> Result<Peaks> {
        let found = tensor.describe();
        let (from, data_type) = (found.device, found.data_type);
        let bytes = found.layout.compact_bytes(data_type)? as u64;
        let mut peaks = Peaks::from_vec(runtime.working_memory(
            &found,
            data_type,
            Device::CPU,
            Overflow::Refuse,
        ));
        let alignment = data_type.alignment();
        let reserved = self.pool.is_some_and(|pool| {
            pool.gives(Device::CPU, alignment)
                && pool.reserves(Device::CPU, alignment)
                && runtime.writes(data_type, from, Device::CPU)
        });
        match peaks.iter_mut().find(|one| one.device == Device::CPU) {
            _ if reserved => {}
            Some(host) => host.bytes = host.bytes.saturating_add(bytes),
            None => peaks.push(DeviceBytes { device: Device::CPU, bytes }),
        }
        Ok(peaks)
    }

    /// Memory for a stack of slices like this one.
    fn slots_for_slices_like(&self, slice: &ManagedTensor) -> Result<Slots> {
        let mut shape = Shape::from_slice(slice.shape());
        if self.axis > shape.len() {
            return Err(no_such_axis(self.axis, shape.len() + 1));
        }
        shape.insert(self.axis, self.count);
        let data_type = slice.data_type();
        let spec = TensorSpec::row_major(data_type, &shape)?;
        let bytes = spec.layout.compact_bytes(data_type)?;
        let peak = DeviceBytes { device: Device::CPU, bytes: bytes as u64 };
        let alignment = data_type.alignment();
        let gives = |pool: &&dyn MemorySource| bytes > 0 && pool.gives(Device::CPU, alignment);
        let pool = self.pool.filter(gives);
        let _permit = match pool {
            Some(pool) if pool.reserves(Device::CPU, alignment) => None,
            _ => self.admit(&[peak])?,
        };
        // SAFETY: the host's tools write every slot before the stack is handed over: `HostTools` promises that
        // all elements are written where it returns `Ok`, and only then a slot counts as written.
        let whole = unsafe {
            match pool {
                Some(pool) => pool.take_checked(&spec, Device::CPU, alignment)?,
                None => {
                    let memory = HostMemory::allocate(bytes, alignment)?;
                    ManagedTensor::from_host_memory(memory, spec)?
                }
            }
        };
        let shape = Shape::from_slice(slice.shape());
        Ok(Slots { whole: whole.into_shared(), shape, data_type, _permit })
    }

    /// Hands the stack to the backend `target`. The stacker is empty then, and can be filled again.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`] where fewer than `count` arrays were pushed or `count` is zero, and
    /// as [`ConvertByName::convert`](crate::ConvertByName::convert). The stack stays as it was, to be completed or handed elsewhere.
    pub fn finish(&mut self, target: &str, options: Options) -> Result<Array> {
        self.finish_in(self.registry.backend(target)?, options)
    }

    pub(crate) fn finish_in(
        &mut self,
        target: &'static dyn Backend,
        options: Options,
    ) -> Result<Array> {
        let incomplete = || TensorError::InvalidArgument {
            what: "the number of arrays",
            found: self.written.to_string(),
            expected: format!("the stack needs {}, and at least one", self.count),
        };
        let complete = self.written == self.count;
        let Slots { whole, shape, data_type, _permit } =
            self.stack.take_if(|_| complete).ok_or_else(incomplete)?;
        let whole = whole
            .try_unwrap()
            .unwrap_or_else(|_| unreachable!("every slot was dropped when it was written"));
        match convert_into(self.registry, Array::new(whole), target, options) {
            Ok(array) => {
                self.written = 0;
                Ok(array)
            }
            Err(refused) => {
                let (array, error) = refused.into_parts();
                let whole = array.downcast::<ManagedTensor>()?.into_shared();
                self.stack = Some(Slots { whole, shape, data_type, _permit });
                Err(error)
            }
        }
    }
}

/// The device and element type of all arrays, where these and the shape agree.
fn check_alike(arrays: &[Array]) -> Result<(Device, DataType)> {
    let mut all = arrays.iter().map(Array::describe);
    let first = match all.next() {
        Some(first) => first?,
        None => {
            return Err(Error::from(TensorError::InvalidArgument {
                what: "the number of arrays",
                found: "0".to_owned(),
                expected: "a stack needs at least one".to_owned(),
            }));
        }
    };
    let host = |device: Device| device.kind().is_host_accessible();
    for (index, other) in (1..).zip(all) {
        let Description { data_type, device, layout, .. } = other?;
        if layout.shape() != first.layout.shape() {
            let (expected, found) = (first.layout.shape(), layout.shape());
            return Err(mismatch(index, "shape", format!("{expected:?}"), format!("{found:?}")));
        }
        if data_type != first.data_type {
            let (expected, found) = (first.data_type, data_type);
            return Err(mismatch(index, "data type", expected.to_string(), found.to_string()));
        }
        if device != first.device && !(host(device) && host(first.device)) {
            let (expected, found) = (first.device, device);
            return Err(mismatch(index, "device", expected.to_string(), found.to_string()));
        }
    }
    Ok((first.device, first.data_type))
}

fn mismatch(index: usize, what: &'static str, expected: String, found: String) -> Error {
    let remedy = match what {
        "shape" => "nothing is broadcast: reshape or crop it first",
        "data type" => "nothing is cast: convert it with Options::cast first",
        _ => "convert it with Options::on first",
    };
    Error::Mismatch { index, what, expected, found, remedy }
}

pub(crate) fn no_such_axis(axis: usize, rank: usize) -> Error {
    Error::from(TensorError::InvalidArgument {
        what: "the axis",
        found: axis.to_string(),
        expected: format!("it must be below {rank}"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Lets so many pieces follow the first.
    struct After(AtomicUsize);

    impl Interrupt for After {
        fn check(&self) -> Result<()> {
            let left =
                self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            left.map(drop).map_err(|_| no_such_axis(0, 0))
        }
    }

    /// Three slices of twelve elements, in pieces of so many bytes: what was stacked, zeros where nothing was.
    fn stacked(piece: usize, pieces: usize) -> (Vec<u16>, Result<()>) {
        let slice = |first: u16| ManagedTensor::from_vec((first..first + 12).collect(), &[6, 2]);
        let slices = [1, 13, 25].map(|first| slice(first).unwrap());
        let whole = ManagedTensor::from_vec(vec![0_u16; 36], &[3, 6, 2]).unwrap().into_shared();
        // SAFETY: each index is there once, and the parts are dropped before the whole is used.
        let part = |index| unsafe { ManagedTensor::slice_of(&whole, 0, index) }.unwrap();
        let mut parts: Vec<_> = slices.iter().zip((0..3).map(part)).collect();
        let interrupt = After(AtomicUsize::new(pieces));
        let done = copy_in_pieces(&bridge_host::HostKernels, &mut parts, &interrupt, piece);
        drop(parts);
        (whole.try_unwrap().unwrap().into_vec::<u16>().unwrap().0, done)
    }

    #[test]
    fn pieces_of_any_size_make_the_whole_stack() {
        for piece in [1, 4, 8, 23, 24, 25, 48, 72, 1 << 20] {
            let (stack, done) = stacked(piece, 99);
            done.unwrap();
            assert!(stack.into_iter().eq(1..37), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_stack_is_interrupted_between_slices_and_within_one() {
        for (piece, written) in [(48, 24), (24, 12), (8, 4)] {
            let (stack, done) = stacked(piece, 0);
            assert!(done.is_err());
            assert!(stack[..written].iter().copied().eq(1..=written as u16), "{piece}: {stack:?}");
            assert!(stack[written..].iter().all(|&one| one == 0), "{piece}: {stack:?}");
        }
    }
}
