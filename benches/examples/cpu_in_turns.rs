//! Copies and casts on one thread beside their peers, [in turns](in_turns), in the [same
//! memory](in_common_memory). An argument selects jobs by a part of their name.
//!
//! `cargo run --release --package bridge-benches --example cpu_in_turns -- "cast f32"`

use std::hint::black_box;

use arraybridge::{DataType, HostMemory, Layout, ManagedTensor, Overflow, TensorSpec};
use bridge_benches::{PythonPeer, in_common_memory};
use bridge_host::{cast, copy, set_max_threads, to_row_major, zeroed};
use in_turns::{Job, is_chosen, job};
use ndarray::ArrayD;

const PAGE: usize = 4096;

fn python<'a>(name: &'static str, setup: &str) -> Option<(&'static str, Job<'a>)> {
    let threads = "import torch\ntorch.set_num_threads(1)\n";
    let setup = format!("import numpy\n{}{setup}", if name == "torch" { threads } else { "" });
    let mut peer = PythonPeer::start(name, &setup)?;
    Some((name, Box::new(move |times| peer.run(times))))
}

fn compare<'a>(
    name: &str,
    ours: Job<'a>,
    peers: impl IntoIterator<Item = (&'static str, Job<'a>)>,
) {
    let jobs = std::iter::once(("ours", ours)).chain(peers).collect();
    in_turns::compare(name, jobs, in_turns::turns(25));
}

fn ones(data_type: DataType, shape: &[usize]) -> ManagedTensor {
    let spec = TensorSpec::row_major(data_type, shape).expect("fits");
    let mut tensor = zeroed(&spec, 64).expect("there is memory");
    write_ones(&mut tensor);
    tensor
}

fn write_ones(tensor: &mut ManagedTensor) {
    let one = ManagedTensor::from_vec(vec![1_u8], &[1]).expect("fits");
    let ones = one.broadcast_to(tensor.shape()).expect("one broadcasts");
    match tensor.data_type() == DataType::U8 {
        true => copy(&ones, tensor).expect("copies"),
        false => cast(&ones, tensor, Overflow::Refuse).expect("casts"),
    }
}

/// Bytes that begin so far after the beginning of a page.
fn bytes_in_page(bytes: usize, further: usize) -> ManagedTensor {
    let memory = HostMemory::zeroed(bytes + PAGE, PAGE).expect("there is memory");
    let layout = Layout::row_major(&[bytes]).expect("fits").at_byte_offset(further);
    let spec = TensorSpec { data_type: DataType::U8, layout };
    // SAFETY: all bytes are zero, which are valid elements.
    unsafe { ManagedTensor::from_host_memory(memory, spec) }.expect("it lies within")
}

/// Copies the bytes of a compact tensor from others of that size as they lie.
fn memcpy<'a>(from: *const u8, to: &ManagedTensor) -> Job<'a> {
    let bytes = to.layout().compact_bytes(to.data_type()).expect("fits");
    let to = to.first_element();
    // SAFETY: both are compact and have as many bytes, and live as long as the jobs beside this one, which
    // never run at the same time.
    job(move || unsafe { black_box(from).copy_to_nonoverlapping(black_box(to), bytes) })
}

fn runs() {
    for further in [0, 16, 1040] {
        for kib in [4, 8, 12, 16, 24, 64, 256, 1024, 4096, 16384, 65536] {
            let name = format!("{kib} KiB, {further} bytes further on in the page");
            if !is_chosen(&name) {
                continue;
            }
            let (from, mut to) = (bytes_in_page(kib << 10, 0), bytes_in_page(kib << 10, further));
            let memcpy = memcpy(from.first_element(), &to);
            let ours = job(|| copy(black_box(&from), &mut to).expect("copies"));
            compare(&name, ours, [("memcpy", memcpy)]);
        }
    }
}

