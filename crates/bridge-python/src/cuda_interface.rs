//! Arrays by the CUDA array interface: a dictionary that describes memory of an NVIDIA GPU.
//!
//! Versions 2 and 3 are read. All that the dictionary says is checked before the driver is asked for the address.

use arraybridge::backends::cuda::device_at;
use bridge_core::{
    Access, DataType, Device, Error, Layout, ManagedTensor, Owner, Result, Shape, Stream, Strides,
    TensorError, TensorSpec, Unavailable,
};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use pyo3::{intern, types::PyInt};

use crate::errors;
use crate::release::Released;

/// What the dictionary says.
struct Described {
    address: usize,
    access: Access,
    spec: TensorSpec,
    stream: Option<Stream>,
}

/// The tensor of an object that has the interface, kept by the object; None where it has none.
pub(crate) fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Result<ManagedTensor>> {
    let py = object.py();
    match object.getattr(intern!(py, "__cuda_array_interface__")) {
        Ok(interface) => Some(read(&interface).and_then(|found| tensor(object, found))),
        Err(error) if error.is_instance_of::<PyAttributeError>(py) => None,
        Err(error) => {
            Some(Err(errors::told(py, "hand its memory over by the CUDA array interface", error)))
        }
    }
}

fn tensor(object: &Bound<'_, PyAny>, found: Described) -> Result<ManagedTensor> {
    let Described { address, access, spec, stream } = found;
    let span = spec.layout.span(spec.data_type)?;
    let ends = match spec.layout.is_empty() {
        true => None,
        false => {
            let (first, last) =
                (address.checked_add_signed(span.start), address.checked_add_signed(span.end - 1));
            Some(first.zip(last).ok_or_else(|| {
                invalid(&format!("has elements beyond the address space, from {address:#x} on"))
            })?)
        }
    };
    let device = device_of(ends)?;
    let data = std::ptr::with_exposed_provenance_mut(address);
    let owner = Owner::keep(Released::new(object.clone().unbind()));
    // SAFETY:
    // - The driver has said that the first and the last byte of the elements are memory of that device. The
    //   interface says that they are the object's, and what its flag for writing means; the object is kept.
    // - Objects may be let go of on any thread: `Released` sees to that.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) }?;
    // SAFETY: the interface says that the elements are ready on that stream, which the object keeps.
    Ok(unsafe { tensor.ready_on(stream) })
}

/// The device whose memory lies at both addresses, the first and the last byte of an array; where there are none,
/// the first device.
fn device_of(ends: Option<(usize, usize)>) -> Result<Device> {
    let (first, last) = ends.unwrap_or_default();
    let mut devices = [None; 2];
    for (address, device) in [first, last].into_iter().zip(&mut devices) {
        *device = device_at(address).map_err(without_driver)?;
        if device.is_none() && ends.is_some() {
            return Err(invalid(&format!(
                "says that its elements lie from {first:#x} to {last:#x}, and the NVIDIA driver knows no memory \
                 at {address:#x}"
            )));
        }
    }
    match devices {
        _ if ends.is_none() => Ok(Device::cuda(0)),
        [Some(first), Some(last)] if first == last => Ok(first),
        _ => Err(invalid(&format!("has elements on two devices, from {first:#x} to {last:#x}"))),
    }
}

/// As the error of the backend for CUDA, which knows nothing of the array.
fn without_driver(error: Error) -> Error {
    match error {
        Error::Unavailable { backend, why } => {
            let reason = format!(
                "the array is on a CUDA device, as its __cuda_array_interface__ says, and {}",
                why.reason
            );
            let remedy = "run it on a machine with an NVIDIA GPU and its driver, or copy the array to the host \
                          first in its own library (CuPy: array.get(), Numba: array.copy_to_host())";
            Error::Unavailable { backend, why: Unavailable::new(reason, remedy) }
        }
        other => other,
    }
}

fn read(interface: &Bound<'_, PyAny>) -> Result<Described> {
    let py = interface.py();
    let dictionary = interface
        .cast::<PyDict>()
        .map_err(|_| invalid(&format!("is {}, not a dictionary", class_of(interface))))?;
    let given = |key: &str| {
        let item = dictionary.get_item(key);
        item.map_err(|error| errors::told(py, "look at the CUDA array interface", error))
    };
    let needed = |key: &str| given(key)?.ok_or_else(|| invalid(&format!("has no \"{key}\"")));
    let version = integer::<i64>(&needed("version")?, "version")?;
    if version != 2 && version != 3 {
        return Err(invalid(&format!("has version {version}; known are 2 and 3")));
    }
    let present = |key: &str| Ok::<_, Error>(given(key)?.filter(|value| !value.is_none()));
    if present("mask")?.is_some() {
        return Err(Error::Unsupported {
            what: "a masked array (the \"mask\" of its CUDA array interface)".to_owned(),
            remedy: "fill it first in its own library, and hand the mask over on its own"
                .to_owned(),
        });
    }
    let data_type = data_type(&needed("typestr")?)?;
    let shape = shape(&needed("shape")?)?;
    let layout = match present("strides")? {
        None => Layout::row_major(&shape)?,
        Some(strides) => Layout::new(&shape, &self::strides(&strides, &shape, data_type)?, 0)?,
    };
    let (address, access) = data(&needed("data")?)?;
    if address == 0 && !layout.is_empty() {
        return Err(invalid(&format!(
            "has a data pointer that is null, but {layout:?} has elements"
        )));
    }
    let stream = match present("stream")? {
        Some(stream) => Some(self::stream(&stream)?),
        // Before version 3 nothing could be said: work is then on the default stream, by custom.
        None if version == 2 => Some(Stream(1)),
        None => None,
    };
    Ok(Described { address, access, spec: TensorSpec { data_type, layout }, stream })
}

