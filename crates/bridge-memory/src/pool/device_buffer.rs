//! Pooled memory of a device in use.

use std::fmt;
use std::sync::Arc;

use bridge_core::{ManagedTensor, Owner, Refused, TensorError, TensorSpec};

use super::buffer::require_within;
use super::device_pool::DeviceHome;
use super::room::Block;

/// Memory of a device in use, which goes back to its [`DevicePool`](super::DevicePool) when it is
/// dropped, on whichever thread.
pub struct DeviceBuffer {
    /// There until it is dropped: bytes, as many as the class has.
    block: Option<Box<Block<ManagedTensor>>>,
    bytes: usize,
    size: usize,
    home: Arc<DeviceHome>,
}

impl DeviceBuffer {
    pub(super) fn new(
        block: Box<Block<ManagedTensor>>,
        bytes: usize,
        size: usize,
        home: Arc<DeviceHome>,
    ) -> Self {
        Self { block: Some(block), bytes, size, home }
    }

    /// Bytes that were asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All bytes, of which there can be more than were asked for.
    pub fn tensor(&self) -> &ManagedTensor {
        match &self.block {
            Some(block) => &block.memory,
            None => unreachable!("the block is there until the buffer is dropped"),
        }
    }

    /// A tensor of this memory, of any element type, in any layout that stays within the bytes that
    /// were asked for. The memory goes back to the pool when the tensor is dropped, in whichever framework it
    /// is then. What its elements are is not told until they are written.
    ///
    /// # Errors
    ///
    /// Where `spec` reaches outside the buffer; the buffer comes back.
    pub fn into_tensor(self, spec: TensorSpec) -> Result<ManagedTensor, Refused<Self>> {
        let block = self.tensor();
        if let Err(error) = require_within(&spec, self.bytes) {
            return Err(Refused::new(self, error));
        }
        let offset = block.layout().byte_offset().checked_add(spec.layout.byte_offset());
        let Some(offset) = offset else {
            let what = "the offset of a tensor in its buffer".to_owned();
            return Err(Refused::new(self, TensorError::TooLarge { what }));
        };
        let (data, device, ready) = (block.data(), block.device(), block.stream());
        let access = block.access();
        let TensorSpec { data_type, layout } = spec;
        let spec = TensorSpec { data_type, layout: layout.at_byte_offset(offset) };
        let owner = Owner::keep(KeptByTensor(self));
        // SAFETY:
        // - `spec` stays within the bytes, checked above, from where those of the block begin on;
        //   the owner keeps them. They are initialized: the block is a tensor. What is a value of a
        //   type is checked where elements are read as Rust values.
        // - The owner is `Send`, as tensors are.
        // - The pool has the block no more, and nobody reaches it through the owner, whose type
        //   nobody else can name: access is what the block's is.
        // - The data is ready where the block's is: the pool has waited for what was done since.
        let tensor = unsafe {
            ManagedTensor::from_parts(data, spec, device, access, owner)
                .map(|tensor| tensor.ready_on(ready))
        };
        tensor.map_err(|refused| {
            let (owner, error) = refused.into_parts();
            let Ok(KeptByTensor(buffer)) = owner.into_kept() else {
                unreachable!("the owner comes back as it was")
            };
            Refused::new(buffer, error)
        })
    }
}

/// A buffer that a tensor keeps, and nobody takes out while it does.
struct KeptByTensor(DeviceBuffer);

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.home.give_back(self.size, block);
        }
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pooled bytes of {}", self.bytes, self.tensor().device())
    }
}
