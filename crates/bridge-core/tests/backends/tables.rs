//! A backend over host memory with two array types, which are tensors.

use bridge_core::{
    Accepts, Availability, Backend, DataType, Description, Descriptor, Detail, Error,
    ManagedTensor, NativeArray, NativeType, Refused, Result,
};

/// The backend.
pub(crate) struct Tables;

/// An array of one axis.
pub(crate) type Row = Held<1>;

/// An array of two axes.
pub(crate) type Grid = Held<2>;

/// A tensor of `RANK` axes.
pub(crate) struct Held<const RANK: usize>(ManagedTensor);

static DESCRIPTOR: Descriptor =
    Descriptor { name: "tables", aliases: &["sheets"], framework: "a test", priority: 5 };

impl Backend for Tables {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::HOST
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<Row, Self>(), NativeType::of::<Grid, Self>()] }
    }

    fn details(&self) -> Vec<Detail> {
        vec![Detail { device: None, name: "version", value: "1.2".to_owned() }]
    }
}

impl<const RANK: usize> NativeArray<Tables> for Held<RANK> {
    const ACCEPTS: Accepts = Accepts::host(match RANK {
        1 => &[DataType::U8, DataType::F32],
        _ => &[DataType::F32, DataType::F64],
    })
    .ranks(RANK, RANK);

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
        if Self::ACCEPTS.has_shape(tensor.shape()) {
            return Ok(Self(tensor));
        }
        let (shape, takes) = (tensor.shape().to_vec(), Self::ACCEPTS.shapes());
        Err(Refused::new(tensor, Error::UnsupportedShape { target: "tables", shape, takes }))
    }
}

/// A row of two numbers.
pub(crate) fn row() -> Row {
    let tensor = ManagedTensor::from_vec(vec![1.5_f32, 2.5], &[2]).unwrap();
    Row::import(tensor).unwrap_or_else(|refused| panic!("{}", refused.error()))
}
