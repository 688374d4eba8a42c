//! Element types as people write them: those of this project, and those of NumPy, PyTorch, JAX and
//! safetensors.

use std::sync::LazyLock;

use arraybridge::DataType;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

/// Reads an element type, and offers the names of all for completion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DataTypeParser;

impl TypedValueParser for DataTypeParser {
    type Value = DataType;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<DataType, clap::Error> {
        let text = value.to_string_lossy();
        parse_data_type(&text).map_err(|message| {
            let arg = arg.map_or_else(|| "...".to_owned(), ToString::to_string);
            let text = format!("invalid value '{text}' for '{arg}': {message}\n");
            clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        static NAMES: LazyLock<Vec<String>> =
            LazyLock::new(|| DataType::NAMED.iter().map(ToString::to_string).collect());
        Some(Box::new(NAMES.iter().map(|name| PossibleValue::new(name.as_str()))))
    }
}

/// What a name stands for in one of the frameworks that have it, which is all that the prefix says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Torch,
    NumPy,
    Other,
}

const PREFIXES: [(&str, Prefix); 7] = [
    ("torch.", Prefix::Torch),
    ("numpy.", Prefix::NumPy),
    ("np.", Prefix::NumPy),
    ("jax.numpy.", Prefix::Other),
    ("jnp.", Prefix::Other),
    ("ml_dtypes.", Prefix::Other),
    ("tf.", Prefix::Other),
];

/// Names that stand for one type wherever they are used, beside those that [`DataType`] reads.
const ALIASES: [(&str, DataType); 42] = [
    ("half", DataType::F16),
    ("fp16", DataType::F16),
    ("f2", DataType::F16),
    // As `half` and `double` in C and PyTorch; NumPy's is `np.float`.
    ("float", DataType::F32),
    ("single", DataType::F32),
    ("fp32", DataType::F32),
    ("f4", DataType::F32),
    ("double", DataType::F64),
    ("fp64", DataType::F64),
    ("bfloat", DataType::BF16),
    ("bool_", DataType::BOOL),
    ("boolean", DataType::BOOL),
    ("b1", DataType::BOOL),
    ("i1", DataType::I8),
    ("i2", DataType::I16),
    ("short", DataType::I16),
    ("intc", DataType::I32),
    ("long", DataType::I64),
    ("longlong", DataType::I64),
    ("u1", DataType::U8),
    ("ubyte", DataType::U8),
    ("u2", DataType::U16),
    ("ushort", DataType::U16),
    ("uintc", DataType::U32),
    ("ulonglong", DataType::U64),
    ("chalf", DataType::C32),
    ("csingle", DataType::C64),
    ("c8", DataType::C64),
    ("complex", DataType::C128),
    ("cdouble", DataType::C128),
    ("c16", DataType::C128),
    // What safetensors calls E4M3 is e4m3fn.
    ("f8_e4m3", DataType::F8E4M3FN),
    ("fp8_e4m3fn", DataType::F8E4M3FN),
    ("e4m3fn", DataType::F8E4M3FN),
    ("f8_e5m2", DataType::F8E5M2),
    ("fp8_e5m2", DataType::F8E5M2),
    ("e5m2", DataType::F8E5M2),
    ("f8_e4m3fnuz", DataType::F8E4M3FNUZ),
    ("f8_e5m2fnuz", DataType::F8E5M2FNUZ),
    ("f8_e8m0", DataType::F8E8M0FNU),
    ("float8_e4m3b11", DataType::F8E4M3B11FNUZ),
    ("float8_e4m3b11_fnuz", DataType::F8E4M3B11FNUZ),
];

/// Names that stand for a type in one framework only, or for another in each.
const OF_ONE: [(Prefix, &str, DataType); 10] = [
    (Prefix::Torch, "int", DataType::I32),
    (Prefix::Torch, "cfloat", DataType::C64),
    (Prefix::NumPy, "float", DataType::F64),
    (Prefix::NumPy, "float_", DataType::F64),
    (Prefix::NumPy, "int", DataType::I64),
    (Prefix::NumPy, "int_", DataType::I64),
    (Prefix::NumPy, "uint", DataType::U64),
    (Prefix::NumPy, "byte", DataType::I8),
    (Prefix::NumPy, "cfloat", DataType::C128),
    (Prefix::NumPy, "complex_", DataType::C128),
];

/// Names that mean different types to different people, and what to write instead.
const AMBIGUOUS: [(&str, &str, &str); 10] = [
    ("int", "int32 in PyTorch and C, int64 in Python and NumPy", "int32 or int64"),
    ("uint", "uint32 in C, uint64 in NumPy", "uint32 or uint64"),
    ("byte", "uint8 in PyTorch, int8 in NumPy", "uint8 or int8"),
    ("char", "int8 in PyTorch, text elsewhere", "int8 or uint8"),
    ("cfloat", "complex64 in PyTorch, complex128 in NumPy", "complex64 or complex128"),
    (
        "f8",
        "float64 in NumPy, one of the 8-bit floats elsewhere",
        "float64, or as in float8_e4m3fn",
    ),
    ("i4", "int32 in NumPy, an integer of 4 bits elsewhere", "int32"),
    ("u4", "uint32 in NumPy, an integer of 4 bits elsewhere", "uint32"),
    (
        "fp8",
        "one of several 8-bit floats",
        "as in float8_e4m3fn, whose largest value is 448, or float8_e5m2",
    ),
    (
        "float8",
        "one of several 8-bit floats",
        "as in float8_e4m3fn, whose largest value is 448, or float8_e5m2",
    ),
];

/// Reads the name of an element type, or says what is wrong with it and what to write.
pub(crate) fn parse_data_type(text: &str) -> Result<DataType, String> {
    let asked = text.trim().to_ascii_lowercase();
    if let Some(order) = asked.chars().next().filter(|first| "<>=|".contains(*first)) {
        return numpy_type(&asked[1..]).filter(|_| order != '>').ok_or_else(|| {
            let what = if order == '>' {
                "files are written little-endian"
            } else {
                "NumPy has no such type"
            };
            format!("\"{text}\": {what}; write it as in <f4 or float32")
        });
    }
    let prefixed =
        PREFIXES.iter().find_map(|(prefix, of)| Some((asked.strip_prefix(prefix)?, *of)));
    let (name, prefix) = prefixed.map_or((asked.as_str(), None), |(name, of)| (name, Some(of)));
    if let Ok(data_type) = name.parse() {
        return Ok(data_type);
    }
    let of_one = OF_ONE.iter().find(|(of, one, _)| prefix == Some(*of) && *one == name);
    let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).map(|found| found.1);
    if let Some(data_type) = of_one.map(|found| found.2).or_else(alias) {
        return Ok(data_type);
    }
    if let Some((_, means, instead)) = AMBIGUOUS.iter().find(|(one, ..)| *one == name) {
        return Err(format!("\"{text}\" is {means}: write {instead}"));
    }
    let meant = nearest(name).map_or_else(String::new, |meant| format!("did you mean {meant}? "));
    Err(format!(
        "\"{text}\" is not a data type: {meant}write it as in float32 or f32, int64 or i64, bfloat16, bool, \
         complex64, float8_e4m3fn"
    ))
}

