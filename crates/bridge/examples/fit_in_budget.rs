//! A fit of more points than memory holds: Levenberg–Marquardt on 10⁸ points of `a·exp(-b·x) + c`, whose
//! arrays would take 5.6 GB, within a budget of 512 MiB.
//!
//! A cost model says what a point takes, a plan divides the points into chunks that fit, and a pool hands
//! each chunk the memory of the one before. The program fails where its memory exceeds the budget, or
//! where the parameters are others than those of a fit in memory.
//!
//! `cargo run --release -p arraybridge --example fit_in_budget`; `POINTS=1000000` takes fewer of them.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::f64::consts::TAU;
use std::ops::{Deref, Range};
use std::time::Instant;

use arraybridge::memory::budget::Budget;
use arraybridge::memory::chunk::{ChunkMap, ChunkPlan, share_of};
use arraybridge::memory::pool::{Pool, PoolOptions, PooledBuffer};
use arraybridge::memory::predict::{CostModel, LeastSquares, Solver};
use arraybridge::memory::probe::ProcessMemory;
use arraybridge::{Array, ManagedTensor, Registry, Result};

const MIB: u64 = 1 << 20;
const TRUE: Vector = [2.0, 0.5, 0.3];
const NOISE: f64 = 0.05;
const START: Vector = [1.0, 0.3, 0.0];

/// One number for each of the parameters `a`, `b` and `c`.
type Vector = [f64; 3];
type Matrix = [Vector; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let points = match std::env::var("POINTS") {
        Ok(points) => points.parse()?,
        Err(_) => 100_000_000,
    };
    let capacity = 512 * MIB;
    let peak = run(points, capacity)?;
    assert!(peak < capacity, "the process took more than its budget");
    Ok(())
}

/// Fits, prints what came of it, and says how much memory the process had at most.
fn run(points: usize, capacity: u64) -> Result<u64, Box<dyn Error>> {
    let budget = Budget::new("fit_in_budget", capacity)?;
    let pool = PoolOptions::new().within(&budget, "chunks").build();

    // What a point takes, hence how many fit a chunk. A chunk gets a quarter of the budget: it is as
    // fast as a larger one, and others can have the rest.
    let cost = LeastSquares::new(Solver::Lm, 3);
    let (fixed, per_point) = cost.fixed_and_per_item().ok_or("the model has no cost per point")?;
    let plan = ChunkPlan::exact(points, fixed, per_point, share_of(budget.capacity(), 0.25)?)?;
    println!("{points} points in {} chunks of {} MiB", plan.count(), plan.bytes_per_chunk() / MIB);

    // The points do not fit memory, so each chunk of them is made, worked on and forgotten, as if it
    // were read from a file. (`ChunkMap` below is for arrays that are there.)
    let all = Points { all: points, every: 1 };
    let mut pace = Pace::default();
    let chunked = fit(points, |parameters| {
        let mut sums = Sums::default();
        for chunk in &plan {
            sums.add(&pace.of(chunk.len(), || Sums::of(&all, chunk, parameters, &pool))?);
        }
        Ok(sums)
    })?;

    // The same loop without chunks and pool, on every so many of the points that they fit.
    let every = points.div_ceil(1_000_000).max(10);
    let few = Points { all: points, every };
    let count = few.count();
    let room = budget.consumer("in memory").reserve(cost.bytes(count as u64)?)?;
    let mut other_pace = Pace::default();
    let in_memory = fit(count, |parameters| {
        other_pace.of(count, || Sums::of(&few, 0..count, parameters, &NewMemory))
    })?;
    drop(room);

    print_table(&chunked, &in_memory);
    let (ours, others) = (pace.0, other_pace.0);
    println!(
        "| time a point and pass | {ours:.1} ns | {others:.1} ns | {:.2} times |",
        ours / others
    );
    let noise = residual_deviation(&few, &in_memory.parameters, &pool)?;
    println!("standard deviation of the residuals: {noise:.4}");
    assert!((noise / NOISE - 1.0).abs() < 5.0 / (2.0 * count as f64).sqrt());

    let peak = peak_memory()?;
    let (stats, status) = (pool.stats(), budget.status());
    println!("peak memory of the process: {} of {} MiB", peak / MIB, capacity / MIB);
    println!("reserved at most: {} MiB", status.peak / MIB);
    println!("buffers of the pool: {}, of which {} were new", stats.allocations, stats.misses);
    Ok(peak)
}

