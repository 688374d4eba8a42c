//! Plans: what would be done, and why not otherwise. No array exists in these tests.

use bridge_convert::{Plan, Step};
use bridge_core::{
    Accepts, Access, CopyPolicy, DataType, Description, Device, DeviceKind, Error, Layout,
    LayoutRule, Options, Ownership,
};

const TYPES: &[DataType] = &[DataType::F32, DataType::F64, DataType::I32];
const ANY: Accepts = Accepts::host(TYPES);
const VECTORS: Accepts = ANY.layout(LayoutRule::Dense).only_vectors();
const WRITES_ALL: Accepts = ANY.ignores_read_only();
const CUDA: Accepts = Accepts::on(&[DeviceKind::Cuda], TYPES);

fn matrix() -> Description {
    Description {
        data_type: DataType::F32,
        device: Device::CPU,
        layout: Layout::row_major(&[3, 4]).unwrap(),
        access: Access::Exclusive,
        ownership: Ownership::Movable,
        alignment: 64,
        owner: None,
    }
}

fn plan(found: &Description, accepts: &Accepts, options: Options) -> bridge_core::Result<Plan> {
    Plan::new(("here", found), ("there", accepts), &options)
}

fn steps(found: &Description, accepts: &Accepts, options: Options) -> (Vec<&'static str>, u64) {
    let plan = plan(found, accepts, options).unwrap();
    (plan.steps.iter().map(Step::name).collect(), plan.bytes_copied)
}

