//! What a caller may ask of a conversion.

use std::fmt;

use bridge_tensor::{DataType, Device};

use crate::admission::Admission;
use crate::interrupt::Interrupt;
use crate::memory_source::MemorySource;

/// When a conversion may copy, as in the array API's `copy` argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CopyPolicy {
    /// Never: the conversion fails where it would have to, and says why.
    Never,
    /// Where there is no way without.
    #[default]
    IfNeeded,
    /// Always: the result shares no memory with the source.
    Always,
}

/// What a cast does with a value that the new element type cannot hold.
///
/// Casting to a float never fails for being out of range under `Saturate`: IEEE types overflow to
/// infinity, types without infinities stop at their largest value. Rounding is always to nearest,
/// ties to even, for floats, and toward zero from float to integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The cast fails and names the element. NaN into an integer is refused too.
    #[default]
    Refuse,
    /// The nearest value the type has. NaN becomes 0 in an integer, as with Rust's `as`.
    Saturate,
    /// Integers keep their low bits, as in C and NumPy; floats become infinity, or NaN where the
    /// type has none.
    Wrap,
}

/// What a caller asks of a conversion: device, element type, whether it may copy, who is asked for the
/// memory it takes, and where that comes from.
///
/// ```
/// use bridge_core::{CopyPolicy, DataType, Device, Options};
///
/// let options = Options::default().on(Device::CPU).cast(DataType::F16).copy(CopyPolicy::IfNeeded);
/// assert_eq!(options.data_type(), Some(DataType::F16));
/// ```
///
/// `'a` is how long the budget, the pool and the interrupt live that they name; options without are `Options<'static>`.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    device: Option<Device>,
    data_type: Option<DataType>,
    overflow: Overflow,
    copy: CopyPolicy,
    ignore_read_only: bool,
    admission: Option<&'a dyn Admission>,
    memory: Option<&'a dyn MemorySource>,
    interrupt: Option<&'a dyn Interrupt>,
}

impl<'a> Options<'a> {
    /// Asks for the result on `device`. By default it stays where the source is, when the target
    /// can be there.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Asks for the elements as `data_type`. By default the element type never changes.
    #[must_use]
    pub fn cast(mut self, data_type: DataType) -> Self {
        self.data_type = Some(data_type);
        self
    }

    /// Says what a cast does with values that do not fit; by default it refuses them.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Says when the conversion may copy.
    #[must_use]
    pub fn copy(mut self, copy: CopyPolicy) -> Self {
        self.copy = copy;
        self
    }

