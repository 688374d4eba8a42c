//! What a user should know of the file that was read, beside its arrays.

use crate::formats::{ArrayFile, Format, RefusalKind};

/// So many values that were passed over are named.
const NAMED: usize = 5;

/// How the file was read, what in it is no array, and whether its metadata is lost in a file of the format
/// `target`.
pub(crate) fn remarks(file: &ArrayFile, target: Option<Format>) -> Vec<String> {
    let mut remarks = file.remarks.clone();
    // Folders in archives, and what systems put beside the data, are nobody's.
    if file.format != Format::Npz {
        let beside = file.refusals.iter().filter(|it| it.kind == RefusalKind::Beside);
        let beside = beside.map(|it| format!("\"{}\" ({})", it.name, it.failure.reason()));
        remarks.extend(named("passed over, as they are no arrays", beside));
    }
    if let (Some(format), Some(notes)) = (target, &file.notes)
        && !format.keeps_metadata()
    {
        let mut keys: Vec<_> = notes.keys().map(|key| format!("\"{key}\"")).collect();
        keys.sort_unstable();
        let what = format!("metadata, which no .{} file keeps", format.name());
        remarks.extend(named(&what, keys.into_iter()));
    }
    remarks
}

/// The first of some texts behind what they are; none without any.
fn named(what: &str, mut texts: impl Iterator<Item = String>) -> Option<String> {
    let shown: Vec<String> = texts.by_ref().take(NAMED).collect();
    let more = match texts.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| format!("{what}: {}{more}", shown.join(", ")))
}
