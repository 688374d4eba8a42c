//! The counting itself: who may take how much, and in which order those who wait are served.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::one::Sharing;
use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, lock};

/// In the word beside the bytes reserved: only who holds the lock changes the word. It is set where
/// somebody waits, has a floor, or shares are to be fair.
const LOCKED: u64 = 1 << 63;

/// The most that a budget can have.
pub(super) const MOST: u64 = LOCKED - 1;

/// How often those who wait let caches be given back anew.
const RECLAIM_EVERY: Duration = Duration::from_millis(20);

/// The bytes of one budget.
pub(super) struct Ledger {
    /// Bytes reserved, and [`LOCKED`].
    word: AtomicU64,
    capacity: AtomicU64,
    peak: AtomicU64,
    sharing: Sharing,
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// What only who holds the lock looks at.
struct Turns {
    /// Those who wait, first come first served: where shares are fair, among those of one consumer.
    queue: VecDeque<Waiting>,
    /// What they wait for together.
    queued: u128,
    next_ticket: u64,
    /// Bytes that are promised to consumers with a floor, and that they have not reserved.
    unused_floors: u64,
    /// Consumers with a floor.
    with_floor: u64,
    /// Bytes that these have reserved, where that is more than their floors.
    above_floors: u64,
    /// Sum of the floors.
    floors: u64,
    /// Whether consumers without a floor are counted that hold something or wait, and how many.
    fair: bool,
    active: u64,
}

/// One who waits.
struct Waiting {
    ticket: u64,
    bytes: u64,
    /// The consumer, by the address of its [`Entry`], which stays as long as it waits.
    consumer: usize,
}

/// What the ledger knows of one consumer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) reserved: AtomicU64,
    /// What it can have at any time.
    pub(super) floor: u64,
    /// How many of its calls wait.
    waiting: AtomicU64,
}

impl Entry {
    pub(super) fn new(floor: u64) -> Self {
        Self { reserved: AtomicU64::new(0), floor, waiting: AtomicU64::new(0) }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn held(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }
}

/// Too little: the bytes that the consumer could have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) have: u64,
}

