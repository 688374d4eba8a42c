//! NumPy's arrays among the values of a pickle: their elements are in it, as bytes, or as the text that
//! protocol 2 makes of bytes. Only what NumPy itself writes of plain numbers is read, and nothing is run.

use std::io::{self, ErrorKind, Read};

use arraybridge::{DataType, Layout, TensorSpec};

use super::heap::{Heap, NumpyType, Rebuilt, Source, Value};
use super::rebuild::forged;
use crate::failure::Outcome;
use crate::formats::npy;

/// `numpy.dtype("f4", …)`, whose order of bytes is said later.
pub(super) fn new_type<'a>(heap: &mut Heap<'a>, given: Value<'a>) -> Outcome<Value<'a>> {
    match heap.tuple(given) {
        Some(&[Value::Text(name), ..]) => {
            heap.new_numpy_type(NumpyType { name, order: "=", is_plain: true })
        }
        _ => Ok(Value::Other("a type of elements")),
    }
}

/// What is said later: a version, the order, and parts that plain numbers have none of.
pub(super) fn set_type<'a>(heap: &mut Heap<'a>, index: usize, state: Value<'a>) {
    let before = heap.numpy_type(index);
    let made = match heap.tuple(state) {
        Some(&[Value::Int(_), Value::Text(order), subtype, names, fields, ..]) => {
            let is_plain = [subtype, names, fields] == [Value::None; 3];
            NumpyType { order, is_plain, ..before }
        }
        _ => NumpyType { is_plain: false, ..before },
    };
    heap.set_numpy_type(index, made);
}

/// An array whose elements are told later, if at all.
pub(super) fn new_array<'a>(heap: &mut Heap<'a>) -> Outcome<Value<'a>> {
    let spec = TensorSpec::row_major(DataType::U8, &[0])?;
    heap.new_tensor(Rebuilt { source: Source::Numpy, spec, swapped: None })
}

/// What is said later of an array: a version, its shape, its type, whether it is column-major, its bytes.
pub(super) fn set_array<'a>(heap: &mut Heap<'a>, index: usize, state: Value<'a>) -> Outcome<()> {
    let Some(&[Value::Int(_), shape, data_type, Value::Bool(fortran), bytes]) = heap.tuple(state)
    else {
        return Err(forged("an array of NumPy is not described as NumPy does it"));
    };
    match read(heap, shape, data_type, fortran, bytes)? {
        Some(array) => heap.set_array(index, array),
        // Of Python objects, text or records.
        None => Ok(()),
    }
}

/// What protocol 5 makes arrays of: bytes, a type, a shape and an order.
pub(super) fn from_buffer<'a>(heap: &mut Heap<'a>, given: Value<'a>) -> Outcome<Value<'a>> {
    let made = match heap.tuple(given) {
        Some(
            &[bytes, data_type, shape, Value::Text(order @ ("C" | "F"))]
            | &[bytes, data_type, shape, Value::Text(order @ ("C" | "F")), Value::None],
        ) => read(heap, shape, data_type, order == "F", bytes)?,
        _ => None,
    };
    match made {
        Some(array) => heap.new_tensor(array),
        None => new_array(heap),
    }
}

/// The array, if its elements are numbers.
fn read<'a>(
    heap: &Heap<'a>,
    shape: Value<'a>,
    data_type: Value<'a>,
    fortran: bool,
    bytes: Value<'a>,
) -> Outcome<Option<Rebuilt<'a>>> {
    let (source, found) = match bytes {
        Value::Bytes(bytes) => (Source::Bytes(bytes), bytes.len()),
        Value::Latin1(text, count) => (Source::Latin1(text), count),
        _ => return Ok(None),
    };
    let Value::NumpyType(index) = data_type else {
        return Ok(None);
    };
    let NumpyType { name, order, is_plain } = heap.numpy_type(index);
    let Some((data_type, swapped)) = npy::number_type(order, name).filter(|_| is_plain) else {
        return Ok(None);
    };
    let no_shape = || forged("the shape of an array of NumPy is no tuple of extents");
    let shape = heap.tuple(shape).ok_or_else(no_shape)?.iter().map(|extent| match extent {
        Value::Int(extent) => usize::try_from(*extent).map_err(|_| no_shape()),
        _ => Err(no_shape()),
    });
    let shape: Vec<usize> = shape.collect::<Outcome<_>>()?;
    let layout = if fortran { Layout::column_major(&shape) } else { Layout::row_major(&shape) }?;
    layout.span(data_type)?;
    let expected = layout.compact_bytes(data_type)?;
    if expected != found {
        let why = format!("an array of NumPy of {expected} bytes has {found}");
        return Err(forged(&why));
    }
    Ok(Some(Rebuilt { source, spec: TensorSpec { data_type, layout }, swapped }))
}

/// The bytes that a text stands for, where it is one of bytes. It is looked at once, and for as many bytes as
/// there is room for: a short pickle can name a long text often.
pub(super) fn encoded<'a>(heap: &mut Heap<'a>, text: &'a str) -> Outcome<Value<'a>> {
    heap.room.take(text.len())?;
    let bytes = text.as_bytes();
    // Letters up to 0xff begin with a byte below 0xc4, and those from 0x80 on have another behind it.
    if bytes.iter().any(|&byte| byte >= 0xc4) {
        return Ok(Value::Other("bytes"));
    }
    let behind = bytes.iter().filter(|&&byte| matches!(byte, 0x80..=0xbf)).count();
    Ok(Value::Latin1(text, bytes.len() - behind))
}

/// Reads the bytes that the letters of a text stand for, each by its number.
pub(in crate::formats) struct Latin1<'a>(pub(in crate::formats) &'a [u8]);

impl Read for Latin1<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        for place in buffer {
            // Letters from 0x80 on have two bytes: 110000xx and 10xxxxxx.
            (*place, self.0) = match *self.0 {
                [] => break,
                [letter @ ..=0x7f, ref rest @ ..] => (letter, rest),
                [high @ (0xc2 | 0xc3), low @ 0x80..=0xbf, ref rest @ ..] => {
                    (high << 6 | (low & 0x3f), rest)
                }
                // The file has been changed since it was looked at.
                _ => return Err(ErrorKind::InvalidData.into()),
            };
            done += 1;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_as_they_are_read() {
        let mut heap = Heap::default();
        for (text, count) in [("", 0), ("abc", 3), ("\u{80}\u{ff}a\u{bf}\u{c0}", 5)] {
            assert_eq!(encoded(&mut heap, text).unwrap(), Value::Latin1(text, count));
        }
        for text in ["\u{100}", "a\u{4ff}", "\u{ffff}", "\u{10ffff}"] {
            assert_eq!(encoded(&mut heap, text).unwrap(), Value::Other("bytes"), "{text:?}");
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let text: String = bytes.iter().copied().map(char::from).collect();
        let mut read = Vec::new();
        Latin1(text.as_bytes()).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        for wrong in ["\u{100}".as_bytes(), &[0xc2], &[0x80], &[0xc3, 0x41]] {
            assert!(Latin1(wrong).read_to_end(&mut Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
