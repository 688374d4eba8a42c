//! A small backend over host memory, and the mistakes it can make.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_core::{
    Accepts, Access, Allocator, Availability, DataType, Description, Descriptor, Detail, Device,
    DeviceKind, DeviceMemory, Error, Layout, LayoutRule, ManagedTensor, NativeArray, NativeType,
    Owner, Ownership, Refused, Result, TensorSpec,
};

/// One way to go wrong; every method without it is right.
pub(crate) trait Mistake: Send + Sync + 'static {
    const ACCEPTS: Accepts = Accepts::host(TYPES).layout(LayoutRule::Forward);
    const NAME: &'static str = "mistaken";

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Ok(tensor)
    }

    /// What to do with a tensor that does not keep `ACCEPTS`.
    fn refuse(
        tensor: ManagedTensor,
        error: Error,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Err(Refused::new(tensor, error))
    }

    fn describe(tensor: &ManagedTensor) -> Description {
        tensor.describe()
    }

    fn export(tensor: ManagedTensor) -> ManagedTensor {
        tensor
    }

    fn availability() -> Availability {
        Availability::HOST
    }

    fn memory() -> Result<DeviceMemory> {
        Ok(DeviceMemory { total: 2, free: 1 })
    }

    fn allocated(tensor: ManagedTensor) -> ManagedTensor {
        tensor
    }

    fn trim() -> u64 {
        0
    }

    fn details() -> Vec<Detail> {
        vec![Detail { device: None, name: "version", value: "1.0".to_owned() }]
    }
}

pub(crate) const TYPES: &[DataType] = &[DataType::F32, DataType::I32, DataType::U8, DataType::BOOL];

/// The backend that makes the mistake `M`.
pub(crate) struct Backend<M>(PhantomData<M>);

impl<M> Backend<M> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Its array type.
pub(crate) struct MistakenArray<M> {
    tensor: ManagedTensor,
    mistake: PhantomData<M>,
}

impl<M: Mistake> Backend<M> {
    const DESCRIPTOR: Descriptor =
        Descriptor { name: M::NAME, aliases: &["oops"], framework: "mistakes 1.0", priority: 0 };
}

impl<M: Mistake> bridge_core::Backend for Backend<M> {
    fn descriptor(&self) -> &'static Descriptor {
        const { &Self::DESCRIPTOR }
    }

    fn availability(&self) -> Availability {
        M::availability()
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<MistakenArray<M>, Self>()] }
    }

    fn details(&self) -> Vec<Detail> {
        M::details()
    }
}

/// Its memory is the host's, and yet it has an allocator and a runtime, to make mistakes with.
impl<M: Mistake> Allocator for Backend<M> {
    fn backend(&self) -> &'static dyn bridge_core::Backend {
        const { &Self::new() }
    }

    fn holds(&self, device: Device) -> bool {
        device == Device::CPU
    }

    fn trim(&self, _: Device) -> Result<u64> {
        Ok(M::trim())
    }

    fn usage(&self, _: Device) -> Result<DeviceMemory> {
        M::memory()
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        if device != Device::CPU {
            let available = vec![Device::CPU];
            return Err(Error::DeviceUnavailable { backend: M::NAME, asked: device, available });
        }
        bridge_host::zeroed(spec, spec.data_type.alignment()).map(M::allocated)
    }
}

impl<M: Mistake> NativeArray<Backend<M>> for MistakenArray<M> {
    const ACCEPTS: Accepts = M::ACCEPTS;

    fn descriptor() -> &'static Descriptor {
        const { &Backend::<M>::DESCRIPTOR }
    }

    fn describe(&self) -> Result<Description> {
        Ok(M::describe(&self.tensor))
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        Ok(M::export(self.tensor))
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let found = tensor.describe();
        let aligned = found.alignment >= found.data_type.alignment() || found.layout.is_empty();
        let taken = Self::ACCEPTS.has(found.data_type)
            && Self::ACCEPTS.layout_rule().allows(&found.layout)
            && found.device.kind().is_host_accessible()
            && !(Self::ACCEPTS.may_write_read_only() && found.access == Access::ReadOnly)
            && (!Self::ACCEPTS.takes_only_vectors() || found.ownership == Ownership::Movable)
            && aligned;
        let tensor = if taken {
            M::import(tensor)
        } else {
            let (what, remedy) = ("this tensor".to_owned(), "copy it".to_owned());
            M::refuse(tensor, Error::Unsupported { what, remedy })
        };
        tensor.map(|tensor| Self { tensor, mistake: PhantomData })
    }
}

/// Another tensor over the memory of `tensor`, which it keeps.
fn rewrapped(
    tensor: ManagedTensor,
    data_type: DataType,
    layout: Layout,
    access: Access,
) -> ManagedTensor {
    let (data, device) = (tensor.data(), tensor.device());
    let spec = TensorSpec { data_type, layout };
    // SAFETY: every caller makes a mistake about the elements that stays within the memory, and
    // the suite reads them through pointers only.
    unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(tensor)) }.unwrap()
}

