//! The kernels of bridge-cuda for the simulated driver: their own source, compiled for the CPU.
//!
//! So what a test on the simulated driver computes is what the kernels say, but for what only a GPU
//! does: running threads at once.

mod arguments;

use simulated_cuda::{Launch, SimulatedCuda};

use arguments::{AnyCast, Loops, Plain, Planes, Span, struct_of};

/// The threads of a launch, as host.cpp takes them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Grid {
    blocks: u32,
    threads_x: u32,
    threads_y: u32,
}

impl Grid {
    fn of(launch: &Launch<'_>) -> Self {
        let [blocks, ..] = launch.grid();
        let [threads_x, threads_y, _] = launch.block();
        Self { blocks, threads_x, threads_y }
    }
}

/// What a kernel answers where it may not touch memory: `CUDA_ERROR_ILLEGAL_ADDRESS`. The driver
/// has noted why.
const ILLEGAL_ADDRESS: i32 = 700;

type Outcome = Result<(), i32>;
type Copy<Shape> = unsafe extern "C" fn(Grid, *const u8, *mut u8, *const Shape);
type CastAny = unsafe extern "C" fn(
    Grid,
    *const u8,
    *mut u8,
    *const u8,
    *mut u64,
    *const AnyCast,
    *const Loops,
);
type CastHot<Shape> =
    unsafe extern "C" fn(Grid, *const u8, *mut u8, *const u8, *mut u64, u32, *const Shape);

/// Memory that a launch reads, as the address that the kernel starts from.
fn source(launch: &Launch<'_>, address: u64, span: &Span) -> Result<*const u8, i32> {
    let low = address.wrapping_add_signed(span.start as i64);
    let memory = launch.read(low, span.bytes()).ok_or(ILLEGAL_ADDRESS)?;
    Ok(memory.as_ptr().wrapping_offset(-span.start))
}

fn target(launch: &Launch<'_>, address: u64, bytes: usize) -> Result<*mut u8, i32> {
    Ok(launch.write(address, bytes).ok_or(ILLEGAL_ADDRESS)?.as_mut_ptr())
}

/// The cell for misfits, where there is one.
fn cell(launch: &Launch<'_>, address: u64) -> Result<*mut u64, i32> {
    if address == 0 {
        return Ok(std::ptr::null_mut());
    }
    target(launch, address, 8).map(<*mut u8>::cast)
}

/// What a kernel runs over, given as its last argument.
trait Shape: Plain {
    /// How many elements it leads to.
    fn count(&self) -> usize;
    /// The bytes of the source that it leads to, for elements of this size.
    fn span(&self, item: usize) -> Span;
}

impl Shape for Loops {
    fn count(&self) -> usize {
        self.count()
    }
    fn span(&self, item: usize) -> Span {
        self.span(item)
    }
}

impl Shape for Planes {
    fn count(&self) -> usize {
        self.count()
    }
    fn span(&self, item: usize) -> Span {
        self.span(item)
    }
}

/// A run without gaps of so many elements.
impl Shape for u64 {
    fn count(&self) -> usize {
        *self as usize
    }
    fn span(&self, item: usize) -> Span {
        Span::of_bytes(*self as usize * item)
    }
}

fn run_copy<S: Shape>(launch: &Launch<'_>, unit: usize, kernel: Copy<S>) -> Outcome {
    let shape: S = struct_of(launch, 2);
    let from = source(launch, launch.argument(0), &shape.span(unit))?;
    let to = target(launch, launch.argument(1), shape.count() * unit)?;
    // SAFETY: the driver gave the span of the shape to read and its elements to write.
    unsafe { kernel(Grid::of(launch), from, to, &raw const shape) };
    Ok(())
}

/// Where the whole target of a cast begins, as an address beside the part that this launch writes.
fn origin(launch: &Launch<'_>, to: *mut u8) -> *const u8 {
    let before = launch.argument::<u64>(1) - launch.argument::<u64>(2);
    to.wrapping_sub(before as usize)
}

