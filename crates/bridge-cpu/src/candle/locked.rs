//! A tensor whose storage nobody can change.

use candle_core::{Storage, Tensor};
use parking_lot::RwLockReadGuard;

/// A tensor and the read lock of its storage. candle's in-place operations take the write lock, and
/// hand the storage's vector to safe code, which may write to it, replace it or free it: while this
/// lives they wait.
pub(super) struct Locked {
    /// Before the tensor, so that it is dropped first.
    guard: RwLockReadGuard<'static, Storage>,
    tensor: Tensor,
}

impl Locked {
    /// Waits for the in-place operations that other threads are doing on the storage.
    pub(super) fn new(tensor: Tensor) -> Self {
        let (guard, _) = tensor.storage_and_layout();
        // SAFETY:
        // - Only the lifetime changes. The lock lies in the allocation of the storage's `Arc`, which
        //   does not move with the handle and which `tensor` keeps: a handle of candle never changes
        //   its storage for another.
        // - The guard is dropped before the tensor, and never handed out with this lifetime.
        let guard = unsafe {
            std::mem::transmute::<RwLockReadGuard<'_, Storage>, RwLockReadGuard<'static, Storage>>(
                guard,
            )
        };
        Self { guard, tensor }
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.guard
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The tensor, its storage unlocked.
    pub(super) fn into_tensor(self) -> Tensor {
        let Self { guard, tensor } = self;
        drop(guard);
        tensor
    }
}

/// The lock is released on whichever thread drops the last holder of the memory: parking_lot allows
/// it with its feature `send_guard`.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Locked>();
};
