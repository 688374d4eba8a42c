//! What the driver is told to fail at.

use std::fmt;
use std::str::FromStr;

use super::fields::Fields;

/// A failure to come. `nth` counts from 0, from the moment it is injected, what all threads call, or one
/// thread alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An allocation of device or managed memory fails with `CUDA_ERROR_OUT_OF_MEMORY`.
    OutOfMemory {
        /// Which one.
        nth: u64,
    },
    /// An allocation of pinned host memory, or a registration, fails with `CUDA_ERROR_OUT_OF_MEMORY`.
    PinnedOutOfMemory {
        /// Which one.
        nth: u64,
    },
    /// A copy fails.
    Copy {
        /// Which one.
        nth: u64,
        /// With which error.
        code: i32,
        /// Whether the call succeeds and the work fails when it runs, which breaks the context.
        late: bool,
    },
    /// A kernel launch fails.
    Launch {
        /// Which one.
        nth: u64,
        /// With which error.
        code: i32,
        /// Whether the call succeeds and the work fails when it runs, which breaks the context.
        late: bool,
    },
    /// A device is lost when it runs an operation: from then on every call that needs it fails.
    DeviceLost {
        /// The device's ordinal.
        device: usize,
        /// Which operation.
        nth: u64,
        /// With which error.
        code: i32,
    },
    /// Every copy is passed over so many times when the driver chooses what runs next.
    SlowCopies {
        /// How many times.
        polls: u64,
    },
    /// A call of one function fails and does nothing.
    Call {
        /// The function's name; the suffix `_v2` may be left out.
        name: String,
        /// Which call.
        nth: u64,
        /// With which error.
        code: i32,
    },
}

/// A fault, and whether only what the injecting thread calls counts and fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Injection {
    pub(crate) fault: Fault,
    pub(crate) on_this_thread: bool,
}

const ON_THIS_THREAD: &str = " thread=this";

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.fault, if self.on_this_thread { ON_THIS_THREAD } else { "" })
    }
}

impl FromStr for Injection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one_thread = text.strip_suffix(ON_THIS_THREAD);
        let fault: Fault = one_thread.unwrap_or(text).parse()?;
        let on_this_thread = one_thread.is_some();
        if on_this_thread && matches!(fault, Fault::DeviceLost { .. } | Fault::SlowCopies { .. }) {
            return Err(format!("`{fault}` is of a device, which works for all threads"));
        }
        Ok(Self { fault, on_this_thread })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { nth } => write!(f, "fault=out-of-memory nth={nth}"),
            Self::PinnedOutOfMemory { nth } => write!(f, "fault=pinned-out-of-memory nth={nth}"),
            Self::Copy { nth, code, late } => {
                write!(f, "fault=copy nth={nth} code={code} late={late}")
            }
            Self::Launch { nth, code, late } => {
                write!(f, "fault=launch nth={nth} code={code} late={late}")
            }
            Self::DeviceLost { device, nth, code } => {
                write!(f, "fault=device-lost device={device} nth={nth} code={code}")
            }
            Self::SlowCopies { polls } => write!(f, "fault=slow-copies polls={polls}"),
            Self::Call { name, nth, code } => {
                write!(f, "fault=call name={name} nth={nth} code={code}")
            }
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = Fields::of(text)?;
        let (mut fault, mut name) = (String::new(), String::new());
        let (mut nth, mut polls, mut device, mut code, mut late) = (0, 0, 0, 719, false);
        fields.take("fault", &mut fault)?;
        fields.take("nth", &mut nth)?;
        let read = match fault.as_str() {
            "out-of-memory" => Self::OutOfMemory { nth },
            "pinned-out-of-memory" => Self::PinnedOutOfMemory { nth },
            "slow-copies" => {
                fields.take("polls", &mut polls)?;
                Self::SlowCopies { polls }
            }
            other => {
                fields.take("code", &mut code)?;
                match other {
                    "copy" | "launch" => {
                        fields.take("late", &mut late)?;
                        if other == "copy" {
                            Self::Copy { nth, code, late }
                        } else {
                            Self::Launch { nth, code, late }
                        }
                    }
                    "device-lost" => {
                        fields.take("device", &mut device)?;
                        Self::DeviceLost { device, nth, code }
                    }
                    "call" => {
                        fields.take("name", &mut name)?;
                        Self::Call { name, nth, code }
                    }
                    _ => return Err(format!("there is no fault `{fault}`")),
                }
            }
        };
        fields.finish()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Injection};

    #[test]
    fn every_fault_survives_being_written_and_read() {
        let faults = [
            Fault::OutOfMemory { nth: 1 },
            Fault::PinnedOutOfMemory { nth: 2 },
            Fault::Copy { nth: 3, code: 700, late: true },
            Fault::Launch { nth: 4, code: 719, late: false },
            Fault::DeviceLost { device: 1, nth: 5, code: 214 },
            Fault::SlowCopies { polls: 6 },
            Fault::Call { name: "cuEventCreate".to_owned(), nth: 7, code: 2 },
        ];
        for fault in faults {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("fault=fire".parse::<Fault>().is_err());
    }

    #[test]
    fn a_call_may_fail_on_one_thread_and_a_device_only_for_all() {
        let injected = |fault, on_this_thread| Injection { fault, on_this_thread }.to_string();
        for on_this_thread in [false, true] {
            let fault = Fault::OutOfMemory { nth: 1 };
            let text = injected(fault.clone(), on_this_thread);
            assert_eq!(text.parse(), Ok(Injection { fault, on_this_thread }));
        }
        let lost = injected(Fault::DeviceLost { device: 0, nth: 1, code: 214 }, true);
        let refused = lost.parse::<Injection>().expect_err("a device is everybody's");
        assert!(refused.ends_with("is of a device, which works for all threads"), "{refused}");
        assert!("fault=slow-copies polls=1 thread=this".parse::<Injection>().is_err());
    }
}
