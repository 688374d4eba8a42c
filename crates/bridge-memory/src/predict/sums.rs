//! Sums of products of sizes that tell where they become too large.

use bridge_core::{DataType, Error, Result, TensorError};

use crate::arguments::invalid;

/// The sum of the products of `terms`.
pub(super) fn total(what: &str, terms: &[&[u64]]) -> Result<u64> {
    let sum = terms.iter().try_fold(0_u64, |sum, factors| sum.checked_add(product(factors)?));
    sum.ok_or_else(|| too_large(what))
}

/// Sizes are factors of others only where those are not zero: `0 × 2^40 × 2^40` is no overflow.
fn product(factors: &[u64]) -> Option<u64> {
    if factors.contains(&0) {
        return Some(0);
    }
    factors.iter().try_fold(1_u64, |product, &factor| product.checked_mul(factor))
}

/// `fixed + items × per_item`.
pub(super) fn affine(what: &str, (fixed, per_item): (u64, u64), items: u64) -> Result<u64> {
    total(what, &[&[fixed], &[per_item, items]])
}

pub(super) fn too_large(what: &str) -> Error {
    Error::Tensor(TensorError::TooLarge { what: format!("the predicted memory of {what}") })
}

/// Bytes of one element.
pub(super) fn element_bytes(data_type: DataType) -> Result<u64> {
    match data_type.size_in_bytes() {
        Some(bytes) => Ok(bytes as u64),
        None => Err(invalid("data_type", &data_type, "elements must be whole bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_do_not_fit_are_errors() {
        let half = 1 << 63;
        assert_eq!(total("it", &[&[half], &[half - 1]]).unwrap(), u64::MAX);
        for terms in [&[&[half, 2] as &[u64]] as &[&[u64]], &[&[half], &[half]]] {
            let error = total("it", terms).unwrap_err();
            assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
            assert!(error.to_string().contains("predicted memory of it"), "{error}");
        }
        assert_eq!(total("it", &[&[half, half, 0], &[3, 5], &[]]).unwrap(), 16);
    }
}
