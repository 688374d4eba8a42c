//! What else a backend can do, open to every crate.

/// Something that a backend can do beside converting, under a trait of any crate's own: this crate
/// never hears of it. A crate registers one for a backend when it is linked, and whoever knows the
/// trait asks [`Registry::capability`](crate::Registry::capability) for it.
///
/// ```
/// use bridge_core::{Capability, Registration, Registry};
///
/// trait Sum: Sync {
///     fn sum(&self, values: &[f64]) -> f64;
/// }
/// struct Plain;
/// impl Sum for Plain {
///     fn sum(&self, values: &[f64]) -> f64 {
///         values.iter().sum()
///     }
/// }
/// static SUM: Capability<dyn Sum> = Capability::new("ndarray", &Plain);
///
/// let registry = Registry::new([Registration::capability(&SUM)]);
/// let sum = registry.capability::<dyn Sum>("ndarray").expect("it was registered");
/// assert_eq!(sum.sum(&[1.0, 2.0]), 3.0);
/// assert!(registry.capability::<dyn Sum>("candle").is_none());
/// ```
#[derive(Debug)]
pub struct Capability<C: ?Sized + Sync + 'static> {
    backend: &'static str,
    does: &'static C,
}

impl<C: ?Sized + Sync + 'static> Capability<C> {
    /// What does it for the backend of this name.
    pub const fn new(backend: &'static str, does: &'static C) -> Self {
        Self { backend, does }
    }

    /// The name of the backend.
    pub const fn backend(&self) -> &'static str {
        self.backend
    }

    /// What does it.
    pub const fn get(&self) -> &'static C {
        self.does
    }
}
