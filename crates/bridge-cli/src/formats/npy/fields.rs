//! Structured element types: each field of the records becomes an array of its own.

use arraybridge::{DataType, TensorSpec};

use super::data_types::{bytes_of, data_type_of};
use super::dictionary::{Descr, Field};
use crate::failure::{Failure, Outcome};
use crate::formats::arrays::Scattered;

/// An array that a field of the records is.
#[derive(Debug)]
pub(in crate::formats) struct FieldArray {
    /// The names of the field and those around it, joined by dots.
    pub(in crate::formats) name: String,
    pub(in crate::formats) spec: TensorSpec,
    pub(in crate::formats) swapped: Option<usize>,
    /// Where its elements lie among the records.
    pub(in crate::formats) scattered: Scattered,
}

/// The arrays that the fields of an array's records are, and bytes of all records.
pub(super) fn arrays_of(
    fields: &[Field],
    shape: &[usize],
    fortran_order: bool,
) -> Outcome<(Vec<FieldArray>, usize)> {
    let mut leaves = Leaves { found: Vec::new() };
    let record = leaves.add_all(fields, "")?;
    let (strides, length) =
        strides_of(shape, record, fortran_order).ok_or_else(|| too_large(shape))?;
    let outer = Run { shape: shape.to_vec(), strides, offset: 0 };
    let mut arrays: Vec<FieldArray> = Vec::with_capacity(leaves.found.len());
    for (name, inner, kind) in leaves.found {
        if arrays.iter().any(|array| array.name == name) {
            return Err(Failure::new(format!("two fields of the records are named \"{name}\""))
                .why("one of them would be lost")
                .remedy("rename one of them: numpy.lib.recfunctions.rename_fields(a, {...})"));
        }
        let within = |failure: Failure| failure.within(&format!("the field \"{name}\""));
        let (data_type, swapped) = kind.map_err(within)?;
        let Run { shape, strides, offset } = outer.followed_by(&inner);
        let spec = TensorSpec::row_major(data_type, &shape)
            .map_err(|error| within(Failure::from(error)))?;
        arrays.push(FieldArray {
            name,
            spec,
            swapped,
            scattered: Scattered { strides, offset, length },
        });
    }
    if arrays.is_empty() {
        return Err(Failure::new("the array has records without fields")
            .why("there is nothing in it to convert")
            .remedy("save what the records are made of as arrays of their own"));
    }
    Ok((arrays, length))
}

fn too_large(shape: &[usize]) -> Failure {
    Failure::new(format!("the header declares the shape {shape:?}"))
        .why("the records together exceed the address space")
        .remedy("the header is forged or damaged: write the file again")
}

/// Axes, bytes from one index of each to the next, and where the first element lies.
#[derive(Debug, Clone, Default)]
struct Run {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Run {
    /// These axes with others within.
    fn followed_by(&self, inner: &Self) -> Self {
        Self {
            shape: [&self.shape[..], &inner.shape].concat(),
            strides: [&self.strides[..], &inner.strides].concat(),
            offset: self.offset + inner.offset,
        }
    }
}

/// Bytes between neighbours along each axis of elements of `size` bytes without gaps, and of all of them.
fn strides_of(shape: &[usize], size: usize, fortran_order: bool) -> Option<(Vec<usize>, usize)> {
    let mut strides = vec![0; shape.len()];
    let mut bytes = size;
    let mut axes: Vec<usize> = (0..shape.len()).collect();
    if !fortran_order {
        axes.reverse();
    }
    for axis in axes {
        strides[axis] = bytes;
        // An axis without elements does not make those around it smaller, until the end.
        bytes = bytes.checked_mul(shape[axis].max(1))?;
    }
    isize::try_from(bytes).ok()?;
    Some((strides, if shape.contains(&0) { 0 } else { bytes }))
}

/// What is said of a field's elements: their type, and bytes of the numbers to swap.
type Kind = Outcome<(DataType, Option<usize>)>;

/// The fields that have no fields themselves.
struct Leaves {
    found: Vec<(String, Run, Kind)>,
}

impl Leaves {
    /// Adds the fields of a record, whose names follow `prefix`, and answers bytes of the record.
    fn add_all(&mut self, fields: &[Field], prefix: &str) -> Outcome<usize> {
        let mut size = 0_usize;
        for field in fields {
            let name = format!("{prefix}{}", field.name);
            let mut before = std::mem::take(&mut self.found);
            let item = match &field.descr {
                Descr::Plain(text) => {
                    let item = bytes_of(text)?;
                    // What has no name is the space that aligns the next field.
                    if !field.name.is_empty() {
                        self.found.push((name, Run::default(), data_type_of(text)));
                    }
                    item
                }
                Descr::Fields(fields) => self.add_all(fields, &format!("{name}."))?,
            };
            let (strides, bytes) =
                strides_of(&field.shape, item, false).ok_or_else(|| too_large(&field.shape))?;
            let here = Run { shape: field.shape.clone(), strides, offset: size };
            for (_, run, _) in &mut self.found {
                *run = here.followed_by(run);
            }
            before.append(&mut self.found);
            self.found = before;
            size = size.checked_add(bytes).ok_or_else(|| too_large(&field.shape))?;
        }
        Ok(size)
    }
}
