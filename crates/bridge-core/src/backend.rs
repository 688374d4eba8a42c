//! The trait a framework implements, and what it says of itself.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use crate::array::Array;
use crate::data_type::DataType;
use crate::device::{Device, DeviceKind};
use crate::error::{Error, Refused, Result};
use crate::host_memory::HostMemory;
use crate::native::NativeType;
use crate::options::Overflow;
use crate::plan::Description;
use crate::tensor::{ManagedTensor, TensorSpec};

/// What a backend says of itself, whether or not it can run here.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name it is asked for by, in lower case: "ndarray".
    pub name: &'static str,
    /// Other names it answers to.
    pub aliases: &'static [&'static str],
    /// The framework and its version, for people: "ndarray 0.17".
    pub framework: &'static str,
    /// Backends of higher priority are listed first; equal ones by name.
    pub priority: i32,
    /// The kinds of device whose memory it can allocate, transfer to and from, and measure.
    pub device_kinds: &'static [DeviceKind],
}

/// Whether a backend can run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It can, on these devices.
    Ready {
        /// The devices, in the order of their ordinals.
        devices: Cow<'static, [Device]>,
    },
    /// It cannot.
    Unavailable {
        /// Why not.
        reason: String,
        /// What would make it run.
        remedy: String,
    },
}

impl Availability {
    /// Ready on the host, which needs nothing.
    pub const HOST: Self = Self::Ready { devices: Cow::Borrowed(&[Device::CPU]) };

    /// Whether it can run.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

/// How much memory a device has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// All of it.
    pub total: u64,
    /// What could be allocated now.
    pub free: u64,
}

/// One fact about a framework on this machine, or about one of its devices, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The device it is about; `None` for the whole backend.
    pub device: Option<Device>,
    /// What it tells: "version", "driver".
    pub name: &'static str,
    /// The answer.
    pub value: String,
}

/// Whether memory can be used from another device where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// [`Backend::map`] will do it.
    Possible,
    /// The devices share memory, but not this: the reason.
    Declined(String),
    /// The devices share no memory.
    Never,
}

