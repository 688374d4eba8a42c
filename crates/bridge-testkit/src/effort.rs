//! How much the suite tries: everything, or a sample of it that an interpreter can finish.

use bridge_core::DataType;

/// Whether few arrangements, element types and sizes are tried: under Miri, and where the
/// environment variable `ARRAYBRIDGE_SMALL_SUITE` is set.
pub(crate) fn is_small() -> bool {
    cfg!(miri) || std::env::var_os("ARRAYBRIDGE_SMALL_SUITE").is_some()
}

/// All of these, or the first `few` where the suite is small.
pub(crate) fn sampled<T>(all: &[T], few: usize) -> &[T] {
    match is_small() {
        true => &all[..few.min(all.len())],
        false => all,
    }
}

/// All element types, or the first one and the booleans where the suite is small.
pub(crate) fn sampled_types(all: &[DataType]) -> Vec<DataType> {
    let booleans = all.iter().skip(1).filter(|&&one| one == DataType::BOOL);
    match is_small() {
        true => all.iter().take(1).chain(booleans).copied().collect(),
        false => all.to_vec(),
    }
}
