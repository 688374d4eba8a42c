//! The ways between the host and devices: what is planned is explained, done and reported.

use bridge_convert::ConvertByName;
use bridge_core::{
    Array, CopyPolicy, DataType, Device, Error, LayoutRule, ManagedTensor, Options, Overflow,
    Registration, Registry, Runtime, Stream, TensorSpec,
};

use crate::accelerator::{Accelerator, DRIVER, FIRST, PINNED, SECOND, UNIFIED, lying_on};
use crate::support::{PlainArray, TAKES, Takes, Vectors, numbers, registry};

/// Where the array is, what it is converted to and how, and the plan as it is printed. Only the
/// first line is compared: the others say why there is a copy.
type Case = (Device, &'static str, Options<'static>, &'static str);

fn cases() -> Vec<Case> {
    const CPU: Device = Device::CPU;
    let ask = Options::default();
    let always = ask.copy(CopyPolicy::Always);
    let [half, double, long] =
        [DataType::F16, DataType::F64, DataType::I64].map(|data_type| ask.cast(data_type));
    vec![
        (CPU, "takes", ask, "share (zero-copy)"),
        (CPU, "takes", always, "copy, share (24 bytes copied)"),
        (CPU, "takes", half, "cast float32 to float16, share (12 bytes copied)"),
        (CPU, "vectors", double, "cast float32 to float64, move (48 bytes copied)"),
        // To a device: the fewer bytes travel.
        (CPU, "accelerator", ask, "upload to cuda:0, share (24 bytes copied)"),
        (CPU, "accelerator", ask.on(SECOND), "upload to cuda:1, share (24 bytes copied)"),
        (
            CPU,
            "accelerator",
            half,
            "cast float32 to float16, upload to cuda:0, share (24 bytes copied)",
        ),
        (
            CPU,
            "accelerator",
            long,
            "upload to cuda:0, cast float32 to int64, share (72 bytes copied)",
        ),
        (CPU, "columns", ask, "upload to cuda:0, share (24 bytes copied)"),
        // On one device, and from device to device.
        (FIRST, "accelerator", always, "copy on cuda:0, share (24 bytes copied)"),
        (FIRST, "accelerator", long, "cast float32 to int64, share (48 bytes copied)"),
        (FIRST, "columns", ask, "copy on cuda:0, share (24 bytes copied)"),
        (FIRST, "columns", half, "cast float32 to float16, share (12 bytes copied)"),
        (
            FIRST,
            "accelerator",
            ask.on(SECOND),
            "copy from cuda:0 to cuda:1, share (24 bytes copied)",
        ),
        // To the host.
        (FIRST, "takes", ask, "download from cuda:0, share (24 bytes copied)"),
        (FIRST, "vectors", ask, "download from cuda:0, move (24 bytes copied)"),
        (SECOND, "takes", ask, "download from cuda:1, share (24 bytes copied)"),
        (
            FIRST,
            "takes",
            double,
            "download from cuda:0, cast float32 to float64, share (72 bytes copied)",
        ),
        // What the device does not cast, the host does.
        (
            CPU,
            "accelerator",
            double,
            "cast float32 to float64, upload to cuda:0, share (96 bytes copied)",
        ),
        (
            FIRST,
            "accelerator",
            double,
            "download from cuda:0, cast float32 to float64, upload to cuda:0, share \
             (120 bytes copied)",
        ),
        (
            FIRST,
            "accelerator",
            double.on(SECOND),
            "download from cuda:0, cast float32 to float64, upload to cuda:1, share \
             (120 bytes copied)",
        ),
        (
            FIRST,
            "accelerator",
            double.on(PINNED),
            "download from cuda:0, cast float32 to float64, copy from cpu to cuda_host:0, share \
             (120 bytes copied)",
        ),
        (
            FIRST,
            "accelerator",
            half.on(PINNED),
            "cast float32 to float16, copy from cuda:0 to cuda_host:0, share (24 bytes copied)",
        ),
        // The memory is used where it lies.
        (CPU, "accelerator", ask.on(UNIFIED), "map from cpu to cuda:2, share (zero-copy)"),
        (UNIFIED, "takes", ask, "map from cuda:2 to cpu, share (zero-copy)"),
        (UNIFIED, "takes", always, "download from cuda:2, share (24 bytes copied)"),
        (PINNED, "takes", ask, "share (zero-copy)"),
    ]
}

/// The numbers from 0 to 5 as a matrix on a device.
fn matrix_on(device: Device) -> Array {
    let matrix = numbers(&[2, 3]);
    Array::new(if device == Device::CPU { matrix } else { lying_on(device, matrix) })
}

/// The tensor under an array of one of the backends here.
fn tensor_of(array: Array) -> ManagedTensor {
    array.export().unwrap()
}

/// The elements in row-major order, read on the host.
fn values(array: Array) -> Vec<f64> {
    let tensor = tensor_of(array);
    let on_host = match tensor.device().kind().is_host_accessible() {
        true => tensor,
        false => DRIVER.transfer(&tensor, Device::CPU).unwrap(),
    };
    let rows = bridge_host::to_data_type(&on_host, DataType::F64, Overflow::Refuse).unwrap();
    rows.as_slice::<f64>().unwrap().to_vec()
}

#[test]
fn every_way_is_explained_before_and_reported_after() {
    for (source, target, options, explained) in cases() {
        let plan = registry().plan(&matrix_on(source), target, &options).unwrap();
        let text = plan.to_string();
        let explained = format!("dlpack to {target}: {explained}");
        assert_eq!(text.lines().next(), Some(explained.as_str()), "from {source}");

        let (array, report) =
            registry().convert_reported(matrix_on(source), target, options).unwrap();
        assert_eq!(report.steps, plan.steps);
        assert_eq!(report.bytes_copied, plan.bytes_copied, "{text}");
        assert_eq!(report.declined, plan.declined);
        assert_eq!(array.descriptor().name, target);
        let (found, asked) = (array.describe().unwrap(), options.device());
        assert_eq!(found.data_type, options.data_type().unwrap_or(DataType::F32), "{text}");
        assert_eq!(found.layout.shape(), [2, 3], "{text}");
        assert!(asked.is_none_or(|asked| asked == found.device), "{text}: {}", found.device);
        let rule = match target {
            "columns" => LayoutRule::ColumnMajor,
            _ => LayoutRule::RowMajor,
        };
        assert!(rule.allows(&found.layout), "{text}: {:?}", found.layout);
        assert_eq!(values(array), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{text}");

        let same = registry().convert(matrix_on(source), target, options).unwrap();
        let same = same.describe().unwrap();
        assert_eq!((same.device, same.data_type), (found.device, found.data_type), "{text}");
    }
}

#[test]
fn a_copy_that_only_carrying_it_out_shows_is_in_the_report() {
    let (array, report) =
        registry().convert_reported(matrix_on(SECOND), "vectors", Options::default()).unwrap();
    assert_eq!(
        report.to_string(),
        "dlpack to vectors: float32 [2, 3], download from cuda:1, copy, move (48 bytes copied)"
    );
    assert!(array.downcast::<PlainArray<Vectors>>().is_ok());
}

#[test]
fn packed_elements_go_to_a_device_whatever_order_of_axes_it_wants() {
    for target in ["accelerator", "columns"] {
        let spec = TensorSpec::row_major(DataType::F4E2M1FN, &[8]).unwrap();
        let packed = Array::new(bridge_host::zeroed(&spec, 1).unwrap());
        let there = registry().convert(packed, target, Options::default()).unwrap();
        assert_eq!(there.describe().unwrap().data_type, DataType::F4E2M1FN, "{target}");
    }
}

#[test]
fn the_host_casts_what_was_downloaded_whoever_serves_the_device() {
    let registry = Registry::new([
        Registration::backend(&TAKES),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let double = Options::default().cast(DataType::F64);
    let plan = registry.plan(&matrix_on(FIRST), "takes", &double).unwrap();
    let names: Vec<_> = plan.steps.iter().map(bridge_convert::Step::name).collect();
    assert_eq!(names, ["download", "cast", "share"]);
    // Without anybody who downloads, it is planned but cannot be done.
    let refused = registry.convert(matrix_on(FIRST), "takes", double).unwrap_err();
    assert!(refused.to_string().contains("link a backend for cuda"), "{refused}");
    assert_eq!(refused.into_value().describe().unwrap().device, FIRST);
}

#[test]
fn a_device_that_the_backend_lacks_is_an_error_that_names_those_it_has() {
    let third = Options::default().on(Device::cuda(7));
    for (target, has) in [("takes", "it has cpu"), ("accelerator", "it has cuda:0, cuda:1, cuda:2")]
    {
        let text = registry().plan(&matrix_on(FIRST), target, &third).unwrap_err().to_string();
        assert!(text.contains(&format!("\"{target}\" has no device cuda:7; {has}")), "{text}");
        let refused = registry().convert(matrix_on(FIRST), target, third).unwrap_err();
        assert!(matches!(refused.error(), Error::DeviceUnavailable { .. }), "{refused}");
        assert_eq!(refused.into_value().describe().unwrap().device, FIRST);
    }
}

/// An array that is ready on a stream of its device.
fn streaming_on(device: Device) -> Array {
    // SAFETY: the data is ready everywhere, and nobody hands the stream to a driver.
    Array::new(unsafe { tensor_of(matrix_on(device)).ready_on(Some(Stream(7))) })
}

#[test]
fn memory_that_the_host_reads_in_place_is_waited_for_and_that_of_a_device_is_not() {
    let on_host = registry().convert(streaming_on(PINNED), "takes", Options::default()).unwrap();
    let on_host: PlainArray<Takes> = on_host.downcast().unwrap();
    assert_eq!(on_host.tensor.stream(), None);

    let options = Options::default();
    let there = registry().convert(streaming_on(FIRST), "accelerator", options).unwrap();
    let there: PlainArray<Accelerator> = there.downcast().unwrap();
    assert_eq!(there.tensor.stream(), Some(Stream(7)));

    // Where nobody can wait, the array comes back.
    let registry = Registry::new([Registration::backend(&TAKES)]);
    let refused = registry.convert(streaming_on(PINNED), "takes", options).unwrap_err();
    assert!(refused.to_string().contains("synchronize the stream"), "{refused}");
    assert_eq!(tensor_of(refused.into_value()).stream(), Some(Stream(7)));
}
