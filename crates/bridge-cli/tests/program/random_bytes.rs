//! Random bytes and mutated files: no panic, no file left.

use proptest::prelude::*;

use crate::pickles::{
    Pickled, bytes, dict, encoded, legacy_file, numpy_array, numpy_type, torch_file,
};
use crate::support::{Folder, counting, deflated, floats, npy, safetensors, stored};

crate::support::cases! {
    random_bytes,
    mutated_files,
    mutated_headers,
}

/// Converts whatever the bytes are; only the exit codes 0 and 1 and their files are right.
fn survive(extension: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let folder = Folder::new();
    let input = format!("a.{extension}");
    folder.file(&input, bytes);
    for (target, more) in
        [("b.safetensors", &[][..]), ("b.npz", &[]), ("b.npz", &["--skip-unsupported"])]
    {
        let args = ["convert", &input, target, "--memory-limit", "64"];
        let ran = folder.run(&[&args, more].concat());
        let there = folder.names().contains(&target.to_owned());
        prop_assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        prop_assert_eq!(there, ran.code == Some(0), "{:?}", ran);
        let _ = std::fs::remove_file(folder.path().join(target));
    }
    prop_assert_eq!(folder.names(), vec![input]);
    Ok(())
}

/// How many of the valid files there are: the last are for programs with the feature pt.
const KINDS: usize = if cfg!(feature = "pt") { 13 } else { 7 };

fn valid() -> Vec<(&'static str, Vec<u8>)> {
    let array = counting(3, 4);
    let other = npy("'|b1'", true, "(2, 2)", &[0, 1, 1, 0]);
    let members: [(&str, &[u8]); 2] = [("x.npy", &array), ("y.npy", &other)];
    let header = r#"{"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"y":{"dtype":"F4","shape":[4],"data_offsets":[48,50]}}"#;
    let elements = [floats(12), vec![0x12, 0x34]].concat();
    let state = Pickled::List(vec![Pickled::Tensor("1", 2), Pickled::Int(7)]);
    let nested = dict(&[("model", dict(&[("w", Pickled::Tensor("0", 3))])), ("state", state)]);
    let later = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F5","shape":[4],"data_offsets":[8,11]}}"#;
    let texts = npy("[('x', '<f4'), ('n', '<U1')]", false, "(2,)", &[0; 16]);
    // As protocol 2 has bytes, and as later ones do.
    let type_of = |name| numpy_type(name, ">", Pickled::None);
    let numpys = Pickled::List(vec![
        numpy_array(&[2, 3], &type_of("u2"), true, &encoded(&[0xf0; 12])),
        numpy_array(&[5], &type_of("i1"), false, &bytes(&[1, 2, 3, 4, 5])),
    ]);
    let alone = numpy_array(&[3], &type_of("f4"), false, &encoded(&[0x81; 12]));
    vec![
        ("npy", array.clone()),
        ("npy", other.clone()),
        ("npz", stored(&members)),
        ("npz", deflated(&members)),
        ("safetensors", safetensors(header, &elements)),
        ("safetensors", safetensors(later, &[0; 11])),
        ("npy", texts),
        ("pt", crate::torch_files::valid()),
        ("pt", torch_file(&nested, &[("0", &floats(3)), ("1", &floats(2))])),
        ("pt", legacy_file(&nested, &[("0", 3, &floats(3)), ("1", 2, &floats(2))])),
        ("pt", torch_file(&numpys, &[])),
        ("pt", legacy_file(&numpys, &[])),
        ("pt", torch_file(&alone, &[])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..3_usize) {
        let (extension, start): (_, &[u8]) = [
            ("npy", &b"\x93NUMPY\x01\x00"[..]),
            ("npz", b"PK\x03\x04"),
            ("safetensors", b"\x10\0\0\0\0\0\0\0"),
        ][kind];
        survive(extension, &bytes)?;
        survive(extension, &[start, &bytes].concat())?;
    }

    fn mutated_files(
        which in 0..KINDS,
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (extension, mut bytes) = valid().swap_remove(which);
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        survive(extension, &bytes)?;
    }

    fn mutated_headers(which in 0..KINDS, at in any::<prop::sample::Index>(), text in "[-0-9,()\\[\\]{}'\"a-zA-Z <>|]{1,8}") {
        let (extension, mut bytes) = valid().swap_remove(which);
        let at = at.index(bytes.len().min(140));
        for (offset, byte) in text.bytes().enumerate() {
            if let Some(place) = bytes.get_mut(at + offset) {
                *place = byte;
            }
        }
        survive(extension, &bytes)?;
    }
}
