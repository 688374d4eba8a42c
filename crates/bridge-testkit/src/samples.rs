//! Samples: tensors whose elements are known, in every arrangement that memory allows.

use std::fmt;

use bridge_core::{
    Access, DataType, HostMemory, Layout, MAX_RANK, ManagedTensor, Owner, TensorSpec,
};

use crate::counting::DropCounter;
use crate::effort::is_small;
use crate::foreign::ForeignTensor;
use crate::oracle::{bytes_of, clear_padding};
use crate::values::pattern;

/// A host tensor and what its elements are.
#[derive(Debug)]
pub struct Sample {
    /// The tensor.
    pub tensor: ManagedTensor,
    /// Its elements in row-major order, as bytes.
    pub expected: Vec<u8>,
    /// How often the owner of its memory was dropped; a vector's drop cannot be counted.
    pub drops: Option<DropCounter>,
}

/// What keeps the memory of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// An allocation that a Rust `Vec` could own.
    Vector,
    /// A Rust value whose drop is counted.
    RustOwner,
    /// A DLPack tensor that did not come from Rust, whose deleter's calls are counted.
    ForeignDeleter,
}

impl Backing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Vector, Self::RustOwner, Self::ForeignDeleter];
}

/// Where the elements of a sample lie, before there is an element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrangement {
    name: &'static str,
    shape: Vec<usize>,
    strides: Vec<isize>,
    /// Elements in memory before the one whose indices are all zero.
    start: usize,
    /// Elements that there is memory for.
    room: usize,
    /// Bytes that all elements are shifted by.
    shift: usize,
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}

