//! Casts on the device are those of the host: every pair of element types, every rule for what does
//! not fit, in several layouts. Where the result is not a number, its payload is not compared: the
//! host's depends on the processor.

use crate::support::{GPU, cuda};
use bridge_core::{DataType, ManagedTensor, Overflow, TensorSpec};
use bridge_cuda::CudaArray;
use bridge_testkit::bytes_of;

const SHAPE: &[usize] = &[24, 32];
const COUNT: usize = 24 * 32;
const RULES: [Overflow; 3] = [Overflow::Refuse, Overflow::Saturate, Overflow::Wrap];

/// Numbers at the bounds of many types, as bits of `f64`.
fn bounds() -> Vec<f64> {
    let mut found = vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e-300];
    let whole = [1_i64 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 62];
    for number in whole.map(|whole| whole as f64) {
        for near in [number, number.next_down(), number.next_up(), number - 1.0, number - 0.5] {
            found.extend([near, -near]);
        }
    }
    let limits = [f32::MAX.into(), 65504.0, 65520.0, 448.0, 464.0, 57344.0, 240.0, 3.0e38, 30.0];
    let small = [1e-45, 5.9e-8, 2.0_f64.powi(-127), 2.0_f64.powi(-9), 0.5, 1.5, 2.5, 0.1];
    for number in limits.into_iter().chain(small) {
        for near in [number, number * 1.0001, number * 0.9999] {
            found.extend([near, -near]);
        }
    }
    found.extend([9.223_372_036_854_776e18, 1.844_674_407_370_955_2e19, -9.3e18, 1.8e19]);
    found
}

/// A tensor of any type: bounds where the type holds floats, then bits that look random.
fn sample(data_type: DataType) -> ManagedTensor {
    let spec = TensorSpec::row_major(data_type, SHAPE).unwrap();
    let tensor = bridge_host::zeroed(&spec, 16).unwrap();
    let bytes = spec.layout.compact_bytes(data_type).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // SAFETY: the tensor is new, with this many bytes, and nobody else's.
    let memory = unsafe { std::slice::from_raw_parts_mut(tensor.first_element(), bytes) };
    for (place, byte) in memory.iter_mut().enumerate() {
        *byte = match data_type {
            DataType::BOOL => (random() & 1) as u8,
            // All codes of 8 bits, in turn.
            _ if data_type.bits() == 8 => place as u8,
            // Numbers of few bits are in range of more types.
            _ if place < bytes / 3 && place % (bytes / COUNT).max(1) > 0 => 0,
            _ => random() as u8,
        };
    }
    let bounds = bounds();
    let step = bytes / COUNT.max(1);
    for (place, &bound) in bounds.iter().enumerate() {
        let parts = if data_type.is_complex() { 2 } else { 1 };
        let at = &mut memory[COUNT / 3 * step + place * step..];
        match (data_type.bits() as usize / parts, data_type.is_float() || data_type.is_complex()) {
            (64, true) => at[..8].copy_from_slice(&bound.to_ne_bytes()),
            (32, true) => at[..4].copy_from_slice(&(bound as f32).to_ne_bytes()),
            (64, false) => at[..8].copy_from_slice(&(bound as i64).to_ne_bytes()),
            (32, false) => at[..4].copy_from_slice(&(bound as i32).to_ne_bytes()),
            _ => {}
        }
    }
    tensor
}

/// Compares elements; two that are no numbers are equal.
fn same(to: DataType, expected: &[u8], found: &[u8]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let is_nan = |bytes: &[u8]| match (to, bytes) {
        (DataType::F64, &[a, b, c, d, e, f, g, h]) => {
            f64::from_ne_bytes([a, b, c, d, e, f, g, h]).is_nan()
        }
        (DataType::F32, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]).is_nan(),
        (DataType::F16, &[a, b]) => u16::from_ne_bytes([a, b]) & 0x7FFF > 0x7C00,
        (DataType::BF16, &[a, b]) => u16::from_ne_bytes([a, b]) & 0x7FFF > 0x7F80,
        _ => false,
    };
    let part = match to {
        DataType::C32 => DataType::F16,
        DataType::C64 => DataType::F32,
        DataType::C128 => DataType::F64,
        other => other,
    };
    let size = part.size_in_bytes().unwrap();
    let pairs = expected.chunks(size).zip(found.chunks(size)).enumerate();
    let is_nan = |bytes: &[u8]| if part == to { is_nan(bytes) } else { nan_of(part, bytes) };
    for (place, (expected, found)) in pairs {
        if expected != found && !(is_nan(expected) && is_nan(found)) {
            return Err(format!("number {place} is {found:x?}, not {expected:x?}"));
        }
    }
    Ok(())
}

fn nan_of(part: DataType, bytes: &[u8]) -> bool {
    match (part, bytes) {
        (DataType::F64, &[a, b, c, d, e, f, g, h]) => {
            f64::from_ne_bytes([a, b, c, d, e, f, g, h]).is_nan()
        }
        (DataType::F32, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]).is_nan(),
        (DataType::F16, &[a, b]) => u16::from_ne_bytes([a, b]) & 0x7FFF > 0x7C00,
        _ => false,
    }
}

/// The host's cast and the device's, of the same tensor.
fn compare(host: &ManagedTensor, device: &CudaArray, to: DataType, rule: Overflow) -> String {
    let expected = bridge_host::to_data_type(host, to, rule);
    let found = device.cast(to, rule).and_then(|cast| cast.to_host());
    match (expected, found) {
        (Ok(expected), Ok(found)) => match same(to, &bytes_of(&expected), &bytes_of(&found)) {
            Ok(()) => String::new(),
            Err(difference) => difference,
        },
        (Err(expected), Err(found)) if expected.to_string() == found.to_string() => String::new(),
        (expected, found) => format!("the host gives {expected:?}, the device {found:?}"),
    }
}

#[test]
fn every_cast_is_the_hosts() {
    cuda();
    let mut wrong = Vec::new();
    for &from in DataType::NAMED {
        let host = sample(from);
        let mut cases = vec![(host, CudaArray::from_host(&sample(from), GPU).unwrap(), "dense")];
        if from.size_in_bytes().is_some() {
            let turned = |tensor: ManagedTensor| tensor.permuted(&[1, 0]).unwrap();
            let device = turned(CudaArray::from_host(&sample(from), GPU).unwrap().into_tensor());
            let device = CudaArray::from_tensor(device).unwrap();
            cases.push((turned(sample(from)), device, "turned"));
            let stepped = |tensor: ManagedTensor| {
                tensor.sliced(1, 31, 11, -2).unwrap().sliced(0, 1, 20, 1).unwrap()
            };
            let device = stepped(CudaArray::from_host(&sample(from), GPU).unwrap().into_tensor());
            let device = CudaArray::from_tensor(device).unwrap();
            cases.push((stepped(sample(from)), device, "stepped"));
        }
        for (host, device, layout) in &cases {
            for &to in DataType::NAMED {
                for rule in RULES {
                    let found = compare(host, device, to, rule);
                    if !found.is_empty() {
                        wrong.push(format!("{from} to {to}, {rule:?}, {layout}: {found}"));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} casts differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}
