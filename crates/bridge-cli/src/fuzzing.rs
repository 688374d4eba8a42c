//! Files that are bytes in memory: read, listed, converted and read again by what the program is made of,
//! without its files and its command line. For the programs in `fuzz`, which do so many thousand times a
//! second; it is no part of the interface and may change.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use arraybridge::DataType;
use clap::{Args, Command, FromArgMatches};

use crate::args::ConversionArgs;
use crate::commands::info;
use crate::convert::{Chain, Stream, explain, select};
use crate::failure::Outcome;
use crate::formats::{
    Array, ArrayFile, Contents, Elements, Format, MappedFile, Order, bytes_of, in_written_order,
};
use crate::room::Room;

/// The most bytes of an array that is read: a larger one takes longer and shows no more.
const SMALL: usize = 4 << 10;

/// The most arrays of a file that are read.
const MOST: usize = 16;

/// How arrays are converted. The first changes nothing.
const CONVERSIONS: [&str; 13] = [
    "",
    "--copy always",
    "--via ndarray,candle",
    "--dtype float32",
    "--dtype float64 --via ndarray --cast-all",
    "--dtype float32 --via candle --cast-all --inexact allow",
    "--dtype float16 --overflow saturate",
    "--dtype bfloat16 --overflow saturate --inexact allow --cast-all",
    "--dtype float8_e4m3fn --overflow saturate --inexact allow --cast-all",
    "--dtype int8 --overflow wrap --inexact allow --cast-all",
    "--dtype uint64 --overflow saturate --inexact allow --cast-all",
    "--dtype bool --inexact allow --cast-all",
    "--dtype complex64 --inexact allow --cast-all",
];

/// Element type, extents, and the bytes of the elements in row-major order, by name.
type Found = BTreeMap<String, (DataType, Vec<usize>, Vec<u8>)>;

/// Reads bytes as a file of the format with this extension. What they hold is listed as `info` does; each
/// array that is small is read, at once and in parts; those that could be read are converted as `convert` does,
/// and what was written is read again.
///
/// # Panics
///
/// Where that shows a fault: an array that reads differently in parts, or that is not in the new file as it was
/// in the first one; a file written of readable arrays that is refused, or that would be written differently
/// another time; a cast with another result after the arrays were written than before.
pub fn read_and_convert(extension: &str, bytes: &[u8]) {
    let named = Path::new("file").with_extension(extension);
    let format = Format::of(&named).expect("an extension of a format");
    let mut file = match open(bytes.to_vec(), format) {
        Ok(file) => file,
        Err(failure) => return drop(failure.show(false)),
    };
    // It fails for arrays whose bytes cannot be counted.
    let _ = info::in_json(&file);
    let choice = hash(bytes);
    let target = target(&file, choice);
    let found = keep_readable(&mut file, target);
    if found.is_empty() {
        return;
    }

    let written = convert(&file, target, CONVERSIONS[0], None);
    let written = written.unwrap_or_else(|failure| panic!("readable arrays: {failure:?}"));
    let again = open(written.clone(), target);
    let again = again.unwrap_or_else(|failure| panic!("a written file: {failure:?}"));
    assert_eq!(contents(&again), found, "what was written is what was read");
    if file.format.keeps_metadata() && target.keeps_metadata() {
        assert_eq!(again.notes, file.notes, "what the file says of itself");
    }
    let limit = (choice >> 16 & 1 == 1).then_some(256);
    match convert(&again, target, CONVERSIONS[0], limit) {
        // Arrays without elements have no place that would say which comes first.
        Ok(_) if found.values().any(|(_, _, bytes)| bytes.is_empty()) => {}
        Ok(twice) => assert!(twice == written, "the same arrays, written in another way"),
        Err(failure) => assert!(limit.is_some(), "a written file: {failure:?}"),
    }

    let how = CONVERSIONS[choice as usize % CONVERSIONS.len()];
    let (before, after) = (convert(&file, target, how, None), convert(&again, target, how, None));
    match (before, after) {
        (Ok(before), Ok(after)) => {
            let converted = |bytes| open(bytes, target).map(|file| contents(&file));
            let (before, after) = (converted(before).ok(), converted(after).ok());
            assert!(before.is_some(), "a file written with {how}");
            assert_eq!(before, after, "the same arrays with {how}");
        }
        (Err(_), Err(_)) => {}
        (before, after) => panic!("with {how}: {:?}, {:?}", before.err(), after.err()),
    }
}

