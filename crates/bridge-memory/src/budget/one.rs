//! One budget.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bridge_core::{Device, Registry, Result as BridgeResult};

use super::account::{Account, Consumer};
use super::ledger::{Entry, Ledger, MOST, Short};
use super::measured::Measuring;
use super::pressure::{Hook, Pressure};
use super::reservation::Reservation;
use super::shortage::{Holder, Shortage};
use super::status::BudgetStatus;
use crate::arguments::invalid;
use crate::probe::MemoryProbe;
use crate::recovery::{RecoveryEvent, announce, release_caches};
use crate::sync::{Mutex, lock};

/// How those who want memory share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Whoever comes first gets what is there; nobody overtakes those who wait.
    FirstCome,
    /// Each active consumer gets at most an equal share.
    Fair,
}

/// Memory that may be reserved up to a capacity. Clones are the same budget.
#[derive(Clone)]
pub struct Budget(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    /// Whose memory it counts; `None`: of every device.
    pub(super) device: Option<Device>,
    pub(super) ledger: Arc<Ledger>,
    /// Where the capacity is what there is.
    measuring: Option<Measuring>,
    pub(super) pressure: Pressure,
    accounts: Mutex<Vec<Weak<Account>>>,
    /// What it takes of the budget that it is a part of.
    whole: Option<Consumer>,
}

/// Which budget was short: this one, or one that it is a part of.
pub(super) enum Refusal {
    Here(Short),
    Above(Shortage),
}

/// Under which name what has none is reserved.
const UNNAMED: &str = "unnamed";

impl Budget {
    /// A budget of `capacity` bytes, which counts memory of every device, first come first served. It adds
    /// up what devices have each for themselves: a conversion that takes 1 MiB of the host and 1 MiB of a
    /// GPU reserves 2 MiB. For a limit of each, take a budget [of each device](Self::of_device).
    ///
    /// # Errors
    ///
    /// For a capacity of zero, or of more than 2^63 - 1 bytes.
    pub fn new(name: &str, capacity: u64) -> BridgeResult<Self> {
        Self::with(name, capacity, None, Sharing::FirstCome, None)
    }

