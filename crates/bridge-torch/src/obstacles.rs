//! Why a torch tensor is no plain memory, and the call that makes it so.

use bridge_core::Error;

macro_rules! obstacles {
    ($($name:ident = $bit:literal, $what:literal, $remedy:literal;)*) => {
        $(const $name: u32 = 1 << $bit;)*

        /// What is said of each, the most telling first: the bits of `BridgeTorchObstacle`.
        const ALL: &[(u32, &str, &str)] = &[$(($name, $what, $remedy)),*];
    };
}

obstacles! {
    UNDEFINED = 0, "an undefined tensor", "make one with elements, with Tensor::zeros() for example";
    META = 8, "a tensor on torch's meta device, which has no elements",
        "make it on a device, with empty_like() there";
    NESTED = 7, "a nested tensor", "pad it to one shape first, with nested_to_padded_tensor()";
    SPARSE = 4, "a sparse tensor", "make it dense first, with to_dense()";
    MKLDNN = 5, "a tensor in the layout of oneDNN", "make it dense first, with to_dense()";
    QUANTIZED = 6, "a quantized tensor",
        "convert it first, with dequantize(), or hand int_repr() over";
    NO_STORAGE = 9, "a tensor without memory of its own",
        "write its elements out first, with contiguous() or clone()";
    REQUIRES_GRAD = 1, "a tensor that requires gradients",
        "hand detach() over: it shares the memory and is no part of the graph";
    CONJUGATED = 2, "a tensor whose elements are conjugated when they are read",
        "conjugate them first, with resolve_conj()";
    NEGATED = 3, "a tensor whose elements are negated when they are read",
        "negate them first, with resolve_neg()";
}

/// The refusal for a tensor with these bits; several can be set.
#[cold]
pub(crate) fn refusal(bits: u32) -> Error {
    let found = ALL.iter().find(|(bit, ..)| bits & bit != 0);
    let (_, what, remedy) = found.copied().unwrap_or((0, "this kind of torch tensor", "clone it"));
    Error::Unsupported { what: format!("handing over {what}"), remedy: remedy.to_owned() }
}
