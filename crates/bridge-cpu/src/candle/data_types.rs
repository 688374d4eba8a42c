//! candle's element types and DLPack's.

use bridge_core::{DataType, Error, Result};
use candle_core::DType;

/// Every element type that candle stores.
pub(super) const DATA_TYPES: &[DataType] = &[
    DataType::F32,
    DataType::F64,
    DataType::F16,
    DataType::BF16,
    DataType::U8,
    DataType::U32,
    DataType::I16,
    DataType::I32,
    DataType::I64,
    DataType::F8E4M3FN,
    DataType::F8E8M0FNU,
    DataType::F6E2M3FN,
    DataType::F6E3M2FN,
    DataType::F4E2M1FN,
];

/// The DLPack type with exactly candle's values: its `F8E4M3` has no infinities and reaches 448,
/// so it is e4m3fn.
///
/// # Errors
///
/// [`Error::Unsupported`] for a type that a later candle has added.
pub(super) fn data_type_of(dtype: DType) -> Result<DataType> {
    Ok(match dtype {
        DType::U8 => DataType::U8,
        DType::U32 => DataType::U32,
        DType::I16 => DataType::I16,
        DType::I32 => DataType::I32,
        DType::I64 => DataType::I64,
        DType::BF16 => DataType::BF16,
        DType::F16 => DataType::F16,
        DType::F32 => DataType::F32,
        DType::F64 => DataType::F64,
        DType::F8E4M3 => DataType::F8E4M3FN,
        DType::F6E2M3 => DataType::F6E2M3FN,
        DType::F6E3M2 => DataType::F6E3M2FN,
        DType::F4 => DataType::F4E2M1FN,
        DType::F8E8M0 => DataType::F8E8M0FNU,
        other => {
            return Err(Error::Unsupported {
                what: format!("candle's element type {other:?}"),
                remedy: "convert it to another type in candle first, with to_dtype()".to_owned(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candles_e4m3_is_dlpacks_e4m3fn() {
        assert_eq!(data_type_of(DType::F8E4M3).unwrap().code() as u8, 10);
        assert_eq!(float8::F8E4M3::from_bits(0x7e).to_f32(), 448.0);
    }
}
