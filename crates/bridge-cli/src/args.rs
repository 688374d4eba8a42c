//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use arraybridge::{CopyPolicy, DataType, Device, Overflow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::commands::completions::NamesArgs;
use crate::convert::NamingArgs;
use crate::data_type_arg::DataTypeParser;
use crate::formats::Format;
use crate::interval::parse_interval;
use crate::size::parse_size;

/// Converts array files, and explains, measures and verifies conversions between frameworks.
#[derive(Debug, Parser)]
#[command(
    name = "arraybridge",
    version,
    after_help = "Exit codes: 0 done, 1 it failed, 2 wrong usage.\n\
                  Examples:\n  \
                  arraybridge convert weights.npz weights.safetensors\n  \
                  arraybridge plan picture.npy --via ndarray,candle\n  \
                  arraybridge matrix --markdown"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Converts between every pair of linked backends and verifies, measures and lists the results
    Matrix(MatrixArgs),
    /// Lists the backends: whether each can run here, and if not, why and what to do
    Doctor(DoctorArgs),
    /// Runs a command and says how much memory it took, of the host and of each device
    Monitor(MonitorArgs),
    /// Says what is in array files: names, types, shapes, metadata, and what cannot be converted
    Info(InfoArgs),
    /// Compares the arrays of two files, and names the first and the worst difference of each
    Diff(DiffArgs),
    /// Explains what a conversion would do; no element is read
    Plan(PlanArgs),
    /// Converts array files to another format, element type, or through frameworks
    Convert(ConvertArgs),
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the names of arrays that can stand where the cursor is, for a shell
    #[command(hide = true)]
    CompleteNames(NamesArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    arraybridge matrix\n  \
    arraybridge matrix --json --dtype bfloat16 --size 1000000")]
pub(crate) struct MatrixArgs {
    /// Print a Markdown table
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    /// Print JSON: {"cells":[...]}
    #[arg(long)]
    pub(crate) json: bool,
    /// The element type
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "float32",
        value_parser = DataTypeParser,
        hide_possible_values = true
    )]
    pub(crate) dtype: DataType,
    /// The number of elements
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    pub(crate) size: usize,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON: {"backends":[...]}
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is the command's own: 128 and the signal's number where a signal ended it, 127 \
    where there is no such command, 126 where it cannot be run.\n\
    Examples:\n  \
    arraybridge monitor -- python3 train.py\n  \
    arraybridge monitor --plot memory.png --budget 8GiB -- python3 train.py --epochs 2\n  \
    arraybridge monitor --interval 0.5 --output memory.csv -- ./simulate"
)]
pub(crate) struct MonitorArgs {
    /// Seconds between two samples
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "0.1",
        value_parser = parse_interval,
        allow_negative_numbers = true
    )]
    pub(crate) interval: Duration,
    /// Write the samples to this file: .csv or .json
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Draw the samples as a picture: .svg or .png
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Say whether the command took more than this, and draw it as a line, as in 8GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) budget: Option<u64>,
    /// Print the summary as JSON, on standard error too: standard output is the command's
    #[arg(long)]
    pub(crate) json: bool,
    /// The command to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Headers are read and no elements. The exit code is 0 where every file could be read, \
    also where not all in it can be converted.\n\
    Examples:\n  \
    arraybridge info weights.safetensors\n  \
    arraybridge info *.npz --json"
)]
pub(crate) struct InfoArgs {
    /// The files to read: .npy, .npz, .safetensors, .gguf or .pt, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// List each array, also where there are many that are alike
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON: {"files":[...]}, with each array
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is 0 where all is equal, 1 where something differs, 2 where it cannot be \
    compared.\n\
    Two elements are equal where |a - b| <= atol + rtol * |b|.\n\
    Examples:\n  \
    arraybridge diff before.safetensors after.npz\n  \
    arraybridge diff a.npy b.npy --rtol 1e-5 --atol 1e-8 --json"
)]
pub(crate) struct DiffArgs {
    /// A file: .npy, .npz, .safetensors, .gguf or .pt. One of the two can be - for standard input
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// The file that it is compared with, in any of these formats
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,
    /// Relative to the size of the element of B, how far one of A may be from it
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = parse_tolerance)]
    pub(crate) rtol: f64,
    /// How far an element of A may be from that of B, whatever its size
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, value_parser = parse_tolerance)]
    pub(crate) atol: f64,
    /// Take a NaN for different from another NaN
    #[arg(long)]
    pub(crate) nan_differs: bool,
    /// Compare values only: the same value in another element type is no difference
    #[arg(long)]
    pub(crate) ignore_dtype: bool,
    /// Compare only arrays of this name, or that match it, as in 'layer1.*'; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// Leave out what cannot be read, and say what it was and why
    #[arg(long)]
    pub(crate) skip_unsupported: bool,
    /// Print nothing but errors: the exit code says it
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print JSON: {"equal":...,"differences":[...]}
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of at least 0 that is finite.
fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => {
            Err(format!("\"{text}\" is not a tolerance: write a number of at least 0, as in 1e-5"))
        }
    }
}

