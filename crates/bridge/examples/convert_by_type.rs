//! Converts between ndarray and candle by type, and asks what a conversion does.
//!
//! `cargo run -p arraybridge --example convert_by_type`
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;

use arraybridge::SharedArray;
use arraybridge::{Convert, CopyPolicy, DataType, Options};
use candle_core::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let array = ndarray::array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let address = array.as_ptr();

    // The vector of the array becomes the tensor's.
    let tensor: Tensor = array.convert()?;
    println!("candle has {tensor}");

    // An ndarray view of the tensor's memory, which is kept alive as long as the view needs it.
    let shared: SharedArray<f32> = tensor.convert()?;
    assert_eq!(shared.as_ptr(), address, "nothing was copied on either way");
    println!("ndarray sees {}", shared.view());

    // Asked for, and only then, the element type changes. A plan says beforehand what will be done.
    let halves = Options::default().cast(DataType::F16);
    println!("{}", shared.plan_to::<Tensor>(&halves)?);
    let (halves, report) = shared.convert_reported::<Tensor>(halves)?;
    println!("{report}");
    assert_eq!(halves.dtype(), candle_core::DType::F16);

    // Where a copy must not happen, there is an error that says why it would. It has the array.
    let never = Options::default().copy(CopyPolicy::Never).cast(DataType::F32);
    let refused = halves.convert_to::<SharedArray<f32>>(never).unwrap_err();
    println!("{refused}");
    let halves = refused.into_value();
    assert_eq!(halves.dims(), [2, 3]);
    Ok(())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