fn run_cast_any(launch: &Launch<'_>, (): (), kernel: CastAny) -> Outcome {
    let how: AnyCast = struct_of(launch, 4);
    let loops: Loops = struct_of(launch, 5);
    let span = match how.packed_bits {
        0 => loops.span(how.from_bytes as usize),
        bits => Span::of_bytes((loops.count() * bits as usize).div_ceil(8)),
    };
    let from = source(launch, launch.argument(0), &span)?;
    let written = how.to_bytes as usize * (1 + how.widen as usize);
    let to = target(launch, launch.argument(1), loops.count() * written)?;
    let misfit = cell(launch, launch.argument(3))?;
    let origin = origin(launch, to);
    // SAFETY: the driver gave the span of the source to read, and the target's numbers and the cell,
    // where there is one, to write. The origin is not accessed.
    unsafe {
        kernel(Grid::of(launch), from, to, origin, misfit, &raw const how, &raw const loops);
    }
    Ok(())
}

fn run_hot<S: Shape>(launch: &Launch<'_>, sizes: (usize, usize), kernel: CastHot<S>) -> Outcome {
    let overflow: u32 = launch.argument(4);
    let shape: S = struct_of(launch, 5);
    let from = source(launch, launch.argument(0), &shape.span(sizes.0))?;
    let to = target(launch, launch.argument(1), shape.count() * sizes.1)?;
    let misfit = cell(launch, launch.argument(3))?;
    let origin = origin(launch, to);
    // SAFETY: as in `run_cast_any`.
    unsafe { kernel(Grid::of(launch), from, to, origin, misfit, overflow, &raw const shape) };
    Ok(())
}

/// Declares the functions of host.cpp and registers each as the kernel of its name.
macro_rules! kernels {
    ($cuda:expr, $run:ident, $type:ty, $sizes:expr, [$($name:ident $cpu:ident $given:expr),* $(,)?]) => {{
        $({
            unsafe extern "C" {
                fn $cpu();
            }
            fn kernel(launch: &Launch<'_>) -> Outcome {
                // SAFETY: host.cpp defines the function with these parameters.
                let cpu = unsafe {
                    std::mem::transmute::<unsafe extern "C" fn(), $type>($cpu)
                };
                $run(launch, $given, cpu)
            }
            $cuda.register_kernel(stringify!($name), $sizes, kernel);
        })*
    }};
}

