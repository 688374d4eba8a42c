//! Consumers: under which name memory is reserved.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Entry;
use super::one::{Inner, Refusal};
use super::reservation::Reservation;
use super::shortage::Shortage;

/// Reserves memory of a [`Budget`](super::Budget) under a name, which errors and reports tell.
/// Clones are the same consumer.
#[derive(Clone)]
pub struct Consumer {
    pub(super) account: Arc<Account>,
}

/// What is kept of one consumer as long as it or one of its reservations lives.
pub(super) struct Account {
    pub(super) name: Arc<str>,
    pub(super) entry: Entry,
    pub(super) budget: Arc<Inner>,
    /// What it takes of the budget that its own is a part of: with a floor there too, where it has one.
    pub(super) whole: Option<Consumer>,
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.entry.floor > 0 {
            self.budget.ledger.end_promise(self.entry.floor);
        }
    }
}

/// How often caches are asked before a refusal, as long as they give something: others may have taken it, or
/// they may have given less than they said.
const ROUNDS: u32 = 8;

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.account.name
    }

    /// Bytes it has reserved.
    pub fn reserved(&self) -> u64 {
        self.account.entry.reserved.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Bytes it can have at any time.
    pub fn floor(&self) -> u64 {
        self.account.entry.floor
    }

    /// Reserves `bytes`, now or not at all.
    ///
    /// # Errors
    ///
    /// [`Shortage::Never`] for more than the budget's capacity; else [`Shortage::NotNow`], after
    /// everybody who [keeps something cached](super::Budget::on_pressure) was asked to give it back.
    #[inline]
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, Shortage> {
        let mut reservation = self.nothing();
        reservation.try_grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves `bytes` as soon as there is room and everybody who came before has been served; waits
    /// for `timeout` at most.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve), after the time is over; [`Shortage::Never`] at once.
    pub fn reserve_waiting(&self, bytes: u64, timeout: Duration) -> Result<Reservation, Shortage> {
        let mut reservation = self.nothing();
        reservation.grow_waiting(bytes, timeout)?;
        Ok(reservation)
    }

    /// A reservation of no bytes, to grow.
    #[inline]
    pub fn nothing(&self) -> Reservation {
        Reservation::new(Arc::clone(&self.account))
    }
}

impl Account {
    /// Takes bytes of the budget and of those it is a part of.
    #[inline]
    pub(super) fn take(&self, bytes: u64) -> Result<(), Shortage> {
        match self.budget.take(self, bytes) {
            Ok(()) => Ok(()),
            Err(refusal) => self.take_under_pressure(bytes, refusal),
        }
    }

    #[cold]
    fn take_under_pressure(&self, bytes: u64, mut refusal: Refusal) -> Result<(), Shortage> {
        let budget = &self.budget;
        // What was measured last may be too old.
        if budget.follow_at_once() {
            match budget.take(self, bytes) {
                Ok(()) => return Ok(()),
                Err(now) => refusal = now,
            }
        }
        for _ in 0..ROUNDS {
            // For what can never be had, nobody loses anything.
            let Refusal::Here(short) = refusal else { break };
            if bytes > budget.most() {
                break;
            }
            let given = budget.relieve(bytes.saturating_sub(short.have));
            let more = given > 0 || budget.clear_device();
            if more {
                budget.follow_at_once();
            }
            match budget.take(self, bytes) {
                Ok(()) => return Ok(()),
                Err(now) => refusal = now,
            }
            if !more {
                break;
            }
        }
        Err(budget.shortage(refusal, bytes, None))
    }

    /// As [`take`](Self::take), waiting.
    pub(super) fn take_waiting(&self, bytes: u64, timeout: Duration) -> Result<(), Shortage> {
        let shortage = match self.take(bytes) {
            Ok(()) => return Ok(()),
            Err(shortage) => shortage,
        };
        if timeout.is_zero() || !shortage.is_passing() {
            return Err(shortage);
        }
        self.budget.take_waiting(self, bytes, timeout)
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.budget.give_back(self, bytes);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumer({:?} of {:?})", self.name(), self.account.budget.name)
    }
}
