//! Signals: an interrupted conversion leaves no partial file, and a monitored command gets those that the
//! program gets.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The temporary files being written, of all threads.
static PARTIAL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The commands that run, of all threads, by the numbers of their processes.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn partial() -> MutexGuard<'static, Vec<PathBuf>> {
    PARTIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running() -> MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A command that was started. Until it has ended, SIGINT and SIGTERM are passed on to it and do not end
/// the program, if that handles signals. Dropped, it is killed.
pub(crate) struct Running(Option<Child>);

/// Starts a command.
pub(crate) fn start(command: &mut Command) -> io::Result<Running> {
    // Held, so that a signal comes before the command or reaches it.
    let mut running = running();
    let child = command.spawn()?;
    running.push(child.id());
    Ok(Running(Some(child)))
}

impl Running {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Waits until it has ended. Its number is not given to another process before
    /// [`finish`](Self::finish).
    #[cfg(unix)]
    pub(crate) fn wait(&self) -> io::Result<()> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};

        let Some(child) = &self.0 else { return Ok(()) };
        let process = rustix::process::Pid::from_child(child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let waited = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(process), options));
        Ok(waited.map(drop)?)
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "elsewhere it is asked")]
    pub(crate) fn wait(&self) -> io::Result<()> {
        Ok(())
    }

    /// Waits until it has ended, and says how.
    pub(crate) fn finish(mut self) -> io::Result<ExitStatus> {
        self.wait()?;
        let Some(mut child) = self.0.take() else { return Err(io::ErrorKind::NotFound.into()) };
        // From here on its number may be another's.
        forget(child.id());
        child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            forget(child.id());
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn forget(process: u32) {
    running().retain(|one| *one != process);
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
        for signal in signals.forever() {
            if pass_on(signal) {
                continue;
            }
            for path in partial().iter() {
                let _ = std::fs::remove_file(path);
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

/// Sends the signal to the commands that run; `false` where there is none. What a person types at the
/// terminal they have got themselves.
#[cfg(unix)]
fn pass_on(signal: i32) -> bool {
    use rustix::process::{Pid, Signal, kill_process};

    let running = running();
    let typed = signal == signal_hook::consts::SIGINT && is_in_foreground();
    for &process in running.iter().filter(|_| !typed) {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        if let (Some(process), Some(signal)) = (process, Signal::from_named_raw(signal)) {
            // Held, so that the number is still the command's, which may have ended and needs none.
            let _ = kill_process(process, signal);
        }
    }
    !running.is_empty()
}

/// Whether what is typed at the terminal reaches this program, and with it the commands it started.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    let foreground = std::fs::File::open("/dev/tty").ok().map(rustix::termios::tcgetpgrp);
    foreground.is_some_and(|group| group == Ok(rustix::process::getpgrp()))
}

#[cfg(not(unix))]
pub(crate) fn handle() {}