/// A change to the matrix, the target, and the word that explains the copy.
type Case = (fn(&mut Description), Accepts, &'static str);

/// Whatever makes a copy necessary, and the word that explains it.
fn cases() -> Vec<Case> {
    vec![
        (|d| d.ownership = Ownership::Kept, VECTORS, "another owner"),
        (|d| d.layout = Layout::new(&[3, 4], &[8, 2], 0).unwrap(), VECTORS, "without gaps"),
        (
            |d| d.layout = Layout::new(&[3, 4], &[-4, 1], 32).unwrap(),
            ANY.layout(LayoutRule::Forward),
            "not negative",
        ),
        (|d| d.layout = d.layout.transposed(), ANY.layout(LayoutRule::RowMajor), "row-major"),
        (|_| {}, ANY.layout(LayoutRule::ColumnMajor), "column-major"),
        (|d| d.alignment = 2, ANY, "aligned to 4 bytes"),
        (|d| d.alignment = 16, ANY.aligned_to(64), "aligned to 64 bytes"),
        (|d| d.access = Access::ReadOnly, WRITES_ALL, "read-only"),
    ]
}

#[test]
fn pinned_memory_is_reached_by_its_driver() {
    const PINNED: Accepts = Accepts::on(&[DeviceKind::Cuda, DeviceKind::CudaHost], TYPES);
    let pinned = Device::new(DeviceKind::CudaHost, 0);
    let on_pinned = Options::default().on(pinned);
    let at = |device: Device| Description { device, ..matrix() };
    let names = |found: &Description, options| steps(found, &PINNED, options).0;
    assert_eq!(names(&matrix(), on_pinned), ["peer-copy", "share"]);
    assert_eq!(names(&at(Device::cuda(1)), on_pinned), ["peer-copy", "share"]);
    let opencl = at(Device::new(DeviceKind::OpenCl, 0));
    assert_eq!(names(&opencl, on_pinned), ["download", "peer-copy", "share"]);
    assert_eq!(names(&at(pinned), on_pinned.copy(CopyPolicy::Always)), ["device-copy", "share"]);
    // The CPU casts into ordinary memory.
    let cast = on_pinned.cast(DataType::F64);
    assert_eq!(names(&at(pinned), cast), ["cast", "peer-copy", "share"]);
    assert_eq!(names(&at(Device::cuda(0)), cast), ["cast", "peer-copy", "share"]);
}

#[test]
fn what_fits_is_shared_or_moved() {
    assert_eq!(steps(&matrix(), &ANY, Options::default()), (vec!["share"], 0));
    assert_eq!(steps(&matrix(), &VECTORS, Options::default()), (vec!["move"], 0));
    let never = Options::default().copy(CopyPolicy::Never);
    assert_eq!(steps(&matrix(), &ANY, never), (vec!["share"], 0));
    let just_aligned = steps(&matrix(), &ANY.aligned_to(64), never);
    assert_eq!(just_aligned, (vec!["share"], 0));
}

#[test]
fn what_does_not_fit_is_copied_and_the_reason_given() {
    for (change, accepts, word) in cases() {
        let mut found = matrix();
        change(&mut found);
        let plan = plan(&found, &accepts, Options::default()).unwrap();
        assert_eq!(plan.steps.first(), Some(&Step::Copy), "{word}");
        assert_eq!(plan.bytes_copied, 48, "{word}");
        assert!(plan.to_string().contains(word), "{plan}");
    }
}

#[test]
fn never_fails_with_the_reason_it_would_have_copied() {
    for (change, accepts, word) in cases() {
        let mut found = matrix();
        change(&mut found);
        let never = Options::default().copy(CopyPolicy::Never);
        let error = plan(&found, &accepts, never).unwrap_err();
        assert!(matches!(error, Error::WouldCopy { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let cast = Options::default().copy(CopyPolicy::Never).cast(DataType::F64);
    assert!(matches!(plan(&matrix(), &ANY, cast), Err(Error::WouldCopy { .. })));
}

#[test]
fn always_copies_what_fits() {
    let always = Options::default().copy(CopyPolicy::Always);
    assert_eq!(steps(&matrix(), &ANY, always), (vec!["copy", "share"], 48));
    assert_eq!(steps(&matrix(), &VECTORS, always), (vec!["copy", "move"], 48));
}

#[test]
fn a_cast_is_the_copy() {
    let double = Options::default().cast(DataType::F64).copy(CopyPolicy::Always);
    assert_eq!(steps(&matrix(), &VECTORS, double), (vec!["cast", "move"], 96));
    let same = Options::default().cast(DataType::F32);
    assert_eq!(steps(&matrix(), &ANY, same), (vec!["share"], 0));
}

#[test]
fn a_missing_data_type_names_the_cast_that_holds_every_value() {
    let bytes = Description { data_type: DataType::U8, ..matrix() };
    let error = plan(&bytes, &ANY, Options::default()).unwrap_err();
    let Error::UnsupportedDataType { remedy, .. } = error else { panic!("{error}") };
    assert_eq!(remedy, Some(DataType::I32));
    let complex = Description { data_type: DataType::C64, ..matrix() };
    let text = plan(&complex, &ANY, Options::default()).unwrap_err().to_string();
    assert!(
        text.contains("the real and the imaginary parts") && !text.contains("float32"),
        "{text}"
    );
}

#[test]
fn a_wrong_rank_is_an_error_as_no_copy_mends_it() {
    let error = plan(&matrix(), &ANY.ranks(1, 1), Options::default()).unwrap_err();
    assert!(error.to_string().contains("it takes rank 1"), "{error}");
}

#[test]
fn devices_are_reached_by_the_fewest_bytes() {
    let gpu = |ordinal| Description { device: Device::cuda(ordinal), ..matrix() };
    assert_eq!(steps(&matrix(), &CUDA, Options::default()), (vec!["upload", "share"], 48));
    assert_eq!(steps(&gpu(1), &CUDA, Options::default()), (vec!["share"], 0));
    assert_eq!(steps(&gpu(1), &ANY, Options::default()), (vec!["download", "share"], 48));
    let second = Options::default().on(Device::cuda(1));
    assert_eq!(steps(&gpu(0), &CUDA, second), (vec!["peer-copy", "share"], 48));
    let always = Options::default().copy(CopyPolicy::Always);
    assert_eq!(steps(&gpu(0), &CUDA, always), (vec!["device-copy", "share"], 48));
    // Widening happens after the upload, narrowing before it.
    let wide = Options::default().cast(DataType::F64);
    assert_eq!(steps(&matrix(), &CUDA, wide).0, ["upload", "cast", "share"]);
    let doubles = Description { data_type: DataType::F64, ..matrix() };
    let narrow = Options::default().cast(DataType::F32);
    assert_eq!(steps(&doubles, &CUDA, narrow).0, ["cast", "upload", "share"]);
    let elsewhere = Options::default().on(Device::opencl(0));
    assert!(plan(&matrix(), &CUDA, elsewhere).is_err());
}

#[test]
fn host_memory_is_host_memory_however_it_was_allocated() {
    let pinned = Device::new(DeviceKind::CudaHost, 0);
    let found = Description { device: pinned, ..matrix() };
    assert_eq!(steps(&found, &ANY, Options::default()), (vec!["share"], 0));
    let on_cpu = Options::default().on(Device::CPU);
    assert_eq!(steps(&found, &ANY, on_cpu), (vec!["copy", "share"], 48), "asked for by name");
    assert_eq!(steps(&matrix(), &ANY, Options::default().on(pinned)).0, ["peer-copy", "share"]);
}

#[test]
fn read_only_reaches_a_target_without_read_only_arrays_by_name_only() {
    let found = Description { access: Access::ReadOnly, ..matrix() };
    assert_eq!(steps(&found, &WRITES_ALL, Options::default()).0, ["copy", "share"]);
    // SAFETY: no array exists here, so nobody writes to one.
    let promised = unsafe { Options::default().ignore_read_only() };
    assert_eq!(steps(&found, &WRITES_ALL, promised).0, ["share"]);
    assert_eq!(steps(&found, &ANY, Options::default()).0, ["share"], "this one honours the flag");
}

#[test]
fn an_empty_array_needs_no_alignment() {
    let found = Description { layout: Layout::row_major(&[0]).unwrap(), alignment: 1, ..matrix() };
    assert_eq!(steps(&found, &ANY, Options::default()), (vec!["share"], 0));
}
