//! The function that callers see, made of the one that was written.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ItemFn, Pat, ReturnType, Type, parse_quote};

use crate::options::{Kind, Options};
use crate::parameters::{OtherParameter, Parameters};

/// The attribute's whole work.
pub(crate) fn expand(options: TokenStream, item: &TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    let function: ItemFn =
        syn::parse2(item.clone()).map_err(|error| not_a_function(item, error))?;
    Expansion::new(options, function)?.written()
}

/// What to say of an item that is no function; of one that is, and that does not parse, the parser says it.
fn not_a_function(item: &TokenStream, error: syn::Error) -> syn::Error {
    if syn::parse2::<syn::TraitItemFn>(item.clone()).is_ok() {
        let text = "`on` wraps a function's body: write it where the body is";
        return syn::Error::new_spanned(item, text);
    }
    match syn::parse2::<syn::Item>(item.clone()) {
        Ok(syn::Item::Fn(_)) | Err(_) => error,
        Ok(other) => {
            let text = "`on` is for functions and methods: write it above each function that it is meant for";
            syn::Error::new(other.span(), text)
        }
    }
}

/// A function and what is asked for it.
pub(crate) struct Expansion {
    pub(crate) options: Options,
    pub(crate) function: ItemFn,
    pub(crate) parameters: Parameters,
    /// The name of the call in the code that is written, which the function's own code cannot see.
    pub(crate) call: Ident,
    /// That of what the function gave.
    pub(crate) result: Ident,
    /// The type that the function was written to return.
    pub(crate) written: Type,
    /// Whether it is a `Result`.
    pub(crate) fallible: bool,
}

impl Expansion {
    fn new(options: Options, mut function: ItemFn) -> syn::Result<Self> {
        let parameters = Parameters::of(&mut function.sig)?;
        let written: Type = match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, written) => (**written).clone(),
        };
        if let Type::ImplTrait(one) = &written {
            let text = "`on` must know the type of the results: write it in place of `impl`";
            return Err(syn::Error::new(one.span(), text));
        }
        let fallible = is_result(&written);
        let hidden = |name| Ident::new(name, Span::mixed_site());
        let (call, result) = (hidden("call"), hidden("result"));
        let expansion = Self { options, function, parameters, call, result, written, fallible };
        expansion.check()?;
        Ok(expansion)
    }

    /// What cannot be together.
    fn check(&self) -> syn::Result<()> {
        let Self { options, parameters, .. } = self;
        if let Some(recovery) = &options.oom_recovery {
            if !self.fallible {
                let text = "`oom_recovery` looks at errors: let the function return a `Result`";
                return Err(syn::Error::new(recovery.span, text));
            }
            let taken = parameters.arrays.iter().find(|one| !one.by_reference);
            if let (Some(taken), false) = (taken, options.by_slice) {
                let name = &taken.name;
                let text = format!(
                    "with `oom_recovery`, the function may run more than once and must not take its \
                     arrays: write `{name}: &…`"
                );
                return Err(syn::Error::new(taken.array.span(), text));
            }
        }
        if options.by_slice {
            let again = parameters.arrays.iter().enumerate().find(|(place, one)| {
                !one.by_reference && (*place > 0 || options.oom_recovery.is_some())
            });
            if let Some((_, one)) = again {
                let name = &one.name;
                let text = format!(
                    "with `by_slice`, the function runs more than once with this array and must not take \
                     it: write `{name}: &…`"
                );
                return Err(syn::Error::new(one.array.span(), text));
            }
        }
        if options.oom_recovery.is_some() || options.by_slice {
            let plain = |one: &&OtherParameter| !matches!(one.pattern, Pat::Ident(_));
            if let Some(one) = parameters.others.iter().find(plain) {
                let text = "a function that may run more than once has plain names as parameters: take \
                            this apart inside";
                return Err(syn::Error::new(one.pattern.span(), text));
            }
        }
        Ok(())
    }

    fn written(mut self) -> syn::Result<TokenStream> {
        let body = self.body();
        let returned = self.returned();
        let declared = self.declared();
        self.make_generic();
        let ItemFn { attrs, vis, mut sig, .. } = self.function;
        sig.output = parse_quote!(-> #returned);
        Ok(quote! {
            #(#attrs)*
            #[allow(
                unused_braces,
                clippy::needless_pass_by_value,
                clippy::redundant_closure_call,
                clippy::clone_on_copy,
                clippy::too_many_arguments,
                clippy::type_complexity
            )]
            #vis #sig { #declared #body }
        })
    }

    /// Tells the program that there is this function.
    fn declared(&self) -> TokenStream {
        let (options, root) = (&self.options, &self.options.root);
        let (name, on) = (self.function.sig.ident.unraw().to_string(), &options.on);
        let arrays = self.parameters.arrays.iter().map(|array| array.name.unraw().to_string());
        let is_async = self.function.sig.asyncness.is_some();
        let by_slice = options.by_slice;
        quote! {
            #root::call::attribute::inventory::submit! {
                #root::call::Declared {
                    name: #name,
                    module: ::core::module_path!(),
                    backend: #on,
                    arrays: &[#(#arrays),*],
                    by_slice: #by_slice,
                    is_async: #is_async,
                }
            }
        }
    }

    /// What callers get: a `Result`, of what was written or of what `output` names.
    fn returned(&self) -> TokenStream {
        let (root, written) = (&self.options.root, &self.written);
        let value = match &self.options.output {
            Some(Kind::Typed(output)) => quote!(#output),
            _ if self.fallible => return quote!(#written),
            _ => quote!(#written),
        };
        let error = if self.fallible {
            quote!(<#written as #root::call::attribute::Fallible>::Error)
        } else {
            quote!(#root::call::attribute::Error)
        };
        quote!(::core::result::Result<#value, #error>)
    }

    /// The type of the results, without the `Result` around it.
    pub(crate) fn value(&self) -> TokenStream {
        let (root, written) = (&self.options.root, &self.written);
        match &self.options.output {
            Some(Kind::Typed(output)) => quote!(#output),
            _ if self.fallible => quote!(<#written as #root::call::attribute::Fallible>::Value),
            _ => quote!(#written),
        }
    }

    /// Gives each array parameter a type of the caller's.
    fn make_generic(&mut self) {
        let root = &self.options.root;
        let by_slice = self.options.by_slice;
        let signature = &mut self.function.sig;
        let mut arrays = self.parameters.arrays.iter().enumerate();
        for parameter in &mut signature.inputs {
            let FnArg::Typed(parameter) = parameter else { continue };
            let Pat::Ident(pattern) = &mut *parameter.pat else { continue };
            let Some((place, array)) =
                arrays.clone().next().filter(|(_, array)| array.name == pattern.ident)
            else {
                continue;
            };
            arrays.next();
            pattern.mutability = None;
            let written = &array.array;
            if let Some(Kind::Typed(input)) = &self.options.input {
                *parameter.ty = (**input).clone();
                continue;
            }
            let given = format_ident!("__Given{place}");
            let mark = format_ident!("__Mark{place}");
            *parameter.ty = parse_quote!(#given);
            signature.generics.params.push(parse_quote!(#given));
            signature.generics.params.push(parse_quote!(#mark));
            let bound = if by_slice && place == 0 {
                quote!(#root::call::IntoArray<#mark>)
            } else {
                quote!(#root::call::Arrays<#written, #mark>)
            };
            signature.generics.make_where_clause().predicates.push(parse_quote!(#given: #bound));
        }
    }
}

/// Whether a type is called `Result`.
fn is_result(written: &Type) -> bool {
    let Type::Path(path) = written else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Result")
}
