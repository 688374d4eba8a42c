//! Files with arrays of types that the format has got since: the other arrays are read.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::diagnosis::{Entries, LARGEST, of_array, of_metadata, unknown_type};
use super::{LENGTH, METADATA, unsound};
use crate::failure::{Failure, Outcome};

/// What a header says, and why some of its arrays cannot be converted, by their names.
pub(super) struct Known {
    pub(super) metadata: Metadata,
    pub(super) unknown: HashMap<String, Failure>,
}

/// Reads a header of which nothing is wrong but types that are not known. These arrays are taken for so
/// many bytes, so that all that is checked of the others holds for them. `None` for any other header.
///
/// # Errors
///
/// Where the arrays do not lie one after the other, up to the end of the file.
pub(super) fn read(header: &[u8], bytes: &[u8]) -> Option<Outcome<Known>> {
    if header.len() > LARGEST {
        return None;
    }
    let Entries(entries) = serde_json::from_slice::<Entries<Value>>(header).ok()?;
    let (mut notes, mut arrays, mut unknown) = (None, Vec::new(), HashMap::new());
    for (name, entry) in entries {
        if name == METADATA {
            if of_metadata(&entry).is_some() {
                return None;
            }
            notes = serde_json::from_value(entry).ok()?;
            continue;
        }
        if of_array(&name, &entry).is_some() {
            return None;
        }
        let [start, end] = numbers(&entry, "data_offsets")?.try_into().ok()?;
        let info = match unknown_type(&name, &entry) {
            Some(failure) => {
                unknown.insert(name.clone(), failure);
                // One that ends before it begins does not lie behind the one before it.
                let length = end.saturating_sub(start);
                TensorInfo { dtype: Dtype::U8, shape: vec![length], data_offsets: (start, end) }
            }
            None => TensorInfo {
                dtype: serde_json::from_value(entry.get("dtype")?.clone()).ok()?,
                shape: numbers(&entry, "shape")?,
                data_offsets: (start, end),
            },
        };
        arrays.push((name, info));
    }
    if unknown.is_empty() {
        return None;
    }
    arrays.sort_by_key(|(_, info)| info.data_offsets);
    let metadata = match Metadata::new(notes, arrays) {
        Ok(metadata) => metadata,
        Err(error) => return Some(Err(unsound(&error, bytes))),
    };
    if LENGTH + header.len() + metadata.data_len() != bytes.len() {
        let error = safetensors::SafeTensorError::MetadataIncompleteBuffer;
        return Some(Err(unsound(&error, bytes)));
    }
    Some(Ok(Known { metadata, unknown }))
}

fn numbers(entry: &Value, key: &str) -> Option<Vec<usize>> {
    let list = entry.get(key)?.as_array()?;
    list.iter().map(|number| usize::try_from(number.as_u64()?).ok()).collect()
}
