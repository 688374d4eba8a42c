//! Shortcuts between two backends: taken where they beat a copy, and only there.

use std::any::TypeId;
use std::sync::Mutex;

use bridge_convert::ConvertByName;
use bridge_core::{
    Admission, Array, Converter, CopyPolicy, DataType, Description, Device, DeviceBytes, Error,
    Options, Permit, Refused, Registration, Registry, TensorError,
};

use crate::accelerator::{FIRST, lying_on};
use crate::support::{PlainArray, TAKES, Takes, VECTORS, Vectors, WRITES, Writes, numbers};

/// Hands the elements to `vectors` on a way of its own, unless a copy or a cast is asked for.
struct Quick;

impl Converter for Quick {
    fn source(&self) -> &'static str {
        "takes"
    }

    fn target(&self) -> &'static str {
        "vectors"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<PlainArray<Vectors>>()
    }

    fn name(&self) -> &'static str {
        "hand over"
    }

    fn applies(&self, _: &Description, options: &Options) -> bool {
        options.copy_policy() != CopyPolicy::Always && options.data_type().is_none()
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        let array: PlainArray<Takes> = array.downcast()?;
        let elements = bridge_host::to_row_major(&array.tensor).unwrap();
        Ok(Array::new(PlainArray::<Vectors>::of(elements)))
    }
}

/// Says it goes to `writes`, but makes an array of another type.
struct Astray;

impl Converter for Astray {
    fn source(&self) -> &'static str {
        "takes"
    }

    fn target(&self) -> &'static str {
        "writes"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<PlainArray<Vectors>>()
    }

    fn name(&self) -> &'static str {
        "go astray"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        true
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        Ok(array)
    }
}

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&TAKES),
        Registration::backend(&VECTORS),
        Registration::backend(&WRITES),
        Registration::converter(&Quick),
        Registration::converter(&Astray),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

/// From `takes` to `writes`, and says what it takes: a half of the result's memory more on the first
/// device, told in two parts.
struct Staged;

impl Converter for Staged {
    fn source(&self) -> &'static str {
        "takes"
    }

    fn target(&self) -> &'static str {
        "writes"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<PlainArray<Writes>>()
    }

    fn name(&self) -> &'static str {
        "over a device"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        true
    }

    fn peaks(&self, _: &Description, result: DeviceBytes) -> Vec<DeviceBytes> {
        let part = DeviceBytes { device: FIRST, bytes: result.bytes / 4 };
        vec![part, result, part]
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        let array: PlainArray<Takes> = array.downcast()?;
        Ok(Array::new(PlainArray::<Writes>::of(array.tensor)))
    }
}

/// An array that `vectors` can move, or one that it cannot, since another owns the memory.
fn taken(movable: bool) -> Array {
    let tensor = numbers(&[6]);
    Array::new(PlainArray::<Takes>::of(if movable {
        tensor
    } else {
        lying_on(Device::CPU, tensor)
    }))
}

