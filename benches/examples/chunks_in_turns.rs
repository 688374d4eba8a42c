//! `ChunkMap` on the host beside the function called with the whole array at once, and beside one
//! chunk of all, in turns. Prints the median, and that of each peer as a multiple of it.
//!
//! `cargo run --release --package bridge-benches --example chunks_in_turns`

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::time::Instant;

use arraybridge::{Array, ManagedTensor, Registry};
use bridge_memory::chunk::{ChunkMap, ChunkPlan};

const TURNS: usize = 9;
const ITEMS: usize = 1 << 24;

/// What is done with each element.
#[derive(Clone, Copy)]
enum Work {
    /// One multiplication: as fast as memory is.
    Scale,
    /// A decaying exponential, as a fit computes.
    Decay,
}

/// New memory with the results.
fn worked(elements: &[f64], work: Work) -> Vec<f64> {
    match work {
        Work::Scale => elements.iter().map(|x| x * 2.0).collect(),
        Work::Decay => elements.iter().map(|x| (-x).exp() * 3.0 + 1.0).collect(),
    }
}

fn map(chunk: Array, work: Work) -> arraybridge::Result<Array> {
    let chunk = chunk.downcast::<ManagedTensor>()?;
    let result = worked(chunk.as_slice::<f64>()?, work);
    Ok(Array::new(ManagedTensor::from_vec(result, chunk.shape())?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::global()?;
    let elements: Vec<f64> = (0..ITEMS).map(|n| n as f64 / ITEMS as f64).collect();
    let mut array = Array::new(ManagedTensor::from_vec(elements, &[ITEMS])?);
    for (name, work) in [("scaled", Work::Scale), ("decay", Work::Decay)] {
        for chunks in [10, 100, 1000] {
            let plan = ChunkPlan::of_size(ITEMS, ITEMS.div_ceil(chunks))?;
            let whole = ChunkPlan::of_size(ITEMS, ITEMS)?;
            let mut seconds = [const { Vec::new() }; 3];
            for _ in 0..TURNS {
                let start = Instant::now();
                let run = ChunkMap::new(registry, &plan).run(array, |chunk| map(chunk, work))?;
                seconds[0].push(start.elapsed().as_secs_f64());
                drop(run.result);
                let tensor = run.array.downcast::<ManagedTensor>()?;
                let start = Instant::now();
                let result = worked(tensor.as_slice::<f64>()?, work);
                seconds[1].push(start.elapsed().as_secs_f64());
                drop(result);
                let start = Instant::now();
                let array_again = Array::new(tensor);
                let run =
                    ChunkMap::new(registry, &whole).run(array_again, |chunk| map(chunk, work))?;
                seconds[2].push(start.elapsed().as_secs_f64());
                array = run.array;
            }
            let median = |mut seconds: Vec<f64>| {
                seconds.sort_by(f64::total_cmp);
                seconds[seconds.len() / 2]
            };
            let [chunked, direct, in_one] = seconds.map(median);
            println!(
                "| {name}, {chunks} chunks | {:.1} ms | at once {:.2} | one chunk {:.2} |",
                chunked * 1e3,
                direct / chunked,
                in_one / chunked
            );
        }
    }
    Ok(())
}
