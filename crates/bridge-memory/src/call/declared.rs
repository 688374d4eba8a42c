//! Which functions of the program take arrays of any framework.

/// A function that the attribute `on` wraps, wherever in the program it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// Its name, without its module and type.
    pub name: &'static str,
    /// The module that it is written in.
    pub module: &'static str,
    /// The backend whose arrays it works with, as it is written in the attribute.
    pub backend: &'static str,
    /// The parameters that are arrays, in their order.
    pub arrays: &'static [&'static str],
    /// Whether it is run for each slice.
    pub by_slice: bool,
    /// Whether it is awaited.
    pub is_async: bool,
}

bridge_core::inventory::collect!(Declared);

/// The functions that the attribute `on` wraps, of all crates that are linked into the program, in no
/// order.
///
/// ```
/// for function in bridge_memory::call::declared() {
///     println!("{}::{} works in {}", function.module, function.name, function.backend);
/// }
/// ```
pub fn declared() -> impl Iterator<Item = &'static Declared> {
    bridge_core::inventory::iter::<Declared>.into_iter()
}
