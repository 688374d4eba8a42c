//! Observers see the conversions of their thread, and only while they watch.

use arraybridge::ConvertByName;
use std::sync::{Arc, Mutex};

use arraybridge::{Convert, CopyPolicy, Counters, Observer, Options, Record, observe};
use candle_core::Tensor;
use ndarray::array;

#[test]
fn counters_count_by_pair_and_way() {
    let counters = Arc::new(Counters::default());
    let watching = observe(counters.clone());
    for _ in 0..3 {
        let _: Tensor = array![1.0_f32, 2.0].convert().unwrap();
    }
    let always = Options::default().copy(CopyPolicy::Always);
    let _: Tensor = array![1.0_f32, 2.0].convert_to(always).unwrap();
    std::thread::spawn(|| {
        let _: Tensor = array![1.0_f32].convert().unwrap();
    })
    .join()
    .unwrap();
    drop(watching);
    let _: Tensor = array![1.0_f32].convert().unwrap();

    let rows = counters.rows();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.way.as_str(), row.count.conversions, row.count.bytes_copied))
        .collect();
    assert_eq!(seen, [("copy+move", 1, 8), ("move", 3, 0)]);
    assert!(counters.to_string().contains("ndarray to candle by move: 3 conversions"));

    let sum = Counters::default();
    sum.merge(&counters);
    sum.merge(&counters);
    assert_eq!(sum.rows()[1].count.conversions, 6);
}

#[test]
fn an_observer_may_convert_and_a_refusal_is_not_reported() {
    struct Converts(Mutex<Vec<String>>);
    impl Observer for Converts {
        fn converted(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.report.to_string());
            if self.0.lock().unwrap().len() < 2 {
                let _: Tensor = array![1.0_f32].convert().unwrap();
            }
        }
    }
    let observer = Arc::new(Converts(Mutex::new(Vec::new())));
    let _watching = observe(observer.clone());
    let _: Tensor = array![[1.0_f32, 2.0]].convert().unwrap();
    assert!(array![1_i8].convert::<Tensor>().is_err());
    let seen = observer.0.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0], "ndarray to candle: float32 [1, 2], move (zero-copy)");
}

#[test]
fn a_copy_that_only_carrying_it_out_shows_is_reported() {
    use arraybridge::backends::candle::Candle;
    use arraybridge::{Array, ManagedTensor, Registration, Registry, Step};
    use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator, Faults};

    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
        Registration::backend(&Candle),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let on_device = || {
        let array = Array::new(ManagedTensor::from_vec(vec![1_f32; 6], &[2, 3]).unwrap());
        let there = Options::default().on(DEVICES[0]);
        registry.convert(array, "fake-accelerator", there).unwrap()
    };
    let download = Step::Download { from: DEVICES[0] };
    let convert =
        || registry.convert_reported(on_device(), "candle", Options::default()).unwrap().1;

    let report = convert();
    assert_eq!(report.steps.as_slice(), [download.clone(), Step::Move]);
    assert_eq!(report.bytes_copied, 24);

    // candle owns vectors only: what came down elsewhere is copied once more.
    let _pinned = Faults::pinned_downloads().install();
    let report = convert();
    assert_eq!(report.steps.as_slice(), [download, Step::Copy, Step::Move]);
    assert_eq!(report.bytes_copied, 48);
}

#[test]
fn a_vector_that_a_device_uses_in_place_comes_back_as_a_vector() {
    use arraybridge::backends::candle::Candle;
    use arraybridge::{Array, ManagedTensor, Registration, Registry};
    use bridge_testkit::fake_accelerator::{FakeAccelerator, UNIFIED};

    let registry = Registry::new([
        Registration::backend(&FakeAccelerator),
        Registration::runtime(&FakeAccelerator),
        Registration::allocator(&FakeAccelerator),
        Registration::backend(&Candle),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let array = Array::new(ManagedTensor::from_vec(vec![1_f32; 64], &[64]).unwrap());
    let there = Options::default().on(UNIFIED).copy(CopyPolicy::Never);
    let array = registry.convert(array, "fake-accelerator", there).unwrap();
    let never = Options::default().copy(CopyPolicy::Never);
    let (_, report) = registry.convert_reported(array, "candle", never).unwrap();
    let names: Vec<_> = report.steps.iter().map(arraybridge::Step::name).collect();
    assert_eq!(names, ["map", "move"]);
}
