//! What there is to say of a file: the stable JSON form.

use std::collections::BTreeMap;

use arraybridge::Layout;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile, RefusalKind};

/// What is in a file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Facts {
    pub(super) format: &'static str,
    /// Bytes of the file.
    pub(super) size: u64,
    pub(super) arrays: Vec<ArrayFacts>,
    pub(super) unsupported: Vec<Entry>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) total: Total,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ArrayFacts {
    /// None: the file gives it none.
    pub(super) name: Option<String>,
    pub(super) dtype: String,
    /// How the elements lie in the file, where that is not how they are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stored_as: Option<String>,
    pub(super) shape: Vec<usize>,
    pub(super) order: &'static str,
    /// In elements.
    pub(super) strides: Vec<isize>,
    /// Where the first element lies in the file; none where it is compressed.
    pub(super) offset: Option<u64>,
    /// Bytes of all elements, not compressed.
    pub(super) bytes: u64,
}

/// What is no array that can be converted.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) kind: &'static str,
    pub(super) bytes: Option<u64>,
    #[serde(flatten)]
    pub(super) failure: Failure,
}

/// All arrays together.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Total {
    pub(super) arrays: usize,
    pub(super) elements: u64,
    pub(super) bytes: u64,
    pub(super) dtypes: BTreeMap<String, DtypeTotal>,
}

/// All arrays of one element type.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct DtypeTotal {
    pub(super) arrays: usize,
    pub(super) elements: u64,
    pub(super) bytes: u64,
}

/// What an entry is called that nobody misses.
pub(super) const BESIDE: &str = "beside";

impl Facts {
    pub(super) fn of(file: &ArrayFile) -> Outcome<Self> {
        let name = |name: &str| (!file.nameless).then(|| name.to_owned());
        let mut arrays = Vec::with_capacity(file.arrays.len());
        let mut total = Total::default();
        for array in &file.arrays {
            let facts = ArrayFacts::of(array, name(&array.name))?;
            total.add(&facts, array.spec.layout.element_count() as u64);
            arrays.push(facts);
        }
        let entries = file.refusals.iter().map(|refusal| Entry {
            name: name(&refusal.name),
            kind: match refusal.kind {
                RefusalKind::Beside => BESIDE,
                RefusalKind::Unsupported => "unsupported",
                RefusalKind::Damaged => "damaged",
            },
            bytes: refusal.bytes,
            failure: refusal.failure.clone(),
        });
        Ok(Self {
            format: file.format.name(),
            size: file.size(),
            arrays,
            unsupported: entries.collect(),
            metadata: file.notes.clone().unwrap_or_default().into_iter().collect(),
            total,
        })
    }
}

impl ArrayFacts {
    /// The element type, and how the elements lie in the file where that is not how they are used.
    pub(super) fn shown_dtype(&self) -> String {
        match &self.stored_as {
            Some(way) => format!("{} ({way})", self.dtype),
            None => self.dtype.clone(),
        }
    }

    fn of(array: &Array, name: Option<String>) -> Outcome<Self> {
        let layout = &array.spec.layout;
        Ok(Self {
            name,
            dtype: array.spec.data_type.to_string(),
            stored_as: array.stored_as(),
            shape: layout.shape().to_vec(),
            order: order_of(layout),
            strides: layout.strides().to_vec(),
            offset: array.offset().map(|offset| offset as u64),
            bytes: layout.compact_bytes(array.spec.data_type)? as u64,
        })
    }
}

fn order_of(layout: &Layout) -> &'static str {
    if layout.is_row_major() {
        "row-major"
    } else if layout.is_column_major() {
        "column-major"
    } else {
        "strided"
    }
}

impl Total {
    fn add(&mut self, array: &ArrayFacts, elements: u64) {
        let of_dtype = self.dtypes.entry(array.dtype.clone()).or_default();
        of_dtype.arrays += 1;
        self.arrays += 1;
        // Views of one storage are counted each, so that sums have no bound of their own.
        for (sum, more) in [
            (&mut of_dtype.elements, elements),
            (&mut of_dtype.bytes, array.bytes),
            (&mut self.elements, elements),
            (&mut self.bytes, array.bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