fn peak_memory() -> Result<u64, Box<dyn Error>> {
    Ok(ProcessMemory::measure()?.peak_resident.ok_or("the kernel counts no peak")?)
}

/// Points of the curve with noise. They depend on their index alone, so that they are the same in whatever
/// chunks they are made.
struct Points {
    /// How many there are.
    all: usize,
    /// Every so many of them are taken.
    every: usize,
}

impl Points {
    fn count(&self) -> usize {
        self.all.div_ceil(self.every)
    }

    /// Evenly from 0 to 10.
    fn x(&self, index: usize) -> f64 {
        10.0 * (index * self.every) as f64 / (self.all - 1).max(1) as f64
    }

    fn y(&self, index: usize) -> f64 {
        curve(&TRUE, self.x(index)) + NOISE * normal((index * self.every) as u64)
    }
}

fn curve(&[a, b, c]: &Vector, x: f64) -> f64 {
    a * (-b * x).exp() + c
}

/// A number of the standard normal distribution, by Box and Muller.
fn normal(counter: u64) -> f64 {
    let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let (radius, angle) = (uniform(mixed(2 * counter)), uniform(mixed(2 * counter + 1)));
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}

/// Bits that look random: SplitMix64, its state set to the counter's.
fn mixed(counter: u64) -> u64 {
    const SEED: u64 = 3;
    let state = (SEED + counter).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Where the arrays of a chunk come from.
trait Memory {
    type Buffer: Deref<Target = [f64]>;

    fn filled(&self, length: usize, value: impl FnMut(usize) -> f64) -> Result<Self::Buffer>;
}

impl Memory for Pool {
    type Buffer = PooledBuffer<f64>;

    fn filled(&self, length: usize, value: impl FnMut(usize) -> f64) -> Result<Self::Buffer> {
        Ok(self.uninit(length)?.write_with(value))
    }
}

struct NewMemory;

impl Memory for NewMemory {
    type Buffer = Vec<f64>;

    fn filled(&self, length: usize, value: impl FnMut(usize) -> f64) -> Result<Self::Buffer> {
        Ok((0..length).map(value).collect())
    }
}

/// The normal equations: what all points add up to, `r` being the residuals and `J` how the curve
/// changes with each parameter.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// `JᵀJ`.
    curvature: Matrix,
    /// `Jᵀr`.
    gradient: Vector,
    /// `rᵀr`.
    squares: f64,
}

impl Sums {
    /// Of a range of the points. The cost model has room for seven numbers a point; these are five,
    /// of which the pool may make a quarter more.
    fn of(
        points: &Points,
        range: Range<usize>,
        parameters: &Vector,
        memory: &impl Memory,
    ) -> Result<Self> {
        let [a, b, c] = *parameters;
        let count = range.len();
        let x = memory.filled(count, |at| points.x(range.start + at))?;
        let y = memory.filled(count, |at| points.y(range.start + at))?;
        let decay = memory.filled(count, |at| (-b * x[at]).exp())?;
        let slope = memory.filled(count, |at| -a * x[at] * decay[at])?;
        let residual = memory.filled(count, |at| y[at] - (a * decay[at] + c))?;
        let mut sums = Self::default();
        for ((&decay, &slope), &residual) in decay.iter().zip(&*slope).zip(&*residual) {
            sums.add_point([decay, slope, 1.0], residual);
        }
        Ok(sums)
    }

    fn add_point(&mut self, change: Vector, residual: f64) {
        for row in 0..3 {
            self.gradient[row] += change[row] * residual;
            for column in 0..3 {
                self.curvature[row][column] += change[row] * change[column];
            }
        }
        self.squares += residual * residual;
    }

    fn add(&mut self, other: &Self) {
        for row in 0..3 {
            self.gradient[row] += other.gradient[row];
            for column in 0..3 {
                self.curvature[row][column] += other.curvature[row][column];
            }
        }
        self.squares += other.squares;
    }

    /// How the parameters should change; the larger the damping, the less.
    fn step(&self, damping: f64) -> Vector {
        let mut damped = self.curvature;
        for (index, row) in damped.iter_mut().enumerate() {
            row[index] *= 1.0 + damping;
        }
        inverse(&damped).map(|row| (0..3).map(|at| row[at] * self.gradient[at]).sum())
    }

