//! The failures that were injected, and when they are due.

use std::thread::{self, ThreadId};

use crate::interface::fault::{Fault, Injection};

use super::code::{Code, Outcome};

/// Those that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    fault: Fault,
    /// The thread whose calls count and fail; `None`: all.
    thread: Option<ThreadId>,
}

impl Faults {
    pub(crate) fn inject(&mut self, injection: Injection) {
        let Injection { fault, on_this_thread } = injection;
        let thread = on_this_thread.then(|| thread::current().id());
        self.pending.push(Pending { fault, thread });
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn allocation(&mut self) -> Outcome {
        self.due(|fault| match fault {
            Fault::OutOfMemory { nth } => Some(nth),
            _ => None,
        })
        .map_or(Ok(()), |_| Err(Code::OUT_OF_MEMORY))
    }

    pub(crate) fn pinning(&mut self) -> Outcome {
        self.due(|fault| match fault {
            Fault::PinnedOutOfMemory { nth } => Some(nth),
            _ => None,
        })
        .map_or(Ok(()), |_| Err(Code::OUT_OF_MEMORY))
    }

    /// `Err`: the call fails. `Ok(Some)`: the work is to fail when it runs.
    pub(crate) fn copy(&mut self) -> Outcome<Option<Code>> {
        let due = self.due(|fault| match fault {
            Fault::Copy { nth, .. } => Some(nth),
            _ => None,
        });
        late_or_now(due.as_ref())
    }

    /// As [`copy`](Self::copy).
    pub(crate) fn launch(&mut self) -> Outcome<Option<Code>> {
        let due = self.due(|fault| match fault {
            Fault::Launch { nth, .. } => Some(nth),
            _ => None,
        });
        late_or_now(due.as_ref())
    }

    /// The error with which a device is lost at the operation that it is about to run.
    pub(crate) fn operation(&mut self, on: usize) -> Option<Code> {
        match self.due(|fault| match fault {
            Fault::DeviceLost { device, nth, .. } if *device == on => Some(nth),
            _ => None,
        }) {
            Some(Fault::DeviceLost { code, .. }) => Some(Code(code)),
            _ => None,
        }
    }

    /// The error with which a function is to fail.
    pub(crate) fn call(&mut self, called: &str) -> Option<Code> {
        match self.due(|fault| match fault {
            Fault::Call { name, nth, .. }
                if called.trim_end_matches("_v2") == name.trim_end_matches("_v2") =>
            {
                Some(nth)
            }
            _ => None,
        }) {
            Some(Fault::Call { code, .. }) => Some(Code(code)),
            _ => None,
        }
    }

    /// How often a copy is passed over.
    pub(crate) fn copy_delay(&self) -> u64 {
        let polls = self.pending.iter().filter_map(|pending| match &pending.fault {
            Fault::SlowCopies { polls } => Some(*polls),
            _ => None,
        });
        polls.sum()
    }

    /// Counts one occasion for each fault that `counts` it and is this thread's or everybody's, and takes
    /// out one that is due.
    fn due(&mut self, counts: impl Fn(&mut Fault) -> Option<&mut u64>) -> Option<Fault> {
        let (mut due, here) = (None, thread::current().id());
        for (at, pending) in self.pending.iter_mut().enumerate() {
            if pending.thread.is_some_and(|thread| thread != here) {
                continue;
            }
            match counts(&mut pending.fault) {
                Some(0) if due.is_none() => due = Some(at),
                Some(left) => *left = left.saturating_sub(1),
                None => {}
            }
        }
        due.map(|at| self.pending.remove(at).fault)
    }
}

fn late_or_now(fault: Option<&Fault>) -> Outcome<Option<Code>> {
    match fault {
        Some(&(Fault::Copy { code, late: true, .. } | Fault::Launch { code, late: true, .. })) => {
            Ok(Some(Code(code)))
        }
        Some(&(Fault::Copy { code, .. } | Fault::Launch { code, .. })) => Err(Code(code)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Fault, Faults, Injection};

    fn inject(faults: &mut Faults, fault: Fault, on_this_thread: bool) {
        faults.inject(Injection { fault, on_this_thread });
    }

    #[test]
    fn the_nth_allocation_fails_and_no_other() {
        let mut faults = Faults::default();
        inject(&mut faults, Fault::OutOfMemory { nth: 2 }, false);
        let outcomes: Vec<_> = (0..4).map(|_| faults.allocation()).collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(Code::OUT_OF_MEMORY), Ok(())]);
    }

    #[test]
    fn a_function_is_meant_with_and_without_its_version() {
        let mut faults = Faults::default();
        let fault = Fault::Call { name: "cuMemAlloc".to_owned(), nth: 0, code: 2 };
        inject(&mut faults, fault, false);
        assert_eq!(faults.call("cuMemFree_v2"), None);
        assert_eq!(faults.call("cuMemAlloc_v2"), Some(Code(2)));
        assert_eq!(faults.call("cuMemAlloc_v2"), None);
    }
}
