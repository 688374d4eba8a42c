//! Keeps what callers did wrong. It has its own lock: kernels and signal handlers report too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::interface::violation::{Violation, ViolationKind};

static FOUND: Mutex<Vec<Violation>> = Mutex::new(Vec::new());
static ABORT: AtomicBool = AtomicBool::new(false);

fn found() -> MutexGuard<'static, Vec<Violation>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records a violation, or ends the process with it.
pub(crate) fn record(kind: ViolationKind, message: String) {
    let violation = Violation { kind, message };
    if ABORT.load(Ordering::Relaxed) {
        abort(&violation.to_string());
    }
    found().push(violation);
}

#[expect(clippy::print_stderr, reason = "the last words of the process")]
pub(crate) fn abort(message: &str) -> ! {
    eprintln!("simulated CUDA driver: {message}");
    std::process::abort()
}

/// Forgets all, and says whether the next one ends the process.
pub(crate) fn reset(abort_on_violation: bool) {
    ABORT.store(abort_on_violation, Ordering::Relaxed);
    clear();
}

pub(crate) fn clear() {
    found().clear();
}

pub(crate) fn to_text() -> String {
    found().iter().map(Violation::to_line).collect()
}
