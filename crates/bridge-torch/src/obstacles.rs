//! Why a torch tensor is no plain memory, and the call that makes it so.

use bridge_core::Error;

macro_rules! obstacles {
    ($($name:ident = $bit:literal, $what:literal, $remedy:literal;)*) => {
        $(const $name: u32 = 1 << $bit;)*

        /// What is said of each, the most telling first: the bits of `BridgeTorchObstacle`.
        const ALL: &[(u32, &str, &str)] = &[$(($name, $what, $remedy)),*];

        #[cfg(test)]
        const NAMES: &[(&str, u32)] = &[$((stringify!($name), $name)),*];
    };
}

obstacles! {
    UNDEFINED = 0, "an undefined tensor", "make one with elements, with Tensor::zeros() for example";
    META = 8, "a tensor on torch's meta device, which has no elements",
        "make one with elements, with Tensor::zeros(size(), (kind(), Device::Cpu)) for example";
    NESTED = 7, "a nested tensor", "pad it to one shape first, with nested_to_padded_tensor()";
    SPARSE = 4, "a sparse tensor", "make it dense first, with to_dense()";
    MKLDNN = 5, "a tensor in the layout of oneDNN", "make it dense first, with to_dense()";
    QUANTIZED = 6, "a quantized tensor",
        "convert it first, with dequantize(), or hand int_repr() over";
    NO_STORAGE = 9, "a tensor without memory of its own",
        "write its elements out first, with copy()";
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
    let (_, what, remedy) =
        found.copied().unwrap_or((0, "this kind of torch tensor", "copy it first, with copy()"));
    Error::Unsupported { what: format!("handing over {what}"), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits of an enum of the shim's header: `BRIDGE_TORCH_NAME = 1u << BIT,`.
    fn bits_of(name: &str) -> Vec<(&'static str, u32)> {
        let header = include_str!("../shim/bridge_torch.h");
        let (_, body) = header.split_once(&format!("enum {name} ")).expect("is in the header");
        let (body, _) = body.split_once('}').expect("ends");
        let lines = body.lines().filter_map(|line| line.trim().strip_prefix("BRIDGE_TORCH_"));
        let bits = lines.map(|line| {
            let (name, value) = line.split_once(" = 1u << ").expect("a bit");
            let digits = value.split(',').next().expect("splitting gives one part");
            (name, 1 << digits.parse::<u32>().expect("a number"))
        });
        bits.collect()
    }

    #[test]
    fn every_obstacle_of_the_shim_has_a_row_of_its_own() {
        let mut shims = bits_of("BridgeTorchObstacle");
        let mut ours = NAMES.to_vec();
        shims.sort_unstable();
        ours.sort_unstable();
        assert_eq!(shims, ours);
        for (name, bit) in shims {
            let text = refusal(bit).to_string();
            assert!(text.contains("()") && !text.contains("this kind of"), "{name}: {text}");
        }
    }
}
