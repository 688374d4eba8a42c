//! `.npy`: a header that is a Python dictionary, then the elements.
//!
//! The header is read by a strict parser of its own: the three keys that NumPy writes, without
//! recursion and without allocating what the header claims. A parser for all of Python's literals
//! would let a forged header exhaust the stack.

use arraybridge::{DataType, Layout, TensorSpec};

use super::Order;
use crate::failure::{Failure, Outcome};

/// The element types that NumPy has.
pub(super) const DATA_TYPES: &[DataType] = &[
    DataType::BOOL,
    DataType::I8,
    DataType::I16,
    DataType::I32,
    DataType::I64,
    DataType::U8,
    DataType::U16,
    DataType::U32,
    DataType::U64,
    DataType::F16,
    DataType::F32,
    DataType::F64,
    DataType::C64,
    DataType::C128,
];

const MAGIC: &[u8] = b"\x93NUMPY";

/// The elements start at a multiple of this, as NumPy writes them.
const ALIGNMENT: usize = 64;

/// No header of a plain array is near this long; NumPy itself trusts 10 000 bytes.
const LONGEST_HEADER: usize = 1 << 20;

/// What the header of an `.npy` file says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) spec: TensorSpec,
    /// Bytes before the first element.
    pub(super) length: usize,
    /// Bytes of all elements.
    pub(super) data_length: usize,
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
        .remedy("write the file again, with numpy.save"));
    };
    let before = if header[6] == 1 { 10 } else { 12 };
    let said = Parser::new(&header[before..]).dictionary()?;
    let data_type = data_type_of(&said.descr)?;
    let layout = if said.fortran_order {
        Layout::column_major(&said.shape)
    } else {
        Layout::row_major(&said.shape)
    };
    let sized = layout.and_then(|layout| {
        let bytes = layout.compact_bytes(data_type)?;
        layout.span(data_type)?;
        Ok((layout, bytes))
    });
    let (layout, data_length) = sized.map_err(|error| {
        Failure::new(format!("the header declares the shape {:?}", said.shape))
            .why(error)
            .remedy("the header is forged or damaged: write the file again")
    })?;
    Ok(Header { spec: TensorSpec { data_type, layout }, length, data_length })
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

fn descr_of(data_type: DataType) -> Outcome<&'static str> {
    use DataType as D;
    Ok(match data_type {
        D::BOOL => "|b1",
        D::I8 => "|i1",
        D::U8 => "|u1",
        D::I16 => "<i2",
        D::I32 => "<i4",
        D::I64 => "<i8",
        D::U16 => "<u2",
        D::U32 => "<u4",
        D::U64 => "<u8",
        D::F16 => "<f2",
        D::F32 => "<f4",
        D::F64 => "<f8",
        D::C64 => "<c8",
        D::C128 => "<c16",
        other => return Err(Failure::new(format!("NumPy has no {other}"))),
    })
}

/// The element type that a `descr` stands for.
fn data_type_of(descr: &Descr) -> Outcome<DataType> {
    let Descr::Plain(text) = descr else {
        return Err(Failure::new("the array has a structured element type")
            .why("arraybridge knows numbers, complex numbers and booleans")
            .remedy("save each field as an array of its own: np.savez(path, **{f: a[f] for f in a.dtype.names})"));
    };
    let (order, kind) = match text.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
        _ => ("=", text.as_str()),
    };
    let known = DATA_TYPES
        .iter()
        .copied()
        .find(|&data_type| descr_of(data_type).is_ok_and(|descr| &descr[1..] == kind));
    let found = || format!("the array has elements of the type '{text}'");
    match known {
        Some(data_type) if order == ">" && data_type.size_in_bytes() != Some(1) => {
            Err(Failure::new(format!("{}: big-endian {data_type}", found()))
                .why("arraybridge reads little-endian elements in place")
                .remedy("save it in the machine's order: np.save(path, a.astype(a.dtype.newbyteorder('<')))"))
        }
        Some(data_type) if order == "<" || order == ">" || data_type.alignment() == 1 => {
            Ok(data_type)
        }
        Some(data_type) if cfg!(target_endian = "little") => Ok(data_type),
        _ => {
            let (why, remedy) = match kind.as_bytes().first() {
                Some(b'O') => (
                    "Python objects are stored as a pickle, which would run code when it is read",
                    "convert it to numbers before saving: a.astype(np.float64)",
                ),
                Some(b'S' | b'U' | b'a') => (
                    "text is no number",
                    "save its bytes, with a.view(np.uint8), or numbers that stand for it",
                ),
                Some(b'M' | b'm') => (
                    "dates and time spans are counts of a unit that only NumPy knows",
                    "save the counts: a.view(np.int64)",
                ),
                Some(b'V') => (
                    "raw elements have no number type; so NumPy stores bfloat16 and float8 too",
                    "save it as .safetensors, or as numbers: a.astype(np.float32)",
                ),
                Some(b'f' | b'c') => (
                    "extended precision differs from machine to machine",
                    "save it as a.astype(np.float64) or np.complex128",
                ),
                _ => (
                    "it is no element type of NumPy's that arraybridge knows",
                    "save the array with another dtype",
                ),
            };
            Err(Failure::new(found()).why(why).remedy(remedy))
        }
    }
}

