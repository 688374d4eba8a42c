//! Backends that are not in the program, and could be.

/// A backend that a crate brings in some builds, and not in this one: where it is asked for, the error says
/// what would bring it. A crate [registers](crate::Registration::absent) it in place of the backend.
///
/// ```
/// use bridge_core::{Absent, Registration, Registry};
///
/// static GRID: Absent = Absent { names: &["grid", "lattice"], remedy: "enable the feature `grid`" };
/// let registry = Registry::new([Registration::absent(&GRID)]);
/// let error = registry.backend("lattice").err().unwrap().to_string();
/// assert!(error.contains("\"grid\" is not built into this program: enable the feature `grid`"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// Its name, and then its other names, all in lower case.
    pub names: &'static [&'static str],
    /// What brings it into the program.
    pub remedy: &'static str,
}

impl Absent {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether this is one of its names, without regard to case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.names.iter().any(|one| one.eq_ignore_ascii_case(name))
    }
}

/// Whether a slip of the pen makes one name of the other: a letter for each three, two at most, changed,
/// added, left out or swapped with its neighbour.
pub(crate) fn slips(asked: &str, name: &str) -> Option<usize> {
    let asked = asked.to_lowercase();
    let letters = distance(&asked.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
    let allowed = (asked.chars().count().min(name.chars().count()) / 3).min(2);
    (letters <= allowed).then_some(letters)
}

fn distance(from: &[char], to: &[char]) -> usize {
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for at in 0..=from.len() {
        for other in 0..=to.len() {
            if at == 0 || other == 0 {
                rows[at][other] = at + other;
                continue;
            }
            let changed = usize::from(from[at - 1] != to[other - 1]);
            let mut least = (rows[at - 1][other - 1] + changed)
                .min(rows[at - 1][other] + 1)
                .min(rows[at][other - 1] + 1);
            let is_swapped = at > 1
                && other > 1
                && from[at - 1] == to[other - 2]
                && from[at - 2] == to[other - 1];
            if is_swapped {
                least = least.min(rows[at - 2][other - 2] + 1);
            }
            rows[at][other] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_name() {
        for (asked, name, letters) in [
            ("torch", "torch", Some(0)),
            ("Torch", "torch", Some(0)),
            ("tourch", "torch", Some(1)),
            ("torhc", "torch", Some(1)),
            ("toch", "torch", Some(1)),
            ("ndaray", "ndarray", Some(1)),
            ("ndrray", "ndarray", Some(1)),
            ("nadrrya", "ndarray", Some(2)),
            ("cupy", "cuda", None),
            ("jax", "cuda", None),
            ("cl", "nd", None),
            ("", "nd", None),
            ("mxnet", "ndarray", None),
        ] {
            assert_eq!(slips(asked, name), letters, "{asked} for {name}");
        }
    }
}
