//! Reading a zip archive that is mapped into memory.

use std::io::{Cursor, Read};
use std::ops::Range;

use zip::read::{ArchiveOffset, Config, ZipFile};
use zip::result::{ZipError, ZipResult};
use zip::{CompressionMethod, ZipArchive};

use crate::failure::{Failure, Outcome};
use crate::formats::mapped_file::MappedFile;

/// Deflate makes at most this many bytes of one.
const HIGHEST_RATIO: u64 = 1032;

/// An archive whose directory has been read. Clones share the file.
#[derive(Debug, Clone)]
pub(in crate::formats) struct Archive {
    zip: ZipArchive<Cursor<MappedFile>>,
    file: MappedFile,
    /// The function of Python that writes such archives, for advice.
    written_with: &'static str,
}

/// A member of an archive.
pub(in crate::formats) struct Member<'a> {
    zip: ZipFile<'a, Cursor<MappedFile>>,
    file: &'a MappedFile,
    written_with: &'static str,
}

impl Archive {
    /// Reads the directory of the archive that the file is. No two members have the same name or share
    /// bytes.
    pub(in crate::formats) fn open(file: &MappedFile, written_with: &'static str) -> Outcome<Self> {
        let zip = directory_of(file).map_err(|error| broken(&error, written_with))?;
        let mut archive = Self { zip, file: file.clone(), written_with };
        if archive.zip.has_duplicate_names() {
            return Err(Failure::new("two members of the archive have the same name")
                .why("one of them would be lost")
                .remedy(archive.write_again()));
        }
        if archive.zip.has_overlapping_files().map_err(|error| broken(&error, written_with))? {
            return Err(Failure::new("members of the archive overlap")
                .why("members that share bytes let a small archive expand without limit")
                .remedy(archive.write_again()));
        }
        Ok(archive)
    }

    fn write_again(&self) -> String {
        format!("write the file again, with {}", self.written_with)
    }

    /// The number of members.
    pub(in crate::formats) fn len(&self) -> usize {
        self.zip.len()
    }

    /// The name of the member with this index, which must be text.
    pub(in crate::formats) fn name_of(&self, index: usize) -> Outcome<String> {
        let name = self.zip.name_for_index(index).unwrap_or(Err(ZipError::FileNotFound));
        Ok(name.map_err(|error| broken(&error, self.written_with))?.into_owned())
    }

    /// Bytes of the member with this index as the directory says, not compressed.
    pub(in crate::formats) fn size_of(&self, index: usize) -> u64 {
        self.zip.by_index_data(index).map_or(0, |member| member.size())
    }

    /// The names that are text.
    pub(in crate::formats) fn names(&self) -> Vec<String> {
        self.zip.file_names().flatten().map(|name| name.to_string()).collect()
    }

    /// Which member has this name.
    pub(in crate::formats) fn index_of(&self, name: &str) -> Option<usize> {
        self.zip.index_for_name(name)
    }

    /// The member with this index.
    pub(in crate::formats) fn member(&mut self, index: usize) -> Outcome<Member<'_>> {
        let Self { zip, file, written_with } = self;
        let zip = zip.by_index(index).map_err(|error| broken(&error, written_with))?;
        if !matches!(zip.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(Failure::new(format!(
                "it is compressed with the method {}, which is not read here",
                zip.compression()
            ))
            .why("members are stored or deflated, as NumPy and PyTorch write them")
            .remedy(format!("write the file again, with {written_with}")));
        }
        Ok(Member { zip, file, written_with })
    }

    /// Reads a stored member whole, which compares its checksum, and lets go of its pages.
    pub(in crate::formats) fn verify(&self, index: usize) -> Outcome<()> {
        let mut archive = self.clone();
        let mut member = archive.member(index)?;
        let mut at = member.stored_bytes()?.start;
        let mut buffer =
            vec![0; usize::try_from(member.size()).unwrap_or(usize::MAX).clamp(1, 1 << 20)];
        loop {
            match member.zip.read(&mut buffer).map_err(|error| unreadable(&error))? {
                0 => return Ok(()),
                read => {
                    self.file.let_go(at, read);
                    at += read;
                }
            }
        }
    }

    /// Gives `read` what follows the first `skip` bytes of a deflated member, as a stream of exactly
    /// `length` bytes, and compares the checksum at its end.
    pub(in crate::formats) fn with_deflated<T>(
        &self,
        (index, skip, length): (usize, usize, u64),
        read: impl FnOnce(&mut dyn Read) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut archive = self.clone();
        let mut member = archive.member(index)?;
        let skipped =
            std::io::copy(&mut member.zip.by_ref().take(skip as u64), &mut std::io::sink());
        skipped.map_err(|error| unreadable(&error))?;
        let done = read(&mut member.zip.by_ref().take(length))?;
        // One byte more would be one too many; none makes the reader compare the checksum.
        match member.zip.read(&mut [0]).map_err(|error| unreadable(&error))? {
            0 => Ok(done),
            _ => Err(Failure::new("it holds more bytes than its header declares")
                .why("the file is damaged or forged")
                .remedy("write the file again, with numpy.savez_compressed")),
        }
    }
}

