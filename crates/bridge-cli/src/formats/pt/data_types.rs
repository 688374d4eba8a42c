//! Element types as PyTorch's files name them.

use arraybridge::DataType;

/// A type that PyTorch stores.
struct Row {
    data_type: DataType,
    /// The class of a storage of such elements: types from before PyTorch 2 have one.
    storage: Option<&'static str>,
    /// `torch.NAME`.
    name: &'static str,
}

macro_rules! types {
    ($($data_type:ident = $name:literal $($storage:literal)?;)*) => {
        /// The element types that the format has.
        pub(in crate::formats) const DATA_TYPES: &[DataType] = &[$(DataType::$data_type),*];

        const ROWS: &[Row] = &[$(Row {
            data_type: DataType::$data_type,
            storage: types!(@ $($storage)?),
            name: $name,
        }),*];
    };
    (@) => { None };
    (@ $storage:literal) => { Some($storage) };
}

types! {
    F32 = "float32" "FloatStorage";
    F64 = "float64" "DoubleStorage";
    F16 = "float16" "HalfStorage";
    BF16 = "bfloat16" "BFloat16Storage";
    I64 = "int64" "LongStorage";
    I32 = "int32" "IntStorage";
    I16 = "int16" "ShortStorage";
    I8 = "int8" "CharStorage";
    U8 = "uint8" "ByteStorage";
    BOOL = "bool" "BoolStorage";
    C64 = "complex64" "ComplexFloatStorage";
    C128 = "complex128" "ComplexDoubleStorage";
    U16 = "uint16";
    U32 = "uint32";
    U64 = "uint64";
    C32 = "complex32";
    F8E4M3FN = "float8_e4m3fn";
    F8E5M2 = "float8_e5m2";
    F8E4M3FNUZ = "float8_e4m3fnuz";
    F8E5M2FNUZ = "float8_e5m2fnuz";
    F8E8M0FNU = "float8_e8m0fnu";
}

/// The type of the elements in a storage of this class.
pub(super) fn of_storage(class: &str) -> Option<DataType> {
    ROWS.iter().find(|row| row.storage == Some(class)).map(|row| row.data_type)
}

/// The type that is `torch.NAME`.
pub(super) fn of_name(name: &str) -> Option<DataType> {
    ROWS.iter().find(|row| row.name == name).map(|row| row.data_type)
}

/// The class of its storage, where it has one of its own, and its name.
pub(super) fn words_of(data_type: DataType) -> Option<(Option<&'static str>, &'static str)> {
    ROWS.iter().find(|row| row.data_type == data_type).map(|row| (row.storage, row.name))
}

/// Bytes of an element in a storage of a quantised tensor.
pub(super) fn element_of_quantised(class: &str) -> usize {
    if class == "QInt32Storage" { 4 } else { 1 }
}

/// Whether `torch.NAME` is another type of elements, a storage of quantised ones, a way to quantise, or a
/// layout.
pub(super) fn is_known(name: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let number = |prefix| name.strip_prefix(prefix).is_some_and(digits);
    ["int", "uint", "bits", "qint", "quint"].into_iter().any(number)
        || matches!(
            name,
            "QInt8Storage"
                | "QUInt8Storage"
                | "QInt32Storage"
                | "QUInt4x2Storage"
                | "QUInt2x4Storage"
                | "quint4x2"
                | "quint2x4"
                | "float4_e2m1fn_x2"
                | "per_tensor_affine"
                | "per_tensor_symmetric"
                | "per_channel_affine"
                | "per_channel_symmetric"
                | "per_channel_affine_float_qparams"
                | "strided"
                | "sparse_coo"
        )
}
