//! `--as`: which numbers the bytes of an array are.

use arraybridge::DataType;

use crate::args::ConversionArgs;
use crate::failure::{Failure, Outcome};
use crate::formats::Array;

/// The arrays with the element types that `--as` gives them, or why one cannot be read; none where none
/// changes.
///
/// Of several arrays, those are meant that are nothing but bytes to their file. One array, or one chosen by
/// name, is meant whatever it is.
///
/// # Errors
///
/// Where `--as` is meant for none of them, or could mean two types of one size. For an array, where it has no
/// type of its size, and where it is nothing but bytes and none is given.
pub(crate) fn read_as(
    arrays: &[(&Array, &str)],
    args: &ConversionArgs,
) -> Outcome<Vec<Outcome<Array>>> {
    check_types(&args.read_as)?;
    let any_is_meant = !args.read_as.is_empty() && (arrays.len() == 1 || !args.name.is_empty());
    let is_meant = |array: &Array| any_is_meant || array.is_raw();
    if !arrays.iter().any(|(array, _)| is_meant(array)) {
        return match args.read_as.first() {
            Some(first) => {
                Err(Failure::usage(format!("--as {first} is meant for none of the arrays"))
                    .why("of several arrays it tells what raw bytes are, and there are none here")
                    .remedy("choose an array with --name, or cast with --dtype"))
            }
            None => Ok(Vec::new()),
        };
    }
    let read = |&(array, name): &(&Array, &str)| {
        if !is_meant(array) {
            return Ok(array.clone());
        }
        let mut array = array.clone();
        let size = array.spec.data_type.size_in_bytes();
        let of_its_size = args.read_as.iter().find(|given| given.size_in_bytes() == size);
        array.spec.data_type = *of_its_size.ok_or_else(|| {
            refusal(&array, &args.read_as).within(&format!("the array \"{name}\""))
        })?;
        if let Some(blocks) = array.quantized_as() {
            let found = format!("the array \"{name}\": it is quantised as {blocks}");
            return Err(Failure::usage(found)
                .why("--as changes no bytes, and its numbers are computed from blocks")
                .remedy("cast with --dtype"));
        }
        array.swap_as_its_type();
        Ok(array)
    };
    Ok(arrays.iter().map(read).collect())
}

/// Fails where two types have one size, or one has no whole number of bytes.
fn check_types(given: &[DataType]) -> Outcome<()> {
    for (place, one) in given.iter().enumerate() {
        let Some(size) = one.size_in_bytes() else {
            return Err(Failure::usage(format!("--as {one}"))
                .why(format!("several elements of {one} share a byte: it has no size of its own"))
                .remedy("leave it out"));
        };
        if let Some(other) = given[..place].iter().find(|other| other.size_in_bytes() == Some(size))
        {
            return Err(Failure::usage(format!("--as {other} and --as {one}"))
                .why(format!("elements of {size} bytes could be either"))
                .remedy("give one type of each size, and choose the arrays with --name"));
        }
    }
    Ok(())
}

fn refusal(array: &Array, given: &[DataType]) -> Failure {
    let data_type = array.spec.data_type;
    let size = data_type.size_in_bytes().unwrap_or(0);
    let bytes = if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") };
    let found = if array.is_raw() {
        format!("elements of {bytes} each, and not what they stand for")
    } else {
        format!("elements of {data_type}, which have {bytes} each")
    };
    let remedy = match size {
        1 => "say what they are: --as float8_e4m3fn, or another type of 1 byte",
        2 => "say what they are: --as bfloat16, or another type of 2 bytes",
        4 => "say what they are: --as float32, or another type of 4 bytes",
        8 => "say what they are: --as float64, or another type of 8 bytes",
        16 => "say what they are: --as complex128",
        _ => "save what they are made of as arrays of their own",
    };
    match given {
        [] => Failure::new(found).why(
            "NumPy saves so what it has no type for, such as bfloat16 and float8 of ml_dtypes",
        ),
        given => {
            let given: Vec<String> = given
                .iter()
                .map(|one| format!("{one} has {}", one.size_in_bytes().unwrap_or(0)))
                .collect();
            Failure::usage(found).why(format!("--as changes no bytes: {}", given.join(", ")))
        }
    }
    .remedy(remedy)
}
