//! Structured element types: each field of the records becomes an array of its own.

use std::collections::HashSet;

use arraybridge::{DataType, MAX_RANK, TensorSpec};

use super::LONGEST_HEADER;
use super::data_types::{bytes_of, data_type_of};
use super::dictionary::{Descr, Field, RENAME_FIELDS};
use crate::failure::{Failure, Outcome};
use crate::formats::arrays::Scattered;

/// Fields of a header, also those that have fields themselves or are the space between others. Some
/// bytes of a header make an array each.
const MOST_FIELDS: usize = 1 << 16;

/// Bytes of the names of all fields. Those of the records around a field are part of its name, so that few
/// bytes of a header make many of names.
pub(super) const LONGEST_NAMES: usize = 4 * LONGEST_HEADER;

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

/// What records are made of.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) arrays: Vec<FieldArray>,
    /// Fields whose elements are no numbers, and why each is not read. There is an array besides.
    pub(super) refused: Vec<(String, Failure)>,
    /// Bytes of all records.
    pub(super) length: usize,
}

/// The arrays that the fields of an array's records are.
pub(super) fn arrays_of(
    fields: &[Field],
    shape: &[usize],
    fortran_order: bool,
) -> Outcome<Records> {
    let mut leaves = Leaves::default();
    let record = leaves.add_all(fields, shape.len())?;
    let (strides, length) =
        strides_of(shape, record, fortran_order).ok_or_else(|| too_large(shape))?;
    let outer = Run { shape: shape.to_vec(), strides, offset: 0 };
    let mut names = HashSet::with_capacity(leaves.found.len());
    if let Some((twice, ..)) = leaves.found.iter().find(|(name, ..)| !names.insert(name)) {
        return Err(Failure::new(format!("two fields of the records are named \"{twice}\""))
            .why("one of them would be lost")
            .remedy(format!("rename one of them, {RENAME_FIELDS}")));
    }
    let mut arrays: Vec<FieldArray> = Vec::with_capacity(leaves.found.len());
    let mut refused = Vec::new();
    for (name, inner, kind) in leaves.found {
        let within = |failure: Failure| failure.within(&format!("the field \"{name}\""));
        let (data_type, swapped) = match kind.map_err(within) {
            Ok(kind) => kind,
            Err(failure) => {
                refused.push((name, failure));
                continue;
            }
        };
        let Run { shape, strides, offset } =
            outer.followed_by(&inner).ok_or_else(|| too_far(&name))?;
        let spec =
            TensorSpec::row_major(data_type, &shape).map_err(|_| within(too_large(&shape)))?;
        arrays.push(FieldArray {
            name,
            spec,
            swapped,
            scattered: Scattered { strides, offset, length },
        });
    }
    if let ([], [(_, first), ..]) = (arrays.as_slice(), refused.as_slice()) {
        return Err(first.clone());
    }
    if arrays.is_empty() {
        return Err(Failure::new("the array has records without fields")
            .why("there is nothing in it to convert")
            .remedy("save what the records are made of as arrays of their own"));
    }
    Ok(Records { arrays, refused, length })
}

fn too_large(shape: &[usize]) -> Failure {
    Failure::new(format!("the header declares the shape {shape:?}"))
        .why("the records together exceed the address space")
        .remedy("the header is forged or damaged: write the file again")
        .damaged()
}

fn too_far(name: &str) -> Failure {
    Failure::new(format!("the field \"{name}\" of the records ends beyond the address space"))
        .why("the header declares records that are wider than any memory")
        .remedy("the header is forged or damaged: write the file again")
        .damaged()
}

/// Axes, bytes from one index of each to the next, and where the first element lies.
#[derive(Debug, Clone, Default)]
struct Run {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Run {
    /// These axes with others within, where that is not beyond the address space.
    fn followed_by(&self, inner: &Self) -> Option<Self> {
        Some(Self {
            shape: [&self.shape[..], &inner.shape].concat(),
            strides: [&self.strides[..], &inner.strides].concat(),
            offset: sum(self.offset, inner.offset)?,
        })
    }
}

/// The sum, where so many bytes can be in the address space.
fn sum(a: usize, b: usize) -> Option<usize> {
    a.checked_add(b).filter(|&sum| isize::try_from(sum).is_ok())
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
#[derive(Default)]
struct Leaves {
    found: Vec<(String, Run, Kind)>,
    /// The name of the field that is looked at, with those around it.
    path: String,
    /// How many fields there were.
    fields: usize,
    /// Bytes of all names found.
    names: usize,
}

impl Leaves {
    /// Adds the fields of a record within `rank` axes, and answers bytes of the record.
    fn add_all(&mut self, fields: &[Field], rank: usize) -> Outcome<usize> {
        let mut size = 0_usize;
        let around = self.path.len();
        for field in fields {
            self.path.push_str(&field.name);
            self.count()?;
            let rank = rank + field.shape.len();
            if rank > MAX_RANK {
                return Err(self.too_many_axes());
            }
            let mut before = std::mem::take(&mut self.found);
            let item = self.add(field, rank)?;
            let (strides, bytes) =
                strides_of(&field.shape, item, false).ok_or_else(|| too_large(&field.shape))?;
            let here = Run { shape: field.shape.clone(), strides, offset: size };
            for (name, run, _) in &mut self.found {
                *run = here.followed_by(run).ok_or_else(|| too_far(name))?;
            }
            before.append(&mut self.found);
            self.found = before;
            size = sum(size, bytes).ok_or_else(|| too_far(&self.path))?;
            self.path.truncate(around);
        }
        Ok(size)
    }

    /// Adds the field that is looked at or those within, and answers bytes of one of its elements.
    fn add(&mut self, field: &Field, rank: usize) -> Outcome<usize> {
        match &field.descr {
            Descr::Plain(text) => {
                let item = bytes_of(text)?;
                // What has no name is the space that aligns the next field.
                if !field.name.is_empty() {
                    self.names += self.path.len();
                    if self.names > LONGEST_NAMES {
                        return Err(too_long_names());
                    }
                    self.found.push((self.path.clone(), Run::default(), data_type_of(text)));
                }
                Ok(item)
            }
            Descr::Fields(fields) => {
                let length = self.path.len();
                self.path.push('.');
                let item = self.add_all(fields, rank)?;
                self.path.truncate(length);
                Ok(item)
            }
        }
    }

    fn count(&mut self) -> Outcome<()> {
        self.fields += 1;
        if self.fields <= MOST_FIELDS {
            return Ok(());
        }
        Err(Failure::new(format!("the records have more than {MOST_FIELDS} fields"))
            .why("each becomes an array of its own, and a forged header could make more than fit in memory")
            .remedy(
                "save fields of one type as one array, in Python: \
                 from numpy.lib.recfunctions import structured_to_unstructured; \
                 numpy.save(path, structured_to_unstructured(a))",
            ))
    }

    fn too_many_axes(&self) -> Failure {
        Failure::new(format!("the field \"{}\" has more than {MAX_RANK} axes", self.path))
            .why("those of the records around it are its own, too")
            .remedy(
                "save the records that it is in as an array of their own, with fewer axes: \
                 numpy.save(path, a.reshape(-1))",
            )
    }
}

pub(super) fn too_long_names() -> Failure {
    Failure::new(format!("the names of the fields are longer than {LONGEST_NAMES} bytes together"))
        .why("a field within records is named after all that are around it")
        .remedy(format!("give the outer fields shorter names, {RENAME_FIELDS}"))
}
