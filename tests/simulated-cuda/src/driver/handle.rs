//! Handles: numbers that look like pointers and point nowhere, so that a stale one is found out.

macro_rules! handles {
    ($($(#[$doc:meta])+ $name:ident = $tag:literal,)+) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u64);

        impl $name {
            const TAG: u64 = 0x5cd0_0000_0000_0000 | ($tag << 48);

            /// The handle with a number that no other handle has.
            pub(crate) fn numbered(number: u64) -> Self {
                Self(number)
            }

            #[allow(dead_code, reason = "contexts and streams have numbers that callers ask for")]
            pub(crate) fn number(self) -> u64 {
                self.0
            }

            pub(crate) fn to_raw(self) -> usize {
                (Self::TAG | (self.0 << 4)) as usize
            }

            /// `None` where `raw` is not such a handle at all.
            pub(crate) fn from_raw(raw: usize) -> Option<Self> {
                let raw = raw as u64;
                let low = raw & !Self::TAG;
                (raw & 0xffff_0000_0000_0000 == Self::TAG && low & 0xf == 0).then_some(Self(low >> 4))
            }
        }
    )+};
}

handles! {
    /// A `CUcontext`.
    ContextId = 1,
    /// A `CUstream`.
    StreamId = 2,
    /// A `CUevent`.
    EventId = 3,
    /// A `CUmodule`.
    ModuleId = 4,
    /// A `CUfunction`.
    FunctionId = 5,
    /// A `CUmemoryPool`.
    PoolId = 6,
}
