//! Tensors that are no plain memory are refused with the call that helps, and that call helps.

use bridge_convert::Convert;
use bridge_core::{Error, ManagedTensor};
use bridge_torch as _;
use tch::{Device, Kind, Tensor};

/// Refused with these words; what `remedy` makes of the tensor that came back is taken.
#[track_caller]
fn refused(tensor: Tensor, says: &[&str], remedy: impl FnOnce(&Tensor) -> Tensor) {
    let refused = tensor.convert::<ManagedTensor>().unwrap_err();
    assert!(matches!(refused.error(), Error::Unsupported { .. }), "{refused}");
    let text = refused.to_string();
    for word in says {
        assert!(text.contains(word), "{text} does not say {word}");
    }
    let plain = remedy(&refused.into_value());
    plain.convert::<ManagedTensor>().unwrap_or_else(|refused| panic!("{says:?}: {refused}"));
}

fn floats() -> Tensor {
    Tensor::from_slice(&[1_f32, 0.0, 3.0, 4.0]).view([2, 2])
}

fn complex() -> Tensor {
    Tensor::complex(&floats(), &floats())
}

#[test]
fn gradients() {
    let leaf = floats().set_requires_grad(true);
    refused(&leaf * 2, &["requires gradients", "detach()"], Tensor::detach);
    refused(leaf, &["requires gradients", "detach()"], Tensor::detach);
}

#[test]
fn without_gradients_the_same_operation_passes() {
    let leaf = floats().set_requires_grad(true);
    let result = tch::no_grad(|| &leaf * 2);
    assert!(result.convert::<ManagedTensor>().is_ok());
}

#[test]
fn conjugated_and_negated_views() {
    refused(complex().conj(), &["conjugated", "resolve_conj()"], Tensor::resolve_conj);
    refused(complex().conj().imag(), &["negated", "resolve_neg()"], Tensor::resolve_neg);
}

#[test]
fn sparse_tensors() {
    let says = &["sparse", "to_dense()"];
    let dense = |tensor: &Tensor| tensor.to_dense(None, false);
    refused(floats().to_sparse(None, None::<&[i64]>, None), says, dense);
    refused(floats().internal_to_sparse_csr(None), says, dense);
}

#[test]
fn tensors_in_the_layout_of_onednn() {
    let dense = |tensor: &Tensor| tensor.to_dense(None, false);
    refused(floats().to_mkldnn(), &["oneDNN", "to_dense()"], dense);
}

#[test]
fn quantized_tensors() {
    let quantized = || floats().quantize_per_tensor(0.1, 0, Kind::QInt8);
    refused(quantized(), &["quantized", "dequantize()"], Tensor::dequantize);
    refused(quantized(), &["int_repr()"], Tensor::int_repr);
}

#[test]
fn nested_tensors() {
    let sizes = Tensor::from_slice(&[2_i64, 2]).view([2, 1]);
    let strides = Tensor::from_slice(&[1_i64, 1]).view([2, 1]);
    let offsets = Tensor::from_slice(&[0_i64, 2]);
    let nested = floats().view(4).internal_nested_view_from_buffer(&sizes, &strides, &offsets);
    let padded = |tensor: &Tensor| tensor.nested_to_padded_tensor(0.0, None::<&[i64]>);
    refused(nested, &["nested", "nested_to_padded_tensor()"], padded);
}

#[test]
fn tensors_without_memory() {
    let zeros = Tensor::internal_efficientzerotensor([2, 2], (Kind::Float, Device::Cpu));
    refused(zeros, &["without memory", "copy()"], Tensor::copy);
    let make = |_: &Tensor| Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
    refused(Tensor::new(), &["undefined", "Tensor::zeros()"], make);
    // Those on the meta device, which tch cannot make: src/shim/faults.rs.
}

#[test]
fn elements_that_dlpack_has_no_word_for() {
    // tch has no name for bits8 either, only for the call that makes them.
    const BITS8: i32 = 22;
    let bytes = Tensor::from_slice(&[1_u8, 2]);
    let mut made = [std::ptr::null_mut()];
    // SAFETY: the handle is tch's own and alive, and the call writes the one it makes.
    let bits = unsafe {
        torch_sys::c_generated::atg_view_dtype(made.as_mut_ptr(), bytes.as_ptr().cast_mut(), BITS8);
        Tensor::from_ptr(made[0])
    };
    let plain = |tensor: &Tensor| tensor.view_dtype(Kind::Uint8);
    refused(bits, &["element type number 22", "view_dtype(Kind::Uint8)"], plain);
}
