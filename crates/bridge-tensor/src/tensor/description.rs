//! What a tensor is, without its memory.

use std::any::TypeId;

use super::Access;
use crate::data_type::DataType;
use crate::device::Device;
use crate::layout::Layout;

/// Whether a tensor's memory can change hands as an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// An allocation of the global allocator that a `Vec` could own whole; on a device, memory that
    /// is such an allocation once it is mapped back to the host.
    Movable,
    /// Kept alive by an owner that must live on.
    Kept,
}

/// What a plan needs to know of a tensor. Making one touches no element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The element type.
    pub data_type: DataType,
    /// Where the memory is.
    pub device: Device,
    /// Where the elements lie.
    pub layout: Layout,
    /// Who may write.
    pub access: Access,
    /// Whether the memory can change hands.
    pub ownership: Ownership,
    /// The largest power of two that divides the data pointer, up to a page.
    pub alignment: usize,
    /// The type of the Rust value that keeps the memory, where there is one: an array type takes
    /// its own value back.
    pub owner: Option<TypeId>,
}

/// What decides whether a tensor can be handed over as it is: a [`Description`] that borrows the
/// layout, and allocates nothing.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The element type.
    pub data_type: DataType,
    /// Where the memory is.
    pub device: Device,
    /// Where the elements lie.
    pub layout: &'a Layout,
    /// Who may write.
    pub access: Access,
    /// Whether the memory can change hands.
    pub ownership: Ownership,
    /// The largest power of two that divides the data pointer, up to a page. On devices that work
    /// with handles it says nothing: see [`DeviceKind::has_addresses`](crate::DeviceKind).
    pub alignment: usize,
}

impl Description {
    /// The same, borrowed.
    #[inline]
    pub fn facts(&self) -> Facts<'_> {
        let Self { data_type, device, ref layout, access, ownership, alignment, .. } = *self;
        Facts { data_type, device, layout, access, ownership, alignment }
    }
}
