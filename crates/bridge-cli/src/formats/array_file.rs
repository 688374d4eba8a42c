//! A file of arrays, open for reading.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arraybridge::ManagedTensor;
use arraybridge::memory::budget::Reservation;

use super::arrays::{Array, Order, Place, Reading};
use super::format::Format;
use super::gguf::Dequantized;
use super::listing::{Listing, Notes, Refusal};
use super::mapped_file::MappedFile;
use super::memory::{
    PAGE, gathered_tensor, mapped_tensor, read_swapped, read_tensor, stand_in, swapped_tensor,
};
use super::pt::Latin1;
use super::windows::{Window, Windows};
use super::zip_archive::Archive;
use super::{index, other_kinds};
use crate::failure::{Failure, Outcome};
use crate::room::Room;

/// A file of arrays, or several that are read as one: the headers are read and checked, the elements are
/// not.
#[derive(Debug)]
pub(crate) struct ArrayFile {
    pub(crate) format: Format,
    pub(crate) arrays: Vec<Array>,
    /// What in it cannot be converted.
    pub(crate) refusals: Vec<Refusal>,
    /// Whether it is one array, which the file gives no name.
    pub(crate) nameless: bool,
    /// What a safetensors file says of itself besides its arrays.
    pub(crate) notes: Option<Notes>,
    /// What a user should know of how it was read.
    pub(crate) remarks: Vec<String>,
    /// The files that the arrays are in.
    parts: Vec<Part>,
}

/// A file that arrays are in.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: MappedFile,
    /// The archive that the file is.
    archive: Option<Archive>,
    /// The members whose checksums have been compared: several arrays can lie in one.
    verified: Mutex<HashSet<usize>>,
}

/// Where a file comes from.
#[derive(Debug)]
pub(super) enum Origin<'a> {
    File(&'a Path),
    /// Standard input, and where it is found if it is a file.
    Stream(Option<PathBuf>),
}

impl Origin<'_> {
    /// The format that its name says.
    pub(super) fn format(&self) -> Outcome<Format> {
        match self {
            Self::File(path) => Format::of(path),
            Self::Stream(_) => Err(Failure::usage("standard input is no array file")),
        }
    }

    /// What its array is called where the file gives it no name.
    fn stem(&self) -> &str {
        let stem = match self {
            Self::File(path) => path.file_stem().and_then(|stem| stem.to_str()),
            Self::Stream(_) => None,
        };
        stem.unwrap_or("array")
    }

    /// Empty for a stream that is no file.
    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stream(place) => place.as_deref().unwrap_or(Path::new("")),
        }
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stream(_) => f.write_str("standard input"),
        }
    }
}

/// How an array's elements are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) array: &'a Array,
    /// The order that windows follow each other in.
    pub(crate) order: Order,
    /// The most bytes that a window's elements take.
    pub(crate) window: usize,
    /// Where the elements of a window are before it is converted: asked before they are read.
    pub(crate) room: &'a Room,
    /// The folder for what has to be expanded before it can be read in another order.
    pub(crate) scratch: &'a Path,
}

impl ArrayFile {
    /// Opens a file and reads its headers. What is in it says which format it has; where that does not,
    /// `from` does, which the user says it has, or the extension.
    pub(crate) fn open(path: &Path, from: Option<Format>) -> Outcome<Self> {
        let file = MappedFile::open(path)?;
        other_kinds::refuse(file.bytes())?;
        if index::is_index(path, file.bytes()) {
            return index::open(path, file.bytes());
        }
        Self::of_one(&Origin::File(path), file, from)
    }

    /// Reads the headers of what came through standard input, which is the file at `place` where it is one.
    pub(crate) fn of_stream(
        file: MappedFile,
        place: Option<PathBuf>,
        from: Option<Format>,
    ) -> Outcome<Self> {
        other_kinds::refuse(file.bytes())?;
        if index::is_index(Path::new(""), file.bytes()) {
            return Err(Failure::usage("standard input is the index of a sharded checkpoint")
                .why("it names files beside it, and a stream lies nowhere")
                .remedy("name the index"));
        }
        Self::of_one(&Origin::Stream(place), file, from)
    }

