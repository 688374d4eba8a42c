//! Kernels: built from source when first needed, one of each kind a device, and kept.

mod cast_source;
mod copy_source;
mod nest;
mod number;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bridge_core::{DataType, Overflow, Result};
use opencl3::kernel::{create_kernel, set_kernel_arg};
use opencl3::program::{build_program, create_program_with_source};
use opencl3::types::{cl_int, cl_mem};

use crate::device::ClDevice;
use crate::enqueue::After;
use crate::event::ClEvent;
use crate::handle::{self, Owned};
use crate::per_device::PerDevice;
use crate::status::Doing;

pub(crate) use nest::Nest;

/// Work items of a group: one size, as drivers compile a kernel again for each.
const GROUP: usize = 64;
/// Groups for each compute unit at most; each work item then runs through several elements.
const GROUPS_EACH_UNIT: usize = 32;

/// What a kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    /// Copies pieces of so many bytes.
    Copy { unit: usize },
    /// Converts elements.
    Cast { from: DataType, to: DataType, overflow: Overflow },
}

impl Job {
    /// The source; `None` where no kernel does this.
    fn source(self) -> Option<String> {
        match self {
            Self::Copy { unit } => Some(copy_source::of(unit)),
            Self::Cast { from, to, overflow } => cast_source::of(from, to, overflow),
        }
    }
}

/// A kernel, whose arguments one thread at a time may set.
type Built = Option<Mutex<Owned<handle::Kernel>>>;

/// The kernels of one device.
#[derive(Default)]
pub(crate) struct Kernels {
    built: Mutex<HashMap<Job, Arc<OnceLock<Built>>>>,
}

/// The memory that a kernel works on.
pub(crate) struct Ends<'a> {
    pub(crate) source: cl_mem,
    pub(crate) target: cl_mem,
    /// Which elements of the source, in pieces of the kernel's size.
    pub(crate) nest: &'a Nest,
    /// A word that the kernel sets to 1 where a value does not fit.
    pub(crate) misfit: Option<cl_mem>,
    /// Bytes that are written.
    pub(crate) bytes: usize,
}

/// The kernels of each device.
static KERNELS: PerDevice<Arc<Kernels>> = PerDevice::new();

impl Kernels {
    pub(crate) fn of(device: &'static ClDevice) -> Result<Arc<Self>> {
        KERNELS.get(device, || Ok(Arc::default()))
    }

    /// Runs a kernel over the elements of `ends`. `None` where the device has no such kernel:
    /// nothing was done.
    ///
    /// # Errors
    ///
    /// As the driver says.
    ///
    /// # Safety
    ///
    /// The buffers are live and of the device's context, each element of the nest lies within the
    /// source, and the target has room for as many, one after the other.
    pub(crate) unsafe fn run(
        &self,
        job: Job,
        ends: &Ends<'_>,
        after: After<'_>,
    ) -> Result<Option<ClEvent>> {
        let device = after.queue.device();
        let slot = {
            let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(built.entry(job).or_default())
        };
        let Some(kernel) = slot.get_or_init(|| build(device, job)) else {
            return Ok(None);
        };
        let kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let doing = Doing::new("set the arguments of a kernel", device.device(), 0);
        let Nest { first, count, rank, extents, strides } = ends.nest;
        let mut index = 0;
        let mut set = |size: usize, value: *const c_void| -> Result<()> {
            // SAFETY: the sources declare these arguments in this order and of these sizes; the
            // driver copies each value before it returns; the lock keeps other threads out.
            let done = unsafe { set_kernel_arg(kernel.raw(), index, size, value) };
            index += 1;
            doing.check(done)
        };
        set(size_of::<cl_mem>(), (&raw const ends.source).cast())?;
        set(size_of::<u64>(), (&raw const *first).cast())?;
        set(size_of::<cl_mem>(), (&raw const ends.target).cast())?;
        set(size_of::<u64>(), (&raw const *count).cast())?;
        set(size_of::<cl_int>(), (&raw const *rank).cast())?;
        set(size_of_val(extents), (&raw const *extents).cast())?;
        set(size_of_val(strides), (&raw const *strides).cast())?;
        if let Some(misfit) = &ends.misfit {
            set(size_of::<cl_mem>(), (&raw const *misfit).cast())?;
        }
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        let most = GROUPS_EACH_UNIT * device.capabilities().compute_units.max(1) as usize;
        let groups = count.div_ceil(GROUP).min(most);
        // SAFETY: all arguments are set; each work item stays below `count` elements of the target,
        // and reads the elements of the nest.
        unsafe { after.run_kernel(kernel.raw(), groups, GROUP, ends.bytes) }.map(Some)
    }
}

/// Builds a kernel. A device whose compiler refuses it works through the host instead.
fn build(device: &ClDevice, job: Job) -> Built {
    if !device.capabilities().compiles {
        return None;
    }
    let source = job.source()?;
    let program = create_program_with_source(device.raw_context().ok()?, &[&source]).ok()?;
    // SAFETY: the program was just created, and the reference is handed over.
    let program = unsafe { Owned::<handle::Program>::take_over(program) };
    build_program(program.raw(), &[device.id()], c"", None, std::ptr::null_mut()).ok()?;
    let kernel = create_kernel(program.raw(), c"run").ok()?;
    // SAFETY: the kernel was just created, and the reference is handed over. It keeps the program.
    Some(Mutex::new(unsafe { Owned::take_over(kernel) }))
}
