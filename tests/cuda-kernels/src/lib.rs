//! The kernels of bridge-cuda for the simulated driver: their own source, compiled for the CPU.
//!
//! So what a test on the simulated driver computes is what the kernels say, but for what only a GPU
//! does: running threads at once.

mod arguments;

use simulated_cuda::{Launch, SimulatedCuda};

use arguments::{Cast, Loops, Planes, Span, struct_of};

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
type CastAny = unsafe extern "C" fn(Grid, *const u8, *mut u8, *mut u64, *const Cast, *const Loops);
type CastDense = unsafe extern "C" fn(Grid, *const u8, *mut u8, *mut u64, u64, u32);

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

fn run_copy(launch: &Launch<'_>, unit: usize, kernel: Copy<Loops>) -> Outcome {
    let loops: Loops = struct_of(launch, 2);
    let from = source(launch, launch.argument(0), &loops.span(unit))?;
    let to = target(launch, launch.argument(1), loops.count() * unit)?;
    // SAFETY: the driver gave the span of the loops to read and their elements to write.
    unsafe { kernel(Grid::of(launch), from, to, &raw const loops) };
    Ok(())
}

fn run_transpose(launch: &Launch<'_>, unit: usize, kernel: Copy<Planes>) -> Outcome {
    let planes: Planes = struct_of(launch, 2);
    let from = source(launch, launch.argument(0), &planes.span(unit))?;
    let to = target(launch, launch.argument(1), planes.count() * unit)?;
    // SAFETY: the driver gave the span of the planes to read and their elements to write.
    unsafe { kernel(Grid::of(launch), from, to, &raw const planes) };
    Ok(())
}

fn run_cast(launch: &Launch<'_>, kernel: CastAny) -> Outcome {
    let how: Cast = struct_of(launch, 3);
    let loops: Loops = struct_of(launch, 4);
    let span = match how.packed_bits {
        0 => loops.span(how.from_bytes as usize),
        bits => Span::of_bytes((loops.count() * bits as usize).div_ceil(8)),
    };
    let from = source(launch, launch.argument(0), &span)?;
    let written = how.to_bytes as usize * (1 + how.widen as usize);
    let to = target(launch, launch.argument(1), loops.count() * written)?;
    let misfit = cell(launch, launch.argument(2))?;
    // SAFETY: the driver gave the span of the source to read, and the target's numbers and the cell,
    // where there is one, to write.
    unsafe { kernel(Grid::of(launch), from, to, misfit, &raw const how, &raw const loops) };
    Ok(())
}

fn run_dense(launch: &Launch<'_>, sizes: (usize, usize), kernel: CastDense) -> Outcome {
    let (count, overflow): (u64, u32) = (launch.argument(3), launch.argument(4));
    let numbers = count as usize;
    let from = source(launch, launch.argument(0), &Span::of_bytes(numbers * sizes.0))?;
    let to = target(launch, launch.argument(1), numbers * sizes.1)?;
    let misfit = cell(launch, launch.argument(2))?;
    // SAFETY: as in `run_cast`, for numbers without gaps.
    unsafe { kernel(Grid::of(launch), from, to, misfit, count, overflow) };
    Ok(())
}

/// Declares the functions of host.cpp and registers each as the kernel of its name.
macro_rules! kernels {
    ($run:ident, $type:ty, $sizes:expr, [$($name:ident $cpu:ident $given:expr),* $(,)?], $cuda:expr) => {{
        $({
            unsafe extern "C" {
                fn $cpu();
            }
            fn kernel(launch: &Launch<'_>) -> Outcome {
                // SAFETY: host.cpp defines the function with these parameters.
                let cpu = unsafe {
                    std::mem::transmute::<unsafe extern "C" fn(), $type>($cpu)
                };
                kernels!(@call $run, launch, $given, cpu)
            }
            $cuda.register_kernel(stringify!($name), $sizes, kernel);
        })*
    }};
    (@call run_cast, $launch:expr, $given:expr, $cpu:expr) => {{
        let () = $given;
        run_cast($launch, $cpu)
    }};
    (@call $run:ident, $launch:expr, $given:expr, $cpu:expr) => {
        $run($launch, $given, $cpu)
    };
}

/// Makes the simulated driver run the kernels of bridge-cuda.
pub fn register(cuda: &SimulatedCuda) {
    let copy = &[8, 8, size_of::<Loops>()];
    kernels!(run_copy, Copy<Loops>, copy, [
        copy_1_narrow cpu_copy_1_narrow 1, copy_1_wide cpu_copy_1_wide 1,
        copy_2_narrow cpu_copy_2_narrow 2, copy_2_wide cpu_copy_2_wide 2,
        copy_4_narrow cpu_copy_4_narrow 4, copy_4_wide cpu_copy_4_wide 4,
        copy_8_narrow cpu_copy_8_narrow 8, copy_8_wide cpu_copy_8_wide 8,
        copy_16_narrow cpu_copy_16_narrow 16, copy_16_wide cpu_copy_16_wide 16,
    ], cuda);
    let transpose = &[8, 8, size_of::<Planes>()];
    kernels!(run_transpose, Copy<Planes>, transpose, [
        transpose_1 cpu_transpose_1 1, transpose_2 cpu_transpose_2 2,
        transpose_4 cpu_transpose_4 4, transpose_8 cpu_transpose_8 8,
        transpose_16 cpu_transpose_16 16,
    ], cuda);
    let cast = &[8, 8, 8, size_of::<Cast>(), size_of::<Loops>()];
    kernels!(run_cast, CastAny, cast, [
        cast_narrow cpu_cast_narrow (), cast_wide cpu_cast_wide (),
    ], cuda);
    let dense = &[8, 8, 8, 8, 4];
    kernels!(run_dense, CastDense, dense, [
        cast_f16_f32 cpu_cast_f16_f32 (2, 4), cast_f32_f16 cpu_cast_f32_f16 (4, 2),
        cast_bf16_f32 cpu_cast_bf16_f32 (2, 4), cast_f32_bf16 cpu_cast_f32_bf16 (4, 2),
        cast_f64_f32 cpu_cast_f64_f32 (8, 4), cast_f32_f64 cpu_cast_f32_f64 (4, 8),
        cast_u8_f32 cpu_cast_u8_f32 (1, 4), cast_f32_u8 cpu_cast_f32_u8 (4, 1),
        cast_u8_f16 cpu_cast_u8_f16 (1, 2), cast_i32_f32 cpu_cast_i32_f32 (4, 4),
        cast_i64_f32 cpu_cast_i64_f32 (8, 4), cast_i64_i32 cpu_cast_i64_i32 (8, 4),
        cast_i32_i64 cpu_cast_i32_i64 (4, 8),
        cast_f32_f8e4m3fn cpu_cast_f32_f8e4m3fn (4, 1),
        cast_f8e4m3fn_f32 cpu_cast_f8e4m3fn_f32 (1, 4),
    ], cuda);
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
