//! What becomes of numbers that the target's type does not hold.

use bridge_core::Overflow;

use super::part::Part;

/// What becomes of numbers that the target's type does not hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// What the caller of a cast says.
    Of(Overflow),
    /// As [`Overflow::Saturate`], but in a float finite numbers stay finite: what is too large becomes the largest
    /// finite value. Infinities stay, and become NaN where the type has none.
    KeepFinite,
}

impl Rule {
    /// What a cast does about such numbers, where those that are too large have been held back before.
    pub(super) fn overflow(self, target: Part) -> Overflow {
        match self {
            Self::Of(overflow) => overflow,
            Self::KeepFinite if target.is_float() => Overflow::Wrap,
            Self::KeepFinite => Overflow::Saturate,
        }
    }
}

impl From<Overflow> for Rule {
    fn from(overflow: Overflow) -> Self {
        Self::Of(overflow)
    }
}
