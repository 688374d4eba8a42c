//! What is wrong with a header: said in the words of the format, not of a parser.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{METADATA, dtype_named};
use crate::failure::Failure;

/// Headers beyond this are not looked into: what is made of one takes many times its bytes.
pub(super) const LARGEST: usize = 8 << 20;

/// The entries of a JSON object in their order, also those of one name.
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Each<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of arrays")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// Fails where two entries have one name, of which parsers keep the last.
pub(super) fn check_names(header: &[u8]) -> Result<(), Failure> {
    let Ok(Entries(entries)) = serde_json::from_slice::<Entries<IgnoredAny>>(header) else {
        return Ok(());
    };
    let mut names = HashSet::with_capacity(entries.len());
    match entries.iter().find(|(name, _)| !names.insert(name.as_str())) {
        Some((name, _)) => Err(Failure::new(format!("two arrays are named \"{name}\""))
            .why("one of them would be lost")
            .remedy("write the file again, with a name of its own for each")),
        None => Ok(()),
    }
}

/// What is wrong with a header that is no header of the format, as far as that can be told. Types that are
/// not known are no reason to refuse a header.
pub(super) fn of_header(header: &[u8]) -> Option<Failure> {
    if header.len() > LARGEST {
        return None;
    }
    let padding = header.iter().rev().take_while(|&&byte| byte == 0).count();
    if padding > 0 {
        let text = &header[..header.len() - padding];
        return serde_json::from_slice::<Entries<IgnoredAny>>(text)
            .ok()
            .map(|_| nul_padded(padding));
    }
    let Entries(entries) = serde_json::from_slice::<Entries<Value>>(header).ok()?;
    entries.iter().find_map(|(name, entry)| {
        if name == METADATA { of_metadata(entry) } else { of_array(name, entry) }
    })
}

fn nul_padded(padding: usize) -> Failure {
    Failure::new(format!("the header ends with {padding} NUL bytes"))
        .why("JSON has none, and the format pads headers with spaces")
        .remedy(
            "replace them, in Python: b = open(path, 'rb').read(); \
             n = 8 + int.from_bytes(b[:8], 'little'); open(new, 'wb').write(b[:8] + b[8:n].replace(b'\\0', b' ') + b[n:])",
        )
}

pub(super) fn of_metadata(notes: &Value) -> Option<Failure> {
    let failure = |found: String| {
        Failure::new(found).why("what a file says of itself is a JSON object of texts").remedy(
            "write the file again, with texts: \
             save_file(tensors, path, metadata={k: str(v) for k, v in metadata.items()})",
        )
    };
    let Some(notes) = notes.as_object() else {
        return Some(failure(format!("{METADATA} is {}", kind_of(notes))));
    };
    let other = notes.iter().find(|(_, note)| !note.is_string());
    other.map(|(key, note)| failure(format!("\"{key}\" in {METADATA} is {}", kind_of(note))))
}

/// What is wrong with an array, but for a type that is not known.
pub(super) fn of_array(name: &str, entry: &Value) -> Option<Failure> {
    let failure = |what: String, why: &str| {
        let failure = Failure::new(format!("the array \"{name}\" {what}")).why(why);
        Some(failure.remedy("write the file again, with safetensors"))
    };
    const KEYS: &str = "an array has \"dtype\", \"shape\" and \"data_offsets\"";
    let Some(entry) = entry.as_object() else {
        return failure(format!("is {}", kind_of(entry)), KEYS);
    };
    match entry.get("dtype") {
        None => return failure("has no \"dtype\"".to_owned(), KEYS),
        Some(Value::String(_)) => {}
        Some(other) => return failure(format!("has {} as its \"dtype\"", kind_of(other)), KEYS),
    }
    for (key, length) in [("shape", None), ("data_offsets", Some(2))] {
        let Some(found) = entry.get(key) else {
            return failure(format!("has no \"{key}\""), KEYS);
        };
        let numbers = found.as_array().filter(|list| list.iter().all(Value::is_u64));
        if numbers.is_none_or(|list| length.is_some_and(|length| list.len() != length)) {
            let shown: String = found.to_string().chars().take(80).collect();
            let why = match length {
                Some(_) => "these are two numbers, where it begins and where it ends",
                None => "these are its extents: whole numbers that are not negative",
            };
            return failure(format!("has {shown} as its \"{key}\""), why);
        }
    }
    None
}

/// Why an array of a type that is not known cannot be converted.
pub(super) fn unknown_type(name: &str, entry: &Value) -> Option<Failure> {
    let dtype = entry.get("dtype")?.as_str()?;
    if dtype_named(dtype) {
        return None;
    }
    let failure = Failure::new(format!("the array \"{name}\" has elements of {dtype}"))
        .why("the format has no such type, or has it since a later version than is read here")
        .remedy("write it with another dtype, or leave it out of the file");
    Some(failure)
}

/// What kind of JSON this is.
fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