impl Arrangement {
    /// The row-major arrangement of `shape`.
    pub fn row_major(shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis].max(1).cast_signed();
        }
        Self {
            name: "row-major",
            shape: shape.to_vec(),
            strides,
            start: 0,
            room: shape.iter().product(),
            shift: 0,
        }
    }

    /// Every arrangement of this rank: row-major, column-major, axes in another order, stepped,
    /// backwards, repeated, axes of extent 1 with strides that mean nothing, empty, within a longer
    /// buffer, misaligned, with spare capacity.
    pub fn of_rank(rank: usize) -> Vec<Self> {
        let extents = [3, 2, 4, 2];
        let shape: Vec<usize> = (0..rank)
            .map(|axis| extents.get(axis).copied().unwrap_or(if axis == 4 { 2 } else { 1 }))
            .collect();
        let plain = Self::row_major(&shape);
        let changed = |name, change: &dyn Fn(&mut Self)| {
            let mut other = plain.clone();
            other.name = name;
            change(&mut other);
            other
        };
        let mut all = vec![
            plain.clone(),
            changed("row-major, in a vector with spare capacity", &|it| it.room += 3),
            changed("row-major, within a longer buffer", &|it| {
                it.start = 3;
                it.room += 5;
            }),
            changed("misaligned", &|it| {
                it.room += 1;
                it.shift = 1;
            }),
        ];
        if rank == 0 {
            return all;
        }
        let last = rank - 1;
        all.extend([
            changed("stepped", &|it| {
                it.strides.iter_mut().for_each(|stride| *stride *= 2);
                it.room *= 2;
            }),
            changed("last axis backwards", &|it| {
                it.start = (it.shape[last] - 1) * it.strides[last].unsigned_abs();
                it.strides[last] = -it.strides[last];
            }),
            changed("every axis backwards", &|it| {
                it.start = it.room - 1;
                it.strides.iter_mut().for_each(|stride| *stride = -*stride);
            }),
            changed("repeated", &|it| it.strides[0] = 0),
            changed("extents of 1 with any strides", &|it| {
                let one = |axis: &usize| axis % 2 == last % 2;
                let shape: Vec<usize> =
                    (0..rank).map(|axis| if one(&axis) { 1 } else { it.shape[axis] }).collect();
                *it = Self { name: it.name, ..Self::row_major(&shape) };
                for axis in (0..rank).filter(one) {
                    it.strides[axis] = if axis % 4 < 2 { -77 } else { 12_345 };
                }
            }),
            changed("empty", &|it| {
                it.shape[last] = 0;
                it.strides[0] = -5;
                it.room = 0;
            }),
        ]);
        if rank >= 2 {
            let mut reversed: Vec<usize> = shape.clone();
            reversed.reverse();
            let mut columns = Self::row_major(&reversed);
            columns.name = "column-major";
            columns.shape.reverse();
            columns.strides.reverse();
            all.push(columns.clone());
            columns.name = "column-major, within a longer buffer";
            columns.start = 1;
            columns.room += 1;
            all.push(columns);
            all.push(changed("rows with gaps", &|it| {
                let wide = it.strides[0] + 1;
                it.strides[0] = wide;
                it.room = it.shape[0] * wide.unsigned_abs();
            }));
        }
        if rank >= 3 {
            all.push(changed("axes in another order", &|it| {
                it.shape.rotate_left(1);
                it.strides.rotate_left(1);
            }));
        }
        all
    }

    /// No elements, and strides that lead nowhere; `None` without axes.
    pub fn empty_with_any_strides(rank: usize) -> Option<Self> {
        let axes = 0..rank;
        let shape: Vec<usize> = axes.clone().map(|axis| [0, 3][axis.min(1)]).collect();
        let strides = axes.map(|axis| [12_345, -77, 0, 1][axis % 4]).collect();
        let name = "empty, with any strides";
        (rank > 0).then_some(Self { name, shape, strides, start: 0, room: 0, shift: 0 })
    }

    /// One arrangement of the highest rank there can be, or of `highest` where that is lower.
    pub fn of_highest_rank(highest: usize) -> Self {
        let mut shape = vec![1; highest.min(MAX_RANK)];
        if let Some(last) = shape.last_mut() {
            *last = 3;
        }
        Self { name: "row-major of the highest rank", ..Self::row_major(&shape) }
    }

    /// Row-major arrangements with longer axes, more elements and more axes than the others have:
    /// what a limit that is not in [`Accepts`](bridge_core::Accepts) would exclude.
    pub fn of_other_sizes(lowest: usize, highest: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for rank in lowest..=highest.min(8) {
            let shape = |long: usize, other: usize| {
                let mut shape = vec![other; rank];
                shape.iter_mut().take(1).for_each(|first| *first = long);
                shape
            };
            let mut last_long = shape(1, 1);
            last_long.iter_mut().rev().take(1).for_each(|last| *last = 1_021);
            let shapes = match rank {
                0 => vec![],
                1 => vec![shape(9, 1), shape(1_021, 1)],
                2 | 3 => vec![shape(341, 3), last_long],
                _ => vec![shape(2, 2), shape(1_021, 1), last_long],
            };
            all.extend(shapes.iter().map(|shape| Self::row_major(shape)));
        }
        if is_small() {
            all.retain(|one| one.room < 100);
        }
        all
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements there is memory for.
    pub fn room(&self) -> usize {
        self.room
    }

    /// The layout for elements of this type; `None` where they are packed and cannot lie so.
    pub fn layout(&self, data_type: DataType) -> Option<Layout> {
        let layout = Layout::new(&self.shape, &self.strides, 0).ok()?;
        match data_type.size_in_bytes() {
            Some(size) => Some(layout.at_byte_offset(self.start * size + self.shift)),
            None => {
                let compact = self.start == 0
                    && self.room == layout.element_count()
                    && self.shift == 0
                    && layout.is_row_major();
                compact.then_some(layout)
            }
        }
    }

    /// Whether elements are not aligned as their type asks.
    pub fn is_misaligned_for(&self, data_type: DataType) -> bool {
        !self.shift.is_multiple_of(data_type.alignment())
    }

    /// Whether some elements are one in memory.
    pub fn repeats_elements(&self) -> bool {
        let axes = self.shape.iter().zip(&self.strides);
        !self.shape.contains(&0)
            && axes.into_iter().any(|(&extent, &stride)| extent > 1 && stride == 0)
    }

    /// A sample in host memory that nobody else holds. Where elements repeat it is read-only.
    ///
    /// `None` where packed elements cannot lie so, and where a vector would have to begin with
    /// something else than the elements, or to be shared.
    pub fn sample(&self, data_type: DataType, backing: Backing) -> Option<Sample> {
        let access = if self.repeats_elements() { Access::ReadOnly } else { Access::Exclusive };
        self.sample_with(data_type, backing, access, Ok::<_, std::convert::Infallible>).ok()?
    }

    /// As [`sample`](Self::sample), with another access, and its memory moved elsewhere by `place`
    /// before the layout is put on it.
    ///
    /// # Errors
    ///
    /// What `place` returns.
    pub fn sample_with<E>(
        &self,
        data_type: DataType,
        backing: Backing,
        access: Access,
        place: impl FnOnce(ManagedTensor) -> Result<ManagedTensor, E>,
    ) -> Result<Option<Sample>, E> {
        let Some(layout) = self.layout(data_type) else {
            return Ok(None);
        };
        let memory = self.filled_memory(data_type);
        if backing == Backing::Vector {
            if self.start > 0 || self.shift > 0 || access == Access::Shared {
                return Ok(None);
            }
            let mut tensor = host_tensor(memory, TensorSpec { data_type, layout });
            if access == Access::ReadOnly {
                tensor = tensor.into_read_only();
            }
            return Ok(Some(Sample { expected: bytes_of(&tensor), tensor, drops: None }));
        }
        let expected = {
            let spec = TensorSpec { data_type, layout: layout.clone() };
            bytes_of(&host_tensor(self.filled_memory(data_type), spec))
        };
        let room = match data_type.size_in_bytes() {
            Some(size) => vec![memory.size() / size],
            None => self.shape.clone(),
        };
        let flat = TensorSpec::row_major(data_type, &room).expect("samples are small");
        let base = place(host_tensor(memory, flat))?;
        let drops = DropCounter::new();
        let tensor = match backing {
            Backing::ForeignDeleter => {
                ForeignTensor::over(base, &layout, access, &drops).into_managed()
            }
            Backing::RustOwner | Backing::Vector => {
                let (data, device, stream) = (base.data(), base.device(), base.stream());
                let spec = TensorSpec { data_type, layout };
                let owner = Owner::keep((base, drops.token()));
                // SAFETY: the memory of `base` has room for the layout, is filled, may be dropped
                // anywhere, and is nobody else's, so every access is true.
                let tensor =
                    unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) }
                        .expect("the arrangement fits its memory");
                // SAFETY: it is the stream of `base`, which the owner keeps.
                unsafe { tensor.ready_on(stream) }
            }
        };
        Ok(Some(Sample { tensor, expected, drops: Some(drops) }))
    }

    /// Memory with a known value in every place of an element, also between those of the layout.
    fn filled_memory(&self, data_type: DataType) -> HostMemory {
        let bytes = match data_type.size_in_bytes() {
            Some(size) => {
                let mut bytes: Vec<u8> = match self.shift {
                    0 => Vec::new(),
                    shift => vec![1; shift],
                };
                let slots = self.room - usize::from(self.shift > 0);
                bytes.extend((0..slots).flat_map(|slot| pattern(data_type, slot)));
                bytes.resize(self.room * size, 1);
                bytes
            }
            None => {
                let bits = self.room * data_type.size_in_bits();
                let mut bytes: Vec<u8> =
                    (0..bits.div_ceil(8)).flat_map(|slot| pattern(DataType::U8, slot)).collect();
                clear_padding(&mut bytes, bits);
                bytes
            }
        };
        let memory = HostMemory::zeroed(bytes.len(), data_type.alignment())
            .expect("there is memory for a sample");
        // SAFETY: the block has this size, and is not `bytes`.
        unsafe { memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        memory
    }
}

