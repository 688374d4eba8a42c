//! `.npy`: a header that is a Python dictionary, then the elements.

mod data_types;
mod dictionary;
mod fields;

use std::io::{Seek, Write};

use arraybridge::{DataType, Layout, TensorSpec};

use self::data_types::{data_type_of, descr_of};
use self::dictionary::{Descr, Encoding};
use self::fields::{FieldArray, LONGEST_NAMES, Records, too_long_names};
use super::array_writer::{ArrayWriter, length_of, not_written};
use super::arrays::{Array, Order, Outgoing, Place, Reading};
use super::listing::{Listing, Refusal};
use super::mapped_file::MappedFile;
use crate::failure::{Failure, Outcome};

pub(super) use self::data_types::DATA_TYPES;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The elements start at a multiple of this, as NumPy writes them.
const ALIGNMENT: usize = 64;

/// No header of a plain array is near this long; NumPy itself trusts 10 000 bytes.
const LONGEST_HEADER: usize = 1 << 20;

/// Reads the header of a file, whose array is called `stem`.
pub(super) fn read(file: &MappedFile, stem: &str) -> Outcome<Listing> {
    let header = match read_header(file.bytes()) {
        Err(failure) if is_of_another_type(&failure, file.bytes()) => {
            let bytes = file.bytes().len() as u64;
            let refusals = vec![Refusal::new(stem, failure).of_bytes(bytes)];
            return Ok(Listing { refusals, nameless: true, ..Listing::default() });
        }
        header => header?,
    };
    let found = file.bytes().len() - header.length;
    if found != header.data_length {
        let (why, remedy) = if found < header.data_length {
            ("the file is cut short, or its header forged", "write the file again")
        } else {
            (
                "what follows the array would be lost",
                "save one array a file, or several with numpy.savez",
            )
        };
        return Err(Failure::new(format!(
            "the header declares {} bytes of elements, and {found} follow it",
            header.data_length
        ))
        .why(why)
        .remedy(remedy)
        .damaged());
    }
    let place = Place::Mapped { start: header.length };
    let nameless = matches!(header.parts, Parts::Whole { .. });
    let (arrays, refusals) = header.arrays(stem, "", place)?;
    Ok(Listing { arrays, refusals, nameless, ..Listing::default() })
}

/// Whether it is an `.npy` file, of elements that are not read.
fn is_of_another_type(failure: &Failure, bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) && !failure.is_damage()
}

/// What the header of an `.npy` file says.
#[derive(Debug)]
pub(super) struct Header {
    parts: Parts,
    /// Bytes before the first element.
    pub(super) length: usize,
    /// Bytes of all elements.
    pub(super) data_length: usize,
}

/// What the elements are.
#[derive(Debug)]
enum Parts {
    Whole {
        spec: TensorSpec,
        /// Bytes of each number, where these lie in the other order than this machine's.
        swapped: Option<usize>,
    },
    /// Records, of which each field is an array of its own, and why others are not read.
    Fields(Vec<FieldArray>, Vec<(String, Failure)>),
}

impl Header {
    /// The arrays that lie at `place`: one called `name`, or one for each field of records, whose names
    /// follow `prefix`; and the fields that are not read.
    ///
    /// # Errors
    ///
    /// Where these names together are too long.
    pub(super) fn arrays(
        self,
        name: &str,
        prefix: &str,
        place: Place,
    ) -> Outcome<(Vec<Array>, Vec<Refusal>)> {
        let (fields, refused) = match self.parts {
            Parts::Whole { spec, swapped } => {
                let reading = Reading { swapped, scattered: None };
                let array = Array { name: name.to_owned(), spec, place, reading, part: 0 };
                return Ok((vec![array], Vec::new()));
            }
            Parts::Fields(fields, refused) => (fields, refused),
        };
        if prefix.len().saturating_mul(fields.len() + refused.len()) > LONGEST_NAMES {
            return Err(too_long_names());
        }
        let arrays = fields.into_iter().map(|field| Array {
            name: format!("{prefix}{}", field.name),
            spec: field.spec,
            place,
            reading: Reading { swapped: field.swapped, scattered: Some(field.scattered) },
            part: 0,
        });
        let refusals = refused
            .into_iter()
            .map(|(name, failure)| Refusal::new(format!("{prefix}{name}"), failure));
        Ok((arrays.collect(), refusals.collect()))
    }
}

