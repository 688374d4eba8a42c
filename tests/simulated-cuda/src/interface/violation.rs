//! What a caller did wrong.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Which rule was broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ViolationKind { $($(#[$doc])+ $name,)+ }

        impl ViolationKind {
            fn named(name: &str) -> Option<Self> {
                $(if name == stringify!($name) { return Some(Self::$name); })+
                None
            }
        }
    };
}

kinds! {
    /// Memory was used after it was freed.
    UseAfterFree,
    /// Memory was freed twice.
    DoubleFree,
    /// A call or its work was in a context that it does not belong to, or in none.
    WrongContext,
    /// The host accessed memory that it must not: a device's, or pinned memory that was freed.
    HostAccess,
    /// Two streams touched the same memory, one of them to write, and nothing orders them.
    Race,
    /// Something was still alive when it had to be gone.
    Leak,
    /// A range reaches beyond its allocation.
    OutOfBounds,
    /// A handle is not one, or no longer.
    InvalidHandle,
    /// Pinned memory was freed while queued work used it.
    FreedWhileInUse,
    /// The host wrote to pinned memory that a queued copy had yet to read.
    HostWroteToBusyMemory,
    /// A pointer is not of the kind that the call needs.
    UnknownPointer,
    /// A kernel is not registered, or not with the parameters that its module declares.
    KernelMismatch,
    /// A host function or kernel called the driver.
    CallInCallback,
}

/// One rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub kind: ViolationKind,
    /// By whom and how, for people.
    pub message: String,
}

impl Violation {
    pub(crate) fn to_line(&self) -> String {
        format!("{:?}\t{}\n", self.kind, self.message.replace('\n', " "))
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (kind, message) = line.split_once('\t')?;
        Some(Self { kind: ViolationKind::named(kind)?, message: message.to_owned() })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}
