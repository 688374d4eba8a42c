//! Who is asked to give something back before a budget refuses.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

type Relief = dyn Fn(u64) -> u64 + Send + Sync;

/// The hooks of one budget.
#[derive(Default)]
pub(super) struct Pressure(Mutex<Vec<Weak<Named>>>);

struct Named {
    name: String,
    relieve: Box<Relief>,
}

/// A hook that [`Budget::on_pressure`](super::Budget::on_pressure) added, until it is dropped.
#[must_use = "the hook ends when this is dropped"]
pub struct Hook(Arc<Named>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({:?})", self.0.name)
    }
}

thread_local! {
    /// Whether this thread is relieving a budget: a hook that reserves is not asked again.
    static RELIEVING: Cell<bool> = const { Cell::new(false) };
}

impl Pressure {
    pub(super) fn add(&self, name: &str, relieve: Box<Relief>) -> Hook {
        let named = Arc::new(Named { name: name.to_owned(), relieve });
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.retain(|hook| hook.strong_count() > 0);
        hooks.push(Arc::downgrade(&named));
        Hook(named)
    }

    /// Asks the hooks, in the order they were added, until `missing` bytes are given back, and
    /// returns how many were. A hook that panics gives nothing.
    pub(super) fn relieve(&self, missing: u64) -> u64 {
        if RELIEVING.replace(true) {
            return 0;
        }
        let hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut given = 0_u64;
        for hook in hooks.iter().filter_map(Weak::upgrade) {
            if given >= missing {
                break;
            }
            let asked = catch_unwind(AssertUnwindSafe(|| (hook.relieve)(missing - given)));
            given = given.saturating_add(asked.unwrap_or(0));
        }
        RELIEVING.set(false);
        given
    }
}
