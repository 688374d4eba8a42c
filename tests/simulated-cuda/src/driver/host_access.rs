//! Finds out when the host touches memory that it must not: the addresses are closed to it, so the
//! processor stops it at the very instruction, and a handler tells what the address is.
//!
//! The memory of a device is somewhere else, and its addresses are never opened. That finds every access, also those of
//! code that knows nothing of the simulation, at no cost. The handler may do little: it stores numbers in
//! static memory, which [`found`] turns into violations later.

use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::mapping::PAGE;

static START: AtomicU64 = AtomicU64::new(0);
static HOST: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static SURVIVE: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static FOUND: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// What the handler was before ours.
static mut BEFORE: std::mem::MaybeUninit<libc::sigaction> = std::mem::MaybeUninit::uninit();

/// Watches the addresses of devices, and of host memory behind them.
pub(crate) fn watch((start, host, end): (u64, u64, u64), survive: bool) {
    static INSTALL: Once = Once::new();
    START.store(start, Ordering::SeqCst);
    HOST.store(host, Ordering::SeqCst);
    END.store(end, Ordering::SeqCst);
    SURVIVE.store(survive, Ordering::SeqCst);
    COUNT.store(0, Ordering::SeqCst);
    INSTALL.call_once(|| {
        // SAFETY: all zero is a valid `sigaction`; the handler has the type that SA_SIGINFO asks for, and does only what a handler may; `BEFORE` is written once, before the handler can run.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGSEGV, std::ptr::null(), (&raw mut BEFORE).cast());
            libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut());
        }
    });
}

/// Takes the addresses that the host touched, with what they were.
pub(crate) fn found() -> Vec<(u64, &'static str)> {
    let count = COUNT.swap(0, Ordering::SeqCst).min(FOUND.len());
    FOUND[..count].iter().map(|slot| slot.load(Ordering::SeqCst)).map(|at| (at, kind(at))).collect()
}

fn kind(at: u64) -> &'static str {
    if at < HOST.load(Ordering::SeqCst) {
        "memory of a device"
    } else {
        "pinned memory that was freed"
    }
}

/// The signal handler.
extern "C" fn handle(_signal: c_int, information: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the system gives a valid description of the signal.
    let at = unsafe { (*information).si_addr() }.addr() as u64;
    let ours = START.load(Ordering::SeqCst) <= at && at < END.load(Ordering::SeqCst);
    if ours {
        let slot = COUNT.fetch_add(1, Ordering::SeqCst);
        if let Some(slot) = FOUND.get(slot) {
            slot.store(at, Ordering::SeqCst);
        }
        if SURVIVE.load(Ordering::SeqCst) {
            let page = super::mapping::address(at & !(PAGE - 1));
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the page is within our own reservation, which nobody else uses.
            unsafe { libc::mprotect(page.cast(), PAGE as usize, protection) };
            return;
        }
        say(at);
    }
    // SAFETY: `BEFORE` was written before this handler could run. With the former action in place, the access is tried again, and ends the process or goes to whoever handled it before.
    unsafe { libc::sigaction(libc::SIGSEGV, (&raw const BEFORE).cast(), std::ptr::null_mut()) };
}

/// Writes the message with nothing but what a handler may use.
fn say(at: u64) {
    let mut digits = [b'0'; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(at >> (60 - 4 * place)) as usize & 0xf];
    }
    let parts: [&[u8]; 5] = [
        b"simulated CUDA driver: HostAccess: the host touched 0x",
        &digits,
        b", ",
        kind(at).as_bytes(),
        b"\n",
    ];
    for part in parts {
        // SAFETY: the bytes are there; `write` may be called in a handler.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
}
