//! What the driver counts.

use super::fields::Fields;

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What was done since the last reset, and what is alive now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])+ pub $name: u64,)+ }

        impl Counters {
            pub(crate) fn to_text(self) -> String {
                let mut text = String::new();
                $(text.push_str(&format!(concat!(stringify!($name), "={} "), self.$name));)+
                text
            }

            pub(crate) fn from_text(text: &str) -> Result<Self, String> {
                let mut fields = Fields::of(text)?;
                let mut counters = Self::default();
                $(fields.take(stringify!($name), &mut counters.$name)?;)+
                fields.finish()?;
                Ok(counters)
            }
        }
    };
}

counters! {
    /// Copies from pinned host memory to a device, as they ran.
    pinned_uploads,
    /// Their bytes.
    pinned_upload_bytes,
    /// Copies from pageable host memory to a device.
    pageable_uploads,
    /// Their bytes.
    pageable_upload_bytes,
    /// Copies from a device to pinned host memory.
    pinned_downloads,
    /// Their bytes.
    pinned_download_bytes,
    /// Copies from a device to pageable host memory.
    pageable_downloads,
    /// Their bytes.
    pageable_download_bytes,
    /// Copies within a device, managed memory included.
    device_copies,
    /// Their bytes.
    device_copy_bytes,
    /// Copies from one device to another.
    peer_copies,
    /// Their bytes.
    peer_copy_bytes,
    /// Copies from host to host memory.
    host_copies,
    /// Memory sets.
    fills,
    /// Kernels that ran.
    launches,
    /// Host functions that ran.
    host_functions,
    /// Allocations of device and managed memory, ever.
    allocations,
    /// Those of them that came from a memory pool.
    pool_allocations,
    /// Allocations and registrations of pinned host memory, ever.
    pinnings,
    /// Allocations of device and managed memory that are alive.
    device_allocations_alive,
    /// Their bytes.
    device_bytes_alive,
    /// The most bytes of device and managed memory that were there at one time, those whose free is
    /// queued among them.
    device_bytes_peak,
    /// Pinned allocations and registrations that are alive.
    pinned_allocations_alive,
    /// Their bytes.
    pinned_bytes_alive,
    /// Events that are alive.
    events_alive,
    /// Times an event was recorded.
    event_records,
    /// Times a stream was made to wait for an event.
    event_waits,
    /// Streams that were created and are alive.
    streams_alive,
    /// Calls that made the host wait for a stream, an event or a context.
    synchronizations,
    /// Operations that are queued.
    pending,
}