fn copied(tensor: &ManagedTensor) -> ManagedTensor {
    bridge_host::to_row_major(tensor).unwrap()
}

pub(crate) struct NoMistake;
impl Mistake for NoMistake {}

/// No mistake, and columns.
pub(crate) struct Columns;
impl Mistake for Columns {
    const ACCEPTS: Accepts = Accepts::host(TYPES).layout(LayoutRule::ColumnMajor);
}

/// No mistake: it would write to read-only memory, owns vectors only, and says so.
pub(crate) struct Vectors;
impl Mistake for Vectors {
    const ACCEPTS: Accepts = Accepts::host(TYPES).layout(LayoutRule::RowMajor).only_vectors();
}

pub(crate) struct Copies;
impl Mistake for Copies {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Ok(copied(&tensor))
    }
}

pub(crate) struct Leaks;
impl Mistake for Leaks {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let copy = copied(&tensor);
        std::mem::forget(tensor);
        Ok(copy)
    }
}

pub(crate) struct DropsStrides;
impl Mistake for DropsStrides {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let layout = Layout::row_major(tensor.shape()).unwrap();
        // A repeated axis has less memory than its shape says.
        if tensor.layout().may_overlap() {
            return Ok(tensor);
        }
        let (data_type, access) = (tensor.data_type(), tensor.access());
        Ok(rewrapped(tensor, data_type, layout, access))
    }
}

/// Takes the middle of a longer buffer for the start of one: reads one element too far ahead.
pub(crate) struct IgnoresOffset;
impl Mistake for IgnoresOffset {
    const ACCEPTS: Accepts = Accepts::host(TYPES);

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let layout = tensor.layout();
        if layout.byte_offset() == 0 || layout.rank() != 1 {
            return Ok(tensor);
        }
        let layout = Layout::row_major(layout.shape()).unwrap();
        let (data_type, access) = (tensor.data_type(), tensor.access());
        Ok(rewrapped(tensor, data_type, layout, access))
    }
}

pub(crate) struct ChangesDataType;
impl Mistake for ChangesDataType {
    fn export(tensor: ManagedTensor) -> ManagedTensor {
        if tensor.data_type() != DataType::F32 {
            return tensor;
        }
        let (layout, access) = (tensor.layout().clone(), tensor.access());
        rewrapped(tensor, DataType::I32, layout.at_byte_offset(0), access)
    }
}

pub(crate) struct MakesWritable;
impl Mistake for MakesWritable {
    fn export(tensor: ManagedTensor) -> ManagedTensor {
        let (data_type, layout) = (tensor.data_type(), tensor.layout().clone());
        rewrapped(tensor, data_type, layout, Access::Exclusive)
    }
}

pub(crate) struct SwapsRefused;
impl Mistake for SwapsRefused {
    fn refuse(
        tensor: ManagedTensor,
        error: Error,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Err(Refused::new(copied(&tensor), error))
    }
}

pub(crate) struct TakesEverything;
impl Mistake for TakesEverything {
    fn refuse(tensor: ManagedTensor, _: Error) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Ok(tensor)
    }
}

pub(crate) struct RefusesColumnMajor;
impl Mistake for RefusesColumnMajor {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if tensor.layout().is_row_major() {
            return Ok(tensor);
        }
        Err(refused(tensor, "these strides"))
    }
}

/// Exports an integer type that it does not take.
pub(crate) struct RefusesOwnExport;
impl Mistake for RefusesOwnExport {
    fn export(tensor: ManagedTensor) -> ManagedTensor {
        if tensor.data_type() != DataType::I32 {
            return tensor;
        }
        let (layout, access) = (tensor.layout().clone(), tensor.access());
        rewrapped(tensor, DataType::U32, layout, access)
    }
}

pub(crate) struct DescribesRowMajor;
impl Mistake for DescribesRowMajor {
    fn describe(tensor: &ManagedTensor) -> Description {
        let layout = Layout::row_major(tensor.shape()).unwrap();
        Description { layout, ..tensor.describe() }
    }
}

pub(crate) struct BadName;
impl Mistake for BadName {
    const NAME: &'static str = "Bad Name";
}

pub(crate) struct ChangesItsMind;
impl Mistake for ChangesItsMind {
    fn availability() -> Availability {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let more = ASKED.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        let devices = if more {
            vec![Device::CPU]
        } else {
            vec![Device::CPU, Device::new(DeviceKind::Cpu, 1)]
        };
        Availability::Ready { devices: Cow::Owned(devices) }
    }
}

