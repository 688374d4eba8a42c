//! OpenCL's counted handles, each released once and without a panic.
//!
//! opencl3's own types panic where a release fails, and its `From<Buffer> for cl_mem` gives out a
//! handle that has been released; these do neither.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;

use opencl3::types::cl_int;
use opencl3::{command_queue, event, kernel, memory, program};

/// A kind of counted object.
pub(crate) trait Counted: 'static {
    const NAME: &'static str;

    /// # Safety
    ///
    /// `raw` is a live object of this kind.
    unsafe fn retain(raw: *mut c_void) -> Result<(), cl_int>;

    /// # Safety
    ///
    /// `raw` is a live object of this kind, and the caller gives a reference of its own up.
    unsafe fn release(raw: *mut c_void) -> Result<(), cl_int>;
}

macro_rules! counted {
    ($($name:ident: $retain:path, $release:path;)*) => {
        $(
            #[derive(Debug)]
            pub(crate) enum $name {}

            impl Counted for $name {
                const NAME: &'static str = stringify!($name);

                unsafe fn retain(raw: *mut c_void) -> Result<(), cl_int> {
                    // SAFETY: the caller promises a live object.
                    unsafe { $retain(raw) }
                }

                unsafe fn release(raw: *mut c_void) -> Result<(), cl_int> {
                    // SAFETY: the caller promises a live object and a reference of its own.
                    unsafe { $release(raw) }
                }
            }
        )*
    };
}

counted! {
    Mem: memory::retain_mem_object, memory::release_mem_object;
    Queue: command_queue::retain_command_queue, command_queue::release_command_queue;
    Event: event::retain_event, event::release_event;
    Program: program::retain_program, program::release_program;
    Kernel: kernel::retain_kernel, kernel::release_kernel;
}

/// One reference to a counted object, given up when dropped.
pub(crate) struct Owned<K: Counted>(*mut c_void, PhantomData<K>);

// SAFETY: OpenCL's objects may be used from any thread; the one call that may not run twice at once
// for an object, `clSetKernelArg`, is made under a lock.
unsafe impl<K: Counted> Send for Owned<K> {}
// SAFETY: as for `Send`; shared access gives the handle out and changes nothing.
unsafe impl<K: Counted> Sync for Owned<K> {}

impl<K: Counted> Owned<K> {
    /// Takes over a reference.
    ///
    /// # Safety
    ///
    /// `raw` is a live object of this kind, of which the caller hands one reference over.
    pub(crate) unsafe fn take_over(raw: *mut c_void) -> Self {
        Self(raw, PhantomData)
    }

    /// Adds a reference to an object that somebody else holds.
    ///
    /// # Errors
    ///
    /// The status of the driver.
    ///
    /// # Safety
    ///
    /// `raw` is a live object of this kind.
    pub(crate) unsafe fn retain(raw: *mut c_void) -> Result<Self, cl_int> {
        // SAFETY: the caller promises a live object; the reference that is added is owned here.
        unsafe { K::retain(raw) }.map(|()| Self(raw, PhantomData))
    }

    /// The handle, valid while this lives.
    pub(crate) fn raw(&self) -> *mut c_void {
        self.0
    }
}

impl<K: Counted> Drop for Owned<K> {
    fn drop(&mut self) {
        // SAFETY: the reference is this value's own, and given up here only. A driver that refuses
        // has lost the object already; there is nobody to tell.
        let _ = unsafe { K::release(self.0) };
    }
}

impl<K: Counted> fmt::Debug for Owned<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:p})", K::NAME, self.0)
    }
}
