//! Observers: watching conversions of one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::report::Report;

/// One observed conversion.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// What was done.
    pub report: &'a Report,
    /// How long it took.
    pub elapsed: Duration,
}

/// Is told of every conversion that the observed thread finishes. An array that already is what was
/// asked for is not converted. What an observer itself converts is told too: it must stop by
/// itself.
pub trait Observer: Send + Sync {
    /// A conversion is done.
    fn converted(&self, record: &Record<'_>);
}

thread_local! {
    static OBSERVERS: RefCell<Vec<Arc<dyn Observer>>> = const { RefCell::new(Vec::new()) };
}

/// Tells `observer` of this thread's conversions until the guard is dropped. Several may watch at
/// once. While none does, nothing is timed.
///
/// ```
/// use std::sync::Arc;
/// use bridge_convert::{Counters, observe};
///
/// let counters = Arc::new(Counters::default());
/// let watching = observe(counters.clone());
/// // ... convert ...
/// drop(watching);
/// assert_eq!(counters.rows().len(), 0);
/// ```
#[must_use = "watching ends when the guard is dropped"]
pub fn observe(observer: Arc<dyn Observer>) -> Watching {
    OBSERVERS.with_borrow_mut(|observers| observers.push(Arc::clone(&observer)));
    Watching { observer, _this_thread: std::marker::PhantomData }
}

/// Ends an observation when dropped. It stays on the thread it was made on.
pub struct Watching {
    observer: Arc<dyn Observer>,
    _this_thread: std::marker::PhantomData<Rc<()>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        // A guard may outlive the thread's observers, in another thread-local.
        let _ = OBSERVERS.try_with(|observers| {
            let mut observers = observers.borrow_mut();
            let last = observers.iter().rposition(|other| Arc::ptr_eq(other, &self.observer));
            if let Some(index) = last {
                observers.remove(index);
            }
        });
    }
}

/// Whether somebody watches this thread.
#[inline]
pub(crate) fn is_watched() -> bool {
    // A thread that is ending has no observers any more, but may still convert.
    OBSERVERS.try_with(|observers| !observers.borrow().is_empty()).unwrap_or(false)
}

/// When the current conversion began, where somebody watches.
pub(crate) fn start() -> Option<Instant> {
    is_watched().then(Instant::now)
}

pub(crate) fn finish(started: Option<Instant>, report: &Report) {
    let Some(started) = started else { return };
    let record = Record { report, elapsed: started.elapsed() };
    // An observer may itself convert or watch, so none is called while the list is borrowed.
    let observers = OBSERVERS.with_borrow(Clone::clone);
    for observer in observers {
        observer.converted(&record);
    }
}

/// How often, how much and how long, by source, target and way.
#[derive(Debug, Default)]
pub struct Counters {
    rows: Mutex<BTreeMap<Key, Count>>,
}

type Key = (&'static str, &'static str, String);

/// What was counted of one source, target and way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Conversions.
    pub conversions: u64,
    /// Bytes copied by them.
    pub bytes_copied: u64,
    /// Time they took.
    pub elapsed: Duration,
}

/// One row of [`Counters`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The backend converted from.
    pub source: &'static str,
    /// The backend converted to.
    pub target: &'static str,
    /// The names of the steps taken, joined by "+".
    pub way: String,
    /// What was counted.
    pub count: Count,
}

impl Counters {
    /// The rows, ordered by source, target and way.
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter()
            .map(|((source, target, way), &count)| Row { source, target, way: way.clone(), count })
            .collect()
    }

    /// Adds what `other` counted.
    pub fn merge(&self, other: &Self) {
        for Row { source, target, way, count } in other.rows() {
            self.add((source, target, way), count);
        }
    }

    fn add(&self, key: Key, count: Count) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry(key).or_default();
        row.conversions += count.conversions;
        row.bytes_copied += count.bytes_copied;
        row.elapsed += count.elapsed;
    }
}

impl Observer for Counters {
    fn converted(&self, record: &Record<'_>) {
        let Record { report, elapsed } = record;
        let names: Vec<_> = report.steps.iter().map(crate::plan::Step::name).collect();
        let count = Count { conversions: 1, bytes_copied: report.bytes_copied, elapsed: *elapsed };
        self.add((report.source, report.target, names.join("+")), count);
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { source, target, way, count } in self.rows() {
            writeln!(
                f,
                "{source} to {target} by {way}: {} conversions, {} bytes copied, {:?}",
                count.conversions, count.bytes_copied, count.elapsed
            )?;
        }
        Ok(())
    }
}
