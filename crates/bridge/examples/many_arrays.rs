//! Many arrays: a batch that goes on after a failure, stacks, slices, and what it all cost.
//!
//! `cargo run -p arraybridge --example many_arrays`
#![expect(clippy::print_stdout, reason = "a program for people")]

use arraybridge::ConvertByName;
use std::error::Error;
use std::sync::Arc;

use arraybridge::SharedArray;
use arraybridge::{
    Array, Convert, Counters, Options, Refused, Registry, map_slices, observe, stack, unstack,
};

/// Converts what can be converted, in order. What cannot is given back, with its place and the reason.
/// (`convert_all` is for those who want all or none.)
fn convert_what_can_be(
    registry: &Registry,
    arrays: Vec<Array>,
    target: &str,
) -> (Vec<Array>, Vec<(usize, Refused<Array>)>) {
    let mut converted = Vec::new();
    let mut refused = Vec::new();
    for (index, array) in arrays.into_iter().enumerate() {
        match registry.convert(array, target, Options::default()) {
            Ok(array) => converted.push(array),
            Err(error) => refused.push((index, error)),
        }
    }
    (converted, refused)
}

fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::global()?;
    // Counts the conversions of this thread until `watching` is dropped.
    let counters = Arc::new(Counters::default());
    let watching = observe(counters.clone());

    // candle has no uint64, and the one array does not stop the others.
    let arrays = vec![
        Array::new(ndarray::array![1.0_f32, 2.0]),
        Array::new(ndarray::array![3_u64, 4]),
        Array::new(ndarray::array![5.0_f32, 6.0]),
    ];
    let (tensors, refused) = convert_what_can_be(registry, arrays, "candle");
    assert_eq!((tensors.len(), refused.len()), (2, 1));
    for (index, refused) in refused {
        println!("array {index} was refused: {refused}");
        let array: ndarray::Array1<u64> = refused.into_value().downcast()?;
        assert_eq!(array, ndarray::array![3, 4], "it came back unharmed");
    }

    // A stack along a new axis, made in one copy whatever the arrays are of.
    let volume = stack(registry, tensors, 0, "ndarray", Options::default())?;

    // A function of each slice. The results are stacked again; what else it returns is collected.
    let (volume, sums) = map_slices(registry, volume, 0, |slice| {
        let slice: SharedArray<f32> = slice.convert()?;
        let doubled = slice.view().mapv(|value| value * 2.0);
        Ok((Array::new(doubled), slice.view().sum()))
    })?;
    assert_eq!(sums, [3.0, 11.0]);

    // Apart again: the slices share the memory of the stack.
    let slices = unstack(registry, volume, 0, "ndarray", &Options::default())?;
    for slice in slices {
        let slice: SharedArray<f32> = slice.downcast()?;
        println!("{}", slice.view());
    }

    drop(watching);
    println!("{counters}");
    Ok(())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
