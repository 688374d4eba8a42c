//! The way into the driver: one caller at a time.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::interface::config::Config;
use crate::interface::violation::ViolationKind;

use super::code::{Code, Outcome};
use super::simulation::Simulation;
use super::violations;

static SIMULATION: Mutex<Option<Simulation>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is in a kernel or a host function that the driver runs.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// The simulation; made by the variable `SIMULATED_CUDA` if nobody has made one.
fn lock() -> MutexGuard<'static, Option<Simulation>> {
    SIMULATION.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_environment() -> Simulation {
    let text = std::env::var("SIMULATED_CUDA").unwrap_or_default();
    match text.parse::<Config>() {
        Ok(config) => {
            let check = config.check_leaks_at_exit;
            let simulation = Simulation::new(config, 0);
            if check {
                super::entry::control::check_leaks_at_exit();
            }
            simulation
        }
        Err(error) => violations::abort(&format!("SIMULATED_CUDA: {error}")),
    }
}

/// Works on the simulation, whatever its state.
pub(crate) fn with<T>(body: impl FnOnce(&mut Simulation) -> T) -> T {
    body(lock().get_or_insert_with(from_environment))
}

/// Puts another simulation in the place of this one.
pub(crate) fn replace(config: Config) {
    let mut place = lock();
    let first = place.take().map_or(0, |old| old.last_number());
    *place = Some(Simulation::new(config, first));
}

/// Runs a function of the interface that needs no initialization.
pub(crate) fn enter_early(
    name: &'static str,
    body: impl FnOnce(&mut Simulation) -> Outcome,
) -> c_int {
    if IN_CALLBACK.get() {
        let message = format!("{name} is called by a kernel or a host function");
        violations::record(ViolationKind::CallInCallback, message);
        return Code::NOT_PERMITTED.0;
    }
    with(|simulation| {
        simulation.call = name;
        if let Some(code) = simulation.faults.call(name) {
            return code.0;
        }
        body(simulation).map_or_else(|code| code.0, |()| 0)
    })
}

/// Runs a function of the interface.
pub(crate) fn enter(name: &'static str, body: impl FnOnce(&mut Simulation) -> Outcome) -> c_int {
    enter_early(name, |simulation| {
        if !simulation.initialized {
            return Err(Code::NOT_INITIALIZED);
        }
        simulation.run_by_chance();
        simulation.call = name;
        body(simulation)
    })
}

/// Runs something of the caller's that must not call the driver.
pub(crate) fn callback<T>(body: impl FnOnce() -> T) -> T {
    IN_CALLBACK.set(true);
    let result = body();
    IN_CALLBACK.set(false);
    result
}
