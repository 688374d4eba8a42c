//! The context that is current on the calling thread.

use std::marker::PhantomData;

use bridge_core::Result;
use cudarc::driver::result::ctx;
use cudarc::driver::sys::CUcontext;

use super::errors::failed;

/// Makes a context current on this thread until it is dropped, then restores the one before: other
/// libraries in the process rely on the current context, so no call of this crate may change it.
#[must_use = "the context is current only while this lives"]
pub(crate) struct Current {
    before: CUcontext,
    changed: bool,
    _this_thread: PhantomData<*const ()>,
}

impl Current {
    /// Makes `context` current.
    pub(crate) fn enter(context: CUcontext) -> Result<Self> {
        let this = Self::keep()?;
        if this.before == context {
            return Ok(this);
        }
        // SAFETY: the context is a retained primary context, which is never released.
        unsafe { ctx::set_current(context) }.map_err(failed("make a context current"))?;
        Ok(Self { changed: true, ..this })
    }

    /// Restores the current context on drop, for calls that make another one current.
    pub(crate) fn restored_after() -> Result<Self> {
        Ok(Self { changed: true, ..Self::keep()? })
    }

    fn keep() -> Result<Self> {
        let before = ctx::get_current().map_err(failed("find the current context"))?;
        let before = before.unwrap_or(std::ptr::null_mut());
        Ok(Self { before, changed: false, _this_thread: PhantomData })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.changed {
            // SAFETY: the context was current before, or none was; whoever made it so keeps it.
            // That fails only where the driver is shut down, and then nothing is current.
            let _ = unsafe { ctx::set_current(self.before) };
        }
    }
}
