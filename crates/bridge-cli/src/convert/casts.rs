//! Which arrays of a file `--dtype` casts.

use arraybridge::DataType;

use crate::args::ConversionArgs;

/// Which arrays are cast, and to which type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Casts {
    to: Option<DataType>,
    /// Whether every array is cast, however many there are.
    all: bool,
    only_one_kind: bool,
}

impl Casts {
    /// What these arguments ask for one array.
    pub(super) fn new(args: &ConversionArgs) -> Self {
        let all = args.cast_all || !args.name.is_empty();
        Self { to: args.dtype, all, only_one_kind: false }
    }

    /// The same for so many arrays: of several, only those of the type's kind are cast. A checkpoint has
    /// counters and indices beside its weights, which nobody means to round.
    pub(super) fn among(self, count: usize) -> Self {
        Self { only_one_kind: count > 1 && !self.all, ..self }
    }

    /// The type that elements of the type `from` are cast to; `None` where they stay as they are.
    pub(crate) fn of(self, from: DataType) -> Option<DataType> {
        self.to.filter(|&to| to != from && (!self.only_one_kind || is_of_its_kind(from, to)))
    }

    /// Whether a cast was asked for that elements of the type `from` are left out of.
    pub(crate) fn leave_alone(self, from: DataType) -> bool {
        self.to.is_some_and(|to| to != from) && self.of(from).is_none()
    }
}

/// Whether a cast to `to` is meant for elements of `from`.
fn is_of_its_kind(from: DataType, to: DataType) -> bool {
    if to.is_float() {
        from.is_float()
    } else if to.is_complex() {
        from.is_float() || from.is_complex()
    } else {
        to.is_integer() && from.is_integer()
    }
}