/// The element type as it is written in the header.
#[derive(Debug)]
enum Descr {
    Plain(String),
    Structured,
}

/// What the dictionary says.
#[derive(Debug)]
struct Said {
    descr: Descr,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Reads the dictionary of a header from left to right.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn dictionary(mut self) -> Outcome<Said> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while self.peek() != Some(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            let repeated = match key.as_str() {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(self.broken(&format!("it has the unknown key '{key}'"))),
            };
            if repeated {
                return Err(self.broken(&format!("it says '{key}' twice")));
            }
            // Nothing after a structured type needs to be understood.
            if matches!(descr, Some(Descr::Structured)) {
                return Ok(Said {
                    descr: Descr::Structured,
                    fortran_order: false,
                    shape: Vec::new(),
                });
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.broken("a comma or a brace should follow")),
            }
        }
        self.at += 1;
        if self.peek().is_some() {
            return Err(self.broken("something follows the dictionary"));
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => {
                Ok(Said { descr, fortran_order, shape })
            }
            _ => Err(self.broken("'descr', 'fortran_order' or 'shape' is missing")),
        }
    }

    /// The next byte that is no space, not yet taken.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, wanted: u8) -> Outcome<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken(&format!("there should be '{}'", char::from(wanted))))
    }

    fn string(&mut self) -> Outcome<String> {
        let Some(quote @ (b'\'' | b'"')) = self.peek() else {
            return Err(self.broken("there should be a string"));
        };
        self.at += 1;
        let rest = &self.text[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == quote) else {
            return Err(self.broken("a string does not end"));
        };
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn descr(&mut self) -> Outcome<Descr> {
        match self.peek() {
            Some(b'[' | b'(') => Ok(Descr::Structured),
            _ => self.string().map(Descr::Plain),
        }
    }

    fn boolean(&mut self) -> Outcome<bool> {
        self.peek();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.broken("there should be True or False"))
    }

    fn shape(&mut self) -> Outcome<Vec<usize>> {
        self.expect(b'(')?;
        let mut shape = Vec::new();
        while self.peek() != Some(b')') {
            if shape.len() == arraybridge::MAX_RANK {
                return Err(self.broken(&format!(
                    "the shape has more than {} extents",
                    arraybridge::MAX_RANK
                )));
            }
            shape.push(self.extent()?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b')') => {}
                _ => return Err(self.broken("a comma or a parenthesis should follow")),
            }
        }
        self.at += 1;
        Ok(shape)
    }

    fn extent(&mut self) -> Outcome<usize> {
        let negative = self.peek() == Some(b'-');
        let digits = self.at + usize::from(negative);
        let length = self.text[digits..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = String::from_utf8_lossy(&self.text[self.at..digits + length]).into_owned();
        if length == 0 {
            return Err(self.broken("there should be an extent"));
        }
        if negative {
            return Err(self.broken(&format!("the extent {number} is negative")));
        }
        self.at = digits + length;
        // NumPy under Python 2 wrote long integers with an L.
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        number.parse().map_err(|_| self.broken(&format!("the extent {number} is beyond 64 bits")))
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(format!("the header is broken at its byte {}: {what}", self.at))
            .why("it should be as in {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }")
            .remedy("write the file again, with numpy.save")
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

    #[test]
    fn what_is_written_is_read() {
        for &data_type in DATA_TYPES {
            for shape in [&[][..], &[3], &[0], &[2, 3], &[1, 2, 3, 4]] {
                for order in [Order::RowMajor, Order::ColumnMajor] {
                    let bytes = header(data_type, shape, order).unwrap();
                    assert!(bytes.len().is_multiple_of(ALIGNMENT));
                    let read = read_header(&bytes).unwrap();
                    assert_eq!(read.spec.data_type, data_type);
                    assert_eq!(read.spec.layout.shape(), shape);
                    assert_eq!(read.length, bytes.len());
                    match order {
                        Order::RowMajor => assert!(read.spec.layout.is_row_major()),
                        Order::ColumnMajor => assert!(read.spec.layout.is_column_major()),
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
        ] {
            assert_eq!(parse(text).unwrap().spec.layout.shape(), [2, 3], "{text}");
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
            ("'|V2'", "bfloat16"),
            ("'>f4'", "newbyteorder"),
            ("'<f16'", "precision"),
            ("[('a', '<f4')]", "structured"),
            ("'<i3'", "no element type"),
            ("''", "no element type"),
        ] {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,), }}");
            let said = format!("{:?}", parse(&text).unwrap_err());
            assert!(said.contains(says), "{descr}: {said}");
        }
        let one_byte = "{'descr': '>u1', 'fortran_order': False, 'shape': (2,), }";
        assert_eq!(parse(one_byte).unwrap().spec.data_type, DataType::U8);
    }
}