impl Ledger {
    pub(super) fn new(capacity: u64, sharing: Sharing) -> Self {
        let locked = if sharing == Sharing::Fair { LOCKED } else { 0 };
        Self {
            word: AtomicU64::new(locked),
            capacity: AtomicU64::new(capacity.min(MOST)),
            peak: AtomicU64::new(0),
            sharing,
            turns: Mutex::new(Turns {
                queue: VecDeque::new(),
                queued: 0,
                next_ticket: 0,
                unused_floors: 0,
                with_floor: 0,
                above_floors: 0,
                floors: 0,
                fair: sharing == Sharing::Fair,
                active: 0,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Changes the capacity. Below what is reserved, nothing more is granted until it fits again.
    pub(super) fn set_capacity(&self, capacity: u64) {
        let _turns = lock(&self.turns);
        self.capacity.store(capacity.min(MOST), Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(super) fn reserved(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !LOCKED
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.turns).queue.len()
    }

    /// Reserves now, or not at all. Returns what is reserved then, for [`note_peak`](Self::note_peak).
    #[inline]
    pub(super) fn reserve(&self, entry: &Entry, bytes: u64) -> Result<u64, Short> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & LOCKED == 0 {
            let left = self.capacity().saturating_sub(word);
            if bytes > left {
                return Err(Short { have: left });
            }
            let after = word + bytes;
            match self.word.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    entry.reserved.fetch_add(bytes, Ordering::Relaxed);
                    return Ok(after);
                }
                Err(now) => word = now,
            }
        }
        self.reserve_in_turn(entry, bytes)
    }

    #[cold]
    fn reserve_in_turn(&self, entry: &Entry, bytes: u64) -> Result<u64, Short> {
        let mut turns = self.enter();
        let room = self.room(&turns, entry);
        // What others wait for is theirs, but for what is promised, which can be had at any time.
        let promised = entry.floor.saturating_sub(entry.held());
        let queued = turns.queued_before(entry);
        let have = room.saturating_sub(queued).max(room.min(promised));
        let granted = (bytes <= have).then(|| self.grant(&mut turns, entry, bytes));
        self.leave(&mut turns);
        granted.ok_or(Short { have })
    }

    /// Reserves once there is room and nobody waits who came before, and returns as
    /// [`reserve`](Self::reserve). Waits no longer where `most` says that there can never be so much.
    /// `reclaim` is called every now and then, without the lock, to let caches be given back.
    pub(super) fn reserve_waiting(
        &self,
        entry: &Entry,
        bytes: u64,
        timeout: Duration,
        most: impl Fn() -> u64,
        mut reclaim: impl FnMut(),
    ) -> Result<u64, Short> {
        let started = Instant::now();
        let mut turns = self.enter();
        let ticket = turns.next_ticket;
        turns.next_ticket += 1;
        turns.queue.push_back(Waiting { ticket, bytes, consumer: entry.address() });
        turns.queued += u128::from(bytes);
        Self::starts_waiting(&mut turns, entry);
        let done = loop {
            let room = self.room(&turns, entry);
            // Fair shares keep room for every consumer, and a floor is kept for one alone.
            let promised = entry.floor.saturating_sub(entry.held());
            let first = turns.is_first(entry, ticket);
            if bytes <= room && (first || bytes <= promised) {
                break Ok(self.grant(&mut turns, entry, bytes));
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() || bytes > most() {
                break Err(Short { have: room });
            }
            let pause = if first { left.min(RECLAIM_EVERY) } else { left };
            let (woken, waited) = self
                .changed
                .wait_timeout(turns, pause)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            turns = woken;
            if first && waited.timed_out() {
                drop(turns);
                reclaim();
                turns = lock(&self.turns);
            }
        };
        turns.queue.retain(|waiting| waiting.ticket != ticket);
        turns.queued -= u128::from(bytes);
        Self::stops_waiting(&mut turns, entry);
        // Whoever is first now may fit.
        self.changed.notify_all();
        self.leave(&mut turns);
        done
    }

    /// Gives bytes back that the consumer has reserved.
    #[inline]
    pub(super) fn release(&self, entry: &Entry, bytes: u64) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & LOCKED == 0 {
            let after = word - bytes;
            match self.word.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    entry.reserved.fetch_sub(bytes, Ordering::Relaxed);
                    return;
                }
                Err(now) => word = now,
            }
        }
        self.release_in_turn(entry, bytes);
    }

    #[cold]
    fn release_in_turn(&self, entry: &Entry, bytes: u64) {
        let mut turns = self.enter();
        let before = entry.reserved.fetch_sub(bytes, Ordering::Relaxed);
        self.word.fetch_sub(bytes, Ordering::Relaxed);
        turns.moved(entry, before, before - bytes);
        self.changed.notify_all();
        self.leave(&mut turns);
    }

    /// Promises `floor` bytes to a consumer that was made with this floor.
    pub(super) fn promise(&self, floor: u64) -> Result<(), Short> {
        let mut turns = self.enter();
        let have = self.unpromised(&turns);
        let granted = floor <= have;
        if granted {
            turns.unused_floors += floor;
            turns.floors += floor;
            turns.with_floor += 1;
        }
        self.leave(&mut turns);
        if granted { Ok(()) } else { Err(Short { have }) }
    }

    /// Ends the promise to a consumer that holds nothing any more.
    pub(super) fn end_promise(&self, floor: u64) {
        let mut turns = self.enter();
        turns.unused_floors -= floor;
        turns.floors -= floor;
        turns.with_floor -= 1;
        self.changed.notify_all();
        self.leave(&mut turns);
    }

