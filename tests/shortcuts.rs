//! Converters: asked where the general way would copy, and never trusted blindly.

use arraybridge::ConvertByName;
use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

use arraybridge::backends::ndarray::{Ndarray, SharedArray};
use arraybridge::{
    Array, Convert, Converter, Description, Error, Options, Refused, Registration, Registry, Step,
};
use bridge_host::HostKernels;
use candle_core::Tensor;

/// Claims a shortcut from ndarray to candle, and refuses when told to.
struct Shortcut {
    refuses: bool,
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static WILLING: Shortcut = Shortcut { refuses: false };
static REFUSING: Shortcut = Shortcut { refuses: true };

impl Converter for Shortcut {
    fn source(&self) -> &'static str {
        "ndarray"
    }

    fn target(&self) -> &'static str {
        "candle"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<Tensor>()
    }

    fn name(&self) -> &'static str {
        "test shortcut"
    }

    fn applies(&self, source: &Description, _: &Options) -> bool {
        source.layout.rank() == 1
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        if self.refuses {
            let error = Error::Framework {
                backend: "candle",
                operation: "take a shortcut",
                message: "not today".to_owned(),
            };
            return Err(Refused::new(array, error));
        }
        Ok(Array::new(Tensor::new(&[42_f32], &candle_core::Device::Cpu).unwrap()))
    }
}

fn registry_with(converter: &'static Shortcut) -> Registry {
    Registry::new([
        Registration::backend(&Ndarray),
        Registration::backend(&arraybridge::backends::candle::Candle),
        Registration::host_tools(&HostKernels),
        Registration::converter(converter),
    ])
}

/// An array that candle can only take by copying: others hold its memory.
fn shared() -> (SharedArray<f32>, SharedArray<f32>) {
    let shared = SharedArray::from(ndarray::array![1.0_f32, 2.0]);
    (shared.clone(), shared)
}

#[test]
fn a_shortcut_replaces_a_copy_and_only_a_copy() {
    let registry = registry_with(&WILLING);
    let (array, _other) = shared();
    let array = Array::new(array);
    let plan = registry.plan(&array, "candle", &Options::default()).unwrap();
    assert_eq!(plan.steps.as_slice(), [Step::Shortcut { name: "test shortcut" }]);
    let (tensor, report) = registry.convert_reported(array, "candle", Options::default()).unwrap();
    let tensor: Tensor = tensor.downcast().unwrap();
    assert_eq!(tensor.to_vec1::<f32>().unwrap(), [42.0]);
    assert_eq!(report.steps[0].name(), "shortcut");

    // What can move is moved, and what the shortcut does not cover is copied.
    let owned = Array::new(ndarray::array![1.0_f32, 2.0]);
    let plan = registry.plan(&owned, "candle", &Options::default()).unwrap();
    assert_eq!(plan.steps[0].name(), "move");
    let matrix = SharedArray::from(ndarray::array![[1.0_f32]]);
    let plan = registry.plan(&Array::new(matrix.clone()), "candle", &Options::default()).unwrap();
    assert_eq!(plan.steps[0].name(), "copy");
}

#[test]
fn where_a_shortcut_refuses_the_general_way_is_taken() {
    let registry = registry_with(&REFUSING);
    let before = CALLS.load(Ordering::SeqCst);
    let (array, _other) = shared();
    let (tensor, report) =
        registry.convert_reported(Array::new(array), "candle", Options::default()).unwrap();
    assert!(CALLS.load(Ordering::SeqCst) > before);
    let tensor: Tensor = tensor.downcast().unwrap();
    assert_eq!(tensor.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    assert_eq!(report.steps[0].name(), "copy");
    assert!(report.declined[0].to_string().contains("not today"), "{:?}", report.declined);

    let (array, _other) = shared();
    let never = Options::default().copy(arraybridge::CopyPolicy::Never);
    let refused = registry.convert(Array::new(array), "candle", never).unwrap_err();
    assert!(matches!(refused.error(), Error::WouldCopy { .. }), "{refused}");
    assert!(refused.into_value().downcast::<SharedArray<f32>>().is_ok());
}

#[test]
fn two_converters_for_one_pair_are_refused() {
    struct Another;
    impl Converter for Another {
        fn source(&self) -> &'static str {
            "ndarray"
        }
        fn target(&self) -> &'static str {
            "candle"
        }
        fn target_type(&self) -> TypeId {
            TypeId::of::<Tensor>()
        }
        fn name(&self) -> &'static str {
            "another"
        }
        fn applies(&self, _: &Description, _: &Options) -> bool {
            false
        }
        fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
            Ok(array)
        }
    }
    let both = [Registration::converter(&WILLING), Registration::converter(&Another)];
    let registry = Registry::new(both);
    let reason = &registry.disabled()[0].reason;
    assert!(reason.contains("from \"ndarray\" to \"candle\""), "{reason}");
}

/// From candle to the shared arrays of ndarray, which has other array types too.
struct ToShared;

impl Converter for ToShared {
    fn source(&self) -> &'static str {
        "candle"
    }

    fn target(&self) -> &'static str {
        "ndarray"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<SharedArray<f32>>()
    }

    fn name(&self) -> &'static str {
        "to a shared array"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        true
    }

    fn convert(&self, _: Array, _: &Options) -> Result<Array, Refused<Array>> {
        Ok(Array::new(SharedArray::from(ndarray::array![42.0_f32])))
    }
}

static TO_SHARED: Registration = Registration::converter(&ToShared);

#[test]
fn a_shortcut_is_taken_only_to_the_array_type_it_makes() {
    arraybridge::register(&[TO_SHARED]).unwrap();
    let tensor = || Tensor::new(&[1_f32, 2.0], &candle_core::Device::Cpu).unwrap();
    let owned: ndarray::Array1<f32> = tensor().convert().unwrap();
    assert_eq!(owned, ndarray::array![1.0, 2.0]);
    let always = Options::default().copy(arraybridge::CopyPolicy::Always);
    let shared: SharedArray<f32> = tensor().convert_to(always).unwrap();
    assert_eq!(shared.view(), ndarray::array![42.0].into_dyn());
}