/// Makes the simulated driver run the kernels of bridge-cuda.
pub fn register(cuda: &SimulatedCuda) {
    kernels!(cuda, run_copy, Copy<Loops>, &[8, 8, size_of::<Loops>()], [
        copy_1 cpu_copy_1 1,
        copy_2 cpu_copy_2 2,
        copy_4 cpu_copy_4 4,
        copy_8 cpu_copy_8 8,
        copy_16 cpu_copy_16 16,
    ]);
    kernels!(cuda, run_copy, Copy<Planes>, &[8, 8, size_of::<Planes>()], [
        transpose_1 cpu_transpose_1 1,
        transpose_2 cpu_transpose_2 2,
        transpose_4 cpu_transpose_4 4,
        transpose_8 cpu_transpose_8 8,
        transpose_16 cpu_transpose_16 16,
    ]);
    let any = &[8, 8, 8, 8, size_of::<AnyCast>(), size_of::<Loops>()];
    kernels!(cuda, run_cast_any, CastAny, any, [cast_any cpu_cast_any ()]);
    kernels!(cuda, run_hot, CastHot<u64>, &[8, 8, 8, 8, 4, size_of::<u64>()], [
        cast_f16_f32 cpu_cast_f16_f32 (2, 4),
        cast_f32_f16 cpu_cast_f32_f16 (4, 2),
        cast_bf16_f32 cpu_cast_bf16_f32 (2, 4),
        cast_f32_bf16 cpu_cast_f32_bf16 (4, 2),
        cast_f64_f32 cpu_cast_f64_f32 (8, 4),
        cast_f32_f64 cpu_cast_f32_f64 (4, 8),
        cast_u8_f32 cpu_cast_u8_f32 (1, 4),
        cast_f32_u8 cpu_cast_f32_u8 (4, 1),
        cast_u8_f16 cpu_cast_u8_f16 (1, 2),
        cast_i32_f32 cpu_cast_i32_f32 (4, 4),
        cast_i64_f32 cpu_cast_i64_f32 (8, 4),
        cast_i64_i32 cpu_cast_i64_i32 (8, 4),
        cast_i32_i64 cpu_cast_i32_i64 (4, 8),
        cast_f32_f8e4m3fn cpu_cast_f32_f8e4m3fn (4, 1),
        cast_f8e4m3fn_f32 cpu_cast_f8e4m3fn_f32 (1, 4),
    ]);
    kernels!(cuda, run_hot, CastHot<Loops>, &[8, 8, 8, 8, 4, size_of::<Loops>()], [
        cast_f16_f32_strided cpu_cast_f16_f32_strided (2, 4),
        cast_f32_f16_strided cpu_cast_f32_f16_strided (4, 2),
        cast_bf16_f32_strided cpu_cast_bf16_f32_strided (2, 4),
        cast_f32_bf16_strided cpu_cast_f32_bf16_strided (4, 2),
        cast_f64_f32_strided cpu_cast_f64_f32_strided (8, 4),
        cast_f32_f64_strided cpu_cast_f32_f64_strided (4, 8),
        cast_u8_f32_strided cpu_cast_u8_f32_strided (1, 4),
        cast_f32_u8_strided cpu_cast_f32_u8_strided (4, 1),
        cast_u8_f16_strided cpu_cast_u8_f16_strided (1, 2),
        cast_i32_f32_strided cpu_cast_i32_f32_strided (4, 4),
        cast_i64_f32_strided cpu_cast_i64_f32_strided (8, 4),
        cast_i64_i32_strided cpu_cast_i64_i32_strided (8, 4),
        cast_i32_i64_strided cpu_cast_i32_i64_strided (4, 8),
        cast_f32_f8e4m3fn_strided cpu_cast_f32_f8e4m3fn_strided (4, 1),
        cast_f8e4m3fn_f32_strided cpu_cast_f8e4m3fn_f32_strided (1, 4),
    ]);
    kernels!(cuda, run_hot, CastHot<Planes>, &[8, 8, 8, 8, 4, size_of::<Planes>()], [
        cast_f16_f32_transposed cpu_cast_f16_f32_transposed (2, 4),
        cast_f32_f16_transposed cpu_cast_f32_f16_transposed (4, 2),
        cast_bf16_f32_transposed cpu_cast_bf16_f32_transposed (2, 4),
        cast_f32_bf16_transposed cpu_cast_f32_bf16_transposed (4, 2),
        cast_f64_f32_transposed cpu_cast_f64_f32_transposed (8, 4),
        cast_f32_f64_transposed cpu_cast_f32_f64_transposed (4, 8),
        cast_u8_f32_transposed cpu_cast_u8_f32_transposed (1, 4),
        cast_f32_u8_transposed cpu_cast_f32_u8_transposed (4, 1),
        cast_u8_f16_transposed cpu_cast_u8_f16_transposed (1, 2),
        cast_i32_f32_transposed cpu_cast_i32_f32_transposed (4, 4),
        cast_i64_f32_transposed cpu_cast_i64_f32_transposed (8, 4),
        cast_i64_i32_transposed cpu_cast_i64_i32_transposed (8, 4),
        cast_i32_i64_transposed cpu_cast_i32_i64_transposed (4, 8),
        cast_f32_f8e4m3fn_transposed cpu_cast_f32_f8e4m3fn_transposed (4, 1),
        cast_f8e4m3fn_f32_transposed cpu_cast_f8e4m3fn_f32_transposed (1, 4),
    ]);
}

#[cfg(test)]
mod tests {
    /// The names after `.entry` in the PTX that bridge-cuda ships.
    fn entries() -> Vec<&'static str> {
        let ptx = include_str!("../../../crates/bridge-cuda/src/kernels/kernels.ptx");
        let after = ptx.split(".entry ").skip(1);
        after.filter_map(|rest| rest.split('(').next()).map(str::trim).collect()
    }

    #[test]
    fn every_kernel_of_the_ptx_is_compiled_for_the_cpu() {
        let entries = entries();
        assert!(entries.len() > 20, "{entries:?}");
        let registered = include_str!("lib.rs");
        for name in entries {
            assert!(registered.contains(&format!(" cpu_{name} ")), "{name} is not registered");
        }
    }
}
