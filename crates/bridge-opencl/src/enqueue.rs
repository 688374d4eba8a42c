//! Commands: each enqueued behind the events it must wait for, and flushed.

use std::ffi::c_void;

use bridge_core::Result;
use opencl3::command_queue::{
    enqueue_copy_buffer, enqueue_fill_buffer, enqueue_map_buffer, enqueue_marker_with_wait_list,
    enqueue_nd_range_kernel, enqueue_read_buffer, enqueue_unmap_mem_object, enqueue_write_buffer,
};
use opencl3::memory::{CL_MAP_READ, CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION};
use opencl3::types::{CL_FALSE, CL_TRUE, cl_event, cl_int, cl_kernel, cl_map_flags, cl_mem};

use crate::event::{ClEvent, failed_after};
use crate::handle::{self, Owned};
use crate::queue::ClQueue;
use crate::status::Doing;

/// A queue, and what its next command waits for.
#[derive(Clone, Copy)]
pub(crate) struct After<'a> {
    pub(crate) queue: &'a ClQueue,
    pub(crate) events: &'a [ClEvent],
}

/// What the host does with a mapped region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapFor {
    Reading,
    ReadingAndWriting,
    /// What was there is not needed.
    Overwriting,
}

impl MapFor {
    fn flags(self) -> cl_map_flags {
        match self {
            Self::Reading => CL_MAP_READ,
            Self::ReadingAndWriting => CL_MAP_READ | CL_MAP_WRITE,
            Self::Overwriting => CL_MAP_WRITE_INVALIDATE_REGION,
        }
    }
}

/// Bytes within a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) mem: cl_mem,
    pub(crate) offset: usize,
    pub(crate) count: usize,
}