/// The type of numbers that NumPy calls so, and the bytes of each to swap; none for what is no number.
pub(super) fn number_type(order: &str, name: &str) -> Option<(DataType, Option<usize>)> {
    let is_number = name.starts_with(['b', 'i', 'u', 'f', 'c']);
    let found = is_number.then(|| data_type_of(&format!("{order}{name}")).ok());
    found.flatten().filter(|_| matches!(order, "<" | ">" | "|" | "="))
}

/// How many bytes the header takes, of which `start` are the first 12.
pub(super) fn header_length(start: &[u8]) -> Outcome<usize> {
    let broken = |found: String| {
        Failure::new(found)
            .why("an .npy file starts with \\x93NUMPY, a version and the length of its header")
            .remedy("write the file again, with numpy.save")
    };
    if !start.starts_with(MAGIC) {
        return Err(broken("the file does not start as an .npy file".to_owned()));
    }
    let broken = |found| broken(found).damaged();
    let cut_off = || broken("the file ends within its header".to_owned());
    let field = |at: std::ops::Range<usize>| start.get(at).ok_or_else(cut_off);
    let little_endian = |bytes: &[u8]| {
        bytes.iter().rev().fold(0_usize, |value, &byte| value << 8 | usize::from(byte))
    };
    let (before, text) = match field(6..8)? {
        [1, 0] => (10, little_endian(field(8..10)?)),
        [2 | 3, 0] => (12, little_endian(field(8..12)?)),
        version => {
            return Err(broken(format!(
                "the file is of version {}.{} of the format; there are 1.0, 2.0 and 3.0",
                version[0], version[1]
            )));
        }
    };
    if text > LONGEST_HEADER {
        return Err(broken(format!(
            "the header claims to be {text} bytes long; that of an array is shorter than \
             {LONGEST_HEADER}"
        )));
    }
    Ok(before + text)
}

/// Reads the header at the start of `bytes`.
pub(super) fn read_header(bytes: &[u8]) -> Outcome<Header> {
    let length = header_length(bytes)?;
    let Some(header) = bytes.get(..length) else {
        return Err(Failure::new(format!(
            "the header claims to be {length} bytes long, and the file has {}",
            bytes.len()
        ))
        .why("the file is cut short, or its header forged")
        .remedy("write the file again, with numpy.save")
        .damaged());
    };
    let version = header[6];
    let before = if version == 1 { 10 } else { 12 };
    let encoding = if version < 3 { Encoding::Latin1 } else { Encoding::Utf8 };
    let declared = dictionary::parse(&header[before..], encoding)?;
    let (data_type, swapped) = match &declared.descr {
        Descr::Plain(text) => data_type_of(text)?,
        Descr::Fields(records) => {
            let Records { arrays, refused, length: data_length } =
                fields::arrays_of(records, &declared.shape, declared.fortran_order)?;
            return Ok(Header { parts: Parts::Fields(arrays, refused), length, data_length });
        }
    };
    let layout = if declared.fortran_order {
        Layout::column_major(&declared.shape)
    } else {
        Layout::row_major(&declared.shape)
    };
    let sized = layout.and_then(|layout| {
        let bytes = layout.compact_bytes(data_type)?;
        layout.span(data_type)?;
        Ok((layout, bytes))
    });
    let (layout, data_length) = sized.map_err(|error| {
        Failure::new(format!("the header declares the shape {:?}", declared.shape))
            .why(error)
            .remedy("the header is forged or damaged: write the file again")
            .damaged()
    })?;
    let spec = TensorSpec { data_type, layout };
    Ok(Header { parts: Parts::Whole { spec, swapped }, length, data_length })
}

/// The header of an array, padded so that the elements are aligned.
pub(super) fn header(data_type: DataType, shape: &[usize], order: Order) -> Outcome<Vec<u8>> {
    let fortran_order = match order {
        Order::RowMajor => "False",
        Order::ColumnMajor => "True",
    };
    let mut extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    if shape.len() != 1 {
        extents.truncate(extents.len().saturating_sub(2));
    } else {
        extents.truncate(extents.len() - 1);
    }
    let descr = descr_of(data_type)?;
    let text =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran_order}, 'shape': ({extents}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    let length = u16::try_from(text.len() + padding + 1).map_err(|_| {
        Failure::new(format!("the shape {shape:?} makes the header too long for .npy"))
    })?;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(length.to_le_bytes());
    header.extend(text.bytes());
    header.resize(header.len() + padding, b' ');
    header.push(b'\n');
    Ok(header)
}

