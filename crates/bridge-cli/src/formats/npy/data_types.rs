//! Element types as NumPy names them.

use arraybridge::DataType;

use super::dictionary::Descr;
use crate::failure::{Failure, Outcome};

/// The element types that NumPy has.
pub(in crate::formats) const DATA_TYPES: &[DataType] = &[
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

/// How the header of a file names an element type.
pub(super) fn descr_of(data_type: DataType) -> Outcome<&'static str> {
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

/// The letter that NumPy reads in place of kind and size, where it is the same on every machine.
fn letter_of(data_type: DataType) -> Option<&'static str> {
    use DataType as D;
    Some(match data_type {
        D::BOOL => "?",
        D::I8 => "b",
        D::U8 => "B",
        D::I16 => "h",
        D::U16 => "H",
        D::I32 => "i",
        D::U32 => "I",
        D::I64 => "q",
        D::U64 => "Q",
        D::F16 => "e",
        D::F32 => "f",
        D::F64 => "d",
        D::C64 => "F",
        D::C128 => "D",
        _ => return None,
    })
}

/// The element type that a `descr` stands for.
pub(super) fn data_type_of(descr: &Descr) -> Outcome<DataType> {
    let Descr::Plain(text) = descr else {
        return Err(Failure::new("the array has a structured element type")
            .why("arraybridge knows numbers, complex numbers and booleans")
            .remedy("save each field as an array of its own: np.savez(path, **{f: a[f] for f in a.dtype.names})"));
    };
    let (order, kind) = match text.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
        _ => ("=", text.as_str()),
    };
    let known = DATA_TYPES.iter().copied().find(|&data_type| {
        let is_called = data_type.to_string() == kind || letter_of(data_type) == Some(kind);
        is_called || descr_of(data_type).is_ok_and(|descr| &descr[1..] == kind)
    });
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
                    "text is not a number",
                    "save its bytes, with a.view(np.uint8), or numbers that stand for it",
                ),
                Some(b'M' | b'm') => (
                    "dates and time spans are integers whose unit only NumPy knows",
                    "save the counts: a.view(np.int64)",
                ),
                Some(b'V') => (
                    "raw bytes have no number type; NumPy stores bfloat16 and float8 as such",
                    "save it as .safetensors, or as numbers: a.astype(np.float32)",
                ),
                Some(b'f' | b'c') if matches!(kind, "f12" | "f16" | "c24" | "c32") => (
                    "extended precision differs from machine to machine",
                    "save it as a.astype(np.float64) or np.complex128",
                ),
                Some(b'f' | b'c') => (
                    "NumPy itself has no floating-point numbers of this size",
                    "save it with another dtype: a.astype(np.float32)",
                ),
                _ => (
                    "arraybridge does not know this element type",
                    "save the array with another dtype",
                ),
            };
            Err(Failure::new(found()).why(why).remedy(remedy))
        }
    }
}
