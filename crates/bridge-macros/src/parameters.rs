//! A function's parameters: which are arrays, and which stay as they are.

use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, Pat, PatType, Signature, Type};

/// One parameter that is marked `#[array]`.
pub(crate) struct ArrayParameter {
    pub(crate) name: Ident,
    /// Whether it is written `mut name`.
    pub(crate) mutable: bool,
    /// The type that arguments are converted to, without its reference.
    pub(crate) array: Type,
    /// Whether the function takes it by reference.
    pub(crate) by_reference: bool,
}

/// What else a function takes by name.
pub(crate) struct OtherParameter {
    pub(crate) pattern: Pat,
    pub(crate) is_mutable_reference: bool,
}

pub(crate) struct Parameters {
    pub(crate) arrays: Vec<ArrayParameter>,
    pub(crate) others: Vec<OtherParameter>,
}

impl Parameters {
    /// Reads the parameters, and takes the marks away.
    pub(crate) fn of(signature: &mut Signature) -> syn::Result<Self> {
        let mut found = Self { arrays: Vec::new(), others: Vec::new() };
        let name = signature.ident.clone();
        for parameter in &mut signature.inputs {
            let FnArg::Typed(parameter) = parameter else { continue };
            let before = parameter.attrs.len();
            parameter.attrs.retain(|attribute| !is_mark(attribute));
            if parameter.attrs.len() < before {
                found.arrays.push(array_parameter(parameter)?);
            } else {
                let is_mutable_reference =
                    matches!(&*parameter.ty, Type::Reference(one) if one.mutability.is_some());
                let pattern = (*parameter.pat).clone();
                found.others.push(OtherParameter { pattern, is_mutable_reference });
            }
        }
        if found.arrays.is_empty() {
            let text = format!(
                "no parameter of `{name}` is marked as an array: write `#[array]` before each that is \
                 converted, as `fn {name}(#[array] x: &Tensor)`"
            );
            return Err(syn::Error::new(name.span(), text));
        }
        Ok(found)
    }
}

fn is_mark(attribute: &Attribute) -> bool {
    attribute.path().is_ident("array")
}

fn array_parameter(parameter: &PatType) -> syn::Result<ArrayParameter> {
    let Pat::Ident(pattern) = &*parameter.pat else {
        let text = "an array parameter has a plain name: take it apart inside the function";
        return Err(syn::Error::new(parameter.pat.span(), text));
    };
    let (array, by_reference) = match &*parameter.ty {
        Type::Reference(one) if one.mutability.is_some() => {
            let text = "the array belongs to the function once it is converted, and no caller sees what \
                        is written to it: take it by value, as `mut x: Tensor`, and return it";
            return Err(syn::Error::new(one.span(), text));
        }
        Type::Reference(one) => ((*one.elem).clone(), true),
        Type::ImplTrait(one) => {
            let text = "write the framework's array type here: `on` makes it generic for callers";
            return Err(syn::Error::new(one.span(), text));
        }
        other => (other.clone(), false),
    };
    let (name, mutable) = (pattern.ident.clone(), pattern.mutability.is_some());
    Ok(ArrayParameter { name, mutable, array, by_reference })
}
