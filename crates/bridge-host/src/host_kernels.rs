//! Copy and cast between host tensors: what a call needs, checked before memory is touched.

use bridge_core::{
    Access, DataType, Device, Error, HostTools, Layout, ManagedTensor, Overflow, Result,
    TensorError,
};

use crate::booleans;
use crate::cast::{Rule, cast_strided};
use crate::ends::Ends;
use crate::parts::copy_parts;
use crate::runs::copy_run;
use crate::strided_copy::{Target, copy_layouts, side_by_side};
use crate::working_memory::working_memory;

/// The host tools of arraybridge: [`copy`] and [`cast`] behind [`HostTools`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostKernels;

// SAFETY: `Ok` comes only after every element of the target has been written: the loops of copy and
// cast lead to all elements of its layout, whose shape is the source's. Copying writes what the
// source holds, booleans after a look at each; every other element type has values for all bytes.
// Casting writes values encoded for the target's type, and for bool only 0 and 1.
unsafe impl HostTools for HostKernels {
    fn copy(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
        copy(source, target)
    }

    fn copy_to_new_pages(&self, source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
        copy_to(source, target, Target::New)
    }

    fn cast(
        &self,
        source: &ManagedTensor,
        target: &mut ManagedTensor,
        overflow: Overflow,
    ) -> Result<()> {
        cast(source, target, overflow)
    }

    fn copy_parts(&self, parts: &mut [(&ManagedTensor, ManagedTensor)]) -> Result<()> {
        copy_parts(parts)
    }

    fn working_memory(&self, source: (DataType, &Layout), target: (DataType, &Layout)) -> u64 {
        working_memory(source, target)
    }
}

/// Copies every element of `source` to the element of `target` with the same indices.
///
/// Both have the same shape and element type and are in host memory; their strides may be anything.
/// Tensors that are ready on a stream only are refused: synchronize first.
///
/// # Errors
///
/// [`Error::Mismatch`] where shapes or element types differ, [`Error::Unsupported`] for memory of
/// other devices, [`TensorError::NotWritable`] where `target` is read-only or shared,
/// [`TensorError::InvalidLayout`] where two elements of `target` may share memory,
/// [`TensorError::InvalidTensor`] where booleans of `source` are bytes other than 0 and 1. Nothing has
/// been written then.
pub fn copy(source: &ManagedTensor, target: &mut ManagedTensor) -> Result<()> {
    let data_type = source.data_type();
    if data_type == target.data_type()
        && is_plain(source, target)
        && !booleans::needs_check(data_type)
        && let Some(bytes) = side_by_side(source.layout(), target.layout(), data_type)
    {
        // SAFETY: as in `copy_to`; the bytes of both are those of all their elements.
        unsafe { copy_run(source.first_element(), target.first_element(), bytes) };
        return Ok(());
    }
    copy_to(source, target, Target::InUse)
}

/// As [`copy`], to a target of which something is known.
///
/// # Errors
///
/// As [`copy`].
#[inline(never)]
pub(crate) fn copy_to(
    source: &ManagedTensor,
    target: &mut ManagedTensor,
    known: Target,
) -> Result<()> {
    require_writable_like(source, target)?;
    let data_type = source.data_type();
    if data_type != target.data_type() {
        return Err(other_data_type(data_type, target.data_type()));
    }
    let ends = Ends { source: source.first_element(), target: target.first_element() };
    if booleans::needs_check(data_type) {
        let item = data_type.size_in_bytes().unwrap_or(1);
        // SAFETY: the source's elements are initialized host memory, checked above, which nobody
        // writes: a tensor's invariant.
        unsafe { booleans::check(ends.source, source.layout(), item) }?;
    }
    // SAFETY:
    // - The shapes are equal, checked, and `span` has succeeded when the tensors were made.
    // - The source's elements are initialized and nobody writes them: a tensor's invariant.
    // - The target's elements are nobody else's: its access is exclusive, checked, and it is
    //   borrowed mutably; so they do not overlap the source either. No two index tuples lead to
    //   the same one, checked.
    // - Both are host memory, checked, and the pointers lead to the elements of all-zero indices.
    unsafe { copy_layouts(ends, source.layout(), target.layout(), data_type, known) };
    Ok(())
}

#[cold]
fn other_data_type(expected: DataType, found: DataType) -> Error {
    Error::Mismatch {
        index: 1,
        what: "data type",
        expected: expected.to_string(),
        found: found.to_string(),
        remedy: "cast instead of copying",
    }
}

/// Converts every element of `source` to the element type of `target`, and writes it to the element
/// with the same indices.
///
/// Conversions to floats round to nearest, ties to even; conversions from floats to integers round
/// toward zero. `overflow` says what happens to values that are out of range. Real numbers become
/// complex numbers with an imaginary part of zero. Every value but zero becomes the boolean `true`,
/// NaN included. Between equal element types this is [`copy`].
///
/// # Errors
///
/// As [`copy`], but for the element types; [`Error::NoCast`] where no cast leads from one type to
/// the other: from complex to real, from and to opaque types and types of several lanes, and to 4-bit
/// and 6-bit floats; [`Error::ValueOutOfRange`] under [`Overflow::Refuse`]: it names the first
/// element in row-major order that does not fit, and some elements of the target may have been
/// written.
pub fn cast(source: &ManagedTensor, target: &mut ManagedTensor, overflow: Overflow) -> Result<()> {
    cast_by(source, target, overflow.into())
}

/// As [`cast`], by a rule that it may not know.
///
/// # Errors
///
/// As [`cast`].
pub(crate) fn cast_by(
    source: &ManagedTensor,
    target: &mut ManagedTensor,
    rule: Rule,
) -> Result<()> {
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
            rule,
        )
    }
}

/// Checks what copy and cast both need of their tensors.
#[inline]
fn require_writable_like(source: &ManagedTensor, target: &ManagedTensor) -> Result<()> {
    if is_plain(source, target) { Ok(()) } else { require_each(source, target) }
}

/// Whether nothing that [`require_each`] refuses can be the case. Most tensors are plain.
#[inline]
pub(crate) fn is_plain(source: &ManagedTensor, target: &ManagedTensor) -> bool {
    let (from, to) = (source.layout(), target.layout());
    let is_ready =
        |tensor: &ManagedTensor| tensor.device() == Device::CPU && tensor.stream().is_none();
    // Shapes are short: the C library's comparison would take as long as all the rest.
    from.shape().iter().eq(to.shape())
        && is_ready(source)
        && is_ready(target)
        && target.access() == Access::Exclusive
        && to.is_row_major()
}

/// As [`require_writable_like`], one requirement after the other.
#[cold]
fn require_each(source: &ManagedTensor, target: &ManagedTensor) -> Result<()> {
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
            return not_writable("other tensors share its memory; copy to new memory instead");
        }
        Access::ReadOnly => {
            return not_writable("it is read-only; copy to new memory instead");
        }
    }
    if target.layout().may_overlap() {
        return Err(Error::Tensor(TensorError::InvalidLayout {
            reason: format!(
                "elements of {:?} may share memory, so it cannot be written to; write to a tensor \
                 that is not broadcast",
                target.layout()
            ),
        }));
    }
    Ok(())
}
