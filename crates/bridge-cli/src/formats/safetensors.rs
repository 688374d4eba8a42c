//! `.safetensors`: a JSON header of names, types, shapes and offsets, then the elements.

mod diagnosis;
mod later_types;

use std::collections::{BTreeMap, HashMap};
use std::io::{Seek, Write};

use arraybridge::{DataType, TensorSpec};
use safetensors::tensor::{Metadata, SafeTensorError, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::array_writer::{ArrayWriter, length_of, not_written};
use super::arrays::{Array, Outgoing, Place, Reading};
use super::listing::{Listing, Notes, Refusal};
use super::mapped_file::MappedFile;
use crate::failure::{Failure, Outcome};

/// The key of the header that is no array.
const METADATA: &str = "__metadata__";

/// Bytes of the header's length.
const LENGTH: usize = 8;

/// The elements start at a multiple of this.
const ALIGNMENT: usize = 64;

macro_rules! data_types {
    ($($dtype:ident = $name:ident,)*) => {
        /// The element types that the format has.
        pub(super) const DATA_TYPES: &[DataType] = &[$(DataType::$name),*];

        fn data_type_of(dtype: Dtype) -> Option<DataType> {
            match dtype {
                $(Dtype::$dtype => Some(DataType::$name),)*
                #[allow(unreachable_patterns, reason = "the enum may grow")]
                _ => None,
            }
        }

        fn dtype_of(data_type: DataType) -> Option<Dtype> {
            match data_type {
                $(DataType::$name => Some(Dtype::$dtype),)*
                _ => None,
            }
        }
    };
}

// What the format calls F8_E4M3 is OCP's and torch's e4m3fn: without infinities, up to 448.
data_types! {
    BOOL = BOOL,
    U8 = U8,
    I8 = I8,
    U16 = U16,
    I16 = I16,
    U32 = U32,
    I32 = I32,
    U64 = U64,
    I64 = I64,
    F16 = F16,
    BF16 = BF16,
    F32 = F32,
    F64 = F64,
    C64 = C64,
    F8_E4M3 = F8E4M3FN,
    F8_E5M2 = F8E5M2,
    F8_E8M0 = F8E8M0FNU,
    F8_E4M3FNUZ = F8E4M3FNUZ,
    F8_E5M2FNUZ = F8E5M2FNUZ,
    F6_E2M3 = F6E2M3FN,
    F6_E3M2 = F6E3M2FN,
    F4 = F4E2M1FN,
}

/// Whether the format has an element type that it calls so.
fn dtype_named(name: &str) -> bool {
    serde_json::from_value::<Dtype>(name.into()).is_ok()
}

/// Reads the header of a file: its arrays in the order they lie in, and its notes.
pub(super) fn read(file: &MappedFile) -> Outcome<Listing> {
    let bytes = file.bytes();
    let (header, metadata, mut unknown) = match SafeTensors::read_metadata(bytes) {
        Ok((header, metadata)) => {
            diagnosis::check_names(&bytes[LENGTH..LENGTH + header])?;
            (header, metadata, HashMap::new())
        }
        Err(error) => {
            let known = header_of(bytes).and_then(|header| {
                diagnosis::check_names(header).ok()?;
                Some((header.len(), later_types::read(header, bytes)?))
            });
            let (header, known) = known.ok_or_else(|| broken(&error, bytes))?;
            let later_types::Known { metadata, unknown } = known?;
            (header, metadata, unknown)
        }
    };
    let elements = LENGTH + header;
    let (mut arrays, mut refusals) = (Vec::new(), Vec::new());
    let mut names = metadata.offset_keys();
    // Those without elements lie at one place, and come in another order each time.
    names.sort_by_key(|name| (metadata.info(name).map(|info| info.data_offsets), name.clone()));
    for name in names {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let failure = unknown.remove(&name).or_else(|| {
            let found = format!("the array \"{name}\" has elements of {:?}", info.dtype);
            data_type_of(info.dtype).is_none().then(|| {
                Failure::new(found)
                    .why("arraybridge does not know that type")
                    .remedy("write the array with another type")
            })
        });
        let (None, Some(data_type)) = (&failure, data_type_of(info.dtype)) else {
            let bytes = info.data_offsets.1.saturating_sub(info.data_offsets.0);
            refusals.extend(failure.map(|it| Refusal::new(name, it).of_bytes(bytes as u64)));
            continue;
        };
        let spec = TensorSpec::row_major(data_type, &info.shape)
            .map_err(|error| Failure::from(error).within(&format!("the array \"{name}\"")))?;
        arrays.push(Array {
            name,
            spec,
            place: Place::Mapped { start: elements + info.data_offsets.0 },
            reading: Reading::default(),
            part: 0,
        });
    }
    let notes = metadata.metadata().clone();
    Ok(Listing { arrays, refusals, notes, ..Listing::default() })
}

/// How long a file says that its header is.
fn claimed(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<LENGTH>().map(|length| u64::from_le_bytes(*length))
}

/// The JSON, where the file has as much.
fn header_of(bytes: &[u8]) -> Option<&[u8]> {
    let end = LENGTH.checked_add(usize::try_from(claimed(bytes)?).ok()?)?;
    bytes.get(LENGTH..end)
}

/// What is wrong with a file that the format's reader refuses.
fn broken(error: &SafeTensorError, bytes: &[u8]) -> Failure {
    if let Some(header) = header_of(bytes) {
        // Of two arrays of one name the format's reader keeps one, and misses the bytes of the other.
        let known = diagnosis::check_names(header).err().or_else(|| diagnosis::of_header(header));
        if let Some(failure) = known {
            return failure;
        }
    }
    unsound(error, bytes)
}

/// The same, where nothing is wrong with each array for itself.
fn unsound(error: &SafeTensorError, bytes: &[u8]) -> Failure {
    let found = match (error, claimed(bytes)) {
        (SafeTensorError::InvalidHeaderDeserialization(error), _) => {
            format!("the header is no JSON of a .safetensors file: {error}")
        }
        (SafeTensorError::HeaderTooSmall, _) => {
            format!("the file has {} bytes, too few for the length of a header", bytes.len())
        }
        (SafeTensorError::InvalidHeaderLength | SafeTensorError::HeaderTooLarge, Some(claimed)) => {
            format!(
                "the header claims to be {claimed} bytes long, and the file has {}",
                bytes.len()
            )
        }
        (SafeTensorError::MetadataIncompleteBuffer, _) => format!(
            "the arrays that the header lists do not fill the file of {} bytes: it is cut short, \
             or longer than its header says",
            bytes.len()
        ),
        (SafeTensorError::InvalidOffset(name), _) => {
            format!("the array \"{name}\" overlaps another, or there is a gap before it")
        }
        (SafeTensorError::TensorInvalidInfo, _) => {
            "an array's offsets do not match its shape and type".to_owned()
        }
        (SafeTensorError::ValidationOverflow, _) => {
            "an array has a shape whose bytes cannot be counted".to_owned()
        }
        (SafeTensorError::MisalignedSlice, _) => {
            "an array of packed elements ends within a byte".to_owned()
        }
        (other, _) => other.to_string(),
    };
    Failure::new(found)
        .why("a .safetensors file is a length, a JSON header, and arrays without gaps between them")
        .remedy("download or write the file again")
}

/// Why an array cannot have this name.
pub(super) fn forbids_name(name: &str) -> Option<&'static str> {
    (name == METADATA).then_some("safetensors keeps that name for what it says of the whole file")
}

