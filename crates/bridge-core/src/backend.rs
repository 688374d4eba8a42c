//! The trait a framework implements.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_tensor::{DataType, Device};

use crate::availability::{Availability, Unavailable};
use crate::descriptor::{Descriptor, Detail};
use crate::error::{Error, Result};
use crate::native::NativeType;

/// One framework: what it is called, whether it can run here, and which array types it has.
///
/// A backend crate implements [`NativeArray`](crate::NativeArray) for the framework's array types,
/// this trait for a unit struct, and registers the struct:
///
/// ```ignore
/// inventory::submit! { Registration::backend(&NDARRAY) }
/// ```
///
/// Where the arrays lie on a device of their own, it also implements [`Runtime`](crate::Runtime) and
/// [`Allocator`](crate::Allocator). `docs/writing-a-backend.md` walks through a whole one.
pub trait Backend: Send + Sync + 'static {
    /// What the backend is. It must not ask the registry, which asks this while it is made.
    fn descriptor(&self) -> &'static Descriptor;

    /// Whether it can run here, and if not, why and what to do. It never panics, and is quick
    /// after the first call.
    fn availability(&self) -> Availability;

    /// The array types of the framework. Conversions by name make the first one that has the
    /// element type and the shape.
    fn native_types(&self) -> &'static [NativeType];

    /// Whether an error of the framework's own says that memory ran out. It looks at the error's
    /// type and code: an illegal access or an invalid argument is no lack of memory, whatever its
    /// text. Errors of [`Error`]'s type need no answer; `false` by default.
    fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        let _ = error;
        false
    }

    /// The error for a device that it does not have here: [`Error::DeviceUnavailable`], which lists
    /// those it has, by default. A backend that knows why it has no such device says so, with
    /// [`Error::Unavailable`].
    fn lacks(&self, device: Device) -> Error {
        let available = match self.availability() {
            Availability::Ready { devices } => devices.into_owned(),
            Availability::Unavailable(_) => Vec::new(),
        };
        Error::DeviceUnavailable { backend: self.descriptor().name, asked: device, available }
    }

    /// What is known of the framework and its devices on this machine, for people: versions, names,
    /// capabilities. Empty by default.
    fn details(&self) -> Vec<Detail> {
        Vec::new()
    }
}

impl dyn Backend {
    /// The name.
    pub fn name(&self) -> &'static str {
        self.descriptor().name
    }

    /// Whether it goes by this name or alias, without regard to case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.descriptor().answers_to(name)
    }

    /// As [`availability`](Backend::availability), where a panic is an answer too: it is not
    /// available.
    pub fn checked_availability(&self) -> Availability {
        catch_unwind(AssertUnwindSafe(|| self.availability())).unwrap_or_else(|_| {
            Availability::Unavailable(Unavailable::new(
                "its availability() panicked, which a backend's must not",
                "report it to the authors of that backend",
            ))
        })
    }

    /// The devices it has here.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where it cannot run.
    pub fn devices(&self) -> Result<Cow<'static, [Device]>> {
        match self.checked_availability() {
            Availability::Ready { devices } => Ok(devices),
            Availability::Unavailable(why) => Err(Error::Unavailable { backend: self.name(), why }),
        }
    }

    /// As [`details`](Backend::details), where a panic tells nothing more than itself.
    pub fn checked_details(&self) -> Vec<Detail> {
        catch_unwind(AssertUnwindSafe(|| self.details())).unwrap_or_else(|_| {
            let value = "details() panicked: report it to the authors of that backend".to_owned();
            vec![Detail { device: None, name: "error", value }]
        })
    }

    /// The element types of all its array types.
    pub fn data_types(&self) -> Vec<DataType> {
        let mut found = Vec::new();
        for &data_type in self.native_types().iter().flat_map(|one| one.accepts().data_types()) {
            if !found.contains(&data_type) {
                found.push(data_type);
            }
        }
        found
    }

    /// The array type that conversions by name make of this element type and shape: the first that
    /// has both.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where no array type has the element type, listing those there
    /// are, [`Error::UnsupportedShape`] where those that have it lack the shape.
    pub fn native_type_for(
        &self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<&'static NativeType> {
        let mut shapes = Vec::new();
        for native in self.native_types() {
            let accepts = native.accepts();
            match (accepts.has(data_type), accepts.has_shape(shape)) {
                (true, true) => return Ok(native),
                (true, false) => shapes.push(accepts.shapes()),
                (false, _) => {}
            }
        }
        if shapes.is_empty() {
            let supported = self.data_types();
            let remedy = data_type.narrowest_holding(&supported);
            return Err(Error::UnsupportedDataType {
                target: self.name(),
                data_type,
                supported,
                remedy,
            });
        }
        let (shape, takes) = (shape.to_vec(), shapes.join(", or "));
        Err(Error::UnsupportedShape { target: self.name(), shape, takes })
    }

    /// The array type whose Rust type is that of `value`.
    pub fn native_type_of(&self, value: &dyn Any) -> Option<&'static NativeType> {
        self.native_types().iter().find(|native| native.is_type_of(value))
    }
}

impl fmt::Debug for dyn Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}

/// The error for what a backend does not do on its own device.
pub(crate) fn cannot(backend: &dyn Backend, what: String) -> Error {
    let name = backend.name();
    let remedy = format!("\"{name}\" does not do that; convert without asking for it");
    Error::Unsupported { what, remedy }
}
