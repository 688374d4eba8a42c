//! Signals: an interrupted conversion leaves no partial file.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The temporary file being written, if there is one.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// While it lives, an interruption removes the file at this path.
pub(crate) struct RemovedOnInterrupt(());

impl RemovedOnInterrupt {
    pub(crate) fn new(path: &Path) -> Self {
        *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
        Self(())
    }
}

impl Drop for RemovedOnInterrupt {
    fn drop(&mut self) {
        *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Makes an interruption remove the partial file, and a file size limit an error like any other.
#[cfg(unix)]
pub(crate) fn install() {
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
            let partial = PARTIAL.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(path) = partial.as_deref() {
                let _ = std::fs::remove_file(path);
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn install() {}
