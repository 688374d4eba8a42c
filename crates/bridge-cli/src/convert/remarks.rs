//! What a user should know of the file that was read, beside its arrays.

use crate::formats::{ArrayFile, RefusalKind};

/// So many values that were passed over are named.
const NAMED: usize = 5;

/// How the file was read, and what in it is no array.
pub(crate) fn remarks(file: &ArrayFile) -> Vec<String> {
    let mut remarks = file.remarks.clone();
    let beside = file.refusals.iter().filter(|it| it.kind == RefusalKind::Beside);
    let shown: Vec<String> = beside
        .clone()
        .take(NAMED)
        .map(|it| format!("\"{}\" ({})", it.name, it.failure.reason()))
        .collect();
    if !shown.is_empty() {
        let more = beside.count() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        remarks.push(format!("passed over, as they are no arrays: {}{more}", shown.join(", ")));
    }
    remarks
}
