//! The element types of GGUF, which are ggml's: plain ones, and blocks of quantised numbers.

use arraybridge::DataType;

/// What elements are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats) enum Kind {
    /// As an element type says.
    Plain(DataType),
    /// In blocks, which are read as float32.
    Blocks(Blocks),
}

/// How quantised numbers lie in a block. Named as ggml names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "ggml's names")]
pub(in crate::formats) enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
}

/// What a type's number stands for, or its name, where it is one that is not read.
pub(super) fn kind_of(number: u32) -> Result<Kind, String> {
    Ok(match number {
        0 => Kind::Plain(DataType::F32),
        1 => Kind::Plain(DataType::F16),
        2 => Kind::Blocks(Blocks::Q4_0),
        3 => Kind::Blocks(Blocks::Q4_1),
        6 => Kind::Blocks(Blocks::Q5_0),
        7 => Kind::Blocks(Blocks::Q5_1),
        8 => Kind::Blocks(Blocks::Q8_0),
        9 => Kind::Blocks(Blocks::Q8_1),
        10 => Kind::Blocks(Blocks::Q2_K),
        11 => Kind::Blocks(Blocks::Q3_K),
        12 => Kind::Blocks(Blocks::Q4_K),
        13 => Kind::Blocks(Blocks::Q5_K),
        14 => Kind::Blocks(Blocks::Q6_K),
        15 => Kind::Blocks(Blocks::Q8_K),
        24 => Kind::Plain(DataType::I8),
        25 => Kind::Plain(DataType::I16),
        26 => Kind::Plain(DataType::I32),
        27 => Kind::Plain(DataType::I64),
        28 => Kind::Plain(DataType::F64),
        30 => Kind::Plain(DataType::BF16),
        16 => return Err("IQ2_XXS".to_owned()),
        17 => return Err("IQ2_XS".to_owned()),
        18 => return Err("IQ3_XXS".to_owned()),
        19 => return Err("IQ1_S".to_owned()),
        20 => return Err("IQ4_NL".to_owned()),
        21 => return Err("IQ3_S".to_owned()),
        22 => return Err("IQ2_S".to_owned()),
        23 => return Err("IQ4_XS".to_owned()),
        29 => return Err("IQ1_M".to_owned()),
        34 => return Err("TQ1_0".to_owned()),
        35 => return Err("TQ2_0".to_owned()),
        39 => return Err("MXFP4".to_owned()),
        other => return Err(format!("ggml's number {other}")),
    })
}

/// The number that stands for an element type.
pub(super) fn number_of(data_type: DataType) -> Option<u32> {
    (0..=30).find(|&number| kind_of(number) == Ok(Kind::Plain(data_type)))
}

/// The element types that the format can be written with.
pub(in crate::formats) const DATA_TYPES: &[DataType] = &[
    DataType::F32,
    DataType::F16,
    DataType::BF16,
    DataType::F64,
    DataType::I8,
    DataType::I16,
    DataType::I32,
    DataType::I64,
];

impl Kind {
    /// What the elements are once they are read.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Plain(data_type) => data_type,
            Self::Blocks(_) => DataType::F32,
        }
    }

    /// Elements that lie together, and the bytes they take.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::Plain(data_type) => (1, data_type.size_in_bytes().unwrap_or(1)),
            Self::Blocks(blocks) => blocks.size(),
        }
    }
}

impl Blocks {
    /// Elements and bytes of a block.
    pub(super) fn size(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q8_1 => (32, 36),
            Self::Q2_K => (256, 84),
            Self::Q3_K => (256, 110),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
            Self::Q8_K => (256, 292),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_written_has_the_number_that_is_read() {
        for &data_type in DATA_TYPES {
            let number = number_of(data_type).expect("a number");
            assert_eq!(kind_of(number), Ok(Kind::Plain(data_type)));
        }
        assert_eq!(number_of(DataType::U8), None);
    }
}