/// How files are read.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReadingArgs {
    /// The format that is read, where neither what is in a file nor its name says it
    #[arg(long, value_name = "FORMAT", value_enum, ignore_case = true)]
    from: Option<FormatArg>,
}

impl ReadingArgs {
    /// The format that the user says a file has.
    pub(crate) fn from(self) -> Option<Format> {
        self.from.map(Format::from)
    }
}

/// A format, as the command line names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormatArg {
    /// One array, as NumPy's save writes it
    Npy,
    /// Named arrays, as NumPy's savez writes them
    Npz,
    /// Named arrays behind a JSON header
    Safetensors,
    /// Tensors, as PyTorch's save writes them
    #[cfg(feature = "pt")]
    #[value(alias = "pth")]
    Pt,
    /// Named arrays, as llama.cpp has them
    Gguf,
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Npy => Self::Npy,
            FormatArg::Npz => Self::Npz,
            FormatArg::Safetensors => Self::Safetensors,
            #[cfg(feature = "pt")]
            FormatArg::Pt => Self::Pt,
            FormatArg::Gguf => Self::Gguf,
        }
    }
}

/// Which array to convert, and how: common to `plan` and `convert`.
#[derive(Debug, Args)]
pub(crate) struct ConversionArgs {
    /// Pass every array through these backends, in this order
    #[arg(long, value_name = "BACKENDS", value_delimiter = ',')]
    pub(crate) via: Vec<String>,
    /// Cast the elements to this type, as in float32, f16, bfloat16, int64. Of several arrays those of its
    /// kind only: a floating-point type casts the floating-point arrays
    #[arg(long, value_name = "TYPE", value_parser = DataTypeParser, hide_possible_values = true)]
    pub(crate) dtype: Option<DataType>,
    /// Take the bytes of elements for this type, which has as many, as in bfloat16 for NumPy's V2. Of several
    /// arrays those only that are nothing but bytes to their file; one type for each size of them
    #[arg(
        long = "as",
        value_name = "TYPES",
        value_delimiter = ',',
        value_parser = DataTypeParser,
        hide_possible_values = true
    )]
    pub(crate) read_as: Vec<DataType>,
    /// Cast all arrays to the type of --dtype, whatever they are
    #[arg(long, requires = "dtype")]
    pub(crate) cast_all: bool,
    /// Keep the arrays on this device while they are in the backends, as in cpu, cuda:0
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<Device>,
    /// When to copy between the file, the backends and the cast
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) copy: CopyArg,
    /// What a cast does with values that the new type cannot hold
    #[arg(long, value_name = "RULE", value_enum, default_value_t)]
    pub(crate) overflow: OverflowArg,
    /// What a cast does with integers that a floating-point type has only a neighbour of, with fractions
    /// that become integers, and with numbers but 0 and 1 that become booleans
    #[arg(long, value_name = "RULE", value_enum, default_value_t)]
    pub(crate) inexact: InexactArg,
    /// Convert only arrays of this name, or that match it, as in 'layer1.*'; can be given several times.
    /// The array of an .npy file has no name and gets this one
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    #[command(flatten)]
    pub(crate) naming: NamingArgs,
    /// Leave out what cannot be converted, and say what it was and why
    #[arg(long)]
    pub(crate) skip_unsupported: bool,
    /// Limit the memory that the arrays take on their way, on the host and on devices, as in 512MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory_limit: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    arraybridge plan picture.npy --via candle\n  \
    arraybridge plan weights.safetensors --dtype float32 --json")]
