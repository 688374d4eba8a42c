//! Every pair of linked backends: every element type both have, in every layout, by value.

use arraybridge::ConvertByName;
use arraybridge::{
    Array, Backend, Convert, CopyPolicy, DataType, Device, ManagedTensor, Mapping, Options, Refused,
};
use bridge_tests::{counting, pairs, place, registry};

/// The ways a tensor can lie.
fn layouts(tensor: ManagedTensor) -> Vec<(&'static str, ManagedTensor)> {
    let data_type = tensor.data_type();
    let again = || counting(data_type);
    vec![
        ("row-major", tensor),
        ("transposed", again().permuted(&[1, 0]).unwrap()),
        ("stepped", again().sliced(1, 1, 3, 2).unwrap()),
        ("reversed", again().sliced(0, 3, 4, -1).unwrap()),
        ("one column", again().selected(1, 5).unwrap()),
        ("one element", again().selected(1, 5).unwrap().selected(0, 3).unwrap()),
        ("empty", again().sliced(0, 0, 0, 1).unwrap()),
        ("broadcast", again().broadcast_to(&[2, 4, 6]).unwrap()),
        ("reshaped", again().reshaped(&[2, 2, 1, 6, 1]).unwrap()),
    ]
}

fn row_major_bytes(tensor: &ManagedTensor) -> (Vec<usize>, Vec<u8>) {
    let packed = bridge_host::to_row_major(tensor).unwrap();
    let bytes = packed.layout().compact_bytes(packed.data_type()).unwrap();
    // SAFETY: a row-major tensor has these initialized bytes from its first element on.
    let bytes = unsafe { std::slice::from_raw_parts(packed.first_element(), bytes) };
    (tensor.shape().to_vec(), bytes.to_vec())
}

fn shared_types(source: &dyn Backend, target: &dyn Backend) -> Vec<DataType> {
    let simple = |data_type: &DataType| {
        !data_type.is_complex() && data_type.lanes() == 1 && data_type.size_in_bytes().is_some()
    };
    let target = target.data_types();
    source.data_types().into_iter().filter(|t| target.contains(t) && simple(t)).collect()
}

#[test]
fn every_pair_keeps_every_value() {
    let mut cells = 0;
    for (source, target) in pairs() {
        for data_type in shared_types(source, target) {
            for (layout, tensor) in layouts(counting(data_type)) {
                let cell = format!("{} to {}, {data_type}, {layout}", source.name(), target.name());
                let expected = row_major_bytes(&tensor);
                let array = Array::new(tensor);
                let array = registry().convert(array, source.name(), Options::default()).unwrap();
                let array = registry().convert(array, target.name(), Options::default()).unwrap();
                assert_eq!(array.descriptor().name, target.name(), "{cell}");
                let on_host = Options::default().on(Device::CPU);
                let tensor: ManagedTensor = array.convert_to(on_host).unwrap();
                assert_eq!(row_major_bytes(&tensor), expected, "{cell}");
                assert_eq!(tensor.data_type(), data_type, "{cell}");
                cells += 1;
            }
        }
    }
    let least = pairs().len() * 9 * 9;
    assert!(cells >= least, "at least nine types and nine layouts a pair: {cells}, not {least}");
}

#[test]
fn a_report_is_true_about_the_pointer() {
    for (source, target) in pairs() {
        for (layout, tensor) in layouts(counting(DataType::F32)) {
            let array = Array::new(tensor);
            let array = registry().convert(array, source.name(), Options::default()).unwrap();
            let (before, array) = place(array);
            let (array, report) =
                registry().convert_reported(array, target.name(), Options::default()).unwrap();
            let (after, _) = place(array);
            let empty = report.shape.contains(&0);
            let cell = format!("{report} ({layout})");
            assert!(empty || report.is_zero_copy() == (before == after), "{cell}");
        }
    }
}

#[test]
fn copy_always_shares_nothing_and_never_copies_nothing() {
    for (source, target) in pairs() {
        let array = Array::new(counting(DataType::F32));
        let array = registry().convert(array, source.name(), Options::default()).unwrap();
        let (before, array) = place(array);
        let always = Options::default().copy(CopyPolicy::Always);
        let copied = registry().convert(array, target.name(), always).unwrap();
        let (after, copied) = place(copied);
        assert_ne!(after, before, "{} to {}", source.name(), target.name());

        let never = Options::default().copy(CopyPolicy::Never);
        let back = registry().convert(copied, source.name(), never);
        let kept = back.unwrap_or_else(Refused::into_value);
        assert_eq!(place(kept).0, after, "{} to {}", target.name(), source.name());
    }
}

/// The backends of this program that work in the host's memory here: by their features, and OpenCL
/// where there is a device that shares it.
fn hosts() -> Vec<&'static str> {
    let mut names = vec!["ndarray", "candle"];
    if cfg!(feature = "torch") {
        names.push("torch");
    }
    let shares = |backend: &dyn Backend| {
        let tensor = counting(DataType::F32);
        let found = tensor.describe();
        backend.devices().is_ok_and(|all| {
            all.iter().any(|&device| {
                registry()
                    .runtime(device)
                    .is_ok_and(|one| one.mapping(&found, device) == Mapping::Possible)
            })
        })
    };
    if registry().backend("opencl").is_ok_and(shares) {
        names.push("opencl");
    }
    names
}

#[test]
fn what_lies_in_the_hosts_memory_goes_everywhere_without_a_copy() {
    assert!(hosts().contains(&"opencl") || !bridge_testkit::is_required("opencl"));
    for source in hosts() {
        for target in hosts() {
            let never = || Options::default().copy(CopyPolicy::Never);
            let on = |name| {
                let device = if name == "opencl" { Device::opencl(0) } else { Device::CPU };
                never().on(device)
            };
            let start = Array::new(counting(DataType::F32));
            let (before, start) = place(start);
            let array = registry().convert(start, source, on(source)).unwrap();
            let converted = registry().convert(array, target, on(target));
            let cell = format!("{source} to {target}");
            // torch ignores that memory is read-only, and candle hands out no other.
            if (source, target) == ("candle", "torch") {
                let refused = converted.unwrap_err();
                assert!(refused.to_string().contains("read-only"), "{cell}: {refused}");
                continue;
            }
            let array = converted.unwrap_or_else(|refused| panic!("{cell}: {refused}"));
            assert_eq!(place(array).0, before, "{cell}");
        }
    }
}
