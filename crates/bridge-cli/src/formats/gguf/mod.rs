//! `.gguf`: named arrays behind a header, as llama.cpp and its kin read and write them. Quantised ones are
//! read as float32.

mod cursor;
mod dequantize;
mod kinds;
mod metadata;

use std::collections::HashSet;
use std::io::{Seek, Write};

use arraybridge::TensorSpec;

use self::cursor::Cursor;
pub(super) use self::dequantize::Dequantized;
pub(super) use self::kinds::{Blocks, DATA_TYPES};
use self::kinds::{Kind, kind_of, number_of};
use super::array_writer::{ArrayWriter, length_of, not_written};
use super::arrays::{Array, Outgoing, Place, Reading};
use super::listing::{Listing, Notes, Refusal};
use super::mapped_file::MappedFile;
use crate::failure::{Failure, Outcome};

/// What a file begins with.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// Version 2 has the same layout.
const VERSION: u32 = 3;

/// The elements of files that say nothing of it start at multiples of this.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The elements of files that are written start at multiples of this.
const ALIGNMENT: usize = 64;

/// ggml's limits.
const MOST_AXES: usize = 4;
const LONGEST_NAME: usize = 63;

/// An array as the header describes it.
struct Info<'a> {
    name: &'a str,
    shape: Vec<usize>,
    number: u32,
    offset: u64,
}

/// Reads the header of a file: its arrays in the order they are listed in, and its metadata but lists.
pub(super) fn read(file: &MappedFile) -> Outcome<Listing> {
    let bytes = file.bytes();
    let cursor = &mut Cursor::new(bytes);
    let magic = cursor.take(MAGIC.len() as u64, "its first four bytes")?;
    if magic != MAGIC {
        return Err(Failure::new("the file does not begin with \"GGUF\"")
            .why("every .gguf file does")
            .remedy("look with `file` what it is, and give it that extension"));
    }
    let version = cursor.u32("the version")?;
    if !matches!(version, 2 | VERSION) {
        let why = match version.swap_bytes() {
            2 | VERSION => "it is written in big-endian order, which only such machines read",
            _ => "versions 2 and 3 are read",
        };
        return Err(Failure::new(format!("the file has GGUF version {version}"))
            .why(why)
            .remedy("write it again with llama.cpp's tools of today"));
    }
    // A name, a number of axes, a type and an offset; a key, a type and a byte.
    let arrays = cursor.u64("the number of arrays")?;
    let values = cursor.count(13, "values of metadata")?;
    let (mut notes, mut lists) = (Notes::new(), Vec::new());
    for _ in 0..values {
        match metadata::read(cursor)? {
            (key, Some(value)) => drop(notes.insert(key, value)),
            (key, None) => {
                let failure = Failure::new("a list of metadata");
                lists.push(Refusal::beside(key, failure));
            }
        }
    }
    let alignment = match notes.get(metadata::ALIGNMENT) {
        None => DEFAULT_ALIGNMENT,
        Some(text) => text.parse().ok().filter(|&number: &u64| number > 0).ok_or_else(|| {
            Failure::new(format!("{} is {text}", metadata::ALIGNMENT))
                .why("it is the number that offsets are multiples of")
                .damaged()
        })?,
    };
    let mut infos = Vec::new();
    for _ in 0..arrays {
        infos.push(info(cursor)?);
    }
    let start = (cursor.at() as u64).next_multiple_of(alignment);
    let mut listing = listing(&infos, start, bytes.len() as u64, alignment)?;
    listing.refusals.append(&mut lists);
    // That of a file is no property of its arrays.
    notes.remove(metadata::ALIGNMENT);
    Ok(Listing { notes: (!notes.is_empty()).then_some(notes), ..listing })
}

fn info<'a>(cursor: &mut Cursor<'a>) -> Outcome<Info<'a>> {
    let name = cursor.text("an array's name")?;
    let place = format!("the array \"{name}\"");
    let axes = cursor.u32("a number of axes")?;
    if axes as usize > MOST_AXES {
        return Err(damaged(format!("{axes} axes"), "ggml has at most four").within(&place));
    }
    // The densest axis comes first.
    let mut shape = Vec::new();
    for _ in 0..axes {
        let extent = cursor.u64("a shape")?;
        let extent = usize::try_from(extent).map_err(|_| {
            damaged(format!("an extent of {extent}"), "no memory has so many").within(&place)
        })?;
        shape.insert(0, extent);
    }
    Ok(Info { name, shape, number: cursor.u32("a type")?, offset: cursor.u64("an offset")? })
}

