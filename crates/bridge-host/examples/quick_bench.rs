//! Prints GB/s of copies and casts beside memcpy of the same memory, to tune the kernels by.
//!
//! On one thread unless `ARRAYBRIDGE_THREADS` says otherwise; an argument selects lines by name.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::hint::black_box;
use std::time::Instant;

use bridge_core::{DataType, Layout, ManagedTensor, Overflow, TensorSpec};
use bridge_host::{cast, copy, set_max_threads, zeroed};

/// The best of alternating runs of both, in seconds: both see the same neighbours.
fn best_of_both(mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let (mut best_one, mut best_other) = (f64::INFINITY, f64::INFINITY);
    let start = Instant::now();
    let mut runs = 0;
    while runs < 9 || start.elapsed().as_secs_f64() < 0.6 {
        best_one = best_one.min(timed(&mut one));
        best_other = best_other.min(timed(&mut other));
        runs += 1;
    }
    (best_one, best_other)
}

fn bench(
    name: &str,
    source: &ManagedTensor,
    target: &mut ManagedTensor,
    memory: &mut [Vec<u8>; 2],
) {
    let chosen = std::env::args().nth(1).is_none_or(|part| name.contains(&part));
    if !chosen {
        return;
    }
    let bytes_of =
        |tensor: &ManagedTensor| tensor.layout().compact_bytes(tensor.data_type()).unwrap_or(0);
    let bytes = bytes_of(source).max(bytes_of(target));
    let [from, to] = memory;
    let (from, to) = (&from[..bytes], &mut to[..bytes]);
    let same = source.data_type() == target.data_type();
    let (ours, memcpy) = best_of_both(
        || {
            let done = match same {
                true => copy(source, target),
                false => cast(source, target, Overflow::Refuse),
            };
            assert!(done.is_ok());
        },
        || to.copy_from_slice(black_box(from)),
    );
    let (ours, memcpy) = (bytes as f64 / ours / 1e9, bytes as f64 / memcpy / 1e9);
    println!("{name:40} {ours:7.2} GB/s, memcpy {memcpy:7.2}, ratio {:.2}", ours / memcpy);
}

fn ones(data_type: DataType, shape: &[usize]) -> Result<ManagedTensor, bridge_core::Error> {
    let spec = TensorSpec::row_major(data_type, shape)?;
    let mut target = zeroed(&spec, 64)?;
    let one = ManagedTensor::from_vec(vec![true], &[1])?;
    if data_type != DataType::BOOL {
        cast(&one.broadcast_to(shape)?, &mut target, Overflow::Refuse)?;
    }
    Ok(target)
}

