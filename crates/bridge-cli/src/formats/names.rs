//! Names of arrays: which a format can store, and which are forged.

use super::Format;
use crate::failure::{Failure, Outcome};

/// The key of a safetensors header that is no array.
const METADATA: &str = "__metadata__";

/// Fails where a file of this format cannot have an array of this name.
pub(super) fn check_name(format: Format, name: &str) -> Outcome<()> {
    let why = match format {
        Format::Npy | Format::Pt => None,
        Format::Npz => unsafe_path(name),
        Format::Safetensors => (name == METADATA)
            .then_some("safetensors keeps that name for what it says of the whole file"),
    };
    why.map_or(Ok(()), |why| {
        Err(Failure::new(format!("an array named \"{name}\""))
            .why(why)
            .remedy("give it another name"))
    })
}

/// Why a name, as that of a file in an archive, could lead outside the folder it is unpacked to.
fn unsafe_path(name: &str) -> Option<&'static str> {
    let drive = name.as_bytes().get(1..3) == Some(b":/");
    if name.starts_with('/') || name.contains('\\') || drive {
        Some("in a zip archive it is an absolute path, or one on another system")
    } else if name.split('/').any(|part| matches!(part, "." | "..")) {
        Some("in a zip archive it is a path that leads elsewhere")
    } else if name.contains('\0') {
        Some("it has a NUL character, which cuts file names short")
    } else if name.len() > usize::from(u16::MAX) - ".npy".len() {
        Some("it is longer than a zip archive allows")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused_in_archives_only() {
        for name in ["../a", "/a", "a/../b", "..", "C:/a", "a\\b", "a\0b"] {
            assert!(check_name(Format::Npz, name).is_err(), "{name:?}");
            assert!(check_name(Format::Safetensors, name).is_ok(), "{name:?}");
        }
        for name in ["a", "", "layer/weight", "a..b", "kernel:0", "模型.weight"] {
            assert!(check_name(Format::Npz, name).is_ok(), "{name:?}");
        }
        assert!(check_name(Format::Safetensors, METADATA).is_err());
    }
}
