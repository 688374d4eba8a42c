//! Element types as NumPy names them.

use arraybridge::{DataType, TypeCode};

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

/// The element type that a `descr` stands for, and the bytes of each number where they lie in the other
/// order than this machine's.
pub(super) fn data_type_of(text: &str) -> Outcome<(DataType, Option<usize>)> {
    let (order, kind) = order_and_kind(text);
    let find = |is_meant: &dyn Fn(DataType) -> bool| {
        DATA_TYPES.iter().copied().find(|&data_type| is_meant(data_type))
    };
    let written = find(&|data_type| descr_of(data_type).is_ok_and(|descr| &descr[1..] == kind));
    let known = written.or_else(|| {
        find(&|data_type| letter_of(data_type) == Some(kind) || data_type.to_string() == kind)
    });
    let Some(data_type) = known.or_else(|| other_type(kind)) else {
        return Err(unknown(text, kind));
    };
    let foreign = if cfg!(target_endian = "little") { ">" } else { "<" };
    let parts = if data_type.is_complex() { 2 } else { 1 };
    let swapped = data_type.size_in_bytes().map(|size| size / parts);
    Ok((data_type, swapped.filter(|&size| order == foreign && size > 1)))
}

/// The letter of the byte order, and what follows it.
fn order_and_kind(text: &str) -> (&str, &str) {
    match text.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
        _ => ("=", text),
    }
}

/// Bytes of an element of a record's field, also of types that are not read.
pub(super) fn bytes_of(text: &str) -> Outcome<usize> {
    if let Ok((data_type, _)) = data_type_of(text)
        && let Some(size) = data_type.size_in_bytes()
    {
        return Ok(size);
    }
    let (_, kind) = order_and_kind(text);
    let letter = kind.get(..1).unwrap_or_default();
    let digits = kind.get(1..).unwrap_or_default();
    let digits = digits.split_once('[').map_or(digits, |(digits, _)| digits);
    let count = digits.parse::<usize>().ok();
    let size = match letter {
        // Four bytes a letter.
        "U" => count.and_then(|count| count.checked_mul(4)),
        "S" | "a" | "V" | "M" | "m" | "f" | "c" => count,
        _ => None,
    };
    size.ok_or_else(|| unknown(text, kind).within("a field of the records"))
}

/// The types that NumPy has no name for, as ml_dtypes saves them: float8_e5m2 is its only `f1`, and the
/// others are nothing but bytes, whose numbers `--as` has to tell (`V2`, and `W4` for two of 16 bits).
fn other_type(kind: &str) -> Option<DataType> {
    if kind == "f1" {
        return Some(DataType::F8E5M2);
    }
    let bytes = kind.strip_prefix(['V', 'W'])?.parse::<u8>().ok()?;
    DataType::new(TypeCode::Opaque, bytes.checked_mul(8)?, 1).ok()
}

/// Why arrays of Python objects are not read.
pub(super) const OBJECTS: &str =
    "Python objects are stored as a pickle, which would run code when it is read";

const EXTENDED: &str = "extended precision differs from machine to machine";

fn unknown(text: &str, kind: &str) -> Failure {
    let (why, remedy) = match kind.as_bytes().first() {
        Some(b'O') => (
            OBJECTS,
            "load it where it is trusted, with np.load(path, allow_pickle=True), and save numbers: \
             a.astype(np.float64), or np.concatenate(a.ravel()) of rows of different lengths",
        ),
        Some(b'S' | b'U' | b'a') => (
            "text is not a number",
            "save its bytes, with np.frombuffer(a.tobytes(), np.uint8), or numbers that stand for it",
        ),
        Some(b'M' | b'm') => (
            "dates and time spans are integers whose unit only NumPy knows",
            "save the counts: a.view(np.int64)",
        ),
        Some(b'V') if kind != "V0" => (
            "raw bytes are read as numbers with --as, and these are wider than any",
            "save what they are made of as arrays of their own",
        ),
        Some(b'f') if matches!(kind, "f12" | "f16") => {
            (EXTENDED, "save it with the widest type that every machine has: a.astype(np.float64)")
        }
        Some(b'c') if matches!(kind, "c24" | "c32") => (
            EXTENDED,
            "save it with the widest type that every machine has: a.astype(np.complex128)",
        ),
        Some(b'f' | b'c') => (
            "NumPy itself has no floating-point numbers of this size",
            "write the file again, with a type that NumPy has, such as float32",
        ),
        _ => ("arraybridge does not know this element type", "save the array with another dtype"),
    };
    Failure::new(format!("the array has elements of the type '{text}'")).why(why).remedy(remedy)
}
