//! Which array type a conversion by name makes, and limits of the shape.

#![forbid(unsafe_code)]

use bridge_convert::{Convert, ConvertByName, map_slices};
use bridge_core::{
    Accepts, Array, Availability, Backend, DataType, Description, Descriptor, Error, ManagedTensor,
    NativeArray, NativeType, Options, Refused, Registration, Registry, Result,
};

/// Pictures: grey ones of two axes, coloured ones of three.
struct Pictures;

static DESCRIPTOR: Descriptor =
    Descriptor { name: "pictures", aliases: &[], framework: "a test", priority: 0 };

#[derive(Debug)]
struct Coloured(ManagedTensor);
#[derive(Debug)]
struct Grey(ManagedTensor);

impl Backend for Pictures {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::HOST
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<Coloured, Self>(), NativeType::of::<Grey, Self>()] }
    }
}

macro_rules! picture {
    ($type:ident, $accepts:expr) => {
        impl NativeArray<Pictures> for $type {
            const ACCEPTS: Accepts = $accepts;

            fn descriptor() -> &'static Descriptor {
                &DESCRIPTOR
            }

            fn describe(&self) -> Result<Description> {
                Ok(self.0.describe())
            }

            fn export(self) -> Result<ManagedTensor, Refused<Self>> {
                Ok(self.0)
            }

            fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
                assert!(Self::ACCEPTS.has_shape(tensor.shape()), "it was asked for too much");
                Ok(Self(tensor))
            }
        }
    };
}

picture!(Coloured, Accepts::host(&[DataType::U8]).ranks(3, 3).extent(-1, 3, 4));
picture!(Grey, Accepts::host(&[DataType::U8]).ranks(2, 2));

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&Pictures),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

fn bytes(shape: &[usize]) -> ManagedTensor {
    ManagedTensor::from_vec(vec![7_u8; shape.iter().product()], shape).unwrap()
}

#[test]
fn the_shape_chooses_among_array_types_of_one_element_type() {
    let registry = registry();
    let converted = |shape: &[usize]| {
        let array = Array::new(bytes(shape));
        registry.convert(array, "pictures", Options::default())
    };
    assert!(converted(&[2, 5]).unwrap().downcast::<Grey>().is_ok());
    assert!(converted(&[2, 5, 3]).unwrap().downcast::<Coloured>().is_ok());
    let refused = converted(&[2, 5, 2]).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused.error(), Error::UnsupportedShape { .. }), "{text}");
    assert!(text.contains("rank 3 with 3 to 4 elements along the last axis, or rank 2"), "{text}");
    assert!(refused.into_value().downcast::<ManagedTensor>().is_ok());
}

#[test]
fn the_slices_of_one_array_type_may_be_of_another() {
    let registry = registry();
    let coloured = registry.convert(Array::new(bytes(&[2, 5, 3])), "pictures", Options::default());
    let mut greys = 0;
    let (back, _) = map_slices(&registry, coloured.unwrap(), 2, |slice| {
        greys += usize::from(slice.downcast_ref::<Grey>().is_some());
        Ok((slice, ()))
    })
    .unwrap();
    assert_eq!(greys, 3);
    assert!(back.downcast_ref::<Coloured>().is_some());
}

#[test]
fn by_type_a_shape_that_the_type_lacks_is_told_with_the_types_name() {
    let refused = bytes(&[2, 5]).convert::<Coloured>().unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("Coloured has no arrays of shape [2, 5]"), "{text}");
    assert!(text.contains("it takes rank 3 with 3 to 4 elements"), "{text}");
}

#[test]
fn by_type_an_element_type_that_the_type_lacks_is_told_with_the_types_name() {
    let doubles = ManagedTensor::from_vec(vec![1.5_f64; 4], &[2, 2]).unwrap();
    let text = doubles.convert::<Grey>().unwrap_err().to_string();
    assert!(text.contains("Grey has no float64; its elements are uint8"), "{text}");
}