#[test]
fn a_shortcut_is_taken_where_the_general_way_would_copy_and_the_shortcut_applies() {
    const OWNED: &str =
        "no move: the target can only own Rust vectors, and this memory has another owner";
    let registry = registry();
    let default = Options::default();
    let quick = "takes to vectors: shortcut (hand over) (zero-copy)".to_owned();
    let cases = [
        (true, default, "takes to vectors: move (zero-copy)".to_owned()),
        (false, default, format!("{quick}\n  {OWNED}")),
        (false, default.copy(CopyPolicy::Never), quick),
        (
            false,
            default.copy(CopyPolicy::Always),
            format!(
                "takes to vectors: copy, move (24 bytes copied)\n  \
                 no move: a copy was asked for (CopyPolicy::Always)\n  {OWNED}"
            ),
        ),
    ];
    for (movable, options, explained) in cases {
        let plan = registry.plan(&taken(movable), "vectors", &options).unwrap();
        assert_eq!(plan.to_string(), explained);
        let (array, report) =
            registry.convert_reported(taken(movable), "vectors", options).unwrap();
        assert_eq!((report.steps, report.declined), (plan.steps, plan.declined), "{explained}");
        let array: PlainArray<Vectors> = array.downcast().unwrap();
        assert_eq!(array.tensor.as_slice::<f32>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}

/// Admits so many bytes in all, and keeps what it was asked.
struct Watch {
    limit: u64,
    asked: Mutex<Vec<(Device, u64)>>,
}

impl Watch {
    fn new(limit: u64) -> Self {
        Self { limit, asked: Mutex::default() }
    }
}

impl Admission for Watch {
    fn admit(&self, peaks: &[DeviceBytes]) -> bridge_core::Result<Permit> {
        self.asked.lock().unwrap().extend(peaks.iter().map(|peak| (peak.device, peak.bytes)));
        match peaks.iter().find(|peak| peak.bytes > self.limit) {
            Some(peak) => Err(Error::from(TensorError::OutOfMemory {
                device: peak.device,
                requested: peak.bytes,
            })),
            None => Ok(Permit::new(())),
        }
    }

    fn recover(&self, _: Device, _: &Error, _: u32) -> bool {
        false
    }
}

#[test]
fn a_shortcut_counts_what_its_result_is_and_takes_nothing_that_is_not_admitted() {
    let registry = registry();
    let plan = registry.plan(&taken(false), "vectors", &Options::default()).unwrap();
    let result = DeviceBytes { device: Device::CPU, bytes: 24 };
    assert_eq!((&plan.peaks[..], plan.taken), (&[result][..], Some(result)));

    let watch = Watch::new(24);
    let options = Options::default().within(&watch);
    let (_, report) = registry.convert_reported(taken(false), "vectors", options).unwrap();
    assert_eq!(report.taken, Some(result));
    assert_eq!(*watch.asked.lock().unwrap(), [(Device::CPU, 24)]);

    let narrow = Watch::new(23);
    let options = Options::default().within(&narrow);
    let refused = registry.convert(taken(false), "vectors", options).unwrap_err();
    assert_eq!(refused.error().out_of_memory(), Some((Device::CPU, 24)));
    let back: PlainArray<Takes> = refused.into_value().downcast().unwrap();
    assert_eq!(back.tensor.as_slice::<f32>().unwrap()[5], 5.0);
}

#[test]
fn a_registered_admission_is_asked_for_shortcuts_too() {
    static WATCH: Watch = Watch { limit: 10, asked: Mutex::new(Vec::new()) };
    let registry = Registry::new([
        Registration::backend(&TAKES),
        Registration::backend(&VECTORS),
        Registration::converter(&Quick),
        Registration::admission(&WATCH),
    ]);
    let refused = registry.convert(taken(false), "vectors", Options::default()).unwrap_err();
    assert_eq!(refused.error().out_of_memory(), Some((Device::CPU, 24)));
}

#[test]
fn a_converter_says_what_it_takes() {
    let registry = Registry::new([
        Registration::backend(&TAKES),
        Registration::backend(&WRITES),
        Registration::converter(&Staged),
    ]);
    let read_only = || Array::new(PlainArray::<Takes>::of(numbers(&[6]).into_read_only()));
    let always = Options::default().copy(CopyPolicy::Always);
    let plan = registry.plan(&read_only(), "writes", &always).unwrap();
    let peaks: Vec<_> = plan.peaks.iter().map(|peak| (peak.device, peak.bytes)).collect();
    assert_eq!(peaks, [(FIRST, 12), (Device::CPU, 24)], "each device once");
    assert_eq!(plan.taken, Some(DeviceBytes { device: Device::CPU, bytes: 24 }));
    let watch = Watch::new(24);
    registry.convert(read_only(), "writes", always.within(&watch)).unwrap();
    assert_eq!(*watch.asked.lock().unwrap(), [(FIRST, 12), (Device::CPU, 24)]);
}

#[test]
fn a_shortcut_to_another_array_type_or_from_another_backend_is_not_taken() {
    let registry = registry();
    let cast = Options::default().cast(DataType::I32);
    let made = registry.convert(taken(true), "writes", cast).unwrap();
    assert!(made.downcast::<PlainArray<Writes>>().is_ok());
    let tensor = Array::new(lying_on(Device::CPU, numbers(&[6])));
    let plan = registry.plan(&tensor, "vectors", &Options::default()).unwrap();
    assert_eq!(plan.steps[0].name(), "copy", "the tensor is not of the backend \"takes\"");
}