/// The arrays: each lies in the file, and none in another.
fn listing(infos: &[Info<'_>], start: u64, end: u64, alignment: u64) -> Outcome<Listing> {
    let mut listing = Listing::default();
    let mut names = HashSet::new();
    let mut ranges = Vec::new();
    for info in infos {
        let Info { name, shape, number, offset } = info;
        let place = format!("the array \"{name}\"");
        if !names.insert(name) {
            let why = "each array of a file has a name of its own";
            return Err(damaged("it is there twice".to_owned(), why).within(&place));
        }
        let kind = match kind_of(*number) {
            Ok(kind) => kind,
            Err(called) => {
                let failure = Failure::new(format!("{place} is quantised as {called}"))
                    .why("only ggml's plain types and its older blocks, Q4_0 to Q8_K, are read")
                    .remedy("convert the model to F16 or Q8_0 with `llama-quantize`");
                listing.refusals.push(Refusal::new(*name, failure));
                continue;
            }
        };
        let bytes = bytes_of(shape, kind).map_err(|failure| failure.within(&place))?;
        let first = start.checked_add(*offset).filter(|_| offset.is_multiple_of(alignment));
        let range = first.and_then(|first| Some((first, first.checked_add(bytes)?)));
        let Some(range) = range.filter(|range| range.1 <= end) else {
            let found = format!("{bytes} bytes from {offset} behind the header on");
            let why =
                "they reach beyond the end of the file, or begin at no multiple of its alignment";
            return Err(damaged(found, why).within(&place));
        };
        if bytes > 0 {
            ranges.push((range, *name));
        }
        if let Kind::Blocks(blocks) = kind
            && cfg!(not(feature = "candle"))
        {
            let failure = Failure::new(format!("{place} is quantised as {blocks:?}"))
                .why(
                    "this program was built without the feature candle, which computes the numbers",
                )
                .remedy("build it with --features candle");
            listing.refusals.push(Refusal::new(*name, failure));
            continue;
        }
        // It lies within the file, whose bytes have addresses.
        let start = usize::try_from(range.0).unwrap_or(usize::MAX);
        listing.arrays.push(Array {
            name: (*name).to_owned(),
            spec: TensorSpec::row_major(kind.data_type(), shape)
                .map_err(|error| Failure::from(error).within(&place))?,
            place: match kind {
                Kind::Plain(_) => Place::Mapped { start },
                Kind::Blocks(blocks) => Place::Quantized { start, blocks },
            },
            reading: Reading::default(),
            part: 0,
        });
    }
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[0].0.1 > pair[1].0.0) {
        Some(pair) => {
            let found = format!("the arrays \"{}\" and \"{}\" overlap", pair[0].1, pair[1].1);
            Err(damaged(found, "each array of a file has bytes of its own"))
        }
        None => Ok(listing),
    }
}

/// Bytes of all elements. Rows are whole blocks.
fn bytes_of(shape: &[usize], kind: Kind) -> Outcome<u64> {
    let (elements, bytes) = kind.block();
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(elements) {
        let found = format!("rows of {row} elements in blocks of {elements}");
        return Err(damaged(found, "a row is made of whole blocks"));
    }
    let count = shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
    let total = count.and_then(|count| (count / elements).checked_mul(bytes));
    total
        .map(|total| total as u64)
        .ok_or_else(|| damaged(format!("the shape {shape:?}"), "its bytes cannot be counted"))
}

fn damaged(found: String, why: &str) -> Failure {
    Failure::new(found).why(why).remedy("download or write the file again").damaged()
}

/// Why an array cannot have this name.
pub(super) fn forbids_name(name: &str) -> Option<&'static str> {
    (name.len() > LONGEST_NAME).then_some("ggml's names have at most 63 bytes")
}

/// Fails where an array cannot have this shape.
pub(super) fn check_shape(shape: &[usize]) -> Outcome<()> {
    match shape.len() {
        ..=MOST_AXES => Ok(()),
        axes => Err(Failure::new(format!("{axes} axes"))
            .why("arrays of .gguf files have at most four")
            .remedy("reshape it, or write to a .safetensors file")),
    }
}

/// The header of a file of these arrays: no metadata but the alignment.
pub(super) fn header(arrays: &[Outgoing]) -> Outcome<Vec<u8>> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((arrays.len() as u64).to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    metadata::write_u32(&mut header, metadata::ALIGNMENT, ALIGNMENT as u32);
    let mut offset = 0_u64;
    for array in arrays {
        let number = number_of(array.data_type)
            .ok_or_else(|| Failure::new(format!("GGUF has no {}", array.data_type)))?;
        header.extend((array.name.len() as u64).to_le_bytes());
        header.extend(array.name.as_bytes());
        header.extend((array.shape.len() as u32).to_le_bytes());
        for &extent in array.shape.iter().rev() {
            header.extend((extent as u64).to_le_bytes());
        }
        header.extend(number.to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset = array
            .bytes()?
            .checked_next_multiple_of(ALIGNMENT as u64)
            .and_then(|bytes| offset.checked_add(bytes))
            .ok_or_else(|| Failure::new("the arrays together exceed the address space"))?;
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    Ok(header)
}

/// Writes one array after the other, each at a multiple of the alignment.
pub(super) struct Writer<F> {
    file: F,
    written: usize,
}

impl<F: Write + Seek> Writer<F> {
    /// Writes the header first.
    pub(super) fn new(file: F, header: &[u8]) -> Outcome<Self> {
        let mut writer = Self { file, written: 0 };
        writer.write(header)?;
        Ok(writer)
    }

    fn pad(&mut self) -> Outcome<()> {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write(&[0; ALIGNMENT][..padding])
    }
}

impl<F: Write + Seek> ArrayWriter for Writer<F> {
    fn begin(&mut self, _: &Outgoing) -> Outcome<()> {
        self.pad()
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.written = (self.written + bytes.len()) % ALIGNMENT;
        self.file.write_all(bytes).map_err(not_written)
    }

    fn finish(mut self: Box<Self>) -> Outcome<u64> {
        self.pad()?;
        length_of(self.file)
    }
}
