//! Limits that are too small for any part of an array.

use super::chain::Chain;
use crate::failure::{Failure, Outcome};
use crate::formats::{Array, ArrayFile};
use crate::room::Room;

/// The failure where `room` has none for a part that takes `least` bytes.
pub(super) fn too_small(room: &Room, least: Option<u64>) -> Failure {
    let limit = room.limit().unwrap_or(u64::MAX);
    // What elements take can differ a little with where they lie in the file.
    let least = least.unwrap_or(0).max(limit.saturating_add(1));
    Failure::usage(format!("--memory-limit {limit} is too small"))
        .why(format!("the smallest part takes {least} bytes, as it is read and as it is converted"))
        .remedy(format!("allow --memory-limit {least} or more"))
}

/// Fails where there is no room for one element of each array. No element is read: zeros stand for it.
pub(crate) fn check_room(
    file: &ArrayFile,
    arrays: &[(&Array, &str)],
    chain: &Chain,
    room: &Room,
) -> Outcome<()> {
    for (array, name) in arrays.iter().filter(|(array, _)| !array.spec.layout.is_empty()) {
        let counting = Room::counting()?;
        let read = counting.take(array.spec.data_type.bytes_for(1).unwrap_or(0) as u64)?;
        chain.pass(file.stand_in(array, 1)?, &counting)?;
        drop(read);
        if counting.peak() > room.limit() {
            let place = format!("the array \"{name}\"");
            return Err(too_small(room, counting.peak()).within(&place));
        }
    }
    Ok(())
}
