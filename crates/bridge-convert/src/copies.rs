//! Taking the copying steps of a plan.

use bridge_core::{
    Accepts, DataType, Device, HostMemory, LayoutRule, ManagedTensor, Options, Ownership, Permit,
    Registry, Result, SharedTensor, TensorSpec,
};

use crate::plan::{Plan, Step};

/// The copies that one conversion makes.
pub(crate) struct Copies<'a> {
    registry: &'a Registry,
    /// What the target takes.
    accepts: &'a Accepts,
    options: &'a Options,
    /// What the last step made; before the first, the source.
    current: SharedTensor,
    /// What was admitted, until the conversion is done.
    permits: Vec<Permit>,
}

impl<'a> Copies<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        accepts: &'a Accepts,
        options: &'a Options,
        source: &SharedTensor,
    ) -> Self {
        Self { registry, accepts, options, current: source.clone(), permits: Vec::new() }
    }

    /// Takes the plan's copying steps and returns what the last one made. A copy that the plan did
    /// not foresee is added to it.
    pub(crate) fn make(mut self, plan: &mut Plan) -> Result<ManagedTensor> {
        for step in plan.steps.iter().filter(|step| step.copies()) {
            self.current = self.take(step)?.into_shared();
        }
        if self.needs_a_vector() {
            self.current = self.copy()?.into_shared();
            plan.add_last_copy(self.bytes_as(self.current.data_type())?);
        }
        let made = self.current.try_unwrap();
        Ok(made.unwrap_or_else(|_| unreachable!("a plan without a copy is not taken here")))
    }

    fn take(&mut self, step: &Step) -> Result<ManagedTensor> {
        match *step {
            Step::Cast { to, .. } if self.is_on_host() => self.cast(to),
            Step::Cast { to, .. } => {
                let on = self.current.device();
                let runtime = self.registry.runtime(on)?;
                let overflow = self.options.overflow_rule();
                self.on_device(on, to, |from| runtime.cast(from, to, overflow))
            }
            Step::DeviceCopy { on } => {
                let runtime = self.registry.runtime(on)?;
                self.on_device(on, self.current.data_type(), |from| runtime.copy(from))
            }
            Step::Upload { to } | Step::PeerCopy { to, .. } => {
                let runtime = self.registry.runtime(to)?;
                self.on_device(to, self.current.data_type(), |from| runtime.transfer(from, to))
            }
            Step::Download { from } => {
                let (runtime, to) = (self.registry.runtime(from)?, Device::CPU);
                self.on_device(to, self.current.data_type(), |from| runtime.transfer(from, to))
            }
            Step::Copy => self.copy(),
            Step::Stay | Step::Shortcut { .. } | Step::Move | Step::Share | Step::Map { .. } => {
                unreachable!("steps that copy nothing are not taken here")
            }
        }
    }

    fn is_on_host(&self) -> bool {
        self.current.device().kind().is_host_accessible()
    }

    /// A copy on the host.
    fn copy(&mut self) -> Result<ManagedTensor> {
        let tools = self.registry.host_tools()?;
        self.on_host(self.current.data_type(), |from, to| tools.copy(from, to))
    }

    /// A cast on the host.
    fn cast(&mut self, to: DataType) -> Result<ManagedTensor> {
        let tools = self.registry.host_tools()?;
        let overflow = self.options.overflow_rule();
        self.on_host(to, |from, to| tools.cast(from, to, overflow))
    }

    /// Whether a device has downloaded into memory that the target, which can only own vectors,
    /// cannot take over.
    fn needs_a_vector(&self) -> bool {
        let fits = self.current.facts().ownership == Ownership::Movable;
        self.accepts.takes_only_vectors() && !fits && self.is_on_host()
    }

    /// What `write` writes to new host memory that the target can take over.
    fn on_host(
        &mut self,
        data_type: DataType,
        write: impl Fn(&ManagedTensor, &mut ManagedTensor) -> Result<()>,
    ) -> Result<ManagedTensor> {
        let accepts = self.accepts;
        let layout = accepts.layout_rule().compact(self.current.shape())?;
        let bytes = layout.compact_bytes(data_type)?;
        // The element's own alignment, if that is enough: then a vector can own the copy later.
        let alignment = accepts.alignment_for(data_type);
        self.admitted(Device::CPU, bytes as u64, |current| {
            let memory = HostMemory::allocate(bytes, alignment)?;
            let spec = TensorSpec { data_type, layout: layout.clone() };
            // SAFETY: both callers hand the tensor to `HostTools`, whose safety contract is that
            // every element is written when it returns `Ok`; when it returns an error the tensor is
            // dropped unread.
            let mut target = unsafe { ManagedTensor::from_host_memory(memory, spec) }?;
            write(current, &mut target)?;
            Ok(target)
        })
    }

    /// What a runtime makes on a device, which is row-major, in the layout that the target takes:
    /// for a column-major one the axes are reversed before and after.
    fn on_device(
        &mut self,
        device: Device,
        data_type: DataType,
        make: impl Fn(&ManagedTensor) -> Result<ManagedTensor>,
    ) -> Result<ManagedTensor> {
        let bytes = self.bytes_as(data_type)?;
        // Packed elements have row-major strides only.
        let packed = self.current.data_type().size_in_bytes().is_none();
        let column_major = self.accepts.layout_rule() == LayoutRule::ColumnMajor;
        self.admitted(device, bytes, |current| {
            if packed || !column_major {
                return make(current);
            }
            let reversed: Vec<usize> = (0..current.layout().rank()).rev().collect();
            let turned = ManagedTensor::alias(current).permuted(&reversed)?;
            Ok(make(&turned)?.permuted(&reversed)?)
        })
    }

    /// Bytes of the elements as `data_type`.
    fn bytes_as(&self, data_type: DataType) -> Result<u64> {
        Ok(self.current.layout().compact_bytes(data_type)? as u64)
    }

    /// Does what takes `bytes` on `device`, once whoever watches over the memory admits it, and
    /// again as long as they make room after it failed.
    fn admitted(
        &mut self,
        device: Device,
        bytes: u64,
        make: impl Fn(&SharedTensor) -> Result<ManagedTensor>,
    ) -> Result<ManagedTensor> {
        let Some(admission) = self.registry.admission() else {
            return make(&self.current);
        };
        self.permits.push(admission.admit(device, bytes)?);
        let mut attempt = 1;
        loop {
            match make(&self.current) {
                Err(error)
                    if error.out_of_memory().is_some()
                        && admission.recover(device, &error, attempt) =>
                {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }
}
