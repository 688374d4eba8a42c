//! What a descriptor says, and what has to become of it.

use arraybridge::{DataType, Device, MAX_RANK};

/// A descriptor before its pointers lead anywhere.
#[derive(Debug, Clone)]
pub struct Descriptor {
    pub way: Way,
    pub version: (u32, u32),
    pub flags: u64,
    pub device: (u32, i32),
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub rank: i32,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
    pub byte_offset: u64,
    pub nulls: Nulls,
    /// What is done to the tensor that it becomes.
    pub view: View,
    /// What the buffer is filled with, over and over.
    pub content: Vec<u8>,
}

/// How it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Versioned,
    Legacy,
    /// A header, whose owner is a Rust value.
    Header,
}

/// Which pointers are null.
#[derive(Debug, Clone, Copy)]
pub struct Nulls {
    /// That of the whole.
    pub descriptor: bool,
    pub data: bool,
    pub shape: bool,
    pub strides: bool,
    pub deleter: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum View {
    Whole,
    Reversed,
    Sliced { axis: u8, start: u8, step: u8 },
}

/// What has to become of a descriptor.
#[derive(Debug)]
pub enum Verdict {
    /// It is refused for its version or rank, before any of its pointers is followed.
    Unread,
    /// It is refused before an element is looked at.
    Refused,
    /// It may be accepted, where its elements lie in memory.
    Within(Extent),
}

/// Where elements lie, relative to the one whose indices are all zero.
#[derive(Debug)]
pub struct Extent {
    pub data_type: DataType,
    pub device: Device,
    /// In bytes; the end is exclusive.
    pub low: i128,
    pub high: i128,
    pub count: usize,
    /// In elements.
    pub strides: Vec<i64>,
}

pub const READ_ONLY: u64 = 1;
pub const IS_COPIED: u64 = 2;
const IS_SUBBYTE_TYPE_PADDED: u64 = 4;

const HIGHEST: i128 = isize::MAX as i128;

/// Bytes as numbers, most of them small.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// Zero behind the end.
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> i64 {
        match self.byte() {
            0x80 => i64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            0x81 => i64::MAX,
            0x82 => i64::MIN,
            0x83 => 1 << (self.byte() & 63),
            small => i64::from(small.cast_signed()),
        }
    }
}

impl Descriptor {
    /// What the bytes stand for.
    pub fn read(bytes: &[u8]) -> Self {
        let mut numbers = Numbers(bytes);
        let way = match numbers.byte() % 4 {
            0 | 1 => Way::Versioned,
            2 => Way::Legacy,
            _ => Way::Header,
        };
        let nulls = numbers.byte();
        let is_null = |bit: u8| nulls >> bit & 1 == 1;
        let nulls = Nulls {
            data: is_null(0),
            shape: is_null(1),
            strides: is_null(2),
            deleter: is_null(3),
            // A header is no pointer.
            descriptor: is_null(4) && is_null(5) && way != Way::Header,
        };
        let version = (u32::from(numbers.byte()), u32::from(numbers.byte()));
        let flags = numbers.number().cast_unsigned();
        let device = (numbers.number() as u32, numbers.number() as i32);
        let (code, bits) = (numbers.byte(), numbers.byte());
        let lanes = numbers.number() as u16;
        let rank = numbers.number() as i32;
        let byte_offset = numbers.number().cast_unsigned();
        let axes = usize::try_from(rank).unwrap_or(0).min(MAX_RANK);
        let (mut shape, mut strides) = (Vec::new(), Vec::new());
        for _ in 0..axes {
            shape.push(numbers.number());
            strides.push(numbers.number());
        }
        let view = match numbers.byte() % 4 {
            0 => View::Whole,
            1 => View::Reversed,
            _ => View::Sliced { axis: numbers.byte(), start: numbers.byte(), step: numbers.byte() },
        };
        let content = numbers.0.to_vec();
        Self {
            way,
            version,
            flags,
            device,
            code,
            bits,
            lanes,
            rank,
            shape,
            strides,
            byte_offset,
            nulls,
            view,
            content,
        }
    }

    /// What has to become of it, by the rules of DLPack and by those of `ManagedTensor::from_dlpack`.
    pub fn verdict(&self) -> Verdict {
        let is_versioned = self.way == Way::Versioned;
        if self.nulls.descriptor || is_versioned && self.version.0 != 1 {
            return Verdict::Unread;
        }
        if usize::try_from(self.rank).map_or(true, |rank| rank > MAX_RANK) {
            return Verdict::Unread;
        }
        let is_padded = is_versioned && self.flags & IS_SUBBYTE_TYPE_PADDED != 0;
        let lacks_strides = self.nulls.strides && is_versioned && self.version.1 >= 2;
        let lacks_axes = self.rank > 0 && (self.nulls.shape || lacks_strides);
        let data_type = DataType::from_dlpack(self.code, self.bits, self.lanes);
        let device = Device::from_dlpack(self.device.0, self.device.1);
        match (data_type, device) {
            (Ok(data_type), Ok(device)) if !is_padded && !lacks_axes => {
                self.extent(data_type, device).map_or(Verdict::Refused, Verdict::Within)
            }
            _ => Verdict::Refused,
        }
    }

    /// Where the elements lie; `None` where they cannot all be in memory.
    fn extent(&self, data_type: DataType, device: Device) -> Option<Extent> {
        if self.shape.iter().any(|&extent| extent < 0) {
            return None;
        }
        let strides = match self.nulls.strides {
            true => self.row_major(),
            false => self.strides.clone(),
        };
        if self.shape.contains(&0) {
            return Some(Extent { data_type, device, low: 0, high: 0, count: 0, strides });
        }
        if self.nulls.data {
            return None;
        }
        let mut count = 1_i128;
        for &extent in &self.shape {
            count = count.checked_mul(extent.into()).filter(|&count| count <= HIGHEST)?;
        }
        let bits = i128::from(data_type.bits()) * i128::from(data_type.lanes());
        let (mut low, mut high) = (0, 0);
        for (&extent, &stride) in self.shape.iter().zip(&strides).filter(|(extent, _)| **extent > 1)
        {
            // 63 and 64 bits, and 24 more in bytes: it fits, also the sum of 64 axes.
            let reach = (i128::from(extent) - 1).checked_mul(stride.into())?;
            let reach = reach.checked_mul(bits).filter(|reach| reach.abs() <= HIGHEST * 8)?;
            low += reach.min(0);
            high += reach.max(0);
        }
        if bits % 8 != 0 {
            let is_row_major = self.shape.iter().zip(strides.iter().zip(self.row_major()));
            let is_row_major = is_row_major
                .fold(true, |is, (&extent, (&stride, row))| is && (extent == 1 || stride == row));
            if !is_row_major {
                return None;
            }
            (low, high) = (0, count.checked_mul(bits)? - bits);
        }
        let (low, high) = (low / 8, (high + bits + 7) / 8);
        let end = i128::from(self.byte_offset) + high;
        (high - low <= HIGHEST && end <= HIGHEST).then_some(Extent {
            data_type,
            device,
            low,
            high,
            count: usize::try_from(count).ok()?,
            strides,
        })
    }

    /// The strides that null ones stand for, as far as they fit.
    fn row_major(&self) -> Vec<i64> {
        let mut strides = vec![1_i64; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.shape[axis].max(1));
        }
        strides
    }
}