/// Numbers that look random, to choose by.
fn hash(bytes: &[u8]) -> u32 {
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ hash >> 15
}

/// The format that is written: mostly the one that was read.
fn target(file: &ArrayFile, choice: u32) -> Format {
    match choice >> 20 & 7 {
        5 => Format::Safetensors,
        6 => Format::Npz,
        7 if cfg!(feature = "pt") => Format::Pt,
        // One array has no name, the fields of records have.
        _ if file.format == Format::Npy && !file.nameless => Format::Npz,
        _ => file.format,
    }
}

fn open(bytes: Vec<u8>, format: Format) -> Outcome<ArrayFile> {
    ArrayFile::of_stream(MappedFile::in_memory(bytes), None, Some(format))
}

/// Reads the arrays that are small and that a file of the format `target` can hold; leaves none but those
/// that could be read.
fn keep_readable(file: &mut ArrayFile, target: Format) -> Found {
    let chain = Chain::new(args(CONVERSIONS[0])).expect("a chain of no backend");
    let mut found = Found::new();
    for array in std::mem::take(&mut file.arrays) {
        let layout = &array.spec.layout;
        let bytes = layout.compact_bytes(array.spec.data_type);
        let outgoing = chain.outgoing(&array, &array.name, target);
        if found.len() < MOST
            && bytes.is_ok_and(|bytes| bytes <= SMALL)
            && target.check(&outgoing).is_ok()
            && let Some(bytes) = read(file, &array)
        {
            let known = (array.spec.data_type, layout.shape().to_vec(), bytes);
            let twice = found.insert(array.name.clone(), known);
            assert!(twice.is_none(), "two arrays are named {:?}", array.name);
            file.arrays.push(array);
        }
    }
    // What cannot be converted is left out.
    file.refusals.clear();
    found
}

/// All arrays of a file that the program has written.
fn contents(file: &ArrayFile) -> Found {
    assert!(file.refusals.is_empty(), "{:?}", file.refusals);
    let known = |array: &Array| {
        let bytes = read(file, array).expect("a written array");
        let spec = &array.spec;
        (array.name.clone(), (spec.data_type, spec.layout.shape().to_vec(), bytes))
    };
    file.arrays.iter().map(known).collect()
}

/// The bytes of the elements in row-major order, where they can be read.
fn read(file: &ArrayFile, array: &Array) -> Option<Vec<u8>> {
    let layout = &array.spec.layout;
    // As they lie, where that is one of the two.
    let order = match layout.is_column_major() && !layout.is_row_major() {
        true => Order::ColumnMajor,
        false => Order::RowMajor,
    };
    let scratch = std::env::temp_dir();
    let room = Room::new(None).ok()?;
    let mut elements =
        Elements { array, order, window: usize::MAX, room: &room, scratch: &scratch };
    let mut at_once = Vec::new();
    let mut row_major = Vec::new();
    let whole = file.read(elements, |tensor, window| {
        assert_eq!(window.element_count(), layout.element_count(), "one window");
        let add = |to: &mut Vec<u8>, tensor| {
            bytes_of(tensor, &room, |bytes| {
                to.extend_from_slice(bytes);
                Ok(())
            })
        };
        let shared = tensor.into_shared();
        add(&mut row_major, arraybridge::ManagedTensor::alias(&shared))?;
        let alias = arraybridge::ManagedTensor::alias(&shared);
        add(&mut at_once, in_written_order(alias, order)?)
    });
    elements.window = (at_once.len() / 3).max(1);
    let mut in_parts = Vec::new();
    let parts = file.read(elements, |tensor, _| {
        bytes_of(in_written_order(tensor, order)?, &room, |bytes| {
            in_parts.extend_from_slice(bytes);
            Ok(())
        })
    });
    assert_eq!(whole.is_ok(), parts.is_ok(), "at once {whole:?}, in parts {parts:?}");
    whole.ok()?;
    assert_eq!(at_once, in_parts, "the elements at once and in parts");
    Some(row_major)
}

