//! The types of Arrow, by the texts that its C interface names them with.

use bridge_core::{DataType, Error, Result};

/// What an array's format says.
pub(super) enum Format {
    /// Numbers, one after the other.
    Numbers(DataType),
    /// Lists of this length each, one after the other.
    Lists(usize),
}

impl Format {
    /// # Errors
    ///
    /// Where the elements are no numbers that lie one after the other, with what to do.
    pub(super) fn of(text: &[u8]) -> Result<Self> {
        let data_type = match text {
            b"c" => DataType::I8,
            b"C" => DataType::U8,
            b"s" => DataType::I16,
            b"S" => DataType::U16,
            b"i" => DataType::I32,
            b"I" => DataType::U32,
            b"l" => DataType::I64,
            b"L" => DataType::U64,
            b"e" => DataType::F16,
            b"f" => DataType::F32,
            b"g" => DataType::F64,
            _ => return Self::of_lists(text).ok_or_else(|| refused(text)),
        };
        Ok(Self::Numbers(data_type))
    }

    fn of_lists(text: &[u8]) -> Option<Self> {
        let length = std::str::from_utf8(text.strip_prefix(b"+w:")?).ok()?;
        length.parse().ok().map(Self::Lists)
    }
}

fn refused(text: &[u8]) -> Error {
    let (what, remedy) = match text {
        b"b" => (
            "booleans, of which Arrow packs eight into a byte",
            "make bytes of them: `array.cast(pyarrow.uint8())`",
        ),
        b"n" => ("an array of nothing but nulls", "it has no elements to hand over"),
        b"u" | b"U" | b"vu" => {
            ("text", "encode it as numbers: `array.dictionary_encode().indices`")
        }
        b"z" | b"Z" | b"vz" => ("values of bytes", "hand their bytes over as an array of uint8"),
        [b't', ..] => {
            ("dates or times", "they are numbers of a unit: `array.cast(pyarrow.int64())`")
        }
        [b'd', ..] => ("decimal numbers", "cast them: `array.cast(pyarrow.float64())`"),
        [b'w', ..] => ("values of bytes", "hand their bytes over as an array of uint8"),
        b"+s" => ("a structure or a batch of columns", "hand its columns over one by one"),
        b"+l" | b"+L" | b"+vl" | b"+vL" => {
            ("lists of several lengths", "hand their elements over: `array.flatten()`")
        }
        [b'+', b'w', ..] => ("lists of a length that is no number", "its producer is at fault"),
        [b'+', b'r', ..] => (
            "values that are stored once for each run",
            "decode them: `pyarrow.compute.run_end_decode(array)`",
        ),
        _ => ("values that are no numbers", "cast them to numbers first"),
    };
    let text = String::from_utf8_lossy(text);
    Error::Unsupported {
        what: format!("an array of Arrow of {what} (format {text:?})"),
        remedy: remedy.to_owned(),
    }
}
