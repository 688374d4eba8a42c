//! Reservations: bytes that have been promised, until they are given back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::Result as BridgeResult;

use super::account::Account;
use super::shortage::Shortage;
use crate::arguments::invalid;
use crate::bytes::Bytes;

/// Bytes of a budget that are its holder's, until it is dropped: on any thread, also while it
/// panics.
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    account: Arc<Account>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self { account, bytes: 0 }
    }

    /// How many bytes.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The consumer that it counts for.
    pub fn consumer(&self) -> &str {
        &self.account.name
    }

    /// Reserves `more` bytes beside what it has.
    ///
    /// # Errors
    ///
    /// As [`Consumer::reserve`](super::Consumer::reserve); what it has, it keeps.
    #[inline]
    pub fn try_grow(&mut self, more: u64) -> Result<(), Shortage> {
        self.account.take(more)?;
        self.bytes += more;
        Ok(())
    }

    /// Reserves `more` bytes beside what it has, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// As [`Consumer::reserve_waiting`](super::Consumer::reserve_waiting); what it has, it keeps.
    pub fn grow_waiting(&mut self, more: u64, timeout: Duration) -> Result<(), Shortage> {
        self.account.take_waiting(more, timeout)?;
        self.bytes += more;
        Ok(())
    }

    /// Gives `fewer` of its bytes back.
    ///
    /// # Errors
    ///
    /// For more than it has; nothing is given back then.
    pub fn shrink(&mut self, fewer: u64) -> BridgeResult<()> {
        self.bytes = self.without(fewer)?;
        self.account.give_back(fewer);
        Ok(())
    }

    /// Its bytes without so many of them.
    fn without(&self, part: u64) -> BridgeResult<u64> {
        self.bytes.checked_sub(part).ok_or_else(|| {
            let expected = format!("the reservation has {}", Bytes(self.bytes));
            invalid("the part of a reservation", &Bytes(part), &expected)
        })
    }

    /// Makes it `bytes` large: grows or gives back.
    ///
    /// # Errors
    ///
    /// As [`try_grow`](Self::try_grow).
    pub fn resize(&mut self, bytes: u64) -> Result<(), Shortage> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.try_grow(more),
            None => {
                self.account.give_back(self.bytes - bytes);
                self.bytes = bytes;
                Ok(())
            }
        }
    }

    /// Hands `part` of its bytes out as a reservation of its own.
    ///
    /// # Errors
    ///
    /// For more than it has; it keeps all then.
    pub fn split(&mut self, part: u64) -> BridgeResult<Self> {
        self.bytes = self.without(part)?;
        Ok(Self { account: Arc::clone(&self.account), bytes: part })
    }

    /// Takes all bytes of a reservation of the same consumer.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        debug_assert!(Arc::ptr_eq(&self.account, &other.account), "one consumer's");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Hands all its bytes out, and has none any more.
    pub fn take(&mut self) -> Self {
        Self { account: Arc::clone(&self.account), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} for {:?})", Bytes(self.bytes), self.consumer())
    }
}
