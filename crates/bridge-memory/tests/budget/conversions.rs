//! Conversions within a budget.

use std::any::TypeId;

use bridge_convert::{Convert, ConvertByName, Stacker};
use bridge_core::{
    Array, Converter, CopyPolicy, DataType, Description, Device, Error, ManagedTensor, Options,
    Refused, Registration, Registry,
};
use bridge_memory::budget::{Budget, ConvertHeld, ConvertHeldByName, Shortage};
use bridge_testkit::fake_accelerator::{self, DEVICES, FakeArray, Faults};

use bridge_testkit::vectors::Vectors;

fn registry() -> Registry {
    let tools = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_core::Dlpack),
        Registration::backend(&Vectors),
    ];
    Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools))
}

fn numbers() -> ManagedTensor {
    ManagedTensor::from_vec(vec![1.0_f32; 256], &[16, 16]).unwrap()
}

#[test]
fn a_conversion_reserves_its_peak_and_gives_it_back() {
    let budget = Budget::new("test", 10_000).unwrap();
    let always = Options::default().copy(CopyPolicy::Always).within(&budget);
    let copy: ManagedTensor = numbers().convert_to(always).unwrap();
    assert_eq!((budget.status().peak, budget.reserved()), (1024, 0));
    // A share takes nothing, however small the budget.
    let none = Budget::new("none", 1).unwrap();
    let shared = Array::new(copy).convert_to::<ManagedTensor>(Options::default().within(&none));
    assert!(shared.is_ok() && none.status().peak == 0);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_taken() {
    let budget = Budget::new("test", 1023).unwrap();
    let tensor = numbers();
    let address = tensor.data();
    let always = Options::default().copy(CopyPolicy::Always).within(&budget);
    let refused = tensor.convert_to::<ManagedTensor>(always).unwrap_err();
    let shortage = Shortage::of(refused.error()).expect("a budget refused it");
    assert!(matches!(shortage, Shortage::Never { need: 1024, capacity: 1023, .. }));
    assert_eq!(refused.into_value().data(), address);
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn steps_over_devices_reserve_what_is_there_at_one_time() {
    let budget = Budget::new("test", 1 << 20).unwrap();
    let registry = registry();
    let array = Array::new(numbers());
    let plan = registry.plan(
        &array,
        "fake-accelerator",
        &Options::default().on(DEVICES[0]).cast(DataType::F64),
    );
    let plan = plan.unwrap();
    let told: Vec<_> = plan.peaks.iter().map(|peak| (peak.device, peak.bytes)).collect();
    assert_eq!(told, [(DEVICES[0], 1024 + 2048)], "the upload, and the cast of it");
    let options = Options::default().on(DEVICES[0]).cast(DataType::F64).within(&budget);
    registry.convert(array, "fake-accelerator", options).unwrap();
    assert_eq!((budget.status().peak, budget.reserved()), (1024 + 2048, 0));
}

/// A driver that downloads into memory of its own, for a target that owns vectors: the copy after it is counted before
/// anything is taken.
#[test]
fn a_copy_after_a_download_is_reserved_with_it() {
    let registry = registry();
    let on_device = Options::default().on(DEVICES[0]);
    let _pinned = Faults::pinned_downloads().install();
    for (capacity, fits) in [(2047, false), (2048, true)] {
        let array = registry.convert(Array::new(numbers()), "fake-accelerator", on_device).unwrap();
        let plan = registry.plan(&array, "vectors", &Options::default()).unwrap();
        assert_eq!(plan.peaks.iter().map(|peak| peak.bytes).sum::<u64>(), 2048, "both");
        let budget = Budget::new("test", capacity).unwrap();
        let options = Options::default().within(&budget);
        match registry.convert(array, "vectors", options) {
            Ok(_) => assert!(fits, "{capacity}"),
            Err(refused) => {
                let shortage = Shortage::of(refused.error()).expect("a budget refused it");
                assert!(matches!(shortage, Shortage::Never { .. }) && !fits, "{shortage}");
                assert_eq!(refused.into_value().describe().unwrap().device, DEVICES[0]);
            }
        }
        assert_eq!(budget.reserved(), 0);
        assert_eq!(budget.status().peak, if fits { 2048 } else { 0 });
    }
}

#[test]
fn a_result_can_keep_its_room() {
    let budget = Budget::new("test", 1 << 20).unwrap();
    let consumer = budget.consumer("results");
    let wide = Options::default().cast(DataType::F64);
    let held = numbers().convert_held::<ManagedTensor>(wide, &consumer).unwrap();
    assert_eq!((held.reservation().bytes(), budget.reserved()), (2048, 2048));
    let shared = registry().convert_held(Array::new(numbers()), "dlpack", wide, &consumer);
    let there = Options::default().on(DEVICES[1]).cast(DataType::F64);
    let device =
        registry().convert_held(Array::new(numbers()), "fake-accelerator", there, &consumer);
    assert_eq!(budget.reserved(), 3 * 2048, "the upload has been given back");
    drop((held, shared, device));
    assert_eq!(budget.reserved(), 0);
    // What takes nothing keeps nothing.
    let stays = numbers().convert_held::<ManagedTensor>(Options::default(), &consumer).unwrap();
    assert_eq!(stays.reservation().bytes(), 0);
    let (tensor, _) = stays.map(|tensor| tensor).into_parts();
    assert_eq!(tensor.shape(), [16, 16]);
}

/// A shortcut to the fake accelerator that refuses, or makes a copy of its own.
struct Shortcut {
    refuses: bool,
}

impl Converter for Shortcut {
    fn source(&self) -> &'static str {
        "dlpack"
    }

    fn target(&self) -> &'static str {
        "fake-accelerator"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<FakeArray>()
    }

    fn name(&self) -> &'static str {
        "upload by itself"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        true
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        if self.refuses {
            let error = Error::Unsupported { what: "it".to_owned(), remedy: "none".to_owned() };
            return Err(Refused::new(array, error));
        }
        let there = Options::default().on(DEVICES[0]);
        registry().convert(array, "fake-accelerator", there)
    }
}

