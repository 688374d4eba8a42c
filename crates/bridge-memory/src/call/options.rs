//! What a call asks for.

use std::fmt;

use bridge_core::{Admission, Device, MemorySource};

use super::dtype::DtypeConversion;
use super::recovery::OomRecovery;
use super::rescale::Rescale;

/// What a call asks for: where its function works, and what becomes of its arguments and results.
///
/// ```
/// use bridge_core::Device;
/// use bridge_memory::budget::Budget;
/// use bridge_memory::call::{CallOptions, DtypeConversion, OomRecovery, Rescale};
/// use bridge_memory::pool::Pool;
///
/// let (budget, pool) = (Budget::new("images", 1 << 30)?, Pool::new());
/// let options = CallOptions::new("sharpen")
///     .on("torch")
///     .device(Device::cuda(0))
///     .output("ndarray")
///     .oom_recovery(OomRecovery { retries: 2, clear_cache: true })
///     .dtype(DtypeConversion::PreserveInput)
///     .rescale(Rescale::Saturate)
///     .within(&budget)
///     .pool(&pool);
/// # let _ = options;
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct CallOptions<'a> {
    pub(super) function: &'a str,
    pub(super) on: Option<&'a str>,
    pub(super) input: Option<&'a str>,
    pub(super) output: Option<&'a str>,
    pub(super) device: Option<Device>,
    pub(super) recovery: Option<OomRecovery>,
    pub(super) dtype: DtypeConversion,
    pub(super) rescale: Rescale,
    pub(super) within: Option<&'a dyn Admission>,
    pub(super) pool: Option<&'a dyn MemorySource>,
}

impl<'a> CallOptions<'a> {
    /// A call of the function of this name, which errors have, that asks for nothing: arrays come and go as
    /// they are.
    pub const fn new(function: &'a str) -> Self {
        Self {
            function,
            on: None,
            input: None,
            output: None,
            device: None,
            recovery: None,
            dtype: DtypeConversion::NativeOutput,
            rescale: Rescale::Refuse,
            within: None,
            pool: None,
        }
    }

    /// The backend that the function works in: its arguments are converted to it.
    #[must_use]
    pub const fn on(mut self, backend: &'a str) -> Self {
        self.on = Some(backend);
        self
    }

    /// The only backend that arguments may be of. By default, any is.
    #[must_use]
    pub const fn input(mut self, backend: &'a str) -> Self {
        self.input = Some(backend);
        self
    }

    /// The backend that results are converted to, where their type allows any. By default, they stay in
    /// the function's.
    #[must_use]
    pub const fn output(mut self, backend: &'a str) -> Self {
        self.output = Some(backend);
        self
    }

    /// The device that arguments are brought to. Without one, all must be on the same.
    #[must_use]
    pub const fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// What is done about out of memory. By default, nothing: the function may not be one that can run
    /// again.
    #[must_use]
    pub const fn oom_recovery(mut self, recovery: OomRecovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// The element type of the results. By default, the one that the function gives.
    #[must_use]
    pub const fn dtype(mut self, dtype: DtypeConversion) -> Self {
        self.dtype = dtype;
        self
    }

    /// What becomes of values that this element type does not hold. By default, they are refused.
    #[must_use]
    pub const fn rescale(mut self, rescale: Rescale) -> Self {
        self.rescale = rescale;
        self
    }

    /// The budget, or one of its consumers, that conversions of arguments and results ask before they take
    /// memory, also where slices are stacked and results rescaled. By default, what is registered for
    /// the program. What the function itself takes, it has to reserve itself.
    #[must_use]
    pub const fn within(mut self, admission: &'a dyn Admission) -> Self {
        self.within = Some(admission);
        self
    }

    /// The pool that conversions of arguments and results take their memory from, as
    /// [`Options::pool`](bridge_core::Options::pool) says, also where slices are stacked and results rescaled. What
    /// goes to a type that owns vectors only is new, as there. By default, all is new.
    #[must_use]
    pub const fn pool(mut self, source: &'a dyn MemorySource) -> Self {
        self.pool = Some(source);
        self
    }
}

impl fmt::Debug for CallOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("function", &self.function)
            .field("on", &self.on)
            .field("input", &self.input)
            .field("output", &self.output)
            .field("device", &self.device)
            .field("recovery", &self.recovery)
            .field("dtype", &self.dtype)
            .field("rescale", &self.rescale)
            .field("within", &self.within.is_some())
            .field("pool", &self.pool.is_some())
            .finish()
    }
}
