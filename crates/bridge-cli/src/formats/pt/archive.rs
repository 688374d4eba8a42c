//! The zip archive that a PyTorch file is: a pickle, which says what the tensors are, and one member a
//! storage. TorchScript programs, and what libtorch's `torch::save` writes, are such archives with code.

use std::ops::Range;

use super::heap::Storage;
use super::names::{BYTE_ORDER, CONSTANTS, PICKLE};
use crate::failure::{Failure, Outcome};
use crate::formats::arrays::Place;
use crate::formats::mapped_file::MappedFile;
use crate::formats::zip_archive::Archive;

/// An archive of one pickle, and the folder in it that everything is in, with a slash behind it.
#[derive(Debug)]
pub(super) struct PickleArchive {
    pub(super) archive: Archive,
    folder: String,
}

impl PickleArchive {
    /// Finds the pickle, and fails for numbers that are not little-endian.
    pub(super) fn open(file: &MappedFile) -> Outcome<Self> {
        let archive = Archive::open(file, "torch.save")?;
        let names = archive.names().into_iter();
        let mut found = names.filter_map(|name| {
            let folder = name.strip_suffix(PICKLE)?;
            // One that a user has put beside it is in a folder of that.
            (folder.matches('/').count() == 1 && folder.ends_with('/')).then(|| folder.to_owned())
        });
        let (first, second) = (found.next(), found.next());
        let (Some(folder), None) = (first, second) else {
            return Err(Failure::new("the archive has no data.pkl, or several")
                .why("a PyTorch file has one, in the folder that everything else is in")
                .remedy("write the file again, with torch.save"));
        };
        let mut opened = Self { archive, folder };
        if opened.archive.index_of(&format!("{}{BYTE_ORDER}", opened.folder)).is_some() {
            let (place, _) = opened.member(BYTE_ORDER)?;
            if &file.bytes()[place] != b"little" {
                return Err(not_little_endian());
            }
        }
        Ok(opened)
    }

    /// Where the bytes of the pickle lie.
    pub(super) fn pickle(&mut self) -> Outcome<Range<usize>> {
        let (place, _) = self.member(PICKLE)?;
        if place.len() > super::LARGEST_PICKLE {
            return Err(super::too_long(place.len()));
        }
        Ok(place)
    }

    /// Which member the pickle is.
    pub(super) fn index_of_pickle(&mut self) -> Outcome<usize> {
        let (_, index) = self.member(PICKLE)?;
        Ok(index)
    }

    /// How many tensors there are that belong to the code of a program.
    pub(super) fn constants(&self) -> usize {
        let start = format!("{}{CONSTANTS}", self.folder);
        self.archive.names().iter().filter(|name| name.starts_with(&start)).count()
    }

    /// Where the elements of a storage lie.
    pub(super) fn place_of(&mut self, storage: &Storage<'_>) -> Outcome<Place> {
        let (place, index) = self.member(&format!("data/{}", storage.key))?;
        super::check_size(storage, place.len())?;
        Ok(Place::Stored { start: place.start, index })
    }

    /// Where the bytes of a member lie, and its index.
    fn member(&mut self, name: &str) -> Outcome<(Range<usize>, usize)> {
        let name = format!("{}{name}", self.folder);
        let index = self.archive.index_of(&name).ok_or_else(|| {
            Failure::new(format!("the archive has no member \"{name}\""))
                .why("the file is damaged or forged")
                .remedy("write the file again, with torch.save")
                .damaged()
        })?;
        let mut read = || {
            let member = self.archive.member(index)?;
            if !member.is_stored() {
                return Err(Failure::new("it is compressed")
                    .why("PyTorch stores members as they are")
                    .remedy("write the file again, with torch.save"));
            }
            member.stored_bytes()
        };
        let place = read().map_err(|failure| failure.within(&format!("the member \"{name}\"")))?;
        Ok((place, index))
    }
}

/// The failure for numbers in the other order of bytes.
pub(super) fn not_little_endian() -> Failure {
    Failure::new("the file's numbers are not little-endian")
        .why("it was written on a big-endian machine")
        .remedy("in Python on this machine: torch.save(torch.load(path), \"little_endian.pt\")")
}
