//! In what two files differ: the stable JSON form, and the same for people.

use std::fmt::Write;

use arraybridge::DataType;
use serde::Serialize;

use super::numbers::{Gap, Number};
use crate::convert::Skipped;
use crate::failure::{Failure, visible};

/// Differences of one kind that are listed for people.
const LISTED: usize = 20;

/// What `diff --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct DiffReport {
    pub(super) a: String,
    pub(super) b: String,
    pub(super) equal: bool,
    /// Arrays that are in both.
    pub(super) compared: usize,
    pub(super) differences: Vec<Difference>,
    pub(super) skipped: Vec<Left>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Difference {
    OnlyInA {
        name: String,
    },
    OnlyInB {
        name: String,
    },
    Dtype {
        name: String,
        #[serde(flatten)]
        types: Ends<String>,
    },
    Shape {
        name: String,
        #[serde(flatten)]
        shapes: Ends<Vec<usize>>,
    },
    Values {
        name: String,
        #[serde(flatten)]
        values: Box<Values>,
    },
}

/// What each of the two files has.
#[derive(Debug, Serialize)]
pub(super) struct Ends<T> {
    pub(super) a: T,
    pub(super) b: T,
}

/// Elements that differ.
#[derive(Debug, Serialize)]
pub(super) struct Values {
    pub(super) elements: u64,
    pub(super) different: u64,
    pub(super) first: Place,
    /// The one of the largest absolute difference.
    pub(super) worst: Place,
    #[serde(skip)]
    pub(super) types: (DataType, DataType),
}

/// An element that differs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Place {
    pub(super) index: Vec<usize>,
    pub(super) a: Number,
    pub(super) b: Number,
    #[serde(flatten)]
    pub(super) gap: Gap,
}

/// What was not compared, and why.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Left {
    file: String,
    name: String,
    #[serde(flatten)]
    failure: Failure,
}

impl Left {
    pub(super) fn new(file: &str, skipped: &Skipped) -> Self {
        Self { file: file.to_owned(), name: skipped.name.clone(), failure: skipped.failure.clone() }
    }
}

impl Difference {
    fn show(&self, a: &str, b: &str) -> String {
        match self {
            Self::OnlyInA { name } => format!("{}: only in {a}", visible(name)),
            Self::OnlyInB { name } => format!("{}: only in {b}", visible(name)),
            Self::Dtype { name, types } => {
                format!("{}: {} and {}", visible(name), types.a, types.b)
            }
            Self::Shape { name, shapes } => {
                format!("{}: shape {:?} and {:?}", visible(name), shapes.a, shapes.b)
            }
            Self::Values { name, values } => format!("{}: {}", visible(name), values.show()),
        }
    }

    /// What is listed together.
    fn kind(&self) -> &'static str {
        match self {
            Self::OnlyInA { .. } | Self::OnlyInB { .. } => "arrays that are in one file only",
            Self::Dtype { .. } => "element types that differ",
            Self::Shape { .. } => "shapes that differ",
            Self::Values { .. } => "arrays whose elements differ",
        }
    }
}

impl Values {
    fn show(&self) -> String {
        let mut text = format!("{} of {} elements differ", self.different, self.elements);
        let _ = write!(text, "\n  first at {}", self.first.show(self.types));
        if self.worst.index != self.first.index {
            let _ = write!(text, "\n  worst at {}", self.worst.show(self.types));
        }
        text
    }
}

impl Place {
    fn show(&self, types: (DataType, DataType)) -> String {
        let (a, b) = (self.a.show(types.0), self.b.show(types.1));
        let mut text = format!("{:?}: {a} and {b}", self.index);
        if self.gap.absolute.0.is_finite() {
            let _ = write!(text, " (off by {}", self.gap.absolute);
            // There is none to a zero.
            if self.gap.relative.0.is_finite() {
                let _ = write!(text, ", relative {}", self.gap.relative);
            }
            text.push(')');
        }
        text
    }
}

impl DiffReport {
    /// For people: some lines a difference, and a last one that says how it ended.
    pub(super) fn show(&self) -> String {
        let (a, b) = (visible(&self.a), visible(&self.b));
        let mut text = String::new();
        let mut listed: Vec<(&str, usize)> = Vec::new();
        for difference in &self.differences {
            let kind = difference.kind();
            let place = listed.iter().position(|(known, _)| *known == kind);
            let place = place.unwrap_or_else(|| {
                listed.push((kind, 0));
                listed.len() - 1
            });
            listed[place].1 += 1;
            if listed[place].1 <= LISTED {
                let _ = writeln!(text, "{}", difference.show(&a, &b));
            }
        }
        for (kind, count) in listed.into_iter().filter(|(_, count)| *count > LISTED) {
            let _ = writeln!(text, "and {} more {kind}: --json lists each", count - LISTED);
        }
        for left in self.skipped.iter().take(LISTED) {
            let (file, reason) = (visible(&left.file), visible(&left.failure.reason()));
            let _ = writeln!(text, "not compared, in {file}: {reason}");
        }
        if self.skipped.len() > LISTED {
            let more = self.skipped.len() - LISTED;
            let _ = writeln!(text, "and {more} more were not compared: --json lists each");
        }
        let arrays = match self.compared {
            1 => "1 array".to_owned(),
            count => format!("{count} arrays"),
        };
        let ending = if self.equal { "are equal" } else { "differ" };
        let _ = write!(text, "{a} and {b} {ending}: {arrays} compared");
        text
    }
}
