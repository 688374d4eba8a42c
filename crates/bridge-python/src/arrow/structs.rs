//! The structures of Arrow's C data interface and C device interface.

use std::ffi::{c_char, c_void};

/// `ArrowSchema`: of what type an array is.
#[repr(C)]
pub(super) struct Schema {
    pub(super) format: *const c_char,
    pub(super) name: *const c_char,
    pub(super) metadata: *const c_char,
    pub(super) flags: i64,
    pub(super) n_children: i64,
    pub(super) children: *const *const Schema,
    pub(super) dictionary: *const Schema,
    /// Null where the structure has been released or moved.
    pub(super) release: Option<unsafe extern "C" fn(*mut Schema)>,
    pub(super) private_data: *mut c_void,
}

/// `ArrowArray`: where its elements are.
#[repr(C)]
pub(super) struct Array {
    pub(super) length: i64,
    /// -1 where nobody has counted.
    pub(super) null_count: i64,
    /// Elements of the buffers before the first of the array.
    pub(super) offset: i64,
    pub(super) n_buffers: i64,
    pub(super) n_children: i64,
    pub(super) buffers: *const *const c_void,
    pub(super) children: *const *const Array,
    pub(super) dictionary: *const Array,
    /// Null where the structure has been released or moved.
    pub(super) release: Option<unsafe extern "C" fn(*mut Array)>,
    pub(super) private_data: *mut c_void,
}

/// `ArrowDeviceArray`: an array, and the device whose memory its buffers are.
#[repr(C)]
pub(super) struct DeviceArray {
    pub(super) array: Array,
    pub(super) device_id: i64,
    /// As DLPack counts.
    pub(super) device_type: i32,
    /// What the library waits for before the elements are ready; null where they are.
    pub(super) sync_event: *mut c_void,
    pub(super) reserved: [i64; 3],
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Schema>() == 72);
    assert!(size_of::<Array>() == 80);
    assert!(size_of::<DeviceArray>() == 128);
};