    /// Reads the headers of a file that is no index of others.
    pub(super) fn of_one(
        origin: &Origin<'_>,
        file: MappedFile,
        from: Option<Format>,
    ) -> Outcome<Self> {
        let (format, remark) = Format::to_read(origin, &file, from)?;
        let listing = format.read(&file, origin.stem())?;
        let Listing { arrays, refusals, nameless, notes, archive } = listing;
        let path = origin.path().to_owned();
        let parts = vec![Part { path, file, archive, verified: Mutex::default() }];
        let remarks = remark.into_iter().collect();
        Ok(Self { format, arrays, refusals, nameless, notes, remarks, parts })
    }

    /// A file of no arrays, to add others to.
    pub(super) fn of_several() -> Self {
        Self {
            // That of the first takes its place.
            format: Format::Safetensors,
            arrays: Vec::new(),
            refusals: Vec::new(),
            nameless: false,
            notes: None,
            remarks: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Adds what another file holds.
    pub(super) fn add(&mut self, other: Self) {
        let first = self.parts.len();
        if first == 0 {
            self.format = other.format;
        }
        self.arrays.extend(other.arrays.into_iter().map(|mut array| {
            array.part += first;
            array
        }));
        self.refusals.extend(other.refusals);
        self.remarks.extend(other.remarks);
        self.parts.extend(other.parts);
    }

    /// The files that are read, but for the index that named them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// Bytes of the files.
    pub(crate) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.file.bytes().len() as u64).sum()
    }

    fn part(&self, array: &Array) -> Outcome<&Part> {
        self.parts.get(array.part).ok_or_else(|| Failure::new("the array is in no file"))
    }

    /// Where an array's first byte lies in a page of memory; none where it is copied there.
    pub(crate) fn place_in_page(&self, array: &Array) -> Outcome<Option<usize>> {
        let start = match array.place {
            _ if array.is_read_by_copy() => None,
            Place::Mapped { start } | Place::Stored { start, .. } => Some(start),
            Place::Deflated { .. } | Place::Quantized { .. } | Place::Latin1 { .. } => None,
        };
        let file = &self.part(array)?.file;
        Ok(start.map(|start| file.bytes().as_ptr().wrapping_add(start).addr() % PAGE))
    }

    /// A small tensor of zeros that is planned with in the array's place: of `most` elements or a few
    /// more. No element is read.
    pub(crate) fn stand_in(&self, array: &Array, most: usize) -> Outcome<ManagedTensor> {
        stand_in(&array.spec, most, self.place_in_page(array)?)
    }

    /// Gives `each` the windows of an array, one after the other. Where there is no room for one, which
    /// `each` or the room for reading says, it is given again in smaller ones, down to the smallest that
    /// there are.
    pub(crate) fn read(
        &self,
        elements: Elements<'_>,
        each: impl FnMut(ManagedTensor, &Window) -> Outcome<()>,
    ) -> Outcome<()> {
        let spec = &elements.array.spec;
        let scattered = elements.array.reading.scattered.as_ref();
        let bytes = match scattered {
            Some(records) => records.length,
            None => spec.layout.compact_bytes(spec.data_type)?,
        };
        let in_order = scattered.is_none()
            && match elements.order {
                Order::RowMajor => spec.layout.is_row_major(),
                Order::ColumnMajor => spec.layout.is_column_major(),
            };
        let part = self.part(elements.array)?;
        match elements.array.place {
            Place::Mapped { start } => read_mapped((&part.file, start), elements, in_order, each),
            Place::Stored { start, index } => {
                part.verify(index)?;
                read_mapped((&part.file, start), elements, in_order, each)
            }
            Place::Deflated { index, skip } => {
                let member = (index, skip, bytes as u64);
                if in_order {
                    let archive = part.archive()?;
                    return read_streamed(
                        |read| archive.with_deflated(member, read),
                        elements,
                        each,
                    );
                }
                let expanded = part
                    .archive()?
                    .with_deflated(member, |reader| expand(reader, elements.scratch))?;
                read_mapped((&expanded, 0), elements, in_order, each)
            }
            Place::Latin1 { start, length, index } => {
                if let Some(index) = index {
                    part.verify(index)?;
                }
                let text =
                    start.checked_add(length).and_then(|end| part.file.bytes().get(start..end));
                let text = text.ok_or_else(|| Failure::new("the text is not in the file"))?;
                if in_order {
                    return read_streamed(|read| read(&mut Latin1(text)), elements, each);
                }
                let expanded = expand(&mut Latin1(text), elements.scratch)?;
                read_mapped((&expanded, 0), elements, in_order, each)
            }
            // They are row-major, and files that keep column-major ones keep the others too.
            Place::Quantized { start, blocks } => {
                let blocks_of = || Dequantized::new(part.file.bytes(), start, bytes, blocks);
                read_streamed(|read| read(&mut blocks_of()?), elements, each)
            }
        }
    }
}