pub(crate) struct PlanArgs {
    /// The file to read: .npy, .npz, .safetensors, .gguf, .pt under any name, the index of a sharded checkpoint,
    /// or - for standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) conversion: ConversionArgs,
    /// Print JSON: {"arrays":[...]}
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "An existing file is replaced, but only once the new one is complete.\n\
    Several files go into a folder, each under its own name with the new ending; where one fails, the others \
    go on, and the exit code is that of the worst.\n\
    A file called - is written ./-.\n\
    Examples:\n  \
    arraybridge convert picture.npy picture.safetensors\n  \
    arraybridge convert weights.safetensors weights.npz --dtype float32\n  \
    arraybridge convert weights.npz bias.npy --name layer1.bias --via ndarray,candle --json\n  \
    arraybridge convert checkpoint.ckpt weights.safetensors --key state_dict --strip-prefix module.\n  \
    arraybridge convert huge.npy huge.safetensors --memory-limit 512MiB\n  \
    arraybridge convert *.npy out/ --to safetensors\n  \
    curl -s https://example.org/weights.npz | arraybridge convert - weights.safetensors\n  \
    arraybridge convert weights.npz - --to safetensors | sha256sum")]
pub(crate) struct ConvertArgs {
    /// The file to read: .npy, .npz, .safetensors, .gguf, .pt under any name, the index of a sharded checkpoint,
    /// or - for standard input. Several go into a folder
    #[arg(value_name = "IN", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// The file to write: .npy, .npz, .safetensors, .gguf or .pt; - for standard output; or a folder, which is
    /// created where it is missing and its name ends with /
    #[arg(value_name = "OUT", required = true)]
    pub(crate) output: PathBuf,
    /// The format to write where no ending of OUT says it: of standard output, and of the files in a folder,
    /// which are .safetensors files without it
    #[arg(long, value_name = "FORMAT", value_enum, ignore_case = true)]
    pub(crate) to: Option<FormatArg>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) conversion: ConversionArgs,
    /// Print the plan before converting
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(long, short, conflicts_with = "explain")]
    pub(crate) quiet: bool,
    /// Replace OUT where it exists; this is the default and overrides --no-clobber
    #[arg(long, overrides_with = "no_clobber")]
    pub(crate) force: bool,
    /// Fail where OUT exists already
    #[arg(long, overrides_with = "force")]
    pub(crate) no_clobber: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum CopyArg {
    /// Fail if a copy is needed
    Never,
    /// Copy only where it cannot be avoided
    #[default]
    IfNeeded,
    /// Copy at every step
    Always,
}

impl From<CopyArg> for CopyPolicy {
    fn from(arg: CopyArg) -> Self {
        match arg {
            CopyArg::Never => Self::Never,
            CopyArg::IfNeeded => Self::IfNeeded,
            CopyArg::Always => Self::Always,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum OverflowArg {
    /// Fail and name the element
    #[default]
    Refuse,
    /// Use the nearest value of the type
    Saturate,
    /// Keep the low bits of integers; floats become infinity
    Wrap,
}

impl From<OverflowArg> for Overflow {
    fn from(arg: OverflowArg) -> Self {
        match arg {
            OverflowArg::Refuse => Self::Refuse,
            OverflowArg::Saturate => Self::Saturate,
            OverflowArg::Wrap => Self::Wrap,
        }
    }
}

/// What a cast does with a value that is in the range of the new type, and that it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum InexactArg {
    /// Fail and name the element
    #[default]
    Refuse,
    /// Use the nearest float, the integer without the fraction, or true; say how many changed
    Allow,
}
