//! Kernels: what stands for them on the host, and how they are launched.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use crate::interface::launch::{RawKernel, RawLaunch};
use crate::interface::violation::ViolationKind;

use super::arguments::In;
use super::code::{Code, Outcome};
use super::handle::{FunctionId, StreamId};
use super::mapping::address;
use super::memory::Life;
use super::scheduler::Queued;
use super::simulation::Simulation;
use super::work::{Actor, Launch, Work};

/// A kernel's host implementation.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) function: RawKernel,
    /// The sizes of its arguments.
    pub(crate) sizes: Vec<usize>,
    /// What it is called with besides.
    pub(crate) user: usize,
}

static REGISTERED: Mutex<BTreeMap<String, Kernel>> = Mutex::new(BTreeMap::new());

/// Registers a kernel's host implementation, in the place of an older one.
pub(crate) fn register(name: String, kernel: Kernel) {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).insert(name, kernel);
}

fn registered(name: &str) -> Option<Kernel> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// What a running kernel reaches the driver through.
struct Reach<'a> {
    simulation: &'a mut Simulation,
    actor: &'a Actor,
    failed: bool,
}

impl Simulation {
    /// Checks a launch and queues it.
    pub(crate) fn launch(
        &mut self,
        function: FunctionId,
        grid: [u32; 3],
        block: [u32; 3],
        stream: StreamId,
        parameters: &In<usize>,
    ) -> Outcome {
        let found = &self.functions[&function];
        let (context, name) = (found.context, found.name.clone());
        let declared = found.parameters.clone();
        if self.streams[&stream].context != context || self.current()? != context {
            let message = format!(
                "`{name}` was loaded in another context than the stream's or the current one"
            );
            self.violation(ViolationKind::WrongContext, message);
            return Err(Code::INVALID_HANDLE);
        }
        let threads = block.iter().try_fold(1_u32, |all, &some| all.checked_mul(some));
        let blocks_fit = grid[0] <= i32::MAX as u32 && grid[1] <= 65_535 && grid[2] <= 65_535;
        if grid.contains(&0) || !blocks_fit || !threads.is_some_and(|t| (1..=1024).contains(&t)) {
            return Err(Code::INVALID_VALUE);
        }
        let Some(kernel) = registered(&name) else {
            self.violation(
                ViolationKind::KernelMismatch,
                format!("no host implementation of `{name}` is registered"),
            );
            return Err(Code::NOT_SUPPORTED);
        };
        if kernel.sizes != declared {
            let message = format!(
                "`{name}` is registered with arguments of {:?} bytes, and declared with {declared:?}",
                kernel.sizes
            );
            self.violation(ViolationKind::KernelMismatch, message);
            return Err(Code::INVALID_VALUE);
        }
        let mut arguments = Vec::new();
        for (at, &size) in kernel.sizes.iter().enumerate() {
            let argument = address(parameters.at(at)? as u64);
            if argument.is_null() {
                return Err(Code::INVALID_VALUE);
            }
            // SAFETY: the caller of a launch promises that each parameter points to an argument of the declared size.
            arguments.extend_from_slice(unsafe { std::slice::from_raw_parts(argument, size) });
        }
        let fails = self.faults.launch()?;
        let uses = self.mentioned(&kernel.sizes, &arguments);
        let work = Work::Launch(Launch { kernel, grid, block, arguments });
        self.enqueue(stream, Queued { uses, fails, ..Queued::of(work) });
        Ok(())
    }

    /// The blocks whose addresses are among the arguments.
    fn mentioned(&mut self, sizes: &[usize], arguments: &[u8]) -> Vec<u64> {
        let mut blocks = Vec::new();
        let mut at = 0;
        for &size in sizes {
            for word in arguments[at..at + size].chunks_exact(8) {
                let address = word.try_into().map_or(0, u64::from_ne_bytes);
                let block = self.memory().find(address).filter(|block| block.life == Life::Alive);
                blocks.extend(block.map(|block| block.start));
            }
            at += size;
        }
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }

    pub(crate) fn run_launch(&mut self, actor: &Actor, launch: &Launch) -> Outcome {
        let Launch { kernel, grid, block, arguments } = launch;
        let mut reach = Reach { simulation: self, actor, failed: false };
        let raw = RawLaunch {
            grid: *grid,
            block: *block,
            arguments: arguments.as_ptr(),
            sizes: kernel.sizes.as_ptr(),
            count: kernel.sizes.len(),
            user: std::ptr::with_exposed_provenance_mut(kernel.user),
            access,
            driver: (&raw mut reach).cast(),
        };
        // SAFETY: the function was registered as a kernel; the launch and all that it points to live until it comes back.
        let code = super::guard::callback(|| unsafe { (kernel.function)(&raw const raw) });
        let failed = reach.failed;
        self.counters.launches += 1;
        self.time += 5_000;
        match code {
            _ if failed => Err(Code::ILLEGAL_ADDRESS),
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }
}

/// Checks a range for a kernel that runs.
///
/// # Safety
/// `driver` is what its launch holds, and the launch is running, on this thread.
unsafe extern "C" fn access(driver: *mut c_void, start: u64, bytes: u64, write: c_int) -> *mut u8 {
    // SAFETY: the launch holds a `Reach` that nobody else uses while it runs.
    let reach = unsafe { &mut *driver.cast::<Reach<'_>>() };
    let Reach { simulation, actor, failed } = reach;
    let write = write != 0;
    let reached = simulation.reach_from(actor, start, "touches", write);
    let outcome = reached.and_then(|()| simulation.touch(actor, start, bytes, write));
    outcome.unwrap_or_else(|_| {
        *failed = true;
        std::ptr::null_mut()
    })
}
