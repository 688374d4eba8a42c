//! Copy and cast between host tensors: what a call needs, checked before memory is touched.

use bridge_core::{Access, Error, HostTools, ManagedTensor, Overflow, Result, TensorError};

use crate::cast::cast_strided;
use crate::ends::Ends;
use crate::strided_copy::copy_strided;

/// The host tools of arraybridge: [`copy`] and [`cast`] behind [`HostTools`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostKernels;

// SAFETY: `Ok` comes only after every element of the target has been written: the loops of copy and
// cast lead to all elements of its layout, whose shape is the source's. Copying writes what the
// source holds, whose elements are valid; casting writes values encoded for the target's type, and
// for bool only 0 and 1.
unsafe impl HostTools for HostKernels {
    fn copy(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
        copy(source, target)
    }

    fn cast(
        &self,
        source: &ManagedTensor,
        target: &mut ManagedTensor,
        overflow: Overflow,
    ) -> Result<()> {
        cast(source, target, overflow)
    }
}

/// Writes the elements of `source` to those of `target`, whatever their strides.
///
/// Both have the same shape and element type and lie in host memory. Streams are not waited for:
/// memory that a device still writes must be ready before.
///
/// # Errors
///
/// [`Error::Mismatch`] where shapes or element types differ, [`Error::Unsupported`] for memory of
/// other devices, [`TensorError::NotWritable`] where `target` is read-only or shared,
/// [`TensorError::InvalidLayout`] where `target` repeats elements.
pub fn copy(source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
    require_writable_like(source, target)?;
    if source.data_type() != target.data_type() {
        return Err(Error::Mismatch {
            index: 1,
            what: "data type",
            expected: source.data_type().to_string(),
            found: target.data_type().to_string(),
            remedy: "cast instead of copying",
        });
    }
    // SAFETY:
    // - The shapes are equal, checked, and `span` has succeeded when the tensors were made.
    // - The source's elements are initialized and nobody writes them: a tensor's invariant.
    // - The target's elements are nobody else's: its access is exclusive, checked, and it is
    //   borrowed mutably; so they do not overlap the source either. No two index tuples lead to
    //   the same one, checked.
    // - Both are host memory, checked, and the pointers lead to the elements of all-zero indices.
    unsafe {
        copy_strided(
            source.first_element(),
            source.layout(),
            target.first_element(),
            target.layout(),
            source.data_type(),
        );
    }
    Ok(())
}

/// Writes the elements of `source` to those of `target`, converted to its element type.
///
/// Floats are rounded to nearest, ties to even, and toward zero into integers; `overflow` says what
/// becomes of values out of range. Real numbers become complex ones with an imaginary part of
/// zero. Anything but zero is the boolean `true`, NaN too, and never out of range. Where the
/// element types are equal this is [`copy`].
///
/// # Errors
///
/// As [`copy`], but for the element types; [`Error::NoCast`] where no cast leads from one type to
/// the other: from complex to real, and for opaque, vector and packed element types, except that
/// 4-bit and 6-bit floats can be cast from; [`Error::ValueOutOfRange`] under [`Overflow::Refuse`]:
/// it names the first element in row-major order that does not fit, and what the target holds then
/// is unspecified.
pub fn cast(source: &ManagedTensor, target: &mut ManagedTensor, overflow: Overflow) -> Result<()> {
    if source.data_type() == target.data_type() {
        return copy(source, target);
    }
    require_writable_like(source, target)?;
    let ends = Ends { source: source.first_element(), target: target.first_element() };
    // SAFETY: as in `copy`.
    unsafe {
        cast_strided(
            ends,
            (source.data_type(), source.layout()),
            (target.data_type(), target.layout()),
            overflow,
        )
    }
}

/// Checks what copy and cast both need of their tensors.
fn require_writable_like(source: &ManagedTensor, target: &ManagedTensor) -> Result<()> {
    if source.shape() != target.shape() {
        return Err(Error::Mismatch {
            index: 1,
            what: "shape",
            expected: format!("{:?}", source.shape()),
            found: format!("{:?}", target.shape()),
            remedy: "broadcast the source or slice the target first",
        });
    }
    source.require_host()?;
    target.require_host()?;
    let not_writable =
        |reason| Err(Error::Tensor(TensorError::NotWritable { what: "the target", reason }));
    match target.access() {
        Access::Exclusive => {}
        Access::Shared => {
            return not_writable("others hold its memory too; write to memory of its own instead");
        }
        Access::ReadOnly => {
            return not_writable("it is read-only; write to memory of its own instead");
        }
    }
    if target.layout().may_overlap() {
        return Err(Error::Tensor(TensorError::InvalidLayout {
            reason: format!(
                "the target of a copy must have every element once, {:?} may repeat some; write \
                 to a tensor that is not broadcast",
                target.layout()
            ),
        }));
    }
    Ok(())
}
