//! `FixedSizeListArray` of numbers: rank 2, one list a row.

use std::sync::Arc;

use arrow_array::{Array, FixedSizeListArray};
use arrow_schema::Field;
use bridge_core::{
    Accepts, Description, Descriptor, Error, LayoutRule, ManagedTensor, NativeArray, Refused,
    Result, TensorSpec,
};

use crate::memory::{description, require_no_nulls, tensor_keeping};
use crate::number::{DATA_TYPES, flat, numbers_of};
use crate::{Arrow, DESCRIPTOR};

impl NativeArray<Arrow> for FixedSizeListArray {
    const ACCEPTS: Accepts = Accepts::host(DATA_TYPES).ranks(2, 2).layout(LayoutRule::RowMajor);

    fn descriptor() -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        let (first, spec) = first_and_spec(self)?;
        Ok(description(first, spec))
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        let (first, spec) = match first_and_spec(&self) {
            Ok(parts) => parts,
            Err(error) => return Err(Refused::new(self, error)),
        };
        // SAFETY: the numbers start there, one list after the other, in a buffer that the array refers to by
        // its child.
        unsafe { tensor_keeping(self, first, spec) }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        if tensor.is_kept_by::<Self>() {
            return tensor.into_owner().or_else(from_rows);
        }
        from_rows(tensor)
    }
}

/// The address of the first number, the type of all and where they lie.
fn first_and_spec(array: &FixedSizeListArray) -> Result<(*const u8, TensorSpec)> {
    let values = array.values();
    require_no_nulls(array)?;
    require_no_nulls(values)?;
    let numbers = numbers_of(values).ok_or_else(|| Error::Unsupported {
        what: format!("an Arrow list of {} as a tensor", values.data_type()),
        remedy: "cast its values to numbers first, with arrow-cast".to_owned(),
    })?;
    // Arrow checks that sizes are not negative, and that there are values for all lists.
    let columns = usize::try_from(array.value_length()).unwrap_or(0);
    let spec = TensorSpec::row_major(numbers.data_type, &[array.len(), columns])?;
    Ok((numbers.first, spec))
}

fn from_rows(tensor: ManagedTensor) -> Result<FixedSizeListArray, Refused<ManagedTensor>> {
    let &[rows, columns] = tensor.shape() else {
        let what = format!("a tensor of rank {} as a FixedSizeListArray", tensor.shape().len());
        let remedy = "reshape it to rank 2 first".to_owned();
        return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
    };
    let Ok(size) = i32::try_from(columns) else {
        let what = format!("an Arrow list of {columns} values");
        let remedy = format!("reshape it to rows of at most {} values first", i32::MAX);
        return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
    };
    let values = flat(tensor)?;
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    match FixedSizeListArray::try_new_with_length(field, size, values, None, rows) {
        Ok(array) => Ok(array),
        Err(error) => unreachable!("rows × columns values make so many lists: {error}"),
    }
}