impl After<'_> {
    /// Writes host memory to a buffer. Returns when the host memory may change again.
    ///
    /// # Safety
    ///
    /// The buffer is live and has these bytes; as many can be read at `from`.
    pub(crate) unsafe fn write(self, to: Bytes, from: *const u8) -> Result<()> {
        let doing = self.doing("write to device memory", to.count);
        self.waited(doing)?.run_here(doing, |queue, count, events| {
            // SAFETY: the caller promises both; the call returns when the memory has been read.
            unsafe { write_buffer(queue, CL_TRUE, to, from, count, events) }
        })
    }

    /// Writes host memory to a buffer, some time.
    ///
    /// # Safety
    ///
    /// As [`write`](Self::write), and the host memory stays as it is until the event comes.
    pub(crate) unsafe fn write_later(self, to: Bytes, from: *const u8) -> Result<ClEvent> {
        self.run(self.doing("write to device memory", to.count), |queue, count, events| {
            // SAFETY: the caller promises both until the event; the events are live.
            unsafe { write_buffer(queue, CL_FALSE, to, from, count, events) }
        })
    }

    /// Reads a buffer to host memory, and waits for it.
    ///
    /// # Safety
    ///
    /// The buffer is live and has these bytes; as many can be written at `to`.
    pub(crate) unsafe fn read(self, from: Bytes, to: *mut u8) -> Result<()> {
        let doing = self.doing("read device memory", from.count);
        self.waited(doing)?.run_here(doing, |queue, count, events| {
            let Bytes { mem, offset, count: bytes } = from;
            // SAFETY: the caller promises the buffer and the memory; the events are live.
            unsafe {
                enqueue_read_buffer(queue, mem, CL_TRUE, offset, bytes, to.cast(), count, events)
            }
        })
    }

    /// Copies bytes within the device. The regions do not overlap.
    ///
    /// # Safety
    ///
    /// Both buffers are live and have these bytes.
    pub(crate) unsafe fn copy(self, from: Bytes, to: Bytes) -> Result<ClEvent> {
        let doing = self.doing("copy device memory", from.count);
        self.run(doing, |queue, count, events| {
            // SAFETY: the caller promises the buffers; the events are live.
            unsafe {
                enqueue_copy_buffer(
                    queue,
                    from.mem,
                    to.mem,
                    from.offset,
                    to.offset,
                    from.count,
                    count,
                    events,
                )
            }
        })
    }

    /// Fills bytes with a pattern of 1 to 128 bytes, a power of two, that divides their number and
    /// their offset.
    ///
    /// # Safety
    ///
    /// The buffer is live and has these bytes.
    pub(crate) unsafe fn fill(self, to: Bytes, pattern: &[u8]) -> Result<ClEvent> {
        let doing = self.doing("fill device memory", to.count);
        self.run(doing, |queue, count, events| {
            let (first, size) = (pattern.as_ptr().cast(), pattern.len());
            // SAFETY: the caller promises the buffer; the driver copies the pattern before it
            // returns; the events are live.
            unsafe {
                enqueue_fill_buffer(queue, to.mem, first, size, to.offset, to.count, count, events)
            }
        })
    }

    /// Maps bytes of a buffer for the host, and waits for it.
    ///
    /// # Safety
    ///
    /// The buffer is live and has these bytes.
    pub(crate) unsafe fn map(self, bytes: Bytes, purpose: MapFor) -> Result<*mut u8> {
        let doing = self.doing("map device memory", bytes.count);
        let mut first = std::ptr::null_mut();
        self.waited(doing)?.run(doing, |queue, count, events| {
            let Bytes { mem, offset, count: size } = bytes;
            let flags = purpose.flags();
            // SAFETY: the caller promises the buffer; the events are live.
            unsafe {
                enqueue_map_buffer(
                    queue, mem, CL_TRUE, flags, offset, size, &mut first, count, events,
                )
            }
        })?;
        Ok(first.cast())
    }

    /// Ends the mapping at `first`; device commands may follow the event.
    ///
    /// # Safety
    ///
    /// `first` came from [`map`](Self::map) of this live buffer, is unmapped once, and not used
    /// any more.
    pub(crate) unsafe fn unmap(self, mem: cl_mem, first: *mut u8) -> Result<ClEvent> {
        let doing = self.doing("unmap device memory", 0);
        self.run(doing, |queue, count, events| {
            // SAFETY: the caller promises the mapping; the events are live.
            unsafe { enqueue_unmap_mem_object(queue, mem, first.cast(), count, events) }
        })
    }

    /// Runs a kernel on `groups` groups of `local` work items.
    ///
    /// # Safety
    ///
    /// All arguments are set, and the kernel stays within their memory.
    pub(crate) unsafe fn run_kernel(
        self,
        kernel: cl_kernel,
        groups: usize,
        local: usize,
        bytes: usize,
    ) -> Result<ClEvent> {
        let doing = self.doing("run a kernel", bytes);
        let global = groups * local;
        self.run(doing, |queue, count, events| {
            let offset = std::ptr::null();
            // SAFETY: the caller promises the kernel and its arguments; the sizes live until the
            // call returns; the events are live.
            unsafe {
                enqueue_nd_range_kernel(
                    queue,
                    kernel,
                    1,
                    offset,
                    &raw const global,
                    &raw const local,
                    count,
                    events,
                )
            }
        })
    }

    /// An event that comes when all of those waited for have come.
    pub(crate) fn marker(self) -> Result<ClEvent> {
        let doing = self.doing("wait for several commands", 0);
        self.run(doing, |queue, count, events| {
            // SAFETY: the queue and the events are live.
            unsafe { enqueue_marker_with_wait_list(queue, count, events) }
        })
    }

    /// Waits for the events here, before a call that blocks: PoCL never returns from one that is
    /// behind a failed command, and others return as if all were well.
    fn waited(self, doing: Doing) -> Result<Self> {
        self.events.iter().try_for_each(|event| event.wait_for(doing))?;
        Ok(Self { events: &[], ..self })
    }

    /// Runs a command that blocks, behind no events: nothing is left to flush or to wait for.
    fn run_here(
        self,
        doing: Doing,
        command: impl FnOnce(*mut c_void, u32, *const cl_event) -> Result<cl_event, cl_int>,
    ) -> Result<()> {
        let status = |status| failed_after(doing, status, self.events);
        let event = command(self.queue.raw(), 0, std::ptr::null()).map_err(status)?;
        // SAFETY: the event was just made, and the reference is handed over, to be dropped.
        drop(unsafe { Owned::<handle::Event>::take_over(event) });
        Ok(())
    }

    fn run(
        self,
        doing: Doing,
        command: impl FnOnce(*mut c_void, u32, *const cl_event) -> Result<cl_event, cl_int>,
    ) -> Result<ClEvent> {
        // PoCL never finishes a command that is enqueued behind one that has failed already.
        if let Some(cause) = self.events.iter().find_map(ClEvent::failure) {
            return Err(doing.failed(cause));
        }
        let raw: Vec<cl_event> = self.events.iter().map(ClEvent::raw).collect();
        let first = if raw.is_empty() { std::ptr::null() } else { raw.as_ptr() };
        let count = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let status = |status| failed_after(doing, status, self.events);
        let event = command(self.queue.raw(), count, first).map_err(status)?;
        // SAFETY: the event was just made, and the reference is handed over.
        let event = unsafe { ClEvent::take_over(event, self.events) };
        if let Err(failure) = self.queue.flush() {
            // The command may still run, on memory that the caller gives up when told of an error.
            let _ = event.wait_for(doing);
            return Err(status(failure));
        }
        Ok(event)
    }

    fn doing(self, operation: &'static str, bytes: usize) -> Doing {
        Doing::new(operation, self.queue.device().device(), bytes)
    }
}

/// # Safety
///
/// As `clEnqueueWriteBuffer` asks.
unsafe fn write_buffer(
    queue: *mut c_void,
    blocking: u32,
    to: Bytes,
    from: *const u8,
    count: u32,
    events: *const cl_event,
) -> Result<cl_event, cl_int> {
    let Bytes { mem, offset, count: bytes } = to;
    let from = from.cast_mut().cast::<c_void>();
    // SAFETY: the caller promises it.
    unsafe { enqueue_write_buffer(queue, mem, blocking, offset, bytes, from, count, events) }
}
