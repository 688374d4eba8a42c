//! A thread that samples.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bridge_core::{Error, Result};

use super::recorder::{Reading, Recorder, SampleError, Sampler, Watched, readings};
use super::recording::Recording;
use super::usage::Usage;
use crate::arguments::invalid;
use crate::budget::Budget;
use crate::clock::{Clock, SystemClock};
use crate::recovery::{EventHook, RecoveryEvent, on_event};

/// How long the end of a monitor waits for a sample that is being taken.
const PATIENCE: Duration = Duration::from_secs(1);

/// Samples memory on a thread of its own until it is finished or dropped.
///
/// A sample that fails, or panics, is recorded as missing, and the monitor goes on.
///
/// ```
/// use std::time::Duration;
/// use bridge_memory::profile::Monitor;
///
/// let monitor = Monitor::start(Duration::from_millis(100))?;
/// // ... work ...
/// monitor.mark("cache cleared");
/// let recording = monitor.finish();
/// let process = &recording.series("process").unwrap().summary;
/// assert!(process.max >= process.last);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct Monitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Marks recoveries as long as it lives.
    recoveries: Option<EventHook>,
}

struct Shared {
    recorder: Recorder,
    state: Mutex<State>,
    changed: Condvar,
}

/// Records what happens for a [`Monitor`]; after its end, nothing.
#[derive(Clone)]
pub struct Marker(Arc<Shared>);

impl Marker {
    /// As [`Monitor::mark`].
    pub fn mark(&self, what: impl Into<String>) {
        self.0.recorder.mark(what.into());
    }

    fn mark_event(&self, event: &RecoveryEvent<'_>) {
        match event {
            RecoveryEvent::Waited { .. } => {}
            RecoveryEvent::Released { released } if released.iter().all(|one| one.bytes() == 0) => {
            }
            other => self.mark(other.to_string()),
        }
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}

#[derive(Default)]
struct State {
    stop: bool,
    ended: bool,
}

/// A [`Monitor`] to be: what it samples, how often, and how much it keeps.
#[must_use = "nothing is sampled before it is started"]
pub struct MonitorBuilder {
    interval: Duration,
    clock: Arc<dyn Clock>,
    sampler: Sampler,
    watched: Vec<Watched>,
    room: usize,
    marks_recovery: bool,
}

impl Monitor {
    /// Starts sampling the [`Usage`] of the process and of every device, once each `interval`.
    ///
    /// # Errors
    ///
    /// As [`MonitorBuilder::start`].
    pub fn start(interval: Duration) -> Result<Self> {
        Self::builder(interval).start()
    }

    /// A monitor with other samples, another clock, or other room.
    pub fn builder(interval: Duration) -> MonitorBuilder {
        MonitorBuilder {
            interval,
            clock: Arc::new(SystemClock::new()),
            sampler: Box::new(|| Ok(readings(&Usage::now()))),
            watched: Vec::new(),
            room: 4096,
            marks_recovery: false,
        }
    }

    /// As [`builder`](Self::builder), for an interval in seconds, as a person gives it.
    ///
    /// # Errors
    ///
    /// Where it is not a number, not above zero, or longer than any [`Duration`].
    pub fn every(seconds: f64) -> Result<MonitorBuilder> {
        match Duration::try_from_secs_f64(seconds) {
            Ok(interval) if !interval.is_zero() => Ok(Self::builder(interval)),
            _ => Err(invalid_interval(&seconds)),
        }
    }

    /// Takes one sample now, on this thread, beside those that the monitor takes.
    pub fn sample(&self) {
        self.shared.recorder.sample();
    }

    /// Records that something happened now: out of memory, a cache trimmed.
    pub fn mark(&self, what: impl Into<String>) {
        self.shared.recorder.mark(what.into());
    }

    /// What can mark on any thread, for an observer or a hook.
    pub fn marker(&self) -> Marker {
        Marker(Arc::clone(&self.shared))
    }

    /// What was recorded so far.
    pub fn recording(&self) -> Recording {
        self.shared.recorder.recording()
    }

    /// Takes a last sample, stops, and gives out what was recorded. A sample that takes longer than a
    /// second is not waited for.
    pub fn finish(mut self) -> Recording {
        self.stop();
        self.recording()
    }

