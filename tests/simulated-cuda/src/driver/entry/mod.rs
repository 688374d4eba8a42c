//! The functions that the library exports.

/// Exports functions of the driver's interface. A `null pointer` for a result, a bad handle, a call too early: each
/// is an error code; the body works on the simulation.
macro_rules! export {
    (@with $enter:ident; $(
        $(#[$doc:meta])*
        fn $name:ident($cuda:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block
    )+) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[allow(unused_variables, reason = "not every argument makes a difference to the simulation")]
        pub(crate) unsafe extern "C" fn $name($($argument: $kind),*) -> std::ffi::c_int {
            $crate::driver::guard::$enter(
                stringify!($name),
                |$cuda: &mut $crate::driver::simulation::Simulation|
                    -> $crate::driver::code::Outcome { $body },
            )
        }
    )+};
    (early: $($functions:tt)+) => { export!(@with enter_early; $($functions)+); };
    ($($functions:tt)+) => { export!(@with enter; $($functions)+); };
}

mod context;
pub(crate) mod control;
mod copy;
mod device;
mod event;
mod fill;
mod host_memory;
mod initialization;
mod launch;
mod memory;
mod module;
mod pointer;
mod pool;
mod stream;
