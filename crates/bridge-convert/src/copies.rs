//! Taking the copying steps of a plan.

use bridge_core::{
    Accepts, Admission, DataType, Device, DeviceBytes, HostMemory, LayoutRule, ManagedTensor,
    MemorySource, Options, Ownership, PIECE_BYTES, Permit, Registry, Result, SharedTensor,
    TensorSpec, write_in_pieces,
};

use crate::landing::{Landing, NewHostMemory};
use crate::plan::{Made, Plan, Pooling, Step};

/// The copies that one conversion makes.
pub(crate) struct Copies<'a> {
    registry: &'a Registry,
    /// What the target takes.
    accepts: &'a Accepts,
    options: &'a Options<'a>,
    /// What the last step made; before the first, the source.
    current: SharedTensor,
    /// Who is asked before memory is taken.
    admission: Option<&'a dyn Admission>,
    /// Where memory comes from that is not new.
    pooling: Option<Pooling<'a>>,
}

impl<'a> Copies<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        accepts: &'a Accepts,
        options: &'a Options<'a>,
        source: &SharedTensor,
    ) -> Self {
        let admission = options.admission().or(registry.admission().map(|one| one as _));
        let pooling = Pooling::of(options, accepts, Some(registry));
        Self { registry, accepts, options, current: source.clone(), admission, pooling }
    }

    /// Takes the plan's copying steps and returns what the last one made. A copy that the plan did
    /// not foresee is added to it.
    pub(crate) fn make(mut self, plan: &mut Plan) -> Result<ManagedTensor> {
        let _admitted = self.admit(&plan.peaks)?;
        let mut foreseen = false;
        let mut steps = plan.steps.iter().filter(|step| step.copies()).peekable();
        while let Some(step) = steps.next() {
            let is_last = steps.peek().is_none();
            let mut pool = self.pool_for(step, is_last);
            if is_last && pool.is_none() {
                match self.landing(step)? {
                    Landing::AsItComes => {}
                    Landing::InNewMemory => pool = Some(&NewHostMemory),
                    Landing::CopiedOnceMore => foreseen = true,
                }
            }
            self.current = self.take(step, pool)?.into_shared();
        }
        if self.is_not_what_the_target_takes() {
            let bytes = self.current.layout().compact_bytes(self.current.data_type())? as u64;
            // The plan's peaks have it where a second copy was to be expected.
            let unforeseen = [DeviceBytes { device: Device::CPU, bytes }];
            let _admitted = if foreseen { None } else { self.admit(&unforeseen)? };
            self.current = self.copy(None)?.into_shared();
            plan.add_last_copy(bytes);
        }
        let made = self.current.try_unwrap();
        Ok(made.unwrap_or_else(|_| unreachable!("a plan without a copy is not taken here")))
    }

    /// Room for what will be taken, until it is dropped.
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Option<Permit>> {
        self.admission.map(|admission| admission.admit(peaks)).transpose()
    }

    /// Whose memory what a step makes lies in, where it is not new.
    fn pool_for(&self, step: &Step, is_last: bool) -> Option<&'a dyn MemorySource> {
        let (from, is_empty) = (self.current.device(), self.current.layout().is_empty());
        let (data_type, to) = step.makes(self.current.data_type(), from);
        self.pooling?.source_for(step, Made { data_type, from, to, is_empty, is_last })
    }

    /// How what a last step downloads comes into memory that the target can take over.
    fn landing(&self, step: &Step) -> Result<Landing> {
        let Step::Download { from } = *step else { return Ok(Landing::AsItComes) };
        if self.current.layout().is_empty() {
            return Ok(Landing::AsItComes);
        }
        let runtime = self.registry.runtime(from)?;
        Ok(Landing::of(self.accepts, runtime, self.current.data_type(), from))
    }

    fn take(&self, step: &Step, pool: Option<&dyn MemorySource>) -> Result<ManagedTensor> {
        let alignment = self.accepts.alignment_for(self.current.data_type());
        match *step {
            Step::Cast { to, .. } if self.is_on_host() => self.cast(to, pool),
            Step::Cast { to, .. } => {
                let on = self.current.device();
                let runtime = self.registry.runtime(on)?;
                let overflow = self.options.overflow_rule();
                self.on_device(on, |from| runtime.cast(from, to, overflow))
            }
            Step::DeviceCopy { on } => {
                let runtime = self.registry.runtime(on)?;
                self.on_device(on, |from| runtime.transfer_into(pool, alignment, from, on))
            }
            Step::Upload { to } | Step::PeerCopy { to, .. } => {
                let runtime = self.registry.runtime(to)?;
                self.on_device(to, |from| runtime.transfer_into(pool, alignment, from, to))
            }
            Step::Download { from } => {
                let (runtime, to) = (self.registry.runtime(from)?, Device::CPU);
                self.on_device(to, |from| runtime.transfer_into(pool, alignment, from, to))
            }
            Step::Copy => self.copy(pool),
            Step::Stay | Step::Shortcut { .. } | Step::Move | Step::Share | Step::Map { .. } => {
                unreachable!("steps that copy nothing are not taken here")
            }
        }
    }

    fn is_on_host(&self) -> bool {
        self.current.device().kind().is_host_accessible()
    }

    /// A copy on the host.
    fn copy(&self, pool: Option<&dyn MemorySource>) -> Result<ManagedTensor> {
        let tools = self.registry.host_tools()?;
        let bytes = self.current.layout().compact_bytes(self.current.data_type())?;
        let is_new = pool.is_none() && HostMemory::has_new_pages(bytes);
        self.on_host(pool, self.current.data_type(), |from, to| match is_new {
            true => tools.copy_to_new_pages(from, to),
            false => tools.copy(from, to),
        })
    }

    /// A cast on the host.
    fn cast(&self, to: DataType, pool: Option<&dyn MemorySource>) -> Result<ManagedTensor> {
        let tools = self.registry.host_tools()?;
        let overflow = self.options.overflow_rule();
        self.on_host(pool, to, |from, to| tools.cast(from, to, overflow))
    }

    /// Whether a device has downloaded into memory that the target cannot take over: one that can only own
    /// vectors, or needs more alignment.
    fn is_not_what_the_target_takes(&self) -> bool {
        let found = self.current.facts();
        let is_no_vector = found.ownership != Ownership::Movable;
        let needed = self.accepts.alignment_for(found.data_type);
        let is_misaligned = found.alignment < needed && !found.layout.is_empty();
        let refused = (self.accepts.takes_only_vectors() && is_no_vector) || is_misaligned;
        refused && self.is_on_host()
    }

    /// What `write` writes to host memory that the target can take over, of the pool or new.
    fn on_host(
        &self,
        pool: Option<&dyn MemorySource>,
        data_type: DataType,
        write: impl Fn(&ManagedTensor, &mut ManagedTensor) -> Result<()>,
    ) -> Result<ManagedTensor> {
        let accepts = self.accepts;
        let layout = accepts.layout_rule().compact(self.current.shape())?;
        let bytes = layout.compact_bytes(data_type)?;
        // The element's own alignment, if that is enough: then a vector can own the copy later.
        let alignment = accepts.alignment_for(data_type);
        self.recovering(Device::CPU, |current| {
            let spec = TensorSpec { data_type, layout: layout.clone() };
            // SAFETY: both callers hand the tensor, or all of its pieces, to `HostTools`, whose safety
            // contract is that every element is written when it returns `Ok`; when it returns an error
            // the tensor is dropped unread.
            let target = unsafe {
                match pool {
                    Some(pool) => pool.take_checked(&spec, Device::CPU, alignment)?,
                    None => {
                        let memory = HostMemory::allocate(bytes, alignment)?;
                        ManagedTensor::from_host_memory(memory, spec)?
                    }
                }
            };
            write_in_pieces(current, target, self.options.interrupt(), PIECE_BYTES, &write)
        })
    }

    /// What a runtime makes on a device, which is row-major, in the layout that the target takes:
    /// for a column-major one the axes are reversed before and after.
    fn on_device(
        &self,
        device: Device,
        make: impl Fn(&ManagedTensor) -> Result<ManagedTensor>,
    ) -> Result<ManagedTensor> {
        // Packed elements have row-major strides only.
        let packed = self.current.data_type().size_in_bytes().is_none();
        let column_major = self.accepts.layout_rule() == LayoutRule::ColumnMajor;
        self.recovering(device, |current| {
            if packed || !column_major {
                return make(current);
            }
            let reversed: Vec<usize> = (0..current.layout().rank()).rev().collect();
            let turned = ManagedTensor::alias(current).permuted(&reversed)?;
            Ok(make(&turned)?.permuted(&reversed)?)
        })
    }

    /// Does what takes memory on `device`, and again as long as who watches over the memory makes
    /// room after it failed.
    fn recovering(
        &self,
        device: Device,
        make: impl Fn(&SharedTensor) -> Result<ManagedTensor>,
    ) -> Result<ManagedTensor> {
        let mut attempt = 1;
        loop {
            match (make(&self.current), self.admission) {
                (Err(error), Some(admission))
                    if error.out_of_memory().is_some()
                        && admission.recover(device, &error, attempt) =>
                {
                    attempt += 1;
                }
                (done, _) => return done,
            }
        }
    }
}
