//! Hands an array to a C library as a DLPack tensor, and takes one over from it.
//!
//! `cargo run -p arraybridge --example dlpack`
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;

use arraybridge::SharedArray;
use arraybridge::dlpack::DLManagedTensorVersioned;
use arraybridge::{Access, Convert, ManagedTensor};

/// What a C library might do with a tensor that it owns now: reads it, and gives it back.
///
/// # Safety
///
/// `raw` leads to a live tensor of two axes of float32 on the host, which the caller hands over.
unsafe fn a_c_library(raw: *mut DLManagedTensorVersioned) -> *mut DLManagedTensorVersioned {
    // SAFETY: the tensor is live, and shape and strides have a value for each axis.
    unsafe {
        let tensor = &(*raw).dl_tensor;
        let (rows, columns) = (*tensor.shape, *tensor.shape.add(1));
        let (down, right) = (*tensor.strides, *tensor.strides.add(1));
        let first = tensor.data.byte_add(tensor.byte_offset as usize).cast::<f32>();
        let last = first.offset(((rows - 1) * down + (columns - 1) * right) as isize);
        println!("{rows} x {columns} float32, the last is {}", *last);
    }
    raw
}

fn main() -> Result<(), Box<dyn Error>> {
    let array = ndarray::array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes();
    let address = array.as_ptr();

    // An array of any framework becomes a tensor, and the tensor a pointer for C. From here on it is
    // owned by whoever has the pointer, and its deleter frees it.
    let tensor: ManagedTensor = array.convert()?;
    let raw = tensor.into_dlpack();

    // SAFETY: the tensor is what the function asks for, and is handed over.
    let raw = unsafe { a_c_library(raw.as_ptr()) };

    // The way in. Each field is checked before it is followed; a tensor that breaks the rules is an
    // error, and its deleter has run.
    // SAFETY: the pointer is owned here; its memory is valid until its deleter runs, on any thread.
    let tensor = unsafe { ManagedTensor::from_dlpack(raw) }?;
    println!("{} {:?} on {}", tensor.data_type(), tensor.shape(), tensor.device());
    assert_eq!(tensor.access(), Access::Exclusive, "nobody else holds it, so it may be written");

    // And on to any framework. The owner goes along: the memory lives as long as it is needed.
    let mut shared: SharedArray<f32> = tensor.convert()?;
    shared.view_mut()?[[2, 1]] = 60.0;
    assert_eq!(shared.as_ptr(), address, "all of this without a copy");
    println!("{}", shared.view());
    Ok(())
}

// The project's tests run its examples.
#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
