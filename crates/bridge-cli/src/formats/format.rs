//! The formats, and which of their modules does what.

use std::ffi::OsString;
use std::io::{Seek, Write};
use std::path::Path;

use arraybridge::{DataType, Layout};

use super::array_file::Origin;
use super::array_writer::ArrayWriter;
use super::arrays::{Order, Outgoing};
use super::listing::{Listing, Notes};
use super::mapped_file::MappedFile;
use super::{content, gguf, npy, npz, other_kinds, pt, safetensors};
use crate::failure::{Failure, Outcome};

/// A kind of array file. The extension says of a file to be written which it is, the content of one to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One array without a name: NumPy's `save`.
    Npy,
    /// Named arrays in a zip archive: NumPy's `savez` and `savez_compressed`.
    Npz,
    /// Named arrays after a JSON header.
    Safetensors,
    /// A state dictionary or one tensor: PyTorch's `save`.
    Pt,
    /// Named arrays, quantised ones too, as llama.cpp has them.
    Gguf,
}

/// The extensions, for advice.
const NAMES: &str = if cfg!(feature = "pt") {
    ".npy, .npz, .safetensors, .gguf or .pt"
} else {
    ".npy, .npz, .safetensors or .gguf"
};

impl Format {
    /// The format that the extension stands for, in any case of letters.
    pub(crate) fn of(path: &Path) -> Outcome<Self> {
        let extension =
            path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("npz") => Ok(Self::Npz),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("gguf") => Ok(Self::Gguf),
            Some("pt" | "pth") if cfg!(feature = "pt") => Ok(Self::Pt),
            Some(extension @ ("pt" | "pth")) => {
                Err(Failure::usage(format!("{} has the extension .{extension}", path.display()))
                    .why("this program was built without the feature pt, which reads and writes it")
                    .remedy(
                        "build it with --features pt, or name an .npy, .npz or .safetensors file",
                    ))
            }
            other => Err(Failure::usage(match other {
                Some(extension) => {
                    format!("{} has the unknown extension .{extension}", path.display())
                }
                None => format!("{} has no extension", path.display()),
            })
            .why("the extension says which format a file has")
            .remedy(format!("name the file {NAMES}"))),
        }
    }

    /// What the format is called.
    pub(crate) fn name(self) -> &'static str {
        self.extension().trim_start_matches('.')
    }

    /// The format of a file to be written at `path`: that of its extension, or the one that was asked for.
    pub(crate) fn to_write(path: &Path, asked: Option<Self>) -> Outcome<Self> {
        match (asked, Self::of(path)) {
            (Some(asked), Ok(named)) if named != asked => {
                let (path, name) = (path.display(), asked.name());
                let found =
                    format!("{path} is named like a .{} file, and --to says {name}", named.name());
                Err(Failure::usage(found)
                    .why("programs that go by its name would misread it")
                    .remedy(format!("name it .{name}, or leave --to out")))
            }
            (Some(asked), _) => Ok(asked),
            (None, named) => {
                named.map_err(|failure| failure.or("say with --to which format it has"))
            }
        }
    }

    /// The format of a file to be read, by what is in it, and what to say where the extension names another.
    /// Where what is in it says nothing the user's word decides, else the extension. The format's reader then
    /// says what is wrong.
    pub(super) fn to_read(
        origin: &Origin<'_>,
        file: &MappedFile,
        from: Option<Self>,
    ) -> Outcome<(Self, Option<String>)> {
        let named = from.map_or_else(|| origin.format(), Ok);
        let Some(found) = content::format_of(file, named.as_ref().ok().copied()) else {
            other_kinds::refuse_pickle(file.bytes())?;
            return named.map(|format| (format, None)).map_err(|failure| {
                failure
                    .why("what is in the file is of no format that is known here either")
                    .remedy(format!("name an array file: {NAMES}"))
                    .or("say with --from which format it has")
            });
        };
        if found == Self::Pt && !cfg!(feature = "pt") {
            return Err(Failure::usage(format!("{origin} is a file of PyTorch"))
                .why("this program was built without the feature pt, which reads it")
                .remedy("build it with --features pt"));
        }
        if let Some(from) = from.filter(|from| *from != found) {
            let (found, from) = (found.name(), from.name());
            return Err(Failure::usage(format!(
                "{origin} is a .{found} file, and --from says {from}"
            ))
            .why("what is in it says so")
            .remedy("leave --from out"));
        }
        let remark = named.ok().filter(|named| *named != found).map(|named| {
            format!(
                "{origin} is named like a {} file; it is a {} file and was read as one",
                named.extension(),
                found.extension()
            )
        });
        Ok((found, remark))
    }

    /// What a file is called without the ending that says its format, as `model` of `model.pth.tar`.
    pub(crate) fn stem_of(path: &Path) -> OsString {
        /// Endings of several parts come before those that end so.
        const ENDINGS: [&str; 11] = [
            ".safetensors.index.json",
            ".bin.index.json",
            ".pth.tar",
            ".npy",
            ".npz",
            ".safetensors",
            ".gguf",
            ".ckpt",
            ".bin",
            ".pth",
            ".pt",
        ];
        let name = path.file_name().unwrap_or_default();
        let Some(text) = name.to_str() else {
            return Path::new(name).file_stem().unwrap_or(name).to_owned();
        };
        let lower = text.to_ascii_lowercase();
        let ending = ENDINGS.iter().find(|it| lower.ends_with(**it) && lower.len() > it.len());
        text[..text.len() - ending.map_or(0, |it| it.len())].into()
    }

    /// Whether files of this format are written with the metadata of the one that was read.
    pub(crate) fn keeps_metadata(self) -> bool {
        self == Self::Safetensors
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Npy => ".npy",
            Self::Npz => ".npz",
            Self::Safetensors => ".safetensors",
            Self::Pt => ".pt",
            Self::Gguf => ".gguf",
        }
    }

    fn data_types(self) -> &'static [DataType] {
        match self {
            Self::Npy | Self::Npz => npy::DATA_TYPES,
            Self::Safetensors => safetensors::DATA_TYPES,
            Self::Pt => pt::DATA_TYPES,
            Self::Gguf => gguf::DATA_TYPES,
        }
    }

    /// Fails where a file of this format cannot hold the array.
    pub(crate) fn check(self, array: &Outgoing) -> Outcome<()> {
        self.check_name(&array.name)?;
        if self == Self::Gguf {
            gguf::check_shape(&array.shape)?;
        }
        self.check_data_type(array.data_type)
    }

    /// Fails where the format cannot store elements of this type.
    pub(crate) fn check_data_type(self, data_type: DataType) -> Outcome<()> {
        let offered = self.data_types();
        if offered.contains(&data_type) {
            return Ok(());
        }
        let elsewhere = [Self::Npz, Self::Safetensors]
            .into_iter()
            .find(|format| format.data_types().contains(&data_type));
        let cast = data_type
            .narrowest_holding(offered)
            .map(|wider| format!("cast with --dtype {wider}, which holds every value"));
        let remedy = match (cast, elsewhere) {
            (Some(cast), Some(other)) => {
                format!("{cast}, or write to a {} file", other.extension())
            }
            (Some(cast), None) => cast,
            (None, Some(other)) => format!("write to a {} file", other.extension()),
            (None, None) => "cast to another type with --dtype".to_owned(),
        };
        Err(Failure::new(format!("elements of {data_type}"))
            .why(format!("{} files cannot store {data_type}", self.extension()))
            .remedy(remedy))
    }

    /// Fails where a file of this format cannot have an array of this name.
    pub(super) fn check_name(self, name: &str) -> Outcome<()> {
        let why = match self {
            Self::Npy | Self::Pt => None,
            Self::Npz => npz::forbids_name(name),
            Self::Safetensors => safetensors::forbids_name(name),
            Self::Gguf => gguf::forbids_name(name),
        };
        why.map_or(Ok(()), |why| {
            Err(Failure::new(format!("an array named \"{name}\""))
                .why(why)
                .remedy("give it another name"))
        })
    }

    /// Reads the headers of a file; the array of one that gives it no name is called `stem`.
    pub(super) fn read(self, file: &MappedFile, stem: &str) -> Outcome<Listing> {
        match self {
            Self::Npy => npy::read(file, stem),
            Self::Npz => npz::read(file),
            Self::Safetensors => safetensors::read(file),
            Self::Pt => pt::read(file, stem),
            Self::Gguf => gguf::read(file),
        }
    }

    /// What a file of these arrays begins with, and brings them into the order it has them in; `alone`
    /// is one array that has no name, for formats that hold one so or several with names.
    pub(super) fn header(
        self,
        arrays: &mut [Outgoing],
        notes: Option<&Notes>,
        alone: bool,
    ) -> Outcome<Vec<u8>> {
        match self {
            Self::Npy | Self::Npz => Ok(Vec::new()),
            Self::Safetensors => safetensors::header(arrays, notes),
            Self::Pt => pt::pickle_of(arrays, alone),
            Self::Gguf => gguf::header(arrays),
        }
    }

    /// What writes the arrays behind such a header.
    pub(super) fn writer<'a>(
        self,
        file: impl Write + Seek + 'a,
        header: &[u8],
    ) -> Outcome<Box<dyn ArrayWriter + 'a>> {
        Ok(match self {
            Self::Npy => Box::new(npy::Writer::new(file)),
            Self::Npz => Box::new(npz::Writer::new(file)),
            Self::Safetensors => Box::new(safetensors::Writer::new(file, header)?),
            Self::Pt => Box::new(pt::Writer::new(file, header)?),
            Self::Gguf => Box::new(gguf::Writer::new(file, header)?),
        })
    }

    /// The order in which an array of this layout is written: column-major arrays stay so where
    /// the format can say it.
    pub(crate) fn order_for(self, layout: &Layout) -> Order {
        match self {
            Self::Npy | Self::Npz if !layout.is_row_major() => Order::ColumnMajor,
            _ => Order::RowMajor,
        }
    }
}
