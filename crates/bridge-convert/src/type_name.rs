//! The names of Rust types in errors, without the modules they lie in.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// "ArrayBase<OwnedRepr<f32>, Dim<[usize; 2]>>", say, without the modules in between. Each name is
/// made once and kept.
pub(crate) fn short_type_name<T: 'static>() -> &'static str {
    static NAMES: Mutex<BTreeMap<TypeId, &'static str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names
        .entry(TypeId::of::<T>())
        .or_insert_with(|| Box::leak(without_modules(type_name::<T>()).into_boxed_str()))
}

fn without_modules(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut word_at = 0;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ':' && letters.peek() == Some(&':') {
            letters.next();
            short.truncate(word_at);
            continue;
        }
        short.push(letter);
        if !(letter.is_alphanumeric() || letter == '_') {
            word_at = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_left_out_at_every_depth() {
        let name =
            "ndarray::ArrayBase<ndarray::data_repr::OwnedRepr<f32>, ndarray::Dim<[usize; 2]>>";
        assert_eq!(without_modules(name), "ArrayBase<OwnedRepr<f32>, Dim<[usize; 2]>>");
        assert_eq!(short_type_name::<BTreeMap<u8, Vec<u8>>>(), "BTreeMap<u8, Vec<u8>>");
    }
}
