//! Arrays that differ in the numbers in their names alone, as those of a model's layers do.

use std::collections::HashMap;

use super::facts::ArrayFacts;

/// Arrays of one element type, shape and order whose names differ in their numbers alone.
#[derive(Debug)]
pub(super) struct Family<'a> {
    pub(super) first: &'a ArrayFacts,
    pub(super) count: usize,
    pub(super) bytes: u64,
    /// The name, with a star in place of each number: `--name` takes it.
    pattern: String,
}

impl<'a> Family<'a> {
    /// The families of these arrays, in the order of their first ones.
    pub(super) fn of(arrays: &'a [ArrayFacts]) -> Vec<Self> {
        let mut families: Vec<Self> = Vec::new();
        let mut places = HashMap::new();
        for array in arrays {
            let pattern = without_numbers(array.name.as_deref().unwrap_or_default());
            let key = (pattern.clone(), array.shown_dtype(), &array.shape, array.order);
            let place = *places.entry(key).or_insert_with(|| {
                families.push(Self { first: array, count: 0, bytes: 0, pattern });
                families.len() - 1
            });
            let family = &mut families[place];
            family.count += 1;
            family.bytes = family.bytes.saturating_add(array.bytes);
        }
        families
    }

    pub(super) fn name(&self) -> &str {
        match self.count {
            1 => self.first.name.as_deref().unwrap_or_default(),
            _ => &self.pattern,
        }
    }
}

/// The name with a star in place of each number.
fn without_numbers(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            letter if !letter.is_ascii_digit() => pattern.push(letter),
            _ if pattern.ends_with('*') => {}
            _ => pattern.push('*'),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_becomes_a_star() {
        for (name, pattern) in
            [("layers.10.mlp.w2", "layers.*.mlp.w*"), ("weight", "weight"), ("1000", "*"), ("", "")]
        {
            assert_eq!(without_numbers(name), pattern);
        }
    }
}