/// The bytes of a file of this format of all arrays.
fn convert(
    file: &ArrayFile,
    format: Format,
    how: &'static str,
    limit: Option<u64>,
) -> Outcome<Vec<u8>> {
    let args = args(how);
    let chain = Chain::new(args)?;
    let room = Room::new(limit)?;
    let mut selection = select(file, args)?;
    let chain = chain.for_arrays(selection.arrays.len());
    let outgoing = selection.outgoing(format, |array, name| chain.outgoing(array, name, format))?;
    let contents = Contents::new(format, outgoing, file.notes.as_ref(), file.nameless)?;
    explain((Path::new("file"), file), &selection.arrays, &chain)?;
    let scratch = std::env::temp_dir();
    let stream = Stream {
        file,
        chain: &chain,
        room: &room,
        scratch: &scratch,
        shows_progress: false,
        label: "",
    };
    let mut written = Cursor::new(Vec::new());
    let (_, length) = stream.run(&selection.arrays, &contents, &mut written)?;
    let written = written.into_inner();
    assert_eq!(length, written.len() as u64, "the length of what was written");
    Ok(written)
}

/// What the command line says, understood once.
fn args(how: &'static str) -> &'static ConversionArgs {
    static ALL: OnceLock<BTreeMap<&str, ConversionArgs>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let parsed = |line: &'static str| {
            let words = line.split_whitespace().chain(["--skip-unsupported"]);
            let parser = ConversionArgs::augment_args(Command::new("convert").no_binary_name(true));
            let args = parser.try_get_matches_from(words);
            let args = args.and_then(|matches| ConversionArgs::from_arg_matches(&matches));
            (line, args.expect("options of convert"))
        };
        CONVERSIONS.into_iter().map(parsed).collect()
    });
    &all[how]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fuzzers begin with, by the extension of the format.
    fn seeds(extension: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(extension);
        let files = folder.read_dir().expect("files to begin with").map(|file| {
            let path = file.expect("a file").path();
            (path.display().to_string(), std::fs::read(path).expect("a file"))
        });
        files.collect()
    }

    #[test]
    fn files_are_read_from_memory_and_come_back_in_every_way() {
        for extension in ["npy", "npz", "safetensors", "gguf"].iter().chain(PT) {
            let (mut with_arrays, seeds) = (0, seeds(extension));
            for (_, bytes) in &seeds {
                let format = Format::of(&Path::new("file").with_extension(extension)).unwrap();
                let mut file = open(bytes.clone(), format).unwrap();
                let target = target(&file, 0);
                with_arrays += usize::from(!keep_readable(&mut file, target).is_empty());
                read_and_convert(extension, bytes);
            }
            assert!(
                with_arrays * 2 >= seeds.len(),
                "{extension}: {with_arrays} of {}",
                seeds.len()
            );
        }
    }

    #[test]
    fn a_file_in_memory_is_what_the_file_would_be() {
        for (path, bytes) in seeds("npy").into_iter().chain(seeds("npz")) {
            let mapped = ArrayFile::open(Path::new(&path), Some(format_of(&path))).unwrap();
            let memory = open(bytes, format_of(&path)).unwrap();
            assert_eq!(mapped.arrays.len(), memory.arrays.len(), "{path}");
            for (one, other) in mapped.arrays.iter().zip(&memory.arrays) {
                assert_eq!(read(&mapped, one), read(&memory, other), "{path}");
            }
        }
    }

    fn format_of(path: &str) -> Format {
        if path.contains("/npz/") { Format::Npz } else { Format::Npy }
    }

    const PT: &[&str] = if cfg!(feature = "pt") { &["pt"] } else { &[] };
}