/// Reads the directory of an archive that is the whole file, or else of one that has something before it.
/// To look for what is before it first takes the ZIP64 record of some archives for it.
fn directory_of(file: &MappedFile) -> ZipResult<ZipArchive<Cursor<MappedFile>>> {
    let read = |archive_offset| {
        ZipArchive::with_config(Config { archive_offset }, Cursor::new(file.clone()))
    };
    read(ArchiveOffset::Known(0)).or_else(|_| read(ArchiveOffset::Detect))
}

impl Member<'_> {
    /// Whether the bytes lie in the file as they are.
    pub(in crate::formats) fn is_stored(&self) -> bool {
        self.zip.compression() == CompressionMethod::Stored
    }

    /// Bytes as the directory says, not compressed.
    pub(in crate::formats) fn size(&self) -> u64 {
        self.zip.size()
    }

    /// Where the bytes of a stored member lie in the file.
    pub(in crate::formats) fn stored_bytes(&self) -> Outcome<Range<usize>> {
        let range = || {
            let start = usize::try_from(self.zip.data_start()?).ok()?;
            let length = usize::try_from(self.zip.size()).ok()?;
            let end = start.checked_add(length)?;
            let inside =
                end <= self.file.bytes().len() && self.zip.size() == self.zip.compressed_size();
            inside.then_some(start..end)
        };
        range().ok_or_else(|| {
            Failure::new(format!(
                "it claims {} bytes, which reach beyond the end of the file",
                self.zip.size()
            ))
            .why("the file is cut short or forged")
            .remedy(format!("write the file again, with {}", self.written_with))
            .damaged()
        })
    }

    /// Fails where the directory says more bytes than the compressed ones can hold.
    pub(in crate::formats) fn check_ratio(&self) -> Outcome<()> {
        let (size, compressed) = (self.zip.size(), self.zip.compressed_size());
        if size <= compressed.saturating_add(1).saturating_mul(HIGHEST_RATIO) {
            return Ok(());
        }
        Err(Failure::new(format!("it claims to hold {size} bytes in {compressed} compressed ones"))
            .why(format!(
                "deflate makes at most {HIGHEST_RATIO} bytes of one: the sizes are forged"
            ))
            .remedy("write the file again, with numpy.savez_compressed")
            .damaged())
    }

    /// Reads on until `bytes` are `length`, or the member ends.
    pub(in crate::formats) fn read_up_to(
        &mut self,
        length: usize,
        bytes: &mut Vec<u8>,
    ) -> Outcome<()> {
        let missing = length.saturating_sub(bytes.len()) as u64;
        let read = self.zip.by_ref().take(missing).read_to_end(bytes);
        read.map(drop).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new("its bytes cannot be read")
        .why(error)
        .remedy("the file is damaged: write it again")
        .damaged()
}

fn broken(error: &ZipError, written_with: &str) -> Failure {
    if let ZipError::UnsupportedArchive(_) = error {
        return Failure::new(
            "the archive is compressed or encrypted in a way that is not read here",
        )
        .why(format!("members are stored or deflated, as NumPy and PyTorch write them ({error})"))
        .remedy(format!("write the file again, with {written_with}"));
    }
    Failure::new("the file is not a readable zip archive")
        .why(error)
        .remedy(format!("write the file again, with {written_with}"))
        .damaged()
}
