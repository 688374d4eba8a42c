//! Quantised blocks, read as float32: candle computes them.

use std::io::{self, Read};

use super::kinds::Blocks;
use crate::failure::{Failure, Outcome};

/// Elements that are computed at a time, of whole blocks of every kind.
const CHUNK: usize = 4 << 10;

/// The elements of blocks, one after the other, as the bytes of float32.
pub(in crate::formats) struct Dequantized<'a> {
    blocks: &'a [u8],
    kind: Blocks,
    ready: Vec<u8>,
    /// How much of what is ready has been read.
    read: usize,
}

impl<'a> Dequantized<'a> {
    /// Of the blocks from `start` on that are read as so many bytes of float32.
    pub(in crate::formats) fn new(
        file: &'a [u8],
        start: usize,
        bytes: usize,
        kind: Blocks,
    ) -> Outcome<Self> {
        let (elements, size) = kind.size();
        let end = (bytes / size_of::<f32>() / elements).saturating_mul(size).saturating_add(start);
        let blocks = file
            .get(start..end)
            .ok_or_else(|| Failure::new("the blocks reach beyond the end of the file").damaged())?;
        Ok(Self { blocks, kind, ready: Vec::new(), read: 0 })
    }
}

impl Read for Dequantized<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.ready.len() {
            let (elements, bytes) = self.kind.size();
            let (now, rest) =
                self.blocks.split_at((CHUNK / elements * bytes).min(self.blocks.len()));
            self.blocks = rest;
            self.ready = dequantized(now, self.kind)?;
            self.read = 0;
        }
        let count = (&self.ready[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

#[cfg(feature = "candle")]
fn dequantized(blocks: &[u8], kind: Blocks) -> io::Result<Vec<u8>> {
    use std::borrow::Cow;

    use candle_core::Device;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};

    let dtype = match kind {
        Blocks::Q4_0 => GgmlDType::Q4_0,
        Blocks::Q4_1 => GgmlDType::Q4_1,
        Blocks::Q5_0 => GgmlDType::Q5_0,
        Blocks::Q5_1 => GgmlDType::Q5_1,
        Blocks::Q8_0 => GgmlDType::Q8_0,
        Blocks::Q8_1 => GgmlDType::Q8_1,
        Blocks::Q2_K => GgmlDType::Q2K,
        Blocks::Q3_K => GgmlDType::Q3K,
        Blocks::Q4_K => GgmlDType::Q4K,
        Blocks::Q5_K => GgmlDType::Q5K,
        Blocks::Q6_K => GgmlDType::Q6K,
        Blocks::Q8_K => GgmlDType::Q8K,
    };
    let (elements, bytes) = kind.size();
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    // candle reads them in place, and asks for words of four bytes to lie at multiples of four.
    let mut words = vec![0_u32; blocks.len().div_ceil(4)];
    let copy: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    copy[..blocks.len()].copy_from_slice(blocks);
    let copy = Cow::Borrowed(&copy[..blocks.len()]);
    let computed = QStorage::from_data(copy, &Device::Cpu, dtype)
        .and_then(|storage| QTensor::new(storage, blocks.len() / bytes * elements))
        .and_then(|tensor| tensor.dequantize(&Device::Cpu))
        .and_then(|tensor| tensor.to_vec1::<f32>());
    let numbers = computed.map_err(io::Error::other)?;
    Ok(bytemuck::cast_slice(&numbers).to_vec())
}

#[cfg(not(feature = "candle"))]
fn dequantized(_: &[u8], _: Blocks) -> io::Result<Vec<u8>> {
    Err(io::Error::other("this program was built without the feature candle, which computes them"))
}