impl Part {
    /// Compares the checksum of a member, once.
    fn verify(&self, index: usize) -> Outcome<()> {
        let verified = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if !verified().contains(&index) {
            self.archive()?.verify(index)?;
            verified().insert(index);
        }
        Ok(())
    }

    fn archive(&self) -> Outcome<&Archive> {
        self.archive.as_ref().ok_or_else(|| Failure::new("the file is no archive"))
    }
}

impl Elements<'_> {
    fn windows(&self) -> Windows {
        let spec = &self.array.spec;
        Windows::new(spec.layout.shape(), self.order, spec.data_type, self.window)
    }

    fn room_for(&self, window: &Window) -> Outcome<Option<Reservation>> {
        let bytes = self.array.spec.data_type.bytes_for(window.element_count());
        self.room.take(bytes.map_or(u64::MAX, |bytes| bytes as u64))
    }
}

/// Reads elements that come one after the other: `stream` opens them from the first on. Every window but
/// the last takes as much as the first: where there is room for that, there is for all.
fn read_streamed(
    stream: impl Fn(&mut dyn FnMut(&mut dyn Read) -> Outcome<()>) -> Outcome<()>,
    elements: Elements<'_>,
    mut each: impl FnMut(ManagedTensor, &Window) -> Outcome<()>,
) -> Outcome<()> {
    let data_type = elements.array.spec.data_type;
    let mut windows = elements.windows();
    loop {
        let mut refused = None;
        let done = stream(&mut |mut reader| {
            for (place, window) in windows.clone().enumerate() {
                let alone = window.alone(data_type, elements.order)?;
                let done = elements.room_for(&window).and_then(|_room| {
                    let tensor = match elements.array.reading.swapped {
                        Some(size) => read_swapped(&mut reader, alone, size)?,
                        None => read_tensor(&mut reader, alone)?,
                    };
                    each(tensor, &window)
                });
                if let (0, Err(failure)) = (place, &done)
                    && failure.is_shortage()
                {
                    refused = Some(window);
                }
                done?;
            }
            Ok(())
        });
        match refused {
            Some(window) if windows.narrow(&window) => {}
            _ => return done,
        }
    }
}

fn read_mapped(
    (file, start): (&MappedFile, usize),
    elements: Elements<'_>,
    in_order: bool,
    mut each: impl FnMut(ManagedTensor, &Window) -> Outcome<()>,
) -> Outcome<()> {
    let spec = &elements.array.spec;
    let mut windows = elements.windows();
    while let Some(window) = windows.next() {
        let part = window.within(spec)?;
        let offset = part.layout.byte_offset();
        let bytes = part.layout.compact_bytes(spec.data_type)?;
        let done = elements.room_for(&window).and_then(|_room| {
            let Reading { swapped, scattered } = &elements.array.reading;
            if in_order {
                file.bring_in(start.saturating_add(offset), bytes);
            }
            let alone = || window.alone(spec.data_type, elements.order);
            let tensor = match (scattered, swapped) {
                (Some(scattered), _) => {
                    gathered_tensor((file, start), (scattered, &window), alone()?, *swapped)?
                }
                (None, Some(size)) => swapped_tensor((file, start), part, alone()?, *size)?,
                (None, None) => mapped_tensor(file, start, part)?,
            };
            each(tensor, &window)
        });
        match done {
            Err(failure) if failure.is_shortage() && windows.narrow(&window) => continue,
            done => done?,
        }
        if in_order {
            file.let_go(start.saturating_add(offset), bytes);
        }
    }
    Ok(())
}

/// Writes a stream to a file without a name in the folder `scratch`, and maps it.
fn expand(reader: &mut dyn Read, scratch: &Path) -> Outcome<MappedFile> {
    let mut expand = || {
        let mut file: fs::File = tempfile::tempfile_in(scratch)?;
        std::io::copy(reader, &mut file)?;
        MappedFile::of(&file)
    };
    expand().map_err(|error| {
        Failure::new(format!("the array cannot be expanded in {}", scratch.display()))
            .why(error)
            .remedy("make room there, or write to an .npy or .npz file, which keep its order")
    })
}
