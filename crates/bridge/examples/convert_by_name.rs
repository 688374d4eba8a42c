//! Converts by name, as a program does that learns only when it runs what to convert to.
//!
//! `cargo run -p arraybridge --example convert_by_name [BACKEND]`
#![expect(clippy::print_stdout, reason = "a program for people")]

use arraybridge::ConvertByName;
use std::error::Error;

use arraybridge::{Array, Availability, Options, Registry, Unavailable};

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    to(target.as_deref().unwrap_or("candle"))
}

fn to(target: &str) -> Result<(), Box<dyn Error>> {
    // Every backend that is linked into this program, whether it can run on this machine or not.
    let registry = Registry::global()?;
    for backend in registry.backends() {
        match backend.availability() {
            Availability::Ready { devices } => println!("{}: {devices:?}", backend.name()),
            Availability::Unavailable(Unavailable { reason, remedy }) => {
                println!("{}: not here, {reason}; {remedy}", backend.name());
            }
        }
    }

    // An array whose type is known at run time only. Any array of a linked framework can be one.
    let array = Array::new(ndarray::array![[1_i64, 2], [3, 4]]);

    // What would be done, step by step, and every way that is not taken with the reason. Nothing moves.
    println!("{}", registry.plan(&array, target, &Options::default())?);

    let (array, report) = registry.convert_reported(array, target, Options::default())?;
    println!("{report}");

    // Back to a type: of the framework that has it now, ...
    if let Some(tensor) = array.downcast_ref::<candle_core::Tensor>() {
        println!("candle has {tensor}");
    }
    // ... or of any other, as a conversion by name ends where one by type begins.
    let back = registry.convert(array, "ndarray", Options::default())?;
    println!("ndarray has it back as {}", back.native_type().name());
    Ok(())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    to("candle")?;
    to("ndarray")?;
    // A name that is not linked is an error that lists those that are.
    let unknown = to("tensorflow").unwrap_err().to_string();
    assert!(unknown.contains("linked are ndarray, candle"), "{unknown}");
    Ok(())
}
