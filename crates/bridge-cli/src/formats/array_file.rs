//! A file of arrays, open for reading.

use std::fs;
use std::io::Read;
use std::path::Path;

use arraybridge::ManagedTensor;

use super::listed::{Array, Place};
use super::mapped_file::MappedFile;
use super::memory::{mapped_tensor, read_tensor, stand_in};
use super::safetensors::Notes;
use super::windows::{Window, Windows};
use super::{Format, Order, npy, npz, pt, safetensors};
use crate::failure::{Failure, Outcome};

/// A file of arrays: its headers are read and checked, its elements are not.
#[derive(Debug)]
pub(crate) struct ArrayFile {
    pub(crate) format: Format,
    pub(crate) arrays: Vec<Array>,
    /// Whether it is one array, which the file gives no name.
    pub(crate) nameless: bool,
    /// What a safetensors file says of itself besides its arrays.
    pub(crate) notes: Option<Notes>,
    file: MappedFile,
    /// What tells where the members of an `.npz` file lie.
    archive: Option<npz::Archive>,
}

/// How an array's elements are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) array: &'a Array,
    /// The order that windows follow each other in.
    pub(crate) order: Order,
    /// The most bytes that a window's elements take.
    pub(crate) window: usize,
    /// The folder for what has to be expanded before it can be read in another order.
    pub(crate) scratch: &'a Path,
}

impl ArrayFile {
    /// Opens a file and reads its headers.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let format = Format::of(path)?;
        let file = MappedFile::open(path)?;
        let mut notes = None;
        let mut archive = None;
        let mut nameless = !format.holds_many();
        let arrays = match format {
            Format::Npy => vec![read_npy(path, &file)?],
            Format::Npz => npz::read(&file, archive.insert(npz::open(&file, npz::WRITTEN_WITH)?))?,
            Format::Pt => {
                let (arrays, alone) =
                    pt::read(&file, archive.insert(pt::open(&file)?), stem_of(path))?;
                nameless = alone;
                arrays
            }
            Format::Safetensors => {
                let (arrays, found) = safetensors::read(file.bytes())?;
                notes = found;
                arrays
            }
        };
        Ok(Self { format, arrays, nameless, notes, file, archive })
    }

    /// A small tensor of zeros that is planned with in the array's place. No element is read.
    pub(crate) fn stand_in(&self, array: &Array) -> Outcome<ManagedTensor> {
        let start = match array.place {
            Place::Mapped { start } | Place::Stored { start, .. } => Some(start),
            Place::Deflated { .. } => None,
        };
        let address = start.map(|start| self.file.bytes().as_ptr().wrapping_add(start).addr());
        stand_in(&array.spec, address)
    }

    /// Gives `each` the windows of an array, one after the other.
    pub(crate) fn read(
        &self,
        elements: Elements<'_>,
        mut each: impl FnMut(ManagedTensor, &Window) -> Outcome<()>,
    ) -> Outcome<()> {
        let spec = &elements.array.spec;
        let bytes = spec.layout.compact_bytes(spec.data_type)?;
        let in_order = match elements.order {
            Order::RowMajor => spec.layout.is_row_major(),
            Order::ColumnMajor => spec.layout.is_column_major(),
        };
        match elements.array.place {
            Place::Mapped { start } => read_mapped((&self.file, start), elements, in_order, each),
            Place::Stored { start, index } => {
                npz::verify(&self.file, self.archive()?, index, self.written_with())?;
                read_mapped((&self.file, start), elements, in_order, each)
            }
            Place::Deflated { index, skip } => {
                let member = (index, skip, bytes as u64);
                if in_order {
                    return npz::with_deflated(self.archive()?, member, |mut reader| {
                        for window in elements.windows() {
                            let alone = window.alone(spec.data_type, elements.order)?;
                            each(read_tensor(&mut reader, alone)?, &window)?;
                        }
                        Ok(())
                    });
                }
                let expanded = npz::with_deflated(self.archive()?, member, |reader| {
                    expand(reader, elements.scratch)
                })?;
                read_mapped((&expanded, 0), elements, in_order, each)
            }
        }
    }
}

impl ArrayFile {
    /// What writes archives of this format.
    fn written_with(&self) -> &'static str {
        match self.format {
            Format::Pt => pt::WRITTEN_WITH,
            _ => npz::WRITTEN_WITH,
        }
    }

    /// Another reader of the archive that the file is.
    fn archive(&self) -> Outcome<npz::Archive> {
        self.archive.clone().ok_or_else(|| Failure::new("the file is no archive"))
    }
}

impl Elements<'_> {
    fn windows(&self) -> Windows {
        let spec = &self.array.spec;
        Windows::new(spec.layout.shape(), self.order, spec.data_type, self.window)
    }
}

fn read_mapped(
    (file, start): (&MappedFile, usize),
    elements: Elements<'_>,
    in_order: bool,
    mut each: impl FnMut(ManagedTensor, &Window) -> Outcome<()>,
) -> Outcome<()> {
    let spec = &elements.array.spec;
    for window in elements.windows() {
        let part = window.within(spec)?;
        let offset = part.layout.byte_offset();
        let bytes = part.layout.compact_bytes(spec.data_type)?;
        each(mapped_tensor(file, start, part)?, &window)?;
        if in_order {
            file.let_go(start.saturating_add(offset), bytes);
        }
    }
    Ok(())
}

/// What an array without a name is called.
fn stem_of(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("array")
}

fn read_npy(path: &Path, file: &MappedFile) -> Outcome<Array> {
    let header = npy::read_header(file.bytes())?;
    let found = file.bytes().len() - header.length;
    if found != header.data_length {
        let (why, remedy) = if found < header.data_length {
            ("the file is cut short, or its header forged", "write the file again")
        } else {
            (
                "what follows the array would be lost",
                "save one array a file, or several with numpy.savez",
            )
        };
        return Err(Failure::new(format!(
            "the header declares {} bytes of elements, and {found} follow it",
            header.data_length
        ))
        .why(why)
        .remedy(remedy));
    }
    Ok(Array {
        name: stem_of(path).to_owned(),
        spec: header.spec,
        place: Place::Mapped { start: header.length },
    })
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