    /// The lock, with the word marked, so that nobody changes it without.
    fn enter(&self) -> MutexGuard<'_, Turns> {
        let turns = lock(&self.turns);
        self.word.fetch_or(LOCKED, Ordering::AcqRel);
        turns
    }

    /// Lets the word be changed without the lock again, where nothing speaks against it.
    fn leave(&self, turns: &mut Turns) {
        if turns.queue.is_empty() && turns.with_floor == 0 && self.sharing == Sharing::FirstCome {
            self.word.fetch_and(!LOCKED, Ordering::AcqRel);
        }
    }

    /// Returns what is reserved then.
    fn grant(&self, turns: &mut Turns, entry: &Entry, bytes: u64) -> u64 {
        let before = entry.reserved.fetch_add(bytes, Ordering::Relaxed);
        let word = self.word.fetch_add(bytes, Ordering::Relaxed);
        turns.moved(entry, before, before + bytes);
        (word & !LOCKED) + bytes
    }

    /// So much was reserved, and what was granted last is kept.
    #[inline]
    pub(super) fn note_peak(&self, reserved: u64) {
        if reserved > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(reserved, Ordering::Relaxed);
        }
    }

    /// What is neither reserved nor promised.
    fn unpromised(&self, turns: &Turns) -> u64 {
        self.capacity().saturating_sub(self.reserved()).saturating_sub(turns.unused_floors)
    }

    /// The most that this consumer could have now.
    fn room(&self, turns: &Turns, entry: &Entry) -> u64 {
        let held = entry.held();
        let promised = entry.floor.saturating_sub(held);
        let left = self.unpromised(turns);
        let own = promised.min(self.capacity().saturating_sub(self.reserved()));
        if self.sharing == Sharing::FirstCome || entry.floor > 0 {
            return left.saturating_add(own);
        }
        // What those with a floor have or may have is not shared.
        let shared =
            self.capacity().saturating_sub(turns.floors).saturating_sub(turns.above_floors);
        let counted = held > 0 || entry.waiting.load(Ordering::Relaxed) > 0;
        let sharers = turns.active + u64::from(!counted);
        left.min((shared / sharers.max(1)).saturating_sub(held))
    }

    fn starts_waiting(turns: &mut Turns, entry: &Entry) {
        let others = entry.waiting.fetch_add(1, Ordering::Relaxed);
        if turns.fair && entry.floor == 0 && entry.held() == 0 && others == 0 {
            turns.active += 1;
        }
    }

    fn stops_waiting(turns: &mut Turns, entry: &Entry) {
        let others = entry.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        if turns.fair && entry.floor == 0 && entry.held() == 0 && others == 0 {
            turns.active -= 1;
        }
    }
}

impl Turns {
    /// Whether nobody waits whom this one must let go first.
    fn is_first(&self, entry: &Entry, ticket: u64) -> bool {
        let consumer = entry.address();
        let before = self.queue.iter().find(|one| !self.fair || one.consumer == consumer);
        before.is_some_and(|first| first.ticket == ticket)
    }

    /// Bytes that others wait for whom a consumer must let go first.
    fn queued_before(&self, entry: &Entry) -> u64 {
        if !self.fair {
            return u64::try_from(self.queued).unwrap_or(u64::MAX);
        }
        let consumer = entry.address();
        let own = self.queue.iter().filter(|one| one.consumer == consumer);
        own.fold(0, |sum, one| sum.saturating_add(one.bytes))
    }

    /// A consumer holds another number of bytes.
    fn moved(&mut self, entry: &Entry, before: u64, after: u64) {
        if entry.floor > 0 {
            self.unused_floors += entry.floor.saturating_sub(after);
            self.unused_floors -= entry.floor.saturating_sub(before);
            self.above_floors += after.saturating_sub(entry.floor);
            self.above_floors -= before.saturating_sub(entry.floor);
        } else if self.fair && entry.waiting.load(Ordering::Relaxed) == 0 {
            match (before, after) {
                (0, 1..) => self.active += 1,
                (1.., 0) => self.active -= 1,
                _ => {}
            }
        }
    }
}