    fn standard_errors(&self, points: usize) -> Vector {
        let variance = self.squares / (points - 3) as f64;
        let inverse = inverse(&self.curvature);
        std::array::from_fn(|at| (variance * inverse[at][at]).sqrt())
    }
}

/// The inverse of a symmetric matrix, by its cofactors.
fn inverse(m: &Matrix) -> Matrix {
    let cofactor = |row: usize, column: usize| {
        let (r, s) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        m[r][c] * m[s][d] - m[r][d] * m[s][c]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * cofactor(0, column)).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cofactor(row, column) / determinant))
}

/// Nanoseconds a point of the fastest chunk, which other programs disturb least.
struct Pace(f64);

impl Default for Pace {
    fn default() -> Self {
        Self(f64::INFINITY)
    }
}

impl Pace {
    /// Times work on so many points.
    fn of<T>(&mut self, points: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0 = self.0.min(start.elapsed().as_secs_f64() * 1e9 / points as f64);
        done
    }
}

struct Fit {
    parameters: Vector,
    errors: Vector,
    /// How often it ran over all points.
    passes: u32,
}

/// Fits by Levenberg and Marquardt until a step is far smaller than the standard errors. `sums` runs over
/// all points.
fn fit(points: usize, mut sums: impl FnMut(&Vector) -> Result<Sums>) -> Result<Fit> {
    let (mut parameters, mut damping, mut passes) = (START, 1e-3, 1);
    let mut best = sums(&parameters)?;
    loop {
        let step = best.step(damping);
        let errors = best.standard_errors(points);
        let next = std::array::from_fn(|at| parameters[at] + step[at]);
        if (0..3).all(|at| step[at].abs() < 1e-3 * errors[at]) {
            return Ok(Fit { parameters: next, errors, passes });
        }
        let there = sums(&next)?;
        passes += 1;
        if there.squares < best.squares {
            (parameters, best, damping) = (next, there, damping / 10.0);
        } else {
            damping *= 10.0;
        }
    }
}

fn print_table(chunked: &Fit, in_memory: &Fit) {
    println!("| | in chunks | in memory | difference |");
    println!("| --- | ---: | ---: | ---: |");
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let [(value, error), (other, other_error)] =
            [chunked, in_memory].map(|fit| (fit.parameters[at], fit.errors[at]));
        let difference = (value - other).abs() / error.hypot(other_error);
        println!(
            "| {name} | {value:.6} ± {error:.6} | {other:.5} ± {other_error:.5} | {difference:.2} standard errors |"
        );
        // In standard errors of the difference, beyond one of which chance puts every third of honest parameters,
        // and beyond three one of 370: with this seed they are 0.8, 1.3 and 1.9.
        assert!(difference < 3.0, "{name} is another than in memory");
    }
    let [passes, other_passes] = [chunked, in_memory].map(|fit| fit.passes);
    println!("| passes | {passes} | {other_passes} | |");
}

/// The standard deviation of the points from the curve, which is computed chunk by chunk from an array of
/// their places.
fn residual_deviation(points: &Points, parameters: &Vector, pool: &Pool) -> Result<f64> {
    let count = points.count();
    let places = pool.filled(count, |at| points.x(at))?.into_tensor(&[count])?;
    let plan = ChunkPlan::exact(count, 0, 2 * size_of::<f64>() as u64, MIB)?;
    let mapped =
        ChunkMap::new(Registry::global()?, &plan).pool(pool).run(Array::new(places), |chunk| {
            let chunk = chunk.downcast::<ManagedTensor>()?;
            let x = chunk.as_slice::<f64>()?;
            let values = pool.filled(x.len(), |at| curve(parameters, x[at]))?;
            Ok(Array::new(values.into_tensor(&[x.len()])?))
        })?;
    let curve = mapped.result.as_slice::<f64>()?;
    let squares: f64 = (0..count).map(|at| (points.y(at) - curve[at]).powi(2)).sum();
    Ok((squares / (count - 3) as f64).sqrt())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    // The libraries that the tests link take more than this budget; the fit does not.
    let before = peak_memory()?;
    assert!(run(200_000, 32 * MIB)? - before < 32 * MIB);
    Ok(())
}