/// The length and the header of a file of these arrays. They are sorted so that each starts at a multiple
/// of its alignment: the widest first, as the format's own writer does.
pub(super) fn header(arrays: &mut [Outgoing], notes: Option<&Notes>) -> Outcome<Vec<u8>> {
    arrays.sort_by_key(|array| std::cmp::Reverse(array.data_type.alignment()));
    let mut infos = Vec::new();
    let mut start = 0_usize;
    for array in &*arrays {
        let too_large = || Failure::new("the arrays together exceed the address space");
        let bytes = usize::try_from(array.bytes()?).map_err(|_| too_large())?;
        let end = start.checked_add(bytes).ok_or_else(too_large)?;
        let dtype = dtype_of(array.data_type)
            .ok_or_else(|| Failure::new(format!("safetensors has no {}", array.data_type)))?;
        infos.push((
            array.name.clone(),
            TensorInfo { dtype, shape: array.shape.to_vec(), data_offsets: (start, end) },
        ));
        start = end;
    }
    let unwritable = |error: &dyn std::fmt::Display| {
        Failure::new("these arrays cannot be written as a .safetensors file").why(error)
    };
    Metadata::new(None, infos.clone()).map_err(|error| unwritable(&error))?;
    let header = Header { notes, infos: &infos };
    let mut text = serde_json::to_vec(&header).map_err(|error| unwritable(&error))?;
    let padded = (LENGTH + text.len()).next_multiple_of(ALIGNMENT) - LENGTH;
    text.resize(padded, b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

/// The header as JSON: the notes by their keys, so that files of the same arrays and notes are the same,
/// then the arrays as they lie.
struct Header<'a> {
    notes: Option<&'a Notes>,
    infos: &'a [(String, TensorInfo)],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.infos.len() + usize::from(self.notes.is_some());
        let mut map = serializer.serialize_map(Some(entries))?;
        if let Some(notes) = self.notes {
            map.serialize_entry(METADATA, &notes.iter().collect::<BTreeMap<_, _>>())?;
        }
        for (name, info) in self.infos {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// Writes one array after the other.
pub(super) struct Writer<F>(F);

impl<F: Write + Seek> Writer<F> {
    /// Writes the header first.
    pub(super) fn new(file: F, header: &[u8]) -> Outcome<Self> {
        let mut writer = Self(file);
        writer.write(header)?;
        Ok(writer)
    }
}

impl<F: Write + Seek> ArrayWriter for Writer<F> {
    fn begin(&mut self, _: &Outgoing) -> Outcome<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.0.write_all(bytes).map_err(not_written)
    }

    fn finish(self: Box<Self>) -> Outcome<u64> {
        length_of(self.0)
    }
}