/// One framework: what it is called, whether it can run here, which array types it has, and how
/// it manages memory.
///
/// A backend crate implements [`NativeArray`](crate::NativeArray) for the framework's array types,
/// this trait for a unit struct, and registers the struct:
///
/// ```ignore
/// inventory::submit! { Registration::backend(&NDARRAY) }
/// ```
///
/// How arrays become tensors and back is in the array types; the methods with a default are for
/// backends with memory of their own. `docs/writing-a-backend.md` walks through a whole one.
pub trait Backend: Send + Sync + 'static {
    /// What the backend is.
    fn descriptor(&self) -> &'static Descriptor;

    /// Whether it can run here, and if not, why and what to do. It never panics, and is quick
    /// after the first call.
    fn availability(&self) -> Availability;

    /// The array types of the framework. Conversions by name make the first one that has the
    /// element type.
    fn native_types(&self) -> &'static [NativeType];

    /// Makes an array of a tensor, of the first array type that has its element type.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where there is none, else as the array type's import. The
    /// tensor comes back.
    fn import(&self, tensor: ManagedTensor) -> Result<Array, Refused<ManagedTensor>> {
        match self.native_type_for(tensor.data_type()) {
            Ok(native) => native.import(tensor),
            Err(error) => Err(Refused::new(tensor, error)),
        }
    }

    /// The array type that conversions by name make of this element type.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`], listing what there is.
    fn native_type_for(&self, data_type: DataType) -> Result<&'static NativeType> {
        let types = self.native_types();
        types.iter().find(|native| native.accepts().has(data_type)).ok_or_else(|| {
            let supported = data_types_of(types);
            Error::UnsupportedDataType {
                target: self.descriptor().name,
                data_type,
                remedy: data_type.narrowest_holding(&supported),
                supported,
            }
        })
    }

    /// The array type whose Rust type is that of `value`.
    fn native_type_of(&self, value: &dyn Any) -> Option<&'static NativeType> {
        self.native_types().iter().find(|native| native.is_type_of(value))
    }

    /// The error for a device that it does not have here: [`Error::DeviceUnavailable`], which lists
    /// those it has, by default. A backend that knows why it has no such device says so, with
    /// [`Error::Unavailable`].
    fn lacks(&self, device: Device) -> Error {
        let available = match self.availability() {
            Availability::Ready { devices } => devices.into_owned(),
            Availability::Unavailable { .. } => Vec::new(),
        };
        Error::DeviceUnavailable { backend: self.descriptor().name, asked: device, available }
    }

    /// Allocates a tensor of zeros.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], [`Error::TooLarge`], or [`Error::DeviceUnavailable`].
    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        if device != Device::CPU {
            return Err(self.lacks(device));
        }
        let span = spec.layout.span(spec.data_type)?;
        let bytes = spec.layout.byte_offset().saturating_add_signed(span.end);
        let memory = HostMemory::zeroed(bytes, spec.data_type.alignment())?;
        // SAFETY: the memory is initialized with zeros, which are valid for every element type.
        unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }.map_err(Error::from)
    }

    /// What is known of the framework and its devices on this machine, for people: versions, names,
    /// capabilities. Empty by default.
    fn details(&self) -> Vec<Detail> {
        Vec::new()
    }

    /// Whether memory so described can be used on device `to` where it lies, one of the two being a
    /// device of this backend. Touches no device; [`Mapping::Never`] by default.
    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        let _ = (found, to);
        Mapping::Never
    }

    /// Makes a tensor on device `to` of the same memory, without copying. Mapping it back gives
    /// the original memory, with its owner.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default; else where the device reports one. The tensor comes back.
    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let error = self.cannot(format!("using memory of {} on {to}", tensor.device()));
        Err(Refused::new(tensor, error))
    }

    /// Copies a tensor to another device, row-major without gaps. To the host it should be copied
    /// into memory of the global allocator, which every target can take; from pinned memory a
    /// target that only owns vectors copies once more.
    ///
    /// The source is borrowed: it must not be read any more when the call returns.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default.
    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        Err(self.cannot(format!("moving memory from {} to {to}", tensor.device())))
    }

    /// Writes the elements of a tensor compactly to new memory of its device.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default.
    fn copy_on_device(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        Err(self.cannot(format!("copying on {}", tensor.device())))
    }

    /// Converts the elements of a tensor to another type, into new memory of its device, row-major.
    /// Rounding and `overflow` are as [`Overflow`] says, so that a cast does not depend on where it
    /// is done.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default.
    fn cast_on_device(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        let _ = overflow;
        Err(self.cannot(format!("casting to {to} on {}", tensor.device())))
    }

    /// Waits until all work submitted to `device` is done.
    ///
    /// # Errors
    ///
    /// Where the device reports one. The default has no work to wait for.
    fn synchronize(&self, device: Device) -> Result<()> {
        let _ = device;
        Ok(())
    }

    /// How much memory `device` has.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] by default.
    fn memory(&self, device: Device) -> Result<DeviceMemory> {
        Err(self.cannot(format!("measuring the memory of {device}")))
    }

    /// Gives cached memory back to `device` and returns how many bytes.
    ///
    /// # Errors
    ///
    /// Where the device reports one. The default caches nothing.
    fn release_cached(&self, device: Device) -> Result<u64> {
        let _ = device;
        Ok(0)
    }
}

impl dyn Backend {
    /// The name.
    pub fn name(&self) -> &'static str {
        self.descriptor().name
    }

    /// Whether it goes by this name or alias, without regard to case.
    pub fn answers_to(&self, name: &str) -> bool {
        let descriptor = self.descriptor();
        descriptor.name.eq_ignore_ascii_case(name)
            || descriptor.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// The devices it has here.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where it cannot run.
    pub fn devices(&self) -> Result<Cow<'static, [Device]>> {
        match self.availability() {
            Availability::Ready { devices } => Ok(devices),
            Availability::Unavailable { reason, remedy } => {
                Err(Error::Unavailable { backend: self.name(), reason, remedy })
            }
        }
    }

    /// The element types of all its array types.
    pub fn data_types(&self) -> Vec<DataType> {
        data_types_of(self.native_types())
    }
}

impl fmt::Debug for dyn Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}

/// What the default methods say.
trait Refusals {
    fn cannot(&self, what: String) -> Error;
}

impl<B: Backend + ?Sized> Refusals for B {
    fn cannot(&self, what: String) -> Error {
        let name = self.descriptor().name;
        Error::Unsupported {
            what: format!("{what} with \"{name}\""),
            remedy: "link the backend of that device".to_owned(),
        }
    }
}

fn data_types_of(types: &[NativeType]) -> Vec<DataType> {
    let mut found = Vec::new();
    for &data_type in types.iter().flat_map(|native| native.accepts().data_types) {
        if !found.contains(&data_type) {
            found.push(data_type);
        }
    }
    found
}
