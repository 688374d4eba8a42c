//! What was measured as rows of a table.

use std::path::Path;

use measured::{Measurement, measurements, time};

use crate::table::{Row, Tone};

/// The names of the columns of [`rows`].
pub(crate) const COLUMNS: [&str; 4] = ["job", "by", "median", "times ours"];

/// A row for each measurement below criterion's folder.
pub(crate) fn rows(criterion: &Path) -> Vec<Row> {
    measurements(criterion).into_iter().map(row).collect()
}

fn row(Measurement { job, by, nanoseconds, times_ours }: Measurement) -> Row {
    let slower = times_ours < 0.995;
    Row {
        words: vec![job, by, time(nanoseconds), format!("{times_ours:.2}")],
        verdict: 3,
        tone: if slower { Tone::Missing } else { Tone::Good },
    }
}
