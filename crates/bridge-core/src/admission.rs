//! Who is asked before a conversion takes memory.

use std::any::Any;
use std::fmt;

use bridge_tensor::Device;

use crate::error::{Error, Result};

/// Is asked before a conversion takes memory, and again where there was too little.
///
/// A caller names one with [`Options::within`](crate::Options::within); one that is
/// [registered](crate::Registration::admission) is asked where the caller names none. Where there is
/// neither, nothing is asked and nothing counted.
pub trait Admission: Send + Sync {
    /// Admits that a conversion takes these bytes, each device once: the most that it will have
    /// taken there at any time. The permit holds until it is dropped, which a conversion does when
    /// it is done.
    ///
    /// # Errors
    ///
    /// Where there is no room, as [`Error::NotAdmitted`]; the conversion ends with this error, has
    /// taken nothing and gives its input back.
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit>;

    /// Admits both at once, under permits that end apart: what is kept, and what is taken beside it only for
    /// a while. By itself it admits the one after the other, and neither where the second is refused.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    fn admit_apart(&self, kept: &[DeviceBytes], passing: &[DeviceBytes]) -> Result<[Permit; 2]> {
        let kept = self.admit(kept)?;
        Ok([kept, self.admit(passing)?])
    }

    /// Makes room after `error`, an allocation on `device` that failed for the `attempt`th time,
    /// counted from 1. Where it answers `true`, the step is tried once more.
    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool;
}

/// So many bytes of one device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceBytes {
    /// Whose memory.
    pub device: Device,
    /// How much of it.
    pub bytes: u64,
}

/// Room that has been admitted, until it is dropped.
pub struct Permit(Option<Box<dyn Any + Send>>);

impl Permit {
    /// A permit that `held` stands for: what its drop gives back.
    pub fn new<T: Any + Send>(held: T) -> Self {
        Self(Some(Box::new(held)))
    }

    /// A permit that nothing counts.
    pub fn unlimited() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Permit(held)" } else { "Permit(unlimited)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_permit_holds_what_it_stands_for_until_it_is_dropped() {
        let room = Arc::new(());
        let permit = Permit::new(Arc::clone(&room));
        assert_eq!(Arc::strong_count(&room), 2);
        assert_eq!(
            format!("{permit:?} {:?}", Permit::unlimited()),
            "Permit(held) Permit(unlimited)"
        );
        drop(permit);
        assert_eq!(Arc::strong_count(&room), 1);
    }

    /// Has room for so many bytes.
    struct Room(Mutex<u64>);

    /// What it gives back is not counted: only that it was given back.
    static GIVEN_BACK: AtomicU64 = AtomicU64::new(0);

    struct Taken(u64);

    impl Drop for Taken {
        fn drop(&mut self) {
            GIVEN_BACK.fetch_add(self.0, Ordering::Relaxed);
        }
    }

    impl Admission for Room {
        fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit> {
            let need = peaks.iter().map(|peak| peak.bytes).sum();
            let mut left = self.0.lock().unwrap();
            *left = left.checked_sub(need).ok_or_else(|| Error::Unsupported {
                what: format!("{need} bytes"),
                remedy: "none".to_owned(),
            })?;
            Ok(Permit::new(Taken(need)))
        }

        fn recover(&self, _: Device, _: &Error, _: u32) -> bool {
            false
        }
    }

    #[test]
    fn two_permits_end_apart_and_neither_is_kept_where_one_is_refused() {
        let room = Room(Mutex::new(100));
        let bytes = |bytes| [DeviceBytes { device: Device::CPU, bytes }];
        let given_back = || GIVEN_BACK.load(Ordering::Relaxed);
        let [kept, passing] = room.admit_apart(&bytes(30), &bytes(50)).unwrap();
        drop(passing);
        assert_eq!(given_back(), 50);
        drop(kept);
        assert_eq!(given_back(), 80);
        // There are 20 left.
        room.admit_apart(&bytes(15), &bytes(6)).unwrap_err();
        assert_eq!(given_back(), 95);
    }
}