fn shape(found: &Bound<'_, PyAny>) -> Result<Shape> {
    let mut shape = Shape::new();
    for (axis, extent) in tuple(found, "shape")?.iter().enumerate() {
        let extent = integer::<i64>(&extent, "shape")?;
        let extent = usize::try_from(extent)
            .map_err(|_| invalid(&format!("has the extent {extent} for axis {axis}")))?;
        shape.push(extent);
    }
    Ok(shape)
}

/// The strides in elements, of which the interface counts the bytes.
fn strides(found: &Bound<'_, PyAny>, shape: &[usize], data_type: DataType) -> Result<Strides> {
    let item = data_type.size_in_bytes().unwrap_or(1).cast_signed();
    let found = tuple(found, "strides")?;
    if found.len() != shape.len() {
        let (strides, axes) = (found.len(), shape.len());
        return Err(invalid(&format!("has {strides} strides for {axes} axes")));
    }
    let mut strides = Strides::new();
    for (axis, stride) in found.iter().enumerate() {
        let stride = integer::<isize>(&stride, "strides")?;
        // The stride of one element, or of none, means nothing.
        if stride % item != 0 && shape[axis] > 1 {
            return Err(Error::Unsupported {
                what: format!(
                    "an array whose axis {axis} goes on by {stride} bytes of {item} each"
                ),
                remedy: "copy it first in its own library".to_owned(),
            });
        }
        strides.push(stride / item);
    }
    Ok(strides)
}

/// The address, and whether it may be written.
fn data(found: &Bound<'_, PyAny>) -> Result<(usize, Access)> {
    let pair = tuple(found, "data")?;
    let Ok((address, read_only)) = pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>() else {
        let length = pair.len();
        return Err(invalid(&format!("has {length} items in \"data\", not an address and a flag")));
    };
    let address = integer::<usize>(&address, "data")?;
    let Ok(read_only) = read_only.cast::<PyBool>() else {
        let class = class_of(&read_only);
        return Err(invalid(&format!("has {class} for the read-only flag in \"data\", not bool")));
    };
    Ok((address, if read_only.is_true() { Access::ReadOnly } else { Access::Shared }))
}

fn stream(found: &Bound<'_, PyAny>) -> Result<Stream> {
    match integer::<u64>(found, "stream")? {
        0 => Err(invalid(
            "has the stream 0, which the interface forbids, as it could be two streams: 1 is the \
             default stream, 2 that of each thread, None says that the elements are ready",
        )),
        stream => Ok(Stream(stream)),
    }
}

/// The element type of a type string of the array interface: "<f4".
fn data_type(found: &Bound<'_, PyAny>) -> Result<DataType> {
    let Ok(text) = found.cast::<PyString>() else {
        return Err(invalid(&format!("has {} for \"typestr\", not str", class_of(found))));
    };
    let text = text.to_string();
    let other_order = if cfg!(target_endian = "little") { '>' } else { '<' };
    if text.starts_with(other_order) {
        return Err(Error::Unsupported {
            what: format!("{text:?} elements, whose bytes are in the other order"),
            remedy: "swap them first in its own library".to_owned(),
        });
    }
    let known = match text.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => DataType::BOOL,
        "i1" => DataType::I8,
        "u1" => DataType::U8,
        "i2" => DataType::I16,
        "u2" => DataType::U16,
        "i4" => DataType::I32,
        "u4" => DataType::U32,
        "i8" => DataType::I64,
        "u8" => DataType::U64,
        "f2" => DataType::F16,
        "f4" => DataType::F32,
        "f8" => DataType::F64,
        "c8" => DataType::C64,
        "c16" => DataType::C128,
        _ => {
            return Err(Error::Unsupported {
                what: format!("{text:?} elements"),
                remedy:
                    "numbers and booleans are: cast it first in its own library, or hand it over \
                         by DLPack, which has more types"
                        .to_owned(),
            });
        }
    };
    Ok(known)
}

fn tuple<'a, 'py>(found: &'a Bound<'py, PyAny>, key: &str) -> Result<&'a Bound<'py, PyTuple>> {
    found
        .cast::<PyTuple>()
        .map_err(|_| invalid(&format!("has {} for \"{key}\", not tuple", class_of(found))))
}

fn integer<'py, T>(found: &Bound<'py, PyAny>, key: &str) -> Result<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    if found.is_instance_of::<PyBool>() || !found.is_instance_of::<PyInt>() {
        let class = class_of(found);
        return Err(invalid(&format!("has {class} in \"{key}\", not int")));
    }
    found
        .extract::<T>()
        .map_err(|_| invalid(&format!("has {found} in \"{key}\", which is out of range")))
}

fn class_of(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something".into(), |name| name.to_string())
}

fn invalid(reason: &str) -> Error {
    let reason = format!("its __cuda_array_interface__ {reason}");
    Error::Tensor(TensorError::InvalidTensor { reason })
}
