//! A function of yours that takes the arrays of any framework, and gives back those of another.
//!
//! `cargo run -p arraybridge --example generic_function`
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;

use arraybridge::SharedArray;
use arraybridge::{Backend, Convert, ManagedTensor, NativeArray, Options};
use candle_core::Tensor;

/// Scales an array so that its largest element is 1.
///
/// `A` and `B` are the backends of the two array types. Nobody writes them: the compiler finds them
/// by the types.
fn normalized<S, T, A, B>(array: S) -> arraybridge::Result<T>
where
    S: NativeArray<A>,
    A: Backend,
    T: NativeArray<B>,
    B: Backend,
{
    // Whatever it is, here it is ndarray's: without a copy where the memory is the host's.
    let mut array: ndarray::ArrayD<f32> = array.convert()?;
    let largest = array.iter().copied().fold(f32::MIN, f32::max);
    array /= largest;
    Ok(array.convert()?)
}

/// The number of elements of anything that is or can become a tensor, without converting it.
fn count<S: NativeArray<A>, A: Backend>(array: &S) -> arraybridge::Result<usize> {
    Ok(array.describe()?.layout.element_count())
}

fn main() -> Result<(), Box<dyn Error>> {
    // The target's type decides.
    let tensor: Tensor = normalized(ndarray::array![1.0_f32, 2.0, 4.0])?;
    assert_eq!(tensor.to_vec1::<f32>()?, [0.25, 0.5, 1.0]);
    println!("{} elements in candle: {tensor}", count(&tensor)?);

    let shared: SharedArray<f32> = normalized(tensor.affine(3.0, 1.0)?)?;
    println!("{} elements in ndarray: {}", count(&shared)?, shared.view());

    // A tensor from a C interface is a source like any other.
    let foreign = ManagedTensor::from_vec(vec![5.0_f32, 10.0], &[2])?;
    let array: ndarray::Array1<f32> = normalized(foreign)?;
    assert_eq!(array, ndarray::array![0.5, 1.0]);

    // `Options` go along where a caller is to decide on copies, casts and devices.
    let plan = array.plan_to::<Tensor>(&Options::default())?;
    assert!(plan.is_zero_copy());
    Ok(())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
