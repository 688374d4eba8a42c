//! The words that may be written, and what is said about others.

use syn::Ident;

/// The backends of arraybridge. Those of other crates are written in quotes.
pub(crate) const BACKENDS: &[&str] = &["ndarray", "candle", "torch", "opencl", "cuda", "dlpack"];

pub(crate) const OPTIONS: &[&str] = &[
    "device",
    "input",
    "output",
    "oom_recovery",
    "dtype",
    "rescale",
    "contract",
    "by_slice",
    "within",
    "pool",
    "crate",
];

/// The long and the short name of each dtype conversion, and its variant.
pub(crate) const DTYPES: &[(&str, &str, &str)] = &[
    ("preserve", "preserve", "PreserveInput"),
    ("native", "native", "NativeOutput"),
    ("uint8", "u8", "Uint8"),
    ("uint16", "u16", "Uint16"),
    ("int16", "i16", "Int16"),
    ("int32", "i32", "Int32"),
    ("float32", "f32", "Float32"),
    ("float64", "f64", "Float64"),
];

/// Each rescale rule and its variant.
pub(crate) const RESCALES: &[(&str, &str)] = &[
    ("refuse", "Refuse"),
    ("saturate", "Saturate"),
    ("wrap", "Wrap"),
    ("min_max", "MinMax"),
    ("range", "Range"),
];

/// The error for a word that nothing is called, with the one that is meant where a letter or two make
/// the difference.
pub(crate) fn unknown(at: &Ident, what: &str, found: &str, known: &[&str]) -> syn::Error {
    let near = known.iter().map(|one| (distance(found, one), one)).min();
    let meant = match near {
        // A wrong number is no slip of the pen.
        Some((letters, one))
            if letters <= 2 && !found.ends_with(|end: char| end.is_ascii_digit()) =>
        {
            format!("; did you mean `{one}`?")
        }
        _ => String::new(),
    };
    let text = format!("`{found}` is no {what}{meant} There are {}", listed(known));
    let text = if meant.is_empty() { text.replacen(" There", "; there", 1) } else { text };
    syn::Error::new(at.span(), text)
}

pub(crate) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// How many letters must be changed, added or left out to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("torch", "torch"), 0);
        assert_eq!(distance("tourch", "torch"), 1);
        assert_eq!(distance("devise", "device"), 1);
        assert_eq!(distance("", "cuda"), 4);
        assert_eq!(distance("jax", "candle"), 5);
    }
}