pub(crate) struct PanicsWhenAsked;
impl Mistake for PanicsWhenAsked {
    fn availability() -> Availability {
        panic!("no driver was loaded");
    }
}

pub(crate) struct NoRemedy;
impl Mistake for NoRemedy {
    fn availability() -> Availability {
        Availability::Unavailable(bridge_core::Unavailable {
            reason: "no driver".to_owned(),
            remedy: " ".to_owned(),
        })
    }
}

/// No mistake: it cannot run here, and refuses what it would take.
pub(crate) struct Unavailable;
impl Mistake for Unavailable {
    fn availability() -> Availability {
        no_driver()
    }

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        Err(refused(tensor, "anything"))
    }
}

fn no_driver() -> Availability {
    Availability::Unavailable(bridge_core::Unavailable {
        reason: "there is no driver".to_owned(),
        remedy: "install one".to_owned(),
    })
}

pub(crate) struct ImportsUnavailable;
impl Mistake for ImportsUnavailable {
    fn availability() -> Availability {
        no_driver()
    }
}

/// Looks at strides that lead nowhere.
pub(crate) struct RefusesOddEmpties;
impl Mistake for RefusesOddEmpties {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let layout = tensor.layout();
        match layout.is_empty() && layout.strides().contains(&12_345) {
            true => Err(refused(tensor, "strides that long")),
            false => Ok(tensor),
        }
    }
}

/// Makes every byte of a boolean 0 or 1, and tells nobody.
pub(crate) struct TidiesBooleans;
impl Mistake for TidiesBooleans {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if tensor.data_type() != DataType::BOOL {
            return Ok(tensor);
        }
        let bytes = bridge_testkit::bytes_of(&tensor);
        if bytes.iter().all(|&byte| byte < 2) {
            return Ok(tensor);
        }
        let tidy: Vec<bool> = bytes.iter().map(|&byte| byte != 0).collect();
        Ok(ManagedTensor::from_vec(tidy, tensor.shape()).unwrap())
    }
}

/// Its arrays have fewer than nine elements along an axis, and it does not say so.
pub(crate) struct RefusesLongAxes;
impl Mistake for RefusesLongAxes {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.shape().iter().any(|&extent| extent > 8) {
            true => Err(refused(tensor, "a long axis")),
            false => Ok(tensor),
        }
    }
}

pub(crate) struct RefusesManyElements;
impl Mistake for RefusesManyElements {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.layout().element_count() > 1_000 {
            true => Err(refused(tensor, "that many elements")),
            false => Ok(tensor),
        }
    }
}

pub(crate) struct RefusesRankSeven;
impl Mistake for RefusesRankSeven {
    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.layout().rank() == 7 {
            true => Err(refused(tensor, "seven axes")),
            false => Ok(tensor),
        }
    }
}

fn refused(tensor: ManagedTensor, what: &str) -> Refused<ManagedTensor> {
    let (what, remedy) = (what.to_owned(), "copy it".to_owned());
    Refused::new(tensor, Error::Unsupported { what, remedy })
}

/// Says that an array keeps what it exports, so that a conversion would take that for one.
pub(crate) struct DescribesAnotherOwner;
impl Mistake for DescribesAnotherOwner {
    fn describe(tensor: &ManagedTensor) -> Description {
        let owner = Some(std::any::TypeId::of::<MistakenArray<Self>>());
        Description { owner, ..tensor.describe() }
    }
}

pub(crate) struct OverstatesAlignment;
impl Mistake for OverstatesAlignment {
    fn describe(tensor: &ManagedTensor) -> Description {
        Description { alignment: 4_096, ..tensor.describe() }
    }
}

pub(crate) struct PanicsOnDetails;
impl Mistake for PanicsOnDetails {
    fn details() -> Vec<Detail> {
        panic!("no driver was loaded");
    }
}

/// Gives more memory back than the device has.
pub(crate) struct TrimsTooMuch;
impl Mistake for TrimsTooMuch {
    fn trim() -> u64 {
        static TRIMMED: AtomicUsize = AtomicUsize::new(0);
        if TRIMMED.fetch_add(1, Ordering::SeqCst) == 0 { u64::MAX } else { 0 }
    }
}

/// Gives the same memory back again and again.
pub(crate) struct TrimsAgain;
impl Mistake for TrimsAgain {
    fn trim() -> u64 {
        1
    }
}

pub(crate) struct PanicsOnMemory;
impl Mistake for PanicsOnMemory {
    fn memory() -> Result<DeviceMemory> {
        panic!("no driver was loaded");
    }
}

pub(crate) struct DirtyMemory;
impl Mistake for DirtyMemory {
    fn allocated(tensor: ManagedTensor) -> ManagedTensor {
        if !tensor.layout().is_empty() {
            // SAFETY: the tensor has an element, and is new.
            unsafe { tensor.first_element().write(1) };
        }
        tensor
    }
}