#[test]
fn a_shortcut_reserves_what_its_result_is_and_gives_it_back_where_it_refuses() {
    for shortcut in [&Shortcut { refuses: false }, &Shortcut { refuses: true }] {
        let tools = [
            Registration::host_tools(&bridge_host::HostKernels),
            Registration::backend(&bridge_core::Dlpack),
            Registration::converter(shortcut),
        ];
        let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
        let there = Options::default().on(DEVICES[0]);
        let first = if shortcut.refuses { "upload" } else { "shortcut" };
        // There is room for one way at a time.
        let budget = Budget::new("test", 1024).unwrap();
        let convert = |options| {
            let array = Array::new(numbers());
            registry.convert_reported(array, "fake-accelerator", options).unwrap().1
        };
        assert_eq!(convert(there.within(&budget)).steps[0].name(), first);
        assert_eq!((budget.status().peak, budget.reserved()), (1024, 0));
        let held = registry.convert_held(
            Array::new(numbers()),
            "fake-accelerator",
            there,
            &budget.consumer("results"),
        );
        let held = held.unwrap();
        assert_eq!((held.reservation().bytes(), budget.reserved()), (1024, 1024));
        drop(held);
        assert_eq!(budget.reserved(), 0);
        let short = Budget::new("short", 1023).unwrap();
        let refused = registry
            .convert(Array::new(numbers()), "fake-accelerator", there.within(&short))
            .unwrap_err();
        assert!(Shortage::of(refused.error()).is_some(), "{refused}");
        assert_eq!(short.status().peak, 0);
    }
}

#[test]
fn a_stack_reserves_its_memory_until_it_is_handed_over() {
    let budget = Budget::new("test", 3000).unwrap();
    let registry = registry();
    let mut stacker = Stacker::new(&registry, 2, 0).within(&budget);
    stacker.push(Array::new(numbers())).unwrap();
    assert_eq!(budget.reserved(), 2048);
    // A slice that has to be downloaded takes its own size too, for a moment: that is refused.
    let there = registry.convert(Array::new(numbers()), "fake-accelerator", Options::default());
    let refused = stacker.push(there.unwrap()).unwrap_err();
    assert!(Shortage::of(refused.error()).is_some(), "{refused}");
    budget.set_capacity(4000).unwrap();
    stacker.push(refused.into_value()).unwrap();
    let volume = stacker.finish("dlpack", Options::default()).unwrap();
    assert_eq!(volume.describe().unwrap().layout.shape(), [2, 16, 16]);
    assert_eq!((budget.reserved(), budget.status().peak), (0, 3072));
}

#[test]
fn a_budget_of_one_device_counts_no_other() {
    let host = Budget::of_device("host", 100, Device::CPU).unwrap();
    let there = Options::default().on(DEVICES[0]).within(&host);
    assert!(registry().convert(Array::new(numbers()), "fake-accelerator", there).is_ok());
    assert_eq!(host.status().peak, 0);
    let always = Options::default().copy(CopyPolicy::Always).within(&host);
    assert!(numbers().convert_to::<ManagedTensor>(always).is_err());
}