    /// Asks `admission`, a budget, before the conversion takes memory, in place of what is
    /// registered for the program. All that the conversion will take, on each device, is admitted
    /// before its first allocation and given back when it is done; what takes no memory asks
    /// nothing.
    #[must_use]
    pub fn within<'b>(self, admission: &'b dyn Admission) -> Options<'b>
    where
        'a: 'b,
    {
        Options { admission: Some(admission), ..self }
    }

    /// Takes memory from `source`, a pool, in place of new memory. It goes back when the result, in whichever
    /// framework it is then, is dropped; what was between two steps, and what a step that failed had
    /// taken, goes back at once.
    ///
    /// So taken is what the host's tools write, copies and casts, and what a device's runtime
    /// [writes](crate::Runtime::writes) to memory that it is given, where `source` gives memory of that
    /// device. New is, as without a pool,
    ///
    /// - the result where its type owns vectors only, as [`Accepts::only_vectors`](crate::Accepts::only_vectors)
    ///   says: a pool's memory is never a `Vec`'s. What is between the steps to it is pooled;
    /// - what a runtime makes in memory of its own, casts on a device among it, and what it stages
    ///   inside;
    /// - what a registered [shortcut](crate::Converter) makes.
    ///
    /// A conversion that copies nothing takes nothing. What the pool [reserves](MemorySource::reserves)
    /// itself is not asked of an admission: neither of [`within`](Self::within) nor of a registered one.
    #[must_use]
    pub fn pool<'b>(self, source: &'b dyn MemorySource) -> Options<'b>
    where
        'a: 'b,
    {
        Options { memory: Some(source), ..self }
    }

    /// Asks `interrupt`, while a long copy or cast on the host goes on, whether it shall: after every 64 MiB or so.
    /// Where it shall not, the conversion fails with what `interrupt` says. What a device or a registered
    /// [shortcut](crate::Converter) does is not interrupted.
    #[must_use]
    pub fn interrupted_by<'b>(self, interrupt: &'b dyn Interrupt) -> Options<'b>
    where
        'a: 'b,
    {
        Options { interrupt: Some(interrupt), ..self }
    }

    /// Lets a read-only array reach, without a copy, a framework that has no read-only arrays.
    ///
    /// # Safety
    ///
    /// Nobody writes to what is converted under these options, neither to the result nor to what is
    /// made of it, as long as it lives.
    #[must_use]
    pub unsafe fn ignore_read_only(mut self) -> Self {
        self.ignore_read_only = true;
        self
    }

    /// The device asked for.
    #[inline]
    pub fn device(&self) -> Option<Device> {
        self.device
    }

    /// The element type asked for.
    #[inline]
    pub fn data_type(&self) -> Option<DataType> {
        self.data_type
    }

    /// What a cast does with values that do not fit.
    pub fn overflow_rule(&self) -> Overflow {
        self.overflow
    }

    /// When the conversion may copy.
    #[inline]
    pub fn copy_policy(&self) -> CopyPolicy {
        self.copy
    }

    /// Whether the read-only flag may be ignored.
    #[inline]
    pub fn ignores_read_only(&self) -> bool {
        self.ignore_read_only
    }

    /// Who is asked before memory is taken, where the caller named one.
    #[inline]
    pub fn admission(&self) -> Option<&'a dyn Admission> {
        self.admission
    }

    /// Where memory is taken from, where the caller named a pool.
    #[inline]
    pub fn memory_source(&self) -> Option<&'a dyn MemorySource> {
        self.memory
    }

    /// Who may stop the conversion, where the caller named one.
    pub fn interrupt(&self) -> Option<&'a dyn Interrupt> {
        self.interrupt
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("device", &self.device)
            .field("data_type", &self.data_type)
            .field("overflow", &self.overflow)
            .field("copy", &self.copy)
            .field("ignore_read_only", &self.ignore_read_only)
            .field("within", &self.admission.is_some())
            .field("pool", &self.memory.is_some())
            .field("interrupted_by", &self.interrupt.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_kept_and_changes_nothing_else() {
        let told = |options: Options| {
            let (device, data_type) = (options.device(), options.data_type());
            let (overflow, copy) = (options.overflow_rule(), options.copy_policy());
            (device, data_type, overflow, copy, options.ignores_read_only())
        };
        let (no, refuse, if_needed) = (None, Overflow::Refuse, CopyPolicy::IfNeeded);
        let none = Options::default();
        assert_eq!(told(none), (no, None, refuse, if_needed, false));
        // SAFETY: nothing is converted under these options.
        let ignoring = unsafe { none.ignore_read_only() };
        assert_eq!(told(ignoring), (no, None, refuse, if_needed, true));
        // Each is asked for where everything before it has been.
        let (on, cast) = (Some(Device::cuda(1)), Some(DataType::F16));
        let mut asked = ignoring.on(Device::cuda(1));
        assert_eq!(told(asked), (on, None, refuse, if_needed, true));
        asked = asked.cast(DataType::F16);
        assert_eq!(told(asked), (on, cast, refuse, if_needed, true));
        asked = asked.overflow(Overflow::Wrap);
        assert_eq!(told(asked), (on, cast, Overflow::Wrap, if_needed, true));
        asked = asked.copy(CopyPolicy::Never);
        assert_eq!(told(asked), (on, cast, Overflow::Wrap, CopyPolicy::Never, true));
    }
}
