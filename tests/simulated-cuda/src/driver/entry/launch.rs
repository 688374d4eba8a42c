//! Launches, and what fits on a multiprocessor.

use std::ffi::{c_int, c_void};

use super::super::arguments::{In, Out};
use super::super::code::Code;

export! {
    fn cuLaunchKernel(
        cuda, function: usize, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32,
        block_z: u32, shared: u32, stream: usize, parameters: In<usize>, extra: *mut c_void,
    ) {
        let (function, stream) = (cuda.function(function)?, cuda.stream(stream)?);
        if !extra.is_null() {
            return Err(Code::NOT_SUPPORTED);
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        cuda.launch(function, grid, block, stream, &parameters)
    }

    fn cuLaunchCooperativeKernel(
        cuda, function: usize, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32,
        block_z: u32, shared: u32, stream: usize, parameters: In<usize>,
    ) {
        let (function, stream) = (cuda.function(function)?, cuda.stream(stream)?);
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        cuda.launch(function, grid, block, stream, &parameters)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(cuda, blocks: Out<c_int>, function: usize, threads: c_int, shared: usize) {
        cuda.function(function)?;
        blocks.set(1024 / threads.clamp(1, 1024))
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(cuda, blocks: Out<c_int>, function: usize, threads: c_int, shared: usize, flags: u32) {
        cuda.function(function)?;
        blocks.set(1024 / threads.clamp(1, 1024))
    }

    fn cuOccupancyMaxPotentialBlockSize(cuda, grid: Out<c_int>, threads: Out<c_int>, function: usize, dynamic: *mut c_void, shared: usize, limit: c_int) {
        cuda.function(function)?;
        grid.set(4)?;
        threads.set(if limit == 0 { 1024 } else { limit.clamp(1, 1024) })
    }

    fn cuProfilerStart(cuda) {
        cuda.current().map(drop)
    }

    fn cuProfilerStop(cuda) {
        cuda.current().map(drop)
    }
}