    /// As [`new`](Self::new), in equal shares: each consumer that holds something or waits gets at
    /// most an equal part of what is not kept for those with a
    /// [floor](Self::consumer_with_floor).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn fair(name: &str, capacity: u64) -> BridgeResult<Self> {
        Self::with(name, capacity, None, Sharing::Fair, None)
    }

    /// A budget of `capacity` bytes that is a part of this one: what is reserved of it is reserved
    /// of this one too.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn part(&self, name: &str, capacity: u64) -> BridgeResult<Self> {
        let whole = Some(self.consumer(name));
        Self::with(name, capacity, self.0.device, Sharing::FirstCome, whole)
    }

    /// A budget of `capacity` bytes of one device; pinned memory counts as the host's.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_device(name: &str, capacity: u64, device: Device) -> BridgeResult<Self> {
        let device = super::admission::holder_of(device);
        Self::with(name, capacity, Some(device), Sharing::FirstCome, None)
    }

    fn with(
        name: &str,
        capacity: u64,
        device: Option<Device>,
        sharing: Sharing,
        whole: Option<Consumer>,
    ) -> BridgeResult<Self> {
        check_capacity(capacity)?;
        let ledger = Arc::new(Ledger::new(capacity, sharing));
        Ok(Self::over(name, device, ledger, None, whole))
    }

    fn over(
        name: &str,
        device: Option<Device>,
        ledger: Arc<Ledger>,
        measuring: Option<Measuring>,
        whole: Option<Consumer>,
    ) -> Self {
        let inner = Arc::new(Inner {
            name: name.into(),
            device,
            ledger,
            measuring,
            pressure: Pressure::default(),
            accounts: Mutex::new(Vec::new()),
            whole,
        });
        if let Some(whole) = &inner.whole {
            whole.account.budget.pressure.add_part(&inner);
        }
        Self(inner)
    }

    /// A budget whose capacity follows what `probe` measures: a `share`, above 0 and at most 1, of the
    /// memory that is there and not in use by others. It measures where its last answer is [too
    /// old](crate::probe::Cached), and before it refuses. Of what is reserved, as much counts as taken
    /// as this process has more than it had when nothing was reserved.
    ///
    /// # Errors
    ///
    /// For a share out of its range, and the probe's own.
    pub fn measured(
        name: &str,
        probe: impl MemoryProbe + 'static,
        share: f64,
    ) -> BridgeResult<Self> {
        Self::measured_part(name, probe, share, None, None)
    }

    pub(super) fn measured_part(
        name: &str,
        probe: impl MemoryProbe + 'static,
        share: f64,
        device: Option<Device>,
        whole: Option<Consumer>,
    ) -> BridgeResult<Self> {
        if !(share > 0.0 && share <= 1.0) {
            let expected = "it must be above 0 and at most 1";
            return Err(invalid("a budget's share of the memory", &share, expected));
        }
        let ledger = Arc::new(Ledger::new(MOST, Sharing::FirstCome));
        let measuring = Measuring::new(Box::new(probe), share, Arc::clone(&ledger))?;
        Ok(Self::over(name, device, ledger, Some(measuring), whole))
    }

    /// Whether this is the same budget, and not only one like it.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The budget's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The device whose memory it counts; `None` where it counts every device's.
    pub fn device(&self) -> Option<Device> {
        self.0.device
    }

    /// Bytes that can be reserved in all.
    pub fn capacity(&self) -> u64 {
        self.0.ledger.capacity()
    }

    /// The capacity, where it is less than all that can be counted.
    pub(crate) fn limit(&self) -> Option<u64> {
        Some(self.capacity()).filter(|&capacity| capacity < MOST)
    }

    /// Changes the capacity, which no longer follows what is measured. What is reserved stays reserved: where that is more, nothing is granted
    /// until enough has been given back.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn set_capacity(&self, capacity: u64) -> BridgeResult<()> {
        check_capacity(capacity)?;
        if let Some(measuring) = &self.0.measuring {
            measuring.stop();
        }
        self.0.ledger.set_capacity(capacity);
        Ok(())
    }

    /// Bytes that are reserved.
    pub fn reserved(&self) -> u64 {
        self.0.ledger.reserved()
    }

    /// The consumer of this name; the same one as long as it, or something it reserved, lives.
    pub fn consumer(&self, name: &str) -> Consumer {
        let mut accounts = lock(&self.0.accounts);
        if let Some(account) = living(&accounts, name) {
            return Consumer { account };
        }
        let whole = self.0.whole.clone();
        Consumer { account: self.open(&mut accounts, name, 0, whole) }
    }

    /// A consumer for which `floor` bytes are kept: it can have them at any time. For those who
    /// cannot make do with less. Where this budget is a part, they are kept of the whole too.
    ///
    /// # Errors
    ///
    /// As [`Consumer::reserve`], where there are not so many bytes to promise, and as an
    /// [`Error`](bridge_core::Error) where there is a consumer of this name already.
    pub fn consumer_with_floor(&self, name: &str, floor: u64) -> BridgeResult<Consumer> {
        let mut accounts = lock(&self.0.accounts);
        if living(&accounts, name).is_some() {
            let expected = "another consumer of this budget has this name: its floor is settled";
            return Err(invalid("the consumer's name", &name, expected));
        }
        let whole = match &self.0.whole {
            Some(whole) if floor > 0 => {
                let within = format!("{}: {name}", self.name());
                let above = Self(Arc::clone(&whole.account.budget));
                Some(above.consumer_with_floor(&within, floor)?)
            }
            whole => whole.clone(),
        };
        if floor > 0
            && let Err(short) = self.0.ledger.promise(floor)
        {
            // The list is looked at to say who holds what.
            drop(accounts);
            return Err(self.0.shortage(Refusal::Here(short), floor, None).into());
        }
        Ok(Consumer { account: self.open(&mut accounts, name, floor, whole) })
    }

    fn open(
        &self,
        accounts: &mut Vec<Weak<Account>>,
        name: &str,
        floor: u64,
        whole: Option<Consumer>,
    ) -> Arc<Account> {
        let (name, entry, budget) = (name.into(), Entry::new(floor), Arc::clone(&self.0));
        let account = Arc::new(Account { name, entry, budget, whole });
        accounts.retain(|account| account.strong_count() > 0);
        accounts.push(Arc::downgrade(&account));
        account
    }

    /// Reserves `bytes` under no name of its own; as [`Consumer::reserve`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::reserve`].
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, Shortage> {
        self.consumer(UNNAMED).reserve(bytes)
    }

    /// Reserves `bytes` under no name of its own, waiting; as [`Consumer::reserve_waiting`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::reserve_waiting`].
    pub fn reserve_waiting(&self, bytes: u64, timeout: Duration) -> Result<Reservation, Shortage> {
        self.consumer(UNNAMED).reserve_waiting(bytes, timeout)
    }

    /// Asks `relieve` for bytes before a reservation is refused that would fit an empty budget, as
    /// long as the hook lives: a cache drops what it can do without and what it had reserved, and
    /// returns how many bytes. Hooks are asked in the order they were added, then those of
    /// [parts](Self::part).
    pub fn on_pressure(
        &self,
        name: &str,
        relieve: impl Fn(u64) -> u64 + Send + Sync + 'static,
    ) -> Hook {
        self.0.pressure.add(name, Box::new(relieve))
    }

    /// What there is, who holds how much, and how many wait.
    pub fn status(&self) -> BudgetStatus {
        let measured = self.0.measuring.as_ref().map(Measuring::unmanaged);
        let (unmanaged, problems) =
            measured.map_or((None, Vec::new()), |(bytes, problems)| (Some(bytes), problems));
        let (capacity, reserved) = (self.capacity(), self.reserved());
        BudgetStatus {
            name: self.name().to_owned(),
            device: self.0.device.map(|device| device.to_string()),
            capacity,
            reserved,
            available: capacity.saturating_sub(reserved),
            unmanaged,
            problems,
            peak: self.0.ledger.peak(),
            waiting: self.0.ledger.waiting(),
            holders: self.0.holders(),
        }
    }
}