    fn stop(&mut self) {
        self.recoveries = None;
        let Some(thread) = self.thread.take() else { return };
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stop = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let ended = state.ended;
        drop(state);
        // A thread that hangs in a driver ends when the driver answers.
        if ended {
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("recording", &self.recording()).finish_non_exhaustive()
    }
}

impl MonitorBuilder {
    /// Samples what `sampler` answers, in place of [`Usage`].
    pub fn sampler(
        mut self,
        sampler: impl FnMut() -> Result<Vec<Reading>, SampleError> + Send + 'static,
    ) -> Self {
        self.sampler = Box::new(sampler);
        self
    }

    /// Samples a budget too: how much of it is reserved, and its capacity, which may change. They are two
    /// series of the [`Recording`], "reserved in NAME" and "capacity of NAME" (the latter as long as the budget
    /// has a limit), and are there where the other samples fail. What is reserved between two samples only is not seen.
    ///
    /// ```
    /// use bridge_memory::budget::Budget;
    /// use bridge_memory::profile::Monitor;
    ///
    /// let budget = Budget::new("images", 1 << 20)?;
    /// let monitor = Monitor::every(60.0)?.watch(&budget).start()?;
    /// let room = budget.reserve(1000)?;
    /// monitor.sample();
    /// drop(room);
    /// let recording = monitor.finish();
    /// assert_eq!(recording.series("reserved in images").unwrap().summary.max, 1000);
    /// assert_eq!(recording.series("capacity of images").unwrap().summary.last, 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(mut self, budget: &Budget) -> Self {
        Watched::add(&mut self.watched, budget.clone());
        self
    }

    /// Marks by itself what happens about out of memory in the whole program, as long as it samples: that
    /// memory ran out, how much caches and pools gave back, smaller batches, other backends, and how it
    /// ended. Waits are not marked, nor are releases of nothing, nor what a program clears itself by a pool's
    /// own methods.
    ///
    /// ```
    /// use bridge_core::{Device, Error, TensorError};
    /// use bridge_memory::profile::Monitor;
    /// use bridge_memory::recovery::{RecoveryPolicy, on_release, with_oom_recovery};
    ///
    /// let pool = on_release("pool", Device::cuda(9), || 3 << 20);
    /// let monitor = Monitor::every(60.0)?.mark_recovery().start()?;
    /// let mut tries = 0;
    /// with_oom_recovery(&RecoveryPolicy::new().retries(1).waits(&[]), || {
    ///     tries += 1;
    ///     let out = TensorError::OutOfMemory { device: Device::cuda(9), requested: 64 };
    ///     if tries == 1 { Err(Error::from(out)) } else { Ok(()) }
    /// })?;
    /// let marks: Vec<_> = monitor.finish().marks.into_iter().map(|mark| mark.what).collect();
    /// assert_eq!(marks, ["out of memory on cuda:9", "3.0 MiB of cuda:9 given back", "try 2 succeeded"]);
    /// # drop(pool);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn mark_recovery(mut self) -> Self {
        self.marks_recovery = true;
        self
    }

    /// Takes the time of samples and marks from `clock`.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps at most so many points and as many marks; 4096 by default. Beyond that the
    /// [`Recording`] is thinned out.
    pub fn keep(mut self, points: usize) -> Self {
        self.room = points;
        self
    }

    /// Starts. The first sample is taken at once.
    ///
    /// # Errors
    ///
    /// Where the interval is zero, fewer than two points are to be kept, or the system has no thread.
    pub fn start(self) -> Result<Monitor> {
        let Self { interval, clock, sampler, watched, room, marks_recovery } = self;
        if interval.is_zero() {
            return Err(invalid_interval(&0));
        }
        if room < 2 {
            return Err(invalid("number of points to keep", &room, "it must be 2 or more"));
        }
        let recorder = Recorder::new(clock, sampler, watched, room);
        recorder.sample();
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { recorder, state, changed });
        let sampling = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("memory-monitor".to_owned())
            .spawn(move || sampling.run(interval))
            .map_err(|error| Error::Unsupported {
                what: format!("a thread for the memory monitor ({error})"),
                remedy: "end other threads, or raise the limit of the system".to_owned(),
            })?;
        let marker = Marker(Arc::clone(&shared));
        let recoveries = marks_recovery.then(|| on_event(move |event| marker.mark_event(event)));
        Ok(Monitor { shared, thread: Some(thread), recoveries })
    }
}

fn invalid_interval(seconds: &dyn fmt::Display) -> Error {
    let expected = "it must be a number of seconds above zero, a nanosecond or more";
    invalid("interval between samples", seconds, expected)
}

impl Shared {
    fn run(&self, interval: Duration) {
        let mut stopped = false;
        while !stopped {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(state, interval, |state| !state.stop);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            stopped = state.stop;
            drop(state);
            self.recorder.sample();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }
}
