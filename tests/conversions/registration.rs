//! What is linked is registered, once, in a fixed order.

use arraybridge::ConvertByName;
use arraybridge::backends::ndarray::{Ndarray, SharedArray};
use arraybridge::{
    Availability, Backend, Descriptor, Disabled, Error, NativeType, Registration, Registry,
    Unavailable,
};
use bridge_tests::registry;

/// The backends of the features, in order of their priority.
fn linked() -> Vec<&'static str> {
    let features = [
        ("ndarray", true),
        ("candle", true),
        ("torch", cfg!(feature = "torch")),
        ("cuda", cfg!(feature = "cuda")),
        ("opencl", cfg!(feature = "opencl")),
    ];
    features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}

#[test]
fn the_facades_features_are_linked_in_order() {
    let names: Vec<_> = registry().backends().iter().map(|backend| backend.name()).collect();
    assert_eq!(names, linked());
    assert!(registry().available().count() >= 2);
    assert!(registry().host_tools().is_ok());
}

#[test]
fn aliases_lead_to_the_backend_without_regard_to_case() {
    for name in ["candle", "Candle-Core", "CANDLE_CORE"] {
        assert_eq!(registry().backend(name).unwrap().name(), "candle");
    }
}

#[test]
fn values_are_detected_by_their_type() {
    let name = |value: &dyn std::any::Any| registry().detect(value).map(<dyn Backend>::name);
    assert_eq!(name(&ndarray::array![1.0_f32]), Some("ndarray"));
    assert_eq!(name(&SharedArray::from(ndarray::array![1_u8])), Some("ndarray"));
    let tensor = candle_core::Tensor::new(1_u8, &candle_core::Device::Cpu).unwrap();
    assert_eq!(name(&tensor), Some("candle"));
    assert_eq!(name(&"text"), None);
}

#[test]
fn registering_by_hand_what_is_linked_is_harmless() {
    arraybridge::register_all().unwrap();
    assert_eq!(registry().backends().len(), linked().len());
    arraybridge::register_all().unwrap();
}

/// A backend that claims a name or alias.
struct Claims<const ALIAS: bool>;

static BY_NAME: Descriptor =
    Descriptor { name: "ndarray", aliases: &[], framework: "a test", priority: 0 };
static BY_ALIAS: Descriptor = Descriptor { name: "other", aliases: &["ND"], ..BY_NAME };

impl<const ALIAS: bool> Backend for Claims<ALIAS> {
    fn descriptor(&self) -> &'static Descriptor {
        if ALIAS { &BY_ALIAS } else { &BY_NAME }
    }
    fn availability(&self) -> Availability {
        let reason = "it is a test".to_owned();
        Availability::Unavailable(Unavailable { reason, remedy: "run a real one".to_owned() })
    }
    fn native_types(&self) -> &'static [NativeType] {
        &[]
    }
}

#[test]
fn of_two_backends_of_one_name_the_later_is_disabled() {
    let ndarray = Registration::backend(&Ndarray);
    for clash in [Registration::backend(&Claims::<false>), Registration::backend(&Claims::<true>)] {
        let registry = Registry::new([ndarray, clash]);
        assert_eq!(registry.backends().len(), 1);
        let [Disabled { type_name, reason }] = registry.disabled() else { panic!("none is") };
        assert!(type_name.contains("Claims") && reason.contains("\"ndarray\""), "{reason}");
    }
    let twice = Registry::new([ndarray, ndarray]);
    assert!(twice.disabled().is_empty(), "the same one twice counts once");
}

#[test]
fn registering_a_stranger_after_the_first_use_is_an_error() {
    let _ = registry();
    let late = arraybridge::register(&[Registration::backend(&Claims::<true>)]).unwrap_err();
    assert!(late.to_string().contains("first thing in the program"), "{late}");
}

#[test]
fn an_unavailable_backend_says_why_and_what_to_do() {
    let registry = Registry::new([Registration::backend(&Claims::<true>)]);
    let array = arraybridge::Array::new(ndarray::array![1.0_f32]);
    let refused = registry.convert(array, "other", arraybridge::Options::default()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("not available: it is a test; run a real one"), "{text}");
    assert_eq!(registry.available().count(), 0);
}

/// A backend type of which a program has two.
struct Named(&'static Descriptor);

static FIRST: Descriptor = Descriptor { name: "first", aliases: &[], ..BY_NAME };
static SECOND: Descriptor = Descriptor { name: "second", aliases: &[], ..BY_NAME };

impl Backend for Named {
    fn descriptor(&self) -> &'static Descriptor {
        self.0
    }
    fn availability(&self) -> Availability {
        Availability::HOST
    }
    fn native_types(&self) -> &'static [NativeType] {
        &[]
    }
}

#[test]
fn two_backends_of_one_type_are_two() {
    static ONE: Named = Named(&FIRST);
    static TWO: Named = Named(&SECOND);
    let registry = Registry::new([Registration::backend(&ONE), Registration::backend(&TWO)]);
    assert_eq!(registry.backends().len(), 2);
}

#[test]
fn of_two_sets_of_host_tools_the_later_is_disabled() {
    struct Others;
    // SAFETY: neither function ever returns `Ok`.
    unsafe impl arraybridge::HostTools for Others {
        fn copy(
            &self,
            _: &arraybridge::ManagedTensor,
            _: &mut arraybridge::ManagedTensor,
        ) -> arraybridge::Result<()> {
            Err(Error::Unsupported { what: String::new(), remedy: String::new() })
        }
        fn cast(
            &self,
            source: &arraybridge::ManagedTensor,
            target: &mut arraybridge::ManagedTensor,
            _: arraybridge::Overflow,
        ) -> arraybridge::Result<()> {
            self.copy(source, target)
        }
    }
    let both =
        [Registration::host_tools(&bridge_host::HostKernels), Registration::host_tools(&Others)];
    let registry = Registry::new(both);
    let [Disabled { type_name, reason }] = registry.disabled() else { panic!("none is") };
    assert!(type_name.contains("Others") && reason.contains("host tools"), "{reason}");
}

/// torch comes before cuda by its priority, and reaches CUDA devices as a guest only.
#[cfg(all(feature = "torch", feature = "cuda"))]
#[test]
fn where_torch_is_linked_too_cuda_answers_for_its_devices() {
    let device = arraybridge::Device::cuda(0);
    match registry().runtime(device) {
        Ok(runtime) => assert_eq!(runtime.backend().name(), "cuda"),
        Err(Error::Unavailable { backend, .. }) => assert_eq!(backend, "cuda"),
        Err(other) => panic!("{other}"),
    }
}
