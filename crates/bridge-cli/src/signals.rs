//! Signals: an interrupted conversion leaves no partial file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The temporary files being written, of all threads.
static PARTIAL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn partial() -> MutexGuard<'static, Vec<PathBuf>> {
    PARTIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, an interruption removes the file at this path, if the program handles signals.
pub(crate) struct RemovedOnInterrupt(PathBuf);

impl RemovedOnInterrupt {
    pub(crate) fn new(path: &Path) -> Self {
        partial().push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for RemovedOnInterrupt {
    fn drop(&mut self) {
        partial().retain(|path| *path != self.0);
    }
}

/// Makes an interruption remove the partial files, and a file size limit an error like any other. More
/// calls than one do no more than one.
#[cfg(unix)]
pub(crate) fn handle() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(install);
}

#[cfg(unix)]
fn install() {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    // Where a handler cannot be installed, the signal keeps its own effect.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for path in partial().iter() {
                let _ = std::fs::remove_file(path);
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn handle() {}
