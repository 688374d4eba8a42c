//! What a file says of itself: keys with values of thirteen types.

use super::cursor::Cursor;
use crate::failure::{Failure, Outcome};

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The key of the number that all offsets are multiples of.
pub(super) const ALIGNMENT: &str = "general.alignment";

/// Reads a key and its value, as text; none for a list, which is passed over.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Outcome<(String, Option<String>)> {
    let key = cursor.text("a key")?.to_owned();
    let kind = cursor.u32("the type of a value")?;
    if kind != ARRAY {
        let value = scalar(cursor, kind, &key)?;
        return Ok((key, Some(value)));
    }
    let kind = cursor.u32("the type of a list")?;
    let each = match (kind, bytes_of(kind)) {
        (STRING, _) => 8,
        (_, Some(bytes)) => bytes,
        _ => return Err(unknown(kind, &key)),
    };
    let count = cursor.count(each, "values in a list")?;
    match kind {
        STRING => {
            for _ in 0..count {
                let length = cursor.u64("a text")?;
                cursor.take(length, "a text")?;
            }
        }
        _ => {
            cursor.take(count * each, "a list")?;
        }
    }
    Ok((key, None))
}

/// Writes a key and a number.
pub(super) fn write_u32(header: &mut Vec<u8>, key: &str, number: u32) {
    header.extend((key.len() as u64).to_le_bytes());
    header.extend(key.as_bytes());
    header.extend(4_u32.to_le_bytes());
    header.extend(number.to_le_bytes());
}

/// Bytes of a number; none for what is none.
fn bytes_of(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn scalar(cursor: &mut Cursor<'_>, kind: u32, key: &str) -> Outcome<String> {
    if kind == STRING {
        return cursor.text("a value").map(str::to_owned);
    }
    let size = bytes_of(kind).ok_or_else(|| unknown(kind, key))?;
    let bytes = cursor.take(size, "a value")?;
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let [first, second, third, fourth, ..] = wide;
    Ok(match kind {
        1 => i8::from_le_bytes([first]).to_string(),
        3 => i16::from_le_bytes([first, second]).to_string(),
        5 => i32::from_le_bytes([first, second, third, fourth]).to_string(),
        6 => f32::from_le_bytes([first, second, third, fourth]).to_string(),
        7 => (first != 0).to_string(),
        11 => i64::from_le_bytes(wide).to_string(),
        12 => f64::from_le_bytes(wide).to_string(),
        _ => u64::from_le_bytes(wide).to_string(),
    })
}

fn unknown(kind: u32, key: &str) -> Failure {
    Failure::new(format!("the value of \"{key}\" has the unknown type {kind}"))
        .why("GGUF has the types 0 to 12, and lists of all but lists")
        .remedy("download or write the file again")
        .damaged()
}
