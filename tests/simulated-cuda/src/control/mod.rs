//! Controls the driver from the tests' side.

mod kernel;
mod library;

use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::interface::config::Config;
use crate::interface::counters::Counters;
use crate::interface::fault::{Fault, Injection};
use crate::interface::launch::Launch;
use crate::interface::violation::Violation;

use library::{Library, library};
pub use library::{environment, library_folder, library_path};

/// Tests of one process that reset the driver run one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// The simulated driver, loaded into this process.
///
/// Made by [`start`](Self::start), it is the only one until it is dropped, and dropping it panics if there are
/// violations that nobody took or if anything is alive that was made meanwhile. Made by
/// [`load`](Self::load) it is a plain handle.
#[derive(Debug)]
pub struct SimulatedCuda {
    library: &'static Library,
    turn: Option<MutexGuard<'static, ()>>,
}

impl SimulatedCuda {
    /// Loads the driver, so that `cudarc` finds it, and leaves what it simulates as it is.
    ///
    /// # Panics
    /// Panics if the library was not built or is of another build.
    pub fn load() -> Self {
        Self { library: library(), turn: None }
    }

    /// Waits until no other test of this process has it, and begins anew.
    ///
    /// # Panics
    /// Panics as [`load`](Self::load) does.
    pub fn start(config: &Config) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let this = Self { library: library(), turn: Some(turn) };
        this.reset(config);
        this
    }

    /// Begins anew: no contexts, memory, streams, faults, violations or counts. Registered kernels stay.
    ///
    /// Whatever callers still hold is invalid from now on.
    ///
    /// # Panics
    /// Panics if the library is of another build.
    pub fn reset(&self, config: &Config) {
        let config = text(&config.to_string());
        // SAFETY: the text lives during the call.
        let outcome = unsafe { (self.library.reset)(config.as_ptr()) };
        assert_eq!(outcome, 0, "the library does not know the configuration {config:?}");
    }

    /// Makes something fail, whichever thread calls it.
    ///
    /// # Panics
    /// Panics if the library is of another build.
    pub fn inject(&self, fault: Fault) {
        self.inject_for(Injection { fault, on_this_thread: false });
    }

    /// Makes something fail that this thread calls: calls of other threads neither count nor fail. So tests
    /// that walk through every allocation can run beside others.
    ///
    /// # Panics
    /// Panics for [`Fault::DeviceLost`] and [`Fault::SlowCopies`], as a device works for all threads, and if
    /// the library is of another build.
    pub fn inject_on_this_thread(&self, fault: Fault) {
        self.inject_for(Injection { fault, on_this_thread: true });
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is written down in the call")]
    fn inject_for(&self, injection: Injection) {
        let fault = text(&injection.to_string());
        // SAFETY: the text lives during the call.
        let outcome = unsafe { (self.library.inject)(fault.as_ptr()) };
        assert_eq!(
            outcome, 0,
            "the library does not know, or cannot limit to a thread, {injection:?}"
        );
    }

    /// Takes all faults back that have not happened. A lost device stays lost.
    pub fn clear_faults(&self) {
        (self.library.clear_faults)();
    }

    /// What callers did wrong so far.
    ///
    /// # Panics
    /// Panics if the library is of another build.
    pub fn violations(&self) -> Vec<Violation> {
        let found = self.report("violations");
        let read = |line| Violation::from_line(line).expect("the library is of this build");
        found.lines().map(read).collect()
    }

    /// What callers did wrong so far, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        let found = self.violations();
        (self.library.clear_violations)();
        found
    }

    /// What was done since the last reset, and what is alive.
    ///
    /// # Panics
    /// Panics if the library is of another build.
    pub fn counters(&self) -> Counters {
        Counters::from_text(&self.report("counters")).expect("the library is of this build")
    }

    /// A moment, for [`leaks_since`](Self::leaks_since).
    pub fn mark(&self) -> u64 {
        (self.library.mark)()
    }

    /// What was made since a moment and is alive: memory, streams, events, modules, contexts that are not
    /// primary.
    pub fn leaks_since(&self, mark: u64) -> Vec<String> {
        let alive = self.report("alive");
        let since = alive.lines().filter_map(|line| {
            let (number, what) = line.split_once('\t')?;
            (number.parse::<u64>().ok()? > mark).then(|| what.to_owned())
        });
        since.collect()
    }

    /// Runs all queued work.
    pub fn flush(&self) {
        (self.library.step)(u64::MAX);
    }

    /// Runs up to so many queued operations, and gives how many.
    pub fn step(&self, operations: u64) -> u64 {
        (self.library.step)(operations)
    }

    /// How many operations are queued.
    pub fn pending(&self) -> u64 {
        self.counters().pending
    }

    /// Registers the host implementation of a kernel for this process, with its arguments' sizes in bytes.
    ///
    /// It runs in its stream's turn, and must not call the driver. An error is the code that breaks the
    /// context, such as 719.
    ///
    /// # Panics
    /// Panics if the name has a zero byte.
    pub fn register_kernel(
        &self,
        name: &str,
        sizes: &[usize],
        kernel: fn(&Launch<'_>) -> Result<(), i32>,
    ) {
        let name = text(name);
        let (count, user) = (sizes.len(), kernel as usize);
        // SAFETY: name and sizes live during the call; `kernel::run` takes a function of this type as its user value.
        let outcome = unsafe {
            (self.library.register_kernel)(name.as_ptr(), kernel::run, sizes.as_ptr(), count, user)
        };
        assert_eq!(outcome, 0, "the library does not take the name {name:?}");
    }

    /// Looks at memory of a device behind the driver's back: as it is now, unchecked. False if it is not there.
    pub fn read(&self, address: u64, to: &mut [u8]) -> bool {
        // SAFETY: there is room for so many bytes.
        unsafe { (self.library.read)(address, to.as_mut_ptr(), to.len()) == 0 }
    }

    fn report(&self, what: &str) -> String {
        let what = text(what);
        loop {
            // SAFETY: the text lives during the call; with no capacity nothing is written.
            let length = unsafe { (self.library.report)(what.as_ptr(), std::ptr::null_mut(), 0) };
            let mut bytes = vec![0_u8; length + 1];
            // SAFETY: the text lives during the call; there is room for so many bytes.
            let now =
                unsafe { (self.library.report)(what.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
            if now <= length {
                bytes.truncate(now);
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
}

impl Drop for SimulatedCuda {
    fn drop(&mut self) {
        if self.turn.is_none() || std::thread::panicking() {
            return;
        }
        let violations = self.take_violations();
        let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "the simulated driver found: {lines:#?}");
        let leaks = self.leaks_since(0);
        assert!(leaks.is_empty(), "still alive at the end of the test: {leaks:#?}");
    }
}

fn text(text: &str) -> CString {
    CString::new(text).expect("no zero byte")
}