/// The type that NumPy calls so, by kind and bytes: here `i8` has 64 bits.
fn numpy_type(name: &str) -> Option<DataType> {
    let (kind, bytes) = name.split_at_checked(1)?;
    let bits = bytes.parse::<u8>().ok()?.checked_mul(8)?;
    let stem = match kind {
        "b" if bits == 8 => return Some(DataType::BOOL),
        "i" => "int",
        "u" => "uint",
        "f" => "float",
        "c" => "complex",
        _ => return None,
    };
    format!("{stem}{bits}").parse().ok()
}

/// The name that differs in the fewest letters, if they are few.
fn nearest(name: &str) -> Option<String> {
    let known = DataType::NAMED.iter().flat_map(|one| [one.to_string(), one.short_name()]);
    let known = known.chain(ALIASES.iter().map(|(alias, _)| (*alias).to_owned()));
    known
        .map(|known| (strsim::osa_distance(name, &known), known))
        .filter(|(letters, known)| *letters <= 2 && *letters < known.len().min(name.len()))
        .min_by_key(|(letters, _)| *letters)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType as D;

    #[test]
    fn names_of_all_frameworks_are_read() {
        for (text, data_type) in [
            ("float32", D::F32),
            ("FP16", D::F16),
            ("half", D::F16),
            ("bf16", D::BF16),
            ("double", D::F64),
            ("long", D::I64),
            ("uint8", D::U8),
            ("torch.float32", D::F32),
            ("torch.float", D::F32),
            ("torch.int", D::I32),
            ("np.float32", D::F32),
            ("numpy.float32", D::F32),
            ("np.int_", D::I64),
            ("numpy.half", D::F16),
            ("float", D::F32),
            ("np.float", D::F64),
            ("jnp.bfloat16", D::BF16),
            ("ml_dtypes.float8_e4m3fn", D::F8E4M3FN),
            ("float8_e4m3", D::F8E4M3),
            ("F8_E4M3", D::F8E4M3FN),
            ("BF16", D::BF16),
            ("<f4", D::F32),
            ("f4", D::F32),
            ("<i8", D::I64),
            ("|i1", D::I8),
            ("=c16", D::C128),
            ("|b1", D::BOOL),
            // This project's short names come before NumPy's.
            ("i8", D::I8),
            ("u8", D::U8),
            ("c64", D::C64),
        ] {
            assert_eq!(parse_data_type(text), Ok(data_type), "{text}");
        }
    }

    #[test]
    fn each_alias_names_what_no_other_way_of_reading_does() {
        for (alias, _) in ALIASES {
            assert!(alias.parse::<DataType>().is_err(), "{alias}");
            assert!(!AMBIGUOUS.iter().any(|(name, ..)| *name == alias), "{alias}");
        }
        for (name, ..) in AMBIGUOUS {
            assert!(name.parse::<DataType>().is_err(), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_what_to_write() {
        for (text, says) in [
            ("int", "int32 or int64"),
            ("f8", "float64, or as in float8_e4m3fn"),
            (">f4", "little-endian"),
            ("<f3", "no such type"),
            ("flaot32", "did you mean float32?"),
            ("torch.flot16", "did you mean float16?"),
            ("bflaot16", "did you mean bfloat16?"),
            ("string", "is not a data type: write"),
            ("", "is not a data type: write"),
            ("<", "no such type"),
            ("<é4", "no such type"),
        ] {
            let said = parse_data_type(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