/// Writes one array.
pub(super) struct Writer<F>(F);

impl<F> Writer<F> {
    pub(super) fn new(file: F) -> Self {
        Self(file)
    }
}

impl<F: Write + Seek> ArrayWriter for Writer<F> {
    fn begin(&mut self, array: &Outgoing) -> Outcome<()> {
        let header = header(array.data_type, &array.shape, array.order)?;
        self.write(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.0.write_all(bytes).map_err(not_written)
    }

    fn finish(self: Box<Self>) -> Outcome<u64> {
        length_of(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<Header> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.bytes());
        read_header(&bytes)
    }

    /// The one array, whose name and place nobody asks for.
    fn array(header: Header) -> Array {
        header.arrays("", "", Place::Mapped { start: 0 }).unwrap().0.pop().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for &data_type in DATA_TYPES {
            for shape in [&[][..], &[3], &[0], &[2, 3], &[1, 2, 3, 4]] {
                for order in [Order::RowMajor, Order::ColumnMajor] {
                    let bytes = header(data_type, shape, order).unwrap();
                    assert!(bytes.len().is_multiple_of(ALIGNMENT));
                    let read = read_header(&bytes).unwrap();
                    assert_eq!(read.length, bytes.len());
                    let spec = array(read).spec;
                    assert_eq!(spec.data_type, data_type);
                    assert_eq!(spec.layout.shape(), shape);
                    match order {
                        Order::RowMajor => assert!(spec.layout.is_row_major()),
                        Order::ColumnMajor => assert!(spec.layout.is_column_major()),
                    }
                }
            }
        }
    }

    #[test]
    fn the_header_is_numpys() {
        let bytes = header(DataType::F32, &[3], Order::RowMajor).unwrap();
        let text = String::from_utf8_lossy(&bytes[10..]).into_owned();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }");
        assert_eq!(bytes.len(), 128);
    }

    #[test]
    fn other_spellings_are_read() {
        for text in [
            "{\"shape\":(2L,3L),\"descr\":\"=f8\",\"fortran_order\":True}",
            " { 'shape' : ( 2 , 3 , ) , 'descr':'f8','fortran_order':False , } \n",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0_2, 3)}",
        ] {
            assert_eq!(array(parse(text).unwrap()).spec.layout.shape(), [2, 3], "{text}");
        }
    }

    #[test]
    fn broken_dictionaries_are_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr'",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 16)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
            "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1__0,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (10_,)}",
            "{'descr': [('a', '<f4'], 'fortran_order': False, 'shape': (2,)}",
            "{'descr': [('a',)], 'fortran_order': False, 'shape': (2,)}",
            "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
            "{'descr': [('a', '<f4', (9223372036854775807, 3))], 'fortran_order': False, 'shape': (2,)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4611686018427387904, 8)}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_element_types_are_refused_with_advice() {
        for (descr, says) in [
            ("'|O'", "pickle"),
            ("'<U8'", "text"),
            ("'|S3'", "text"),
            ("'<M8[ns]'", "dates"),
            ("'|V0'", "does not know"),
            ("'|V40'", "wider"),
            ("'<f16'", "precision"),
            ("('<f4', (2,))", "without fields"),
            ("[]", "without fields"),
            ("[('a', '<M8[s]'), ('b', '<U3')]", "the field \\\"a\\\""),
            ("[('a', '|O')]", "pickle"),
            ("'<i3'", "does not know"),
            ("''", "does not know"),
        ] {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,), }}");
            let said = format!("{:?}", parse(&text).unwrap_err());
            assert!(said.contains(says), "{descr}: {said}");
        }
        let one_byte = "{'descr': '>u1', 'fortran_order': False, 'shape': (2,), }";
        let one_byte = array(parse(one_byte).unwrap());
        assert_eq!((one_byte.spec.data_type, one_byte.is_swapped()), (DataType::U8, false));
    }
}
