//! Where the elements of an array lie, checked.

use std::ffi::{CStr, c_void};
use std::ops::Range;

use bridge_core::{Device, Error, Layout, MAX_RANK, Result, Shape, TensorSpec};

use super::formats::Format;
use super::invalid;
use super::structs::{Array, Schema};

/// The elements of an array.
pub(super) struct Elements {
    pub(super) spec: TensorSpec,
    /// The buffer that they lie in; the first is at the layout's byte offset.
    pub(super) data: *mut c_void,
}

impl Elements {
    /// # Errors
    ///
    /// Where the array is no array of numbers without nulls, or contradicts itself.
    ///
    /// # Safety
    ///
    /// Both structures are Arrow's, and the second describes an array on `device` of the type that the first names.
    pub(super) unsafe fn of(schema: &Schema, array: &Array, device: Device) -> Result<Self> {
        let mut shape = Shape::new();
        let (mut schema, mut array) = (schema, array);
        check_whole(schema, array)?;
        let length = counted(array.length, "length")?;
        // The places in the buffers of the level that is looked at.
        let mut places = within(array, 0..length)?;
        shape.push(length);
        loop {
            // SAFETY: the format of a schema that is not released is text that ends, as the caller promises.
            let format = unsafe { CStr::from_ptr(schema.format) }.to_bytes();
            let format = Format::of(format)?;
            let buffers = if matches!(format, Format::Lists(_)) { 1 } else { 2 };
            if array.n_buffers != buffers {
                let found = array.n_buffers;
                return Err(invalid(&format!("it has {found} buffers, and needs {buffers}")));
            }
            if array.buffers.is_null() {
                return Err(invalid("its buffers are null"));
            }
            // SAFETY: there are as many buffers as the array counts, and the first is that of the nulls, with a bit
            // for each place of the array, as the caller promises.
            unsafe { check_nulls(array, array.buffers.read().cast(), &places, device) }?;
            match format {
                Format::Numbers(data_type) => {
                    let item = data_type.size_in_bytes().unwrap_or(1);
                    let offset = places.start.checked_mul(item).ok_or_else(too_large)?;
                    let layout = Layout::row_major(&shape)?.at_byte_offset(offset);
                    layout.span(data_type)?;
                    // SAFETY: there are two buffers, checked.
                    let data = unsafe { array.buffers.add(1).read() }.cast_mut();
                    if data.is_null() && !layout.is_empty() {
                        return Err(invalid(&format!(
                            "its elements' buffer is null, but {layout:?} has elements"
                        )));
                    }
                    return Ok(Self { spec: TensorSpec { data_type, layout }, data });
                }
                Format::Lists(extent) => {
                    if shape.len() == MAX_RANK {
                        return Err(invalid(&format!("it has more than {MAX_RANK} axes")));
                    }
                    shape.push(extent);
                    // SAFETY: a list has one child, which `only_child` checks.
                    (schema, array) = unsafe { only_child(schema, array) }?;
                    check_whole(schema, array)?;
                    let (start, end) =
                        (places.start.checked_mul(extent), places.end.checked_mul(extent));
                    let wanted = start.zip(end).ok_or_else(too_large)?;
                    places = within(array, wanted.0..wanted.1)?;
                }
            }
        }
    }
}

/// Checks that neither structure was released, and that the elements are not kept elsewhere.
fn check_whole(schema: &Schema, array: &Array) -> Result<()> {
    if schema.release.is_none() || array.release.is_none() {
        return Err(invalid(
            "it has been released, or taken by somebody else already; each call of its method has to \
             make new capsules",
        ));
    }
    if schema.format.is_null() {
        return Err(invalid("its format is null"));
    }
    if !schema.dictionary.is_null() || !array.dictionary.is_null() {
        return Err(Error::Unsupported {
            what: "an array of Arrow whose elements lie in a dictionary".to_owned(),
            remedy: "decode it: `array.dictionary_decode()`, or hand `array.indices` over"
                .to_owned(),
        });
    }
    Ok(())
}

