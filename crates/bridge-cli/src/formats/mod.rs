//! Array files: which there are, what is in one, and how one is written.

mod array_file;
mod listed;
mod mapped_file;
mod memory;
mod names;
mod npy;
mod npz;
mod pt;
mod safetensors;
mod target_file;
mod windows;
mod writer;

use std::path::Path;

use arraybridge::{DataType, Layout, Shape, TensorSpec};

use crate::failure::{Failure, Outcome};

pub(crate) use self::array_file::{ArrayFile, Elements};
pub(crate) use self::listed::Array;
pub(crate) use self::memory::{bytes_of, read_tensor};
pub(crate) use self::target_file::TargetFile;
pub(crate) use self::writer::{Contents, Writer};

/// A kind of array file, known by the extension.
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
}

/// The extensions, for advice.
const NAMES: &str = if cfg!(feature = "pt") {
    ".npy, .npz, .safetensors or .pt"
} else {
    ".npy, .npz or .safetensors"
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

    /// Whether a file has named arrays, any number of them.
    pub(crate) fn holds_many(self) -> bool {
        self != Self::Npy
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Npy => ".npy",
            Self::Npz => ".npz",
            Self::Safetensors => ".safetensors",
            Self::Pt => ".pt",
        }
    }

    fn data_types(self) -> &'static [DataType] {
        match self {
            Self::Npy | Self::Npz => npy::DATA_TYPES,
            Self::Safetensors => safetensors::DATA_TYPES,
            Self::Pt => pt::DATA_TYPES,
        }
    }

    /// Fails where the format cannot store elements of this type.
    pub(crate) fn check_data_type(self, data_type: DataType) -> Outcome<()> {
        let offered = self.data_types();
        if offered.contains(&data_type) {
            return Ok(());
        }
        let elsewhere = [Self::Npy, Self::Safetensors]
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

    /// The order in which an array of this layout is written: column-major arrays stay so where
    /// the format can say it.
    pub(crate) fn order_for(self, layout: &Layout) -> Order {
        match self {
            Self::Npy | Self::Npz if !layout.is_row_major() => Order::ColumnMajor,
            _ => Order::RowMajor,
        }
    }
}

/// The order in which elements lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The last axis densest (C).
    RowMajor,
    /// The first axis densest (Fortran).
    ColumnMajor,
}

impl Order {
    /// The axes from the sparsest to the densest.
    pub(crate) fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Self::RowMajor => (0..rank).collect(),
            Self::ColumnMajor => (0..rank).rev().collect(),
        }
    }
}

/// An array to be written.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    pub(crate) shape: Shape,
    pub(crate) order: Order,
}

impl Outgoing {
    /// Bytes of all elements.
    pub(crate) fn bytes(&self) -> Outcome<u64> {
        let spec = TensorSpec::row_major(self.data_type, &self.shape)?;
        Ok(spec.layout.compact_bytes(self.data_type)? as u64)
    }
}
