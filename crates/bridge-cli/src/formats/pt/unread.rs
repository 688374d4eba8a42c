//! Tensors of kinds that are not read, and what to do about each.

use crate::failure::Failure;

/// A kind of tensor that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread<'a> {
    /// Most of its elements are zero and not stored.
    Sparse,
    /// Integers that stand for floating-point numbers.
    Quantised,
    /// Without values.
    Meta,
    /// Rows of several lengths.
    Nested,
    /// Marked as conjugated or negated.
    Conjugated,
    /// Of a class that computes its elements.
    Subclass,
    /// Of elements of `torch.NAME`.
    OfType(&'a str),
    /// An array of NumPy whose elements are no plain numbers, or are not in the pickle as bytes.
    OfNumpy,
    /// Memory that no tensor says the shape of.
    Storage,
}

/// A line of Python that saves the file anew, at another place, with every tensor changed.
fn each_tensor(change: &str, name: &str) -> String {
    format!(
        "in Python: torch.save(torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: {change}, \
         torch.load(path)), \"{name}.pt\")"
    )
}

impl Unread<'_> {
    /// What was found, why it is not read, and what to do.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Sparse => Failure::new("a sparse tensor")
                .why("only its elements that are not zero are in the file, and where they belong")
                .remedy(each_tensor("t.to_dense()", "dense")),
            Self::Quantised => Failure::new("a quantised tensor")
                .why("the integers in the file are its values only with their scale")
                .remedy(each_tensor("t.dequantize() if t.is_quantized else t", "dequantised")),
            Self::Meta => Failure::new("a tensor on the device \"meta\"")
                .why("it was saved without values: the file has its shape alone")
                .remedy("load the weights into the model before its state_dict() is saved"),
            Self::Nested => Failure::new("a nested tensor")
                .why("its parts have several shapes, and an array has one")
                .remedy("save its parts: torch.save(tensor.unbind(), \"parts.pt\")"),
            Self::Conjugated => {
                Failure::new("a tensor that is conjugated or negated as it is read")
                    .why("the elements in the file are not its values")
                    .remedy(each_tensor("t.resolve_conj().resolve_neg()", "resolved"))
            }
            Self::Subclass => Failure::new("a tensor of a class of its own")
                .why("its elements are not in the file as they are, and nothing in a pickle is run")
                .remedy("save plain tensors, as of its method that makes one of it"),
            Self::OfType(name) => Failure::new(format!("a tensor of torch.{name}"))
                .why("arraybridge does not know that type")
                .remedy("save its bytes: tensor.view(torch.uint8)"),
            Self::OfNumpy => Failure::new("an array of NumPy")
                .why("arrays of plain numbers are read, whose bytes are in the pickle as NumPy puts them there")
                .remedy(
                    "if you trust the file, load it in Python with weights_only=False, and save tensors: \
                     torch.from_numpy(array.astype(numpy.float64))",
                ),
            Self::Storage => Failure::new("a storage")
                .why("it is memory without a shape")
                .remedy("save a tensor in its place"),
        }
    }
}