fn check_capacity(capacity: u64) -> BridgeResult<()> {
    if capacity == 0 || capacity > MOST {
        let expected = "it must be at least 1 and at most 2^63 - 1";
        return Err(invalid("a budget's capacity in bytes", &capacity, expected));
    }
    Ok(())
}

fn living(accounts: &[Weak<Account>], name: &str) -> Option<Arc<Account>> {
    accounts.iter().filter_map(Weak::upgrade).find(|account| &*account.name == name)
}

impl Inner {
    #[inline]
    pub(super) fn take(&self, account: &Account, bytes: u64) -> Result<(), Refusal> {
        if let Some(measuring) = &self.measuring {
            measuring.follow();
        }
        let reserved = self.ledger.reserve(&account.entry, bytes).map_err(Refusal::Here)?;
        if let Some(whole) = &account.whole {
            whole.account.take(bytes).map_err(|shortage| {
                self.ledger.release(&account.entry, bytes);
                Refusal::Above(shortage)
            })?;
        }
        self.ledger.note_peak(reserved);
        Ok(())
    }

    pub(super) fn take_waiting(
        &self,
        account: &Account,
        bytes: u64,
        timeout: Duration,
    ) -> Result<(), Shortage> {
        let started = Instant::now();
        let mut measured = started;
        let reclaim = || {
            // Others may leave more of it meanwhile.
            if measured.elapsed() >= MEASURE_EVERY {
                self.follow_at_once();
                measured = Instant::now();
            }
            let missing =
                bytes.saturating_sub(self.ledger.capacity().saturating_sub(self.ledger.reserved()));
            self.relieve(missing);
        };
        let most = || self.most();
        let reserved = self.ledger.reserve_waiting(&account.entry, bytes, timeout, most, reclaim);
        let waited = |short| self.shortage(Refusal::Here(short), bytes, Some(started.elapsed()));
        let reserved = reserved.map_err(waited)?;
        if let Some(whole) = &account.whole {
            let left = timeout.saturating_sub(started.elapsed());
            let taken = whole.account.take_waiting(bytes, left);
            taken.inspect_err(|_| self.ledger.release(&account.entry, bytes))?;
        }
        self.ledger.note_peak(reserved);
        Ok(())
    }

    pub(super) fn give_back(&self, account: &Account, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(whole) = &account.whole {
            whole.account.give_back(bytes);
        }
        self.ledger.release(&account.entry, bytes);
    }

    #[cold]
    pub(super) fn shortage(
        &self,
        refusal: Refusal,
        need: u64,
        waited: Option<Duration>,
    ) -> Shortage {
        let Refusal::Here(Short { have }) = refusal else {
            let Refusal::Above(shortage) = refusal else { unreachable!("there are two refusals") };
            return shortage;
        };
        let (budget, device, capacity) = (self.name.to_string(), self.device, self.most());
        if need > capacity {
            return Shortage::Never { budget, device, need, capacity };
        }
        let mut holders = self.holders();
        holders.truncate(LARGEST);
        Shortage::NotNow { budget, device, need, have, waited, holders }
    }

    /// More than this can never be had.
    pub(super) fn most(&self) -> u64 {
        let measured = self.measuring.as_ref().and_then(Measuring::most);
        measured.unwrap_or_else(|| self.ledger.capacity())
    }

    /// Measures now, where the capacity follows; `false` where it does not.
    pub(super) fn follow_at_once(&self) -> bool {
        self.measuring.as_ref().is_some_and(Measuring::follow_at_once)
    }

    /// Asks who keeps something to give back so much, and returns how much they did.
    pub(super) fn relieve(&self, missing: u64) -> u64 {
        let given = self.pressure.relieve(missing);
        if given > 0 {
            announce(&RecoveryEvent::Relieved { budget: &self.name, missing, given });
        }
        given
    }

    /// Gives the caches of every framework on the device back, where the capacity is what there is of it and
    /// that was not done just now; `false` where it was not done.
    pub(super) fn clear_device(&self) -> bool {
        let (Some(device), Some(measuring)) = (self.device, &self.measuring) else { return false };
        let Ok(registry) = Registry::global() else { return false };
        let clears = measuring.may_clear();
        if clears {
            release_caches(registry, device);
        }
        clears
    }

    /// Who holds something, the largest first.
    fn holders(&self) -> Vec<Holder> {
        let accounts = lock(&self.accounts);
        let mut holders: Vec<_> = accounts
            .iter()
            .filter_map(Weak::upgrade)
            .map(|account| Holder {
                name: account.name.to_string(),
                bytes: account.entry.reserved.load(std::sync::atomic::Ordering::Relaxed),
            })
            .filter(|holder| holder.bytes > 0)
            .collect();
        drop(accounts);
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        holders
    }
}

/// How many holders an error names.
const LARGEST: usize = 5;

/// How often whoever waits measures anew, where the capacity is what there is.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({})", self.status())
    }
}
