use bridge_convert::{ConvertByName as _, Plan};
use bridge_core::{
    Array, DataType, Device, Error, ManagedTensor, Options, Registration, Registry, TensorError,
};
use bridge_memory::predict::{Affine, Conversion, CostModel, Padded, SafetyFactor};
use bridge_testkit::fake_accelerator::{self, DEVICES};
use proptest::prelude::*;

#[test]
fn closures_and_costs_are_models() {
    let closure = |rows: u64| rows.saturating_mul(24);
    let affine = Affine { fixed: 100, per_item: 24 };
    let models: [&dyn CostModel; 2] = [&closure, &affine];
    let bytes = models.map(|model| model.bytes(10).unwrap());
    assert_eq!(bytes, [240, 340]);
    let parts = models.map(CostModel::fixed_and_per_item);
    assert_eq!(parts, [None, Some((100, 24))]);
    assert_eq!(closure.bytes(u64::MAX).unwrap(), u64::MAX, "nothing has room for that");
    let error = affine.bytes(u64::MAX).unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
}

#[test]
fn a_conversion_takes_what_its_plan_says_on_each_device() {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
    let plan = |rows: u64| -> bridge_core::Result<Plan> {
        let rows = rows as usize;
        let array = Array::new(ManagedTensor::from_vec(vec![0_f64; 10 * rows], &[rows, 10])?);
        let options = Options::default().cast(DataType::F32).on(DEVICES[1]);
        registry.plan(&array, "fake-accelerator", &options)
    };
    let bytes = |device, rows| Conversion::new(device, plan).bytes(rows).unwrap();
    assert_eq!(bytes(DEVICES[1], 7), 7 * 10 * 4, "the upload of what was cast");
    assert_eq!(bytes(Device::CPU, 7), 7 * 10 * 4, "the cast");
    assert_eq!(bytes(DEVICES[0], 7), 0);
    let conversion = Conversion::new(DEVICES[1], plan);
    assert_eq!(conversion.fixed_and_per_item(), None);
    let failing = Conversion::new(Device::CPU, |_| -> bridge_core::Result<Plan> {
        Err(Error::Unsupported { what: "planning".to_owned(), remedy: "none".to_owned() })
    });
    assert!(failing.bytes(1).unwrap_err().to_string().contains("planning"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn padded_parts_are_never_less_than_padded_bytes(
        fixed in 0_u64..1 << 40, per_item in 0_u64..1 << 20, items in 0_u64..1 << 20,
        factor in 1.0..3.0_f64,
    ) {
        let safety = SafetyFactor::new(factor).unwrap();
        let model = Affine { fixed, per_item };
        let padded = Padded { model, safety };
        let (fixed, per_item) = padded.fixed_and_per_item().unwrap();
        prop_assert!(fixed + per_item * items >= padded.bytes(items).unwrap());
        prop_assert!(padded.bytes(items).unwrap() >= model.bytes(items).unwrap());
        let unpadded = Padded { model, safety: SafetyFactor::NONE };
        prop_assert_eq!(unpadded.bytes(items).unwrap(), model.bytes(items).unwrap());
        prop_assert_eq!(unpadded.fixed_and_per_item(), model.fixed_and_per_item());
    }
}
