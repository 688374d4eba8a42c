//! The control interface.

use std::ffi::c_int;
use std::sync::Once;

use crate::interface::config::Config;
use crate::interface::fault::Injection;
use crate::interface::launch::RawKernel;
use crate::interface::violation::ViolationKind;

use super::super::arguments::{In, Out, Text};
use super::super::guard::{replace, with};
use super::super::host_access;
use super::super::kernels::{Kernel, register};
use super::super::simulation::Simulation;
use super::super::violations;

/// Begins anew with a configuration; -1 if it cannot be read, which leaves everything as it is.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sim_reset(config: Text<'_>) -> c_int {
    let Some(config) = config.get().ok().and_then(|text| text.parse::<Config>().ok()) else {
        return -1;
    };
    if config.check_leaks_at_exit {
        check_leaks_at_exit();
    }
    replace(config);
    0
}

/// Injects a fault, of all threads, or of the calling one where its text ends with `thread=this`; -1 if it
/// cannot be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sim_inject(fault: Text<'_>) -> c_int {
    let Some(fault) = fault.get().ok().and_then(|text| text.parse::<Injection>().ok()) else {
        return -1;
    };
    with(|cuda| cuda.faults.inject(fault));
    0
}

/// Takes all faults back. A device that is lost stays lost.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sim_clear_faults() {
    with(|cuda| cuda.faults.clear());
}

/// Writes a report as text, cut to the capacity, and gives the length of the whole: `violations`, `counters`
/// or `alive`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sim_report(what: Text<'_>, to: Out<u8>, capacity: usize) -> usize {
    let text = with(|cuda| match what.get() {
        Ok("violations") => {
            collect_host_accesses(cuda);
            violations::to_text()
        }
        Ok("counters") => cuda.counted().to_text(),
        Ok("alive") => alive(cuda),
        _ => String::new(),
    });
    if capacity > 0 { to.set_text(&text, capacity).map_or(0, |()| text.len()) } else { text.len() }
}

/// Forgets the violations so far.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sim_clear_violations() {
    with(collect_host_accesses);
    violations::clear();
}

/// A number: whatever is made later has a higher one.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sim_mark() -> u64 {
    with(|cuda| cuda.last_number())
}

/// Runs up to so many operations, and gives how many ran or were passed over.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sim_step(operations: u64) -> u64 {
    with(|cuda| (0..operations).take_while(|_| cuda.step()).count() as u64)
}

/// Registers a kernel's host implementation; -1 if the name cannot be read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sim_register_kernel(
    name: Text<'_>,
    function: RawKernel,
    sizes: In<usize>,
    count: usize,
    user: usize,
) -> c_int {
    let sizes: Result<Vec<_>, _> = (0..count).map(|at| sizes.at(at)).collect();
    let (Ok(name), Ok(sizes)) = (name.get(), sizes) else { return -1 };
    register(name.to_owned(), Kernel { function, sizes, user });
    0
}

/// Copies memory of a device to the host, unchecked and without waiting for anything; -1 if it is not there.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sim_read(address: u64, to: *mut u8, bytes: usize) -> c_int {
    with(|cuda| {
        let block = cuda.memory_if_there().and_then(|memory| memory.find(address));
        let block = block.filter(|block| block.life != super::super::memory::Life::Freed);
        match block.filter(|block| bytes as u64 <= block.end() - address) {
            Some(block) if !to.is_null() => {
                // SAFETY: the block is there with so many bytes, and the caller promises room for them.
                unsafe { block.host(address).copy_to_nonoverlapping(to, bytes) };
                0
            }
            _ => -1,
        }
    })
}

/// Turns what the signal handler saw into violations, and closes the pages again.
fn collect_host_accesses(cuda: &mut Simulation) {
    for (at, what) in host_access::found() {
        let message = format!("the host touched {at:#x}, {what}");
        violations::record(ViolationKind::HostAccess, message);
        if let Some(memory) = cuda.memory_if_there() {
            memory.close_page(at);
        }
    }
}

fn alive(cuda: &mut Simulation) -> String {
    cuda.alive().into_iter().map(|(number, what)| format!("{number}\t{what}\n")).collect()
}

/// Looks once, when the process ends, whether anything is alive.
pub(crate) fn check_leaks_at_exit() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the function has the type that is asked for, and this library is never unloaded.
        unsafe { libc::atexit(at_exit) };
    });
}

#[expect(clippy::print_stderr, reason = "the process ends, nobody can ask")]
extern "C" fn at_exit() {
    let alive =
        with(|cuda| if cuda.config.check_leaks_at_exit { alive(cuda) } else { String::new() });
    if !alive.is_empty() {
        eprintln!("simulated CUDA driver: Leak: alive at the end of the process:\n{alive}");
        // SAFETY: this ends the process; nothing is left to run that another exit handler would need.
        unsafe { libc::_exit(86) };
    }
}
