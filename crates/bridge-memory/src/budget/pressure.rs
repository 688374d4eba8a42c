//! Who is asked to give something back before a budget refuses.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::one::Inner;

type Relief = dyn Fn(u64) -> u64 + Send + Sync;

/// The hooks of one budget, and the budgets that are a part of it.
#[derive(Default)]
pub(super) struct Pressure {
    hooks: Mutex<Vec<Weak<Named>>>,
    parts: Mutex<Vec<Weak<Inner>>>,
}

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

crate::sync::thread_local! {
    /// The budgets that this thread is relieving, and the hooks that it is in, by their addresses: neither
    /// is asked again by what a hook does.
    static BUSY: RefCell<Vec<usize>> = RefCell::default();
}

/// Marks something as busy on this thread until it is dropped, also by a panic.
struct Busy;

impl Busy {
    /// `None` where it is already. A thread that is ending marks nothing, and asks nobody.
    fn with<T>(what: &T) -> Option<Self> {
        let place = std::ptr::from_ref(what).addr();
        let marked = BUSY.try_with(|busy| {
            let mut busy = busy.borrow_mut();
            let is_new = !busy.contains(&place);
            if is_new {
                busy.push(place);
            }
            is_new
        });
        marked.is_ok_and(|marked| marked).then_some(Self)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // They end in the order opposite to that in which they began.
        let _ = BUSY.try_with(|busy| busy.borrow_mut().pop());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that live, and room for one more.
fn keep<T>(all: &Mutex<Vec<Weak<T>>>, one: &Arc<T>) {
    let mut all = lock(all);
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(one));
}

impl Pressure {
    pub(super) fn add(&self, name: &str, relieve: Box<Relief>) -> Hook {
        let named = Arc::new(Named { name: name.to_owned(), relieve });
        keep(&self.hooks, &named);
        Hook(named)
    }

    /// The hooks of a part are asked too: what it gives back is given back to the whole.
    pub(super) fn add_part(&self, part: &Arc<Inner>) {
        keep(&self.parts, part);
    }

    /// Asks the hooks, in the order they were added and those of parts last, until `missing` bytes are given
    /// back, and returns how many were. A hook that panics gives nothing.
    pub(super) fn relieve(&self, missing: u64) -> u64 {
        let Some(_busy) = Busy::with(self) else { return 0 };
        let mut hooks = Vec::new();
        self.collect(&mut hooks);
        let mut given = 0_u64;
        for hook in hooks.iter().filter_map(Weak::upgrade) {
            if given >= missing {
                break;
            }
            let Some(_busy) = Busy::with(&*hook) else { continue };
            let asked = catch_unwind(AssertUnwindSafe(|| (hook.relieve)(missing - given)));
            given = given.saturating_add(asked.unwrap_or(0));
        }
        given
    }

    /// The hooks, without a lock held when they are called.
    fn collect(&self, hooks: &mut Vec<Weak<Named>>) {
        hooks.extend(lock(&self.hooks).iter().cloned());
        let parts = lock(&self.parts).clone();
        for part in parts.iter().filter_map(Weak::upgrade) {
            part.pressure.collect(hooks);
        }
    }
}
