//! What a caller asks for and who asks: by type or by name, of an array that may be right already.

use bridge_convert::{Convert, ConvertByName};
use bridge_core::{
    Accepts, Access, Array, CopyPolicy, DataType, Device, Error, ManagedTensor, Options, Refused,
    Registration, Registry, Result,
};

use crate::accelerator::{Accelerator, FIRST};
use crate::support::{
    Behaviour, Plain, PlainArray, Takes, Writes, array, numbers, refusal, registry,
};

/// What a conversion of an array does, once its target is known.
fn explained<T: bridge_core::NativeArray<Plain<M>>, M: Behaviour>(
    array: fn() -> PlainArray<Takes>,
    options: Options,
) -> String {
    let plan = registry().plan(&Array::new(array()), M::NAME, &options).unwrap();
    let by_type = array().plan_to::<T>(&options).unwrap();
    let erased = Array::new(array()).plan_to::<T>(&options).unwrap();
    assert_eq!((&by_type, &erased), (&plan, &plan), "to {} with {options:?}", M::NAME);

    let (made, report) =
        registry().convert_reported(Array::new(array()), M::NAME, options).unwrap();
    let (by_type, typed_report) = array().convert_reported::<T>(options).unwrap();
    let (erased, erased_report) = Array::new(array()).convert_reported::<T>(options).unwrap();
    assert_eq!((&typed_report, &erased_report), (&report, &report));
    assert_eq!((&report.steps, report.bytes_copied), (&plan.steps, plan.bytes_copied));
    assert_eq!(report.is_zero_copy(), plan.is_zero_copy());

    let unreported = [
        registry().convert(Array::new(array()), M::NAME, options).unwrap().describe().unwrap(),
        array().convert_to::<T>(options).unwrap().describe().unwrap(),
        Array::new(array()).convert_to::<T>(options).unwrap().describe().unwrap(),
    ];
    let reported = [made.describe(), by_type.describe(), erased.describe()].map(Result::unwrap);
    for found in unreported.iter().chain(&reported) {
        assert_eq!(found.data_type, report.data_type);
        assert_eq!(found.layout.shape(), report.shape.as_slice());
        assert_eq!(found.device, made.describe().unwrap().device);
    }
    report.to_string()
}

#[test]
fn by_type_and_by_name_the_same_is_done() {
    let matrix = || PlainArray::<Takes>::of(numbers(&[2, 3]));
    let ask = Options::default();
    let (always, double) = (ask.copy(CopyPolicy::Always), ask.cast(DataType::F64));
    // An array that already is what was asked for is not touched.
    for options in [ask, ask.on(Device::CPU), ask.cast(DataType::F32), ask.copy(CopyPolicy::Never)]
    {
        assert_eq!(
            explained::<PlainArray<Takes>, Takes>(matrix, options),
            "takes to takes: float32 [2, 3], stay (zero-copy)"
        );
        assert_eq!(
            explained::<PlainArray<Writes>, Writes>(matrix, options),
            "takes to writes: float32 [2, 3], share (zero-copy)"
        );
    }
    assert_eq!(
        explained::<PlainArray<Takes>, Takes>(matrix, always),
        "takes to takes: float32 [2, 3], copy, share (24 bytes copied)"
    );
    assert_eq!(
        explained::<PlainArray<Takes>, Takes>(matrix, double),
        "takes to takes: float64 [2, 3], cast float32 to float64, share (48 bytes copied)"
    );
    for options in [ask, ask.on(FIRST)] {
        assert_eq!(
            explained::<PlainArray<Accelerator>, Accelerator>(matrix, options),
            "takes to accelerator: float32 [2, 3], upload to cuda:0, share (24 bytes copied)"
        );
    }
}

#[test]
fn a_device_that_the_array_type_lacks_is_an_error_that_names_the_backends_devices() {
    let refused = numbers(&[2]).convert_to::<PlainArray<Takes>>(Options::default().on(FIRST));
    let text = refused.err().map(|refused| refused.to_string());
    assert_eq!(text.as_deref(), Some("\"takes\" has no device cuda:0; it has cpu"));
}

/// Has two element types.
struct Floats;

impl Behaviour for Floats {
    const NAME: &'static str = "floats";
    const ACCEPTS: Accepts = Accepts::host(&[DataType::F32, DataType::F64]);
}

#[test]
fn an_element_type_that_no_array_of_the_backend_has_is_told_with_the_backends_name() {
    let text = numbers(&[2])
        .convert_to::<PlainArray<Floats>>(Options::default().cast(DataType::U8))
        .err()
        .map(|refused| refused.to_string());
    let text = text.unwrap();
    assert!(text.starts_with("floats has no uint8; cast to float32"), "{text}");
}

#[test]
fn the_promise_that_nobody_writes_counts_where_the_target_has_no_read_only_arrays() {
    let constant = || Array::new(numbers(&[3]).into_read_only());
    // SAFETY: nobody writes to what is made in this test.
    let promised = unsafe { Options::default().ignore_read_only() };
    let made = |target: &str, options| {
        let (array, report) = registry().convert_reported(constant(), target, options).unwrap();
        let same = registry().convert(constant(), target, options).unwrap();
        let access = array.describe().unwrap().access;
        assert_eq!(same.describe().unwrap().access, access, "{target}");
        (access, report.is_zero_copy())
    };
    assert_eq!(made("takes", Options::default()), (Access::ReadOnly, true));
    assert_eq!(made("takes", promised), (Access::ReadOnly, true), "it has read-only arrays");
    assert_eq!(made("writes", Options::default()), (Access::Exclusive, false));
    assert_eq!(made("writes", promised), (Access::Shared, true));
}

/// Refuses memory that others hold too, which it finds out only when it gets it.
struct Picky;

impl Behaviour for Picky {
    const NAME: &'static str = "picky";

    fn import(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.access() {
            Access::Exclusive => Ok(tensor),
            _ => Err(refusal(tensor, "memory that it does not hold alone")),
        }
    }
}

#[test]
fn what_a_backend_refuses_is_copied_if_that_is_allowed() {
    static BACKEND: Plain<Picky> = Plain::new();
    let registry = Registry::new([
        Registration::backend(&BACKEND),
        Registration::host_tools(&bridge_host::HostKernels),
    ]);
    let constant = || Array::new(numbers(&[3]).into_read_only());
    let (_, report) = registry.convert_reported(constant(), "picky", Options::default()).unwrap();
    assert_eq!(report.to_string(), "dlpack to picky: float32 [3], copy, share (12 bytes copied)");
    let [declined] = report.declined.as_slice() else { panic!("{:?}", report.declined) };
    let why = "no share: the target refused it: memory that it does not hold alone";
    assert!(declined.to_string().starts_with(why), "{declined}");

    let never = Options::default().copy(CopyPolicy::Never);
    let refused = registry.convert(constant(), "picky", never).unwrap_err();
    assert!(matches!(refused.error(), Error::WouldCopy { .. }), "{refused}");
    assert!(refused.to_string().contains(why), "{refused}");
    assert_eq!(refused.into_value().describe().unwrap().access, Access::ReadOnly);
    assert!(registry.convert(array(&[3]), "picky", never).is_ok());
}
