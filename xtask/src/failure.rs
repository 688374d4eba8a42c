//! What went wrong, told so that the reader can act: what was asked, what was found, what to do.

use std::fmt;

/// The result of a chore.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A chore that could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    asked: String,
    found: String,
    to_do: String,
}

impl Failure {
    /// Says what was `asked`, what was `found` instead and what there is `to_do` about it.
    pub(crate) fn new(
        asked: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self { asked: asked.into(), found: found.into(), to_do: to_do.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  found: {}\n  to do: {}", self.asked, self.found, self.to_do)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn says_all_three_parts() {
        let text = Failure::new("run `cargo fmt`", "exit status 1", "run it again").to_string();
        assert_eq!(text, "run `cargo fmt`\n  found: exit status 1\n  to do: run it again");
    }
}
