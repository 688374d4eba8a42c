//! Memory sets. None of them makes the host wait.

use super::super::code::{Code, Outcome};
use super::super::simulation::Simulation;
use super::super::work::{Extent, Place};

export! {
    fn cuMemsetD8_v2(cuda, to: u64, value: u8, count: usize) {
        fill(cuda, to, &[value], (0, count, 1), 0)
    }

    fn cuMemsetD16_v2(cuda, to: u64, value: u16, count: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (0, count, 1), 0)
    }

    fn cuMemsetD32_v2(cuda, to: u64, value: u32, count: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (0, count, 1), 0)
    }

    fn cuMemsetD8Async(cuda, to: u64, value: u8, count: usize, stream: usize) {
        fill(cuda, to, &[value], (0, count, 1), stream)
    }

    fn cuMemsetD16Async(cuda, to: u64, value: u16, count: usize, stream: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (0, count, 1), stream)
    }

    fn cuMemsetD32Async(cuda, to: u64, value: u32, count: usize, stream: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (0, count, 1), stream)
    }

    fn cuMemsetD2D8Async(cuda, to: u64, row: usize, value: u8, width: usize, height: usize, stream: usize) {
        fill(cuda, to, &[value], (row, width, height), stream)
    }

    fn cuMemsetD2D16Async(cuda, to: u64, row: usize, value: u16, width: usize, height: usize, stream: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (row, width, height), stream)
    }

    fn cuMemsetD2D32Async(cuda, to: u64, row: usize, value: u32, width: usize, height: usize, stream: usize) {
        fill(cuda, to, &value.to_ne_bytes(), (row, width, height), stream)
    }
}

fn fill(
    cuda: &mut Simulation,
    to: u64,
    value: &[u8],
    (row, width, height): (usize, usize, usize),
    stream: usize,
) -> Outcome {
    cuda.current()?;
    let stream = cuda.stream(stream)?;
    let width = (width as u64).checked_mul(value.len() as u64).ok_or(Code::INVALID_VALUE)?;
    let extent = Extent { width, height: height as u64, depth: 1 };
    let place = Place { start: to, row: row as u64, plane: 0 };
    cuda.fill(stream, place, extent, value.to_vec())
}