fn main() -> Result<(), bridge_core::Error> {
    if std::env::var("ARRAYBRIDGE_THREADS").is_err() {
        set_max_threads(1);
    }
    use DataType as D;
    let memory = &mut [vec![1_u8; 260 << 20], vec![2_u8; 260 << 20]];
    for (rows, columns) in
        [(64, 64), (512, 512), (2048, 2048), (4096, 4096), (4097, 4097), (8192, 8192)]
    {
        let source = ones(D::F32, &[rows, columns])?.permuted(&[1, 0])?;
        let mut target = ones(D::F32, &[columns, rows])?;
        bench(&format!("transpose {rows}x{columns} float32"), &source, &mut target, memory);
    }
    for data_type in [D::U8, D::F16, D::F64, D::C128] {
        for rows in [2048, 4096, 4097] {
            let source = ones(data_type, &[rows, rows])?.permuted(&[1, 0])?;
            let mut target = ones(data_type, &[rows, rows])?;
            bench(&format!("transpose {rows}x{rows} {data_type}"), &source, &mut target, memory);
        }
    }
    for n in [1024, 2048, 4096] {
        let shape = [n, n];
        let mut target = ones(D::F32, &shape)?;
        bench(&format!("contiguous {n}"), &ones(D::F32, &shape)?, &mut target, memory);
        let reversed = ones(D::F32, &shape)?.sliced(0, n - 1, n, -1)?;
        bench(&format!("reversed rows {n}"), &reversed, &mut target, memory);
        let mirrored = ones(D::F32, &shape)?.sliced(1, n - 1, n, -1)?;
        bench(&format!("reversed columns {n}"), &mirrored, &mut target, memory);
        let second = ones(D::F32, &[n, 2 * n])?.sliced(1, 0, n, 2)?;
        bench(&format!("every second column {n}"), &second, &mut target, memory);
        let row = ones(D::F32, &[1, n])?.broadcast_to(&shape)?;
        bench(&format!("broadcast rows {n}"), &row, &mut target, memory);
        let column = ones(D::F32, &[n, 1])?.broadcast_to(&shape)?;
        bench(&format!("broadcast columns {n}"), &column, &mut target, memory);
        let mut scattered = ones(D::F32, &[n, 2 * n])?.sliced(1, 0, n, 2)?;
        bench(
            &format!("into every second column {n}"),
            &ones(D::F32, &shape)?,
            &mut scattered,
            memory,
        );
    }
    for data_type in [D::U8, D::F32] {
        let picture = ones(data_type, &[2048, 2048, 3])?.permuted(&[2, 0, 1])?;
        bench(
            &format!("HWC to CHW {data_type}"),
            &picture,
            &mut ones(data_type, &[3, 2048, 2048])?,
            memory,
        );
        let planes = ones(data_type, &[3, 2048, 2048])?.permuted(&[1, 2, 0])?;
        bench(
            &format!("CHW to HWC {data_type}"),
            &planes,
            &mut ones(data_type, &[2048, 2048, 3])?,
            memory,
        );
        let turned = ones(data_type, &[2048, 2048, 3])?.permuted(&[1, 0, 2])?;
        bench(
            &format!("HWC to WHC {data_type}"),
            &turned,
            &mut ones(data_type, &[2048, 2048, 3])?,
            memory,
        );
    }
    let heads = ones(D::F32, &[16, 128, 16, 64])?.permuted(&[0, 2, 1, 3])?;
    bench("attention heads", &heads, &mut ones(D::F32, &[16, 16, 128, 64])?, memory);
    let volume = ones(D::F32, &[160, 160, 160])?.permuted(&[2, 1, 0])?;
    bench("volume reversed axes", &volume, &mut ones(D::F32, &[160, 160, 160])?, memory);

    let pairs = [
        (D::F32, D::F16),
        (D::F16, D::F32),
        (D::F32, D::BF16),
        (D::BF16, D::F32),
        (D::F32, D::F64),
        (D::F64, D::F32),
        (D::F64, D::F16),
        (D::F32, D::F8E4M3FN),
        (D::F8E4M3FN, D::F32),
        (D::F16, D::BF16),
        (D::F32, D::I32),
        (D::F32, D::U8),
        (D::U8, D::F32),
        (D::I64, D::F32),
        (D::I64, D::I32),
        (D::U8, D::F16),
        (D::F32, D::BOOL),
        (D::F32, D::C64),
    ];
    for n in [128, 1024, 2048, 4096] {
        for (from, to) in pairs {
            let source = ones(from, &[n, n])?;
            bench(&format!("cast {from} to {to} {n}"), &source, &mut ones(to, &[n, n])?, memory);
        }
    }
    let source = ones(D::F32, &[2048, 2048])?.permuted(&[1, 0])?;
    bench("cast transposed float32 to float16", &source, &mut ones(D::F16, &[2048, 2048])?, memory);
    let small = ones(D::F64, &[200_000, 9, 9])?.permuted(&[0, 2, 1])?;
    let mut target = ones(D::F32, &[200_000, 9, 9])?;
    bench("cast small planes float64 to float32", &small, &mut target, memory);
    bench("copy small planes", &small, &mut ones(D::F64, &[200_000, 9, 9])?, memory);
    let _ = Layout::row_major(&[]);
    Ok(())
}
