//! Shortcuts between two backends: taken where they beat a copy, and only there.

use std::any::TypeId;

use bridge_convert::ConvertByName;
use bridge_core::{
    Array, Converter, CopyPolicy, DataType, Description, Device, Options, Refused, Registration,
    Registry,
};

use crate::accelerator::lying_on;
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