/// The places in the buffers of `wanted` elements of an array, all of which it has.
fn within(array: &Array, wanted: Range<usize>) -> Result<Range<usize>> {
    let (length, offset) = (counted(array.length, "length")?, counted(array.offset, "offset")?);
    if wanted.end > length {
        return Err(invalid(&format!(
            "its lists need {} elements, and there are {length}",
            wanted.end
        )));
    }
    let (start, end) = (wanted.start.checked_add(offset), wanted.end.checked_add(offset));
    start.zip(end).map(|(start, end)| start..end).ok_or_else(too_large)
}

/// Checks that no element at these places is null.
///
/// # Safety
///
/// `bits` is null, or leads on `device` to as many bits as the array has places.
unsafe fn check_nulls(
    array: &Array,
    bits: *const u8,
    places: &Range<usize>,
    device: Device,
) -> Result<()> {
    let nulls = match array.null_count {
        ..=-2 => return Err(invalid(&format!("its count of nulls is {}", array.null_count))),
        0 => false,
        1.. if bits.is_null() => {
            return Err(invalid(&format!(
                "it has {} nulls, but no buffer that says where",
                array.null_count
            )));
        }
        _ if bits.is_null() || places.is_empty() => false,
        1.. if places.len() as u64 == array.length.cast_unsigned() => true,
        _ if device.kind().is_host_accessible() => {
            // SAFETY: the places are those of the array, for each of which there is a bit on the host.
            unsafe { has_zero(bits, places) }
        }
        1.. => true,
        _ => {
            return Err(Error::Unsupported {
                what: format!("an array of Arrow on {device} whose nulls nobody has counted"),
                remedy: "count them first in its own library: `array.null_count`".to_owned(),
            });
        }
    };
    if !nulls {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "an array of Arrow with nulls".to_owned(),
        remedy: "fill them, `array.fill_null(0)`, or leave them out, `array.drop_null()`"
            .to_owned(),
    })
}

/// Whether any bit at these places is 0.
///
/// # Safety
///
/// `bits` leads to as many bits, the least of each byte first.
unsafe fn has_zero(bits: *const u8, places: &Range<usize>) -> bool {
    (places.start / 8..places.end.div_ceil(8)).any(|index| {
        let first = index * 8;
        let before = places.start.saturating_sub(first).min(8);
        let after = (first + 8).saturating_sub(places.end).min(8);
        let asked = (0xff_u32 << before) & (0xff_u32 >> after) & 0xff;
        // SAFETY: one of the byte's bits is asked for, so the byte is there.
        let found = u32::from(unsafe { bits.add(index).read() });
        found & asked != asked
    })
}

/// The child of a list, and its type.
///
/// # Safety
///
/// Both structures are Arrow's, and have as many children as they count.
unsafe fn only_child<'a>(schema: &'a Schema, array: &'a Array) -> Result<(&'a Schema, &'a Array)> {
    let counted = schema.n_children == 1 && array.n_children == 1;
    if !counted || schema.children.is_null() || array.children.is_null() {
        let (types, arrays) = (schema.n_children, array.n_children);
        return Err(invalid(&format!("a list has {types} types and {arrays} arrays as children")));
    }
    // SAFETY: each has one child, which lives as long as it does, as the caller promises; null is told apart.
    let children = unsafe { (schema.children.read().as_ref(), array.children.read().as_ref()) };
    let (Some(schema), Some(array)) = children else {
        return Err(invalid("the child of a list is null"));
    };
    Ok((schema, array))
}

fn counted(number: i64, what: &str) -> Result<usize> {
    usize::try_from(number).map_err(|_| invalid(&format!("its {what} is {number}")))
}

fn too_large() -> Error {
    invalid("its elements lie beyond the address space")
}