/// What a call takes on top of the bytes: beside others' calls, which check shapes too, and beside the
/// bytes alone, which nobody checked.
fn calls() {
    for bytes in [64, 256, 1024, 2048, 4096] {
        let name = format!("a call that copies {bytes} bytes");
        if !is_chosen(&name) {
            continue;
        }
        let numpy =
            format!("a = numpy.ones({bytes}, 'u1')\nb = a.copy()\ndef job(): numpy.copyto(b, a)");
        let torch = format!(
            "a = torch.ones({bytes}, dtype=torch.uint8)\nb = a.clone()\ndef job(): b.copy_(a)"
        );
        let (from, mut to) = (ones(DataType::U8, &[bytes]), ones(DataType::U8, &[bytes]));
        let ours = job(|| copy(black_box(&from), &mut to).expect("copies"));
        let (source, mut target) = (ArrayD::<u8>::ones(vec![bytes]), ArrayD::zeros(vec![bytes]));
        let assign = job(|| target.assign(black_box(&source)));
        let (bare, mut copied) = (vec![1_u8; bytes], vec![2_u8; bytes]);
        let memcpy = job(|| copied.copy_from_slice(black_box(&bare)));
        let python = [python("numpy", &numpy), python("torch", &torch)];
        let peers = [("ndarray", assign as Job<'_>), ("unchecked memcpy", memcpy)];
        compare(&name, ours, peers.into_iter().chain(python.into_iter().flatten()));
    }
}

/// A view of an array, here and as Python writes it of `a`.
#[derive(Clone, Copy)]
struct View<'a> {
    here: &'a dyn Fn(ManagedTensor) -> ManagedTensor,
    in_python: &'a str,
}

/// Copies or casts a view of ones to compact elements, beside peers and, where rows stay rows, a copy of
/// the bytes.
fn to_compact(
    name: &str,
    (from, to): (DataType, DataType),
    shape: &[usize],
    view: View<'_>,
    peers: &[&'static str],
) {
    if !is_chosen(name) {
        return;
    }
    let (mut all, source_in_python) = in_common_memory(from, shape).expect("there is memory");
    write_ones(&mut all);
    let lowest = all.first_element();
    let source = (view.here)(all);
    let (mut target, target_in_python) =
        in_common_memory(to, source.shape()).expect("there is memory");
    let in_rows = source.layout().strides().last() == Some(&1) && source.shape() == shape;
    let memcpy = (in_rows && from == to).then(|| ("memcpy", memcpy(lowest, &target)));
    let ours = job(|| match from == to {
        true => copy(&source, &mut target).expect("copies"),
        false => cast(&source, &mut target, Overflow::Saturate).expect("casts"),
    });
    let peers = peers.iter().filter_map(|&peer| {
        let (a, b, job) = match peer {
            "numpy" => {
                (source_in_python.numpy(), target_in_python.numpy(), "numpy.copyto(b, view)")
            }
            _ => (source_in_python.torch(), target_in_python.torch(), "b.copy_(view)"),
        };
        let view = view.in_python;
        python(peer, &format!("a = {a}\nb = {b}\nview = {view}\ndef job(): {job}"))
    });
    let peers: Vec<_> = memcpy.into_iter().chain(peers).collect();
    compare(name, ours, peers);
}

fn strided() {
    let job = |name: &str,
               side,
               here: &dyn Fn(ManagedTensor) -> ManagedTensor,
               in_python,
               peers: &[_]| {
        let view = View { here, in_python };
        to_compact(name, (DataType::F32, DataType::F32), &[side, side], view, peers);
    };
    for side in [1024, 2048, 4096] {
        job(&format!("contiguous {side}x{side} f32"), side, &|all| all, "a", &["numpy"]);
    }
    for side in [1024, 2048, 4096] {
        let rows = |all: ManagedTensor| all.sliced(0, side - 1, side, -1).expect("all rows");
        job(&format!("reversed rows {side}x{side} f32"), side, &rows, "a[::-1]", &["numpy"]);
    }
    let second = |all: ManagedTensor| all.sliced(1, 0, 1024, 2).expect("every second column");
    job("every second column 2048x2048 f32", 2048, &second, "a[:, ::2]", &["numpy"]);
    for side in [512, 2048, 4096, 4097] {
        let turned = |all: ManagedTensor| all.permuted(&[1, 0]).expect("both axes");
        job(&format!("transposed {side}x{side} f32"), side, &turned, "a.T", &["numpy", "torch"]);
    }
}

fn into_new_memory() {
    for side in [512, 2048, 4096] {
        let name = format!("copy of {} KiB into new memory", side * side / 256);
        if !is_chosen(&name) {
            continue;
        }
        let numbers = vec![1.5_f32; side * side];
        let tensor = ManagedTensor::from_vec(numbers, &[side, side]).expect("it fits");
        // As NumPy's, it lies in memory that the system was asked for large pages for.
        let tensor = to_row_major(&tensor).expect("copies");
        let numbers = tensor.as_slice::<f32>().expect("numbers");
        let ours = job(|| drop(black_box(to_row_major(&tensor).expect("copies"))));
        let clone = job(|| drop(black_box(numbers.to_vec())));
        let numpy = format!("a = numpy.ones(({side}, {side}), 'f4')\ndef job(): a.copy()");
        let torch = format!("a = torch.ones(({side}, {side}))\ndef job(): a.clone()");
        let peers = [python("numpy", &numpy), python("torch", &torch)].into_iter().flatten();
        compare(&name, ours, std::iter::once(("to_vec", clone)).chain(peers));
    }
}

fn casts() {
    use DataType as D;
    let pairs = [
        (D::F32, D::F16),
        (D::F16, D::F32),
        (D::F32, D::BF16),
        (D::BF16, D::F32),
        (D::F64, D::F32),
        (D::F32, D::F64),
        (D::F32, D::I32),
        (D::F32, D::U8),
        (D::U8, D::F32),
        (D::I64, D::F32),
        (D::F32, D::F8E4M3FN),
    ];
    for count in [64 << 10, 4 << 20] {
        for (from, to) in pairs {
            let name =
                format!("cast {} to {}, {} Ki", from.short_name(), to.short_name(), count >> 10);
            let view = View { here: &|all| all, in_python: "a" };
            to_compact(&name, (from, to), &[count], view, &["torch"]);
        }
    }
    let permuted = |name: &str, from: D, to: D, shape: &[usize], axes: &[usize]| {
        let here = |all: ManagedTensor| all.permuted(axes).expect("all axes once");
        let view = View { here: &here, in_python: &format!("a.permute({axes:?})") };
        to_compact(name, (from, to), shape, view, &["torch"]);
    };
    permuted("picture u8 to channels f32", D::U8, D::F32, &[1080, 1920, 3], &[2, 0, 1]);
    permuted("channels f32 to picture u8", D::F32, D::U8, &[3, 1080, 1920], &[1, 2, 0]);
    permuted("picture u8 to channels u8", D::U8, D::U8, &[1080, 1920, 3], &[2, 0, 1]);
    permuted("channels u8 to picture u8", D::U8, D::U8, &[3, 1080, 1920], &[1, 2, 0]);
    permuted("transposed 2048x2048 f32 to f16", D::F32, D::F16, &[2048, 2048], &[1, 0]);
}

fn main() {
    set_max_threads(1);
    calls();
    runs();
    strided();
    into_new_memory();
    casts();
}