/// A row-major host tensor of these numbers, 0 to 3, which every number type holds exactly.
/// `None` where the type does not hold one of them.
pub fn small_numbers(
    data_type: DataType,
    shape: &[usize],
    numbers: &[u8],
) -> Option<ManagedTensor> {
    let count = shape.iter().product();
    let bytes: Option<Vec<Vec<u8>>> = (0..count)
        .map(|index| crate::values::small_number(data_type, numbers[index % numbers.len()]))
        .collect();
    tensor_of(data_type, shape, &bytes?.concat())
}

/// A row-major host tensor of these bytes, which are valid elements. `None` where there is none of
/// this shape.
pub(crate) fn tensor_of(
    data_type: DataType,
    shape: &[usize],
    bytes: &[u8],
) -> Option<ManagedTensor> {
    let spec = TensorSpec::row_major(data_type, shape).ok()?;
    if spec.layout.compact_bytes(data_type).ok()? != bytes.len() {
        return None;
    }
    let memory = HostMemory::zeroed(bytes.len(), data_type.alignment()).ok()?;
    // SAFETY: the block has this size, and is not `bytes`.
    unsafe { memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Some(host_tensor(memory, spec))
}

/// A host tensor of initialized memory.
fn host_tensor(memory: HostMemory, spec: TensorSpec) -> ManagedTensor {
    // SAFETY: every caller has filled the memory, with valid values of the element type.
    unsafe { ManagedTensor::from_host_memory(memory, spec) }.expect("the layout fits its memory")
}
