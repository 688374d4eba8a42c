//! The body of the function that callers see: the call, step by step, around the code that was written.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Ident, Pat};

use crate::expand::Expansion;
use crate::options::Kind;
use crate::parameters::ArrayParameter;

impl Expansion {
    /// All of it.
    pub(crate) fn body(&self) -> TokenStream {
        let Self { options, parameters, call, result, .. } = self;
        let root = &options.root;
        let begun = self.begun();
        let by_slice = options.by_slice;
        let looked = parameters.arrays.iter().enumerate().map(|(place, array)| {
            let (name, text, written) = (&array.name, array.name.to_string(), &array.array);
            let (kind, mark) = if by_slice && place == 0 {
                (
                    quote!(#root::call::attribute::Array),
                    quote!(#root::call::One<_, #root::call::AnyArray>),
                )
            } else {
                (quote!(#written), quote!(_))
            };
            quote!(#call.look_at::<_, #kind, #mark>(#text, &#name)?;)
        });
        let skipped = usize::from(by_slice);
        let taken = parameters.arrays.iter().skip(skipped).map(|array| taken(array, call));
        let ran = if by_slice { self.ran_by_slice() } else { self.ran() };
        let value = self.value();
        let written = match &options.output {
            Some(Kind::Typed(output)) => output,
            _ => &self.written,
        };
        let converted = quote_spanned! {at(written)=> #call.result::<_, #value, _>(#result)? };
        quote! {
            #begun
            #(#looked)*
            #call.check_devices()?;
            #(#taken)*
            #ran
            ::core::result::Result::Ok(#converted)
        }
    }

    /// `let mut call = …;`, and the budget and the pool before it.
    fn begun(&self) -> TokenStream {
        let Self { options, call, function, .. } = self;
        let (root, on) = (&options.root, &options.on);
        let name = function.sig.ident.to_string();
        let mut asked = quote!(#root::call::CallOptions::new(#name).on(#on));
        if let Some(device) = &options.device {
            asked.extend(quote!(.device(#root::call::attribute::#device?)));
        }
        if let Some(Kind::Named(input)) = &options.input {
            asked.extend(quote!(.input(#input)));
        }
        if let Some(Kind::Named(output)) = &options.output {
            asked.extend(quote!(.output(#output)));
        }
        if let Some(recovery) = &options.oom_recovery {
            let (retries, clear_cache) = (recovery.retries, recovery.clear_cache);
            let recovery =
                quote!(#root::call::OomRecovery { retries: #retries, clear_cache: #clear_cache });
            asked.extend(quote!(.oom_recovery(#recovery)));
        }
        if let Some(dtype) = &options.dtype {
            asked.extend(quote!(.dtype(#root::call::DtypeConversion::#dtype)));
        }
        if let Some(rescale) = &options.rescale {
            let rule = &rescale.rule;
            let range =
                rescale.range.as_ref().map(|(low, high)| quote!({ low: #low, high: #high }));
            asked.extend(quote!(.rescale(#root::call::Rescale::#rule #range)));
        }
        let mut referred_to = |name, given: &Option<Expr>, kind| {
            given.as_ref().map(|expression| {
                let (name, hidden) =
                    (format_ident!("{name}"), Ident::new(name, Span::mixed_site()));
                let kind: Ident = format_ident!("{kind}");
                asked.extend(quote!(.#name(#hidden)));
                // A value that is made here lives as long as the call.
                quote_spanned! {at(expression)=>
                    let #hidden: &dyn #root::call::attribute::#kind = #expression;
                }
            })
        };
        let within = referred_to("within", &options.within, "Admission");
        let pool = referred_to("pool", &options.pool, "MemorySource");
        quote! {
            #within
            #pool
            let mut #call = #root::call::attribute::begin(#asked)?;
        }
    }

    /// `let result = …;`: the function's own code, and the contract.
    fn ran(&self) -> TokenStream {
        let result = &self.result;
        // It runs a second time for recovery only.
        let again = self.options.oom_recovery.as_ref().map(|_| self.again());
        let (done, checked) = (self.done(again.as_ref()), self.checked());
        quote! {
            let #result = #done;
            #checked
        }
    }

    /// What the function's own code gives, run once or as often as recovery says. `again`: what makes the
    /// other parameters ready for a code that runs more than once.
    fn done(&self, again: Option<&TokenStream>) -> TokenStream {
        let Self { options, function, call, written, .. } = self;
        let (root, block) = (&options.root, &function.block);
        let code = again.map_or_else(|| quote!(#block), |again| quote!({ #again #block }));
        let done = match (function.sig.asyncness.is_some(), options.oom_recovery.is_some()) {
            (false, false) => quote!((|| -> #written #code)()),
            (false, true) => quote!(#call.recovering(|| -> #written #code)),
            (true, false) => {
                quote!(#root::call::attribute::giving::<#written, _>(async #code).await)
            }
            (true, true) => self.retried(),
        };
        let question = self.fallible.then(|| quote!(?));
        quote!(#done #question)
    }

    /// An `async fn`'s own code, as often as recovery says.
    fn retried(&self) -> TokenStream {
        let Self { options, function, call, written, .. } = self;
        let (root, block, again) = (&options.root, &function.block, self.again());
        let hidden = |name| Ident::new(name, Span::mixed_site());
        let (first, attempts) = (hidden("first"), hidden("attempts"));
        quote! {{
            let mut #first = ::core::option::Option::None;
            let mut #attempts = 0_u32;
            loop {
                #attempts += 1;
                let future = #root::call::attribute::giving::<#written, _>(async { #again #block });
                match future.await {
                    ::core::result::Result::Ok(done) => break ::core::result::Result::Ok(done),
                    ::core::result::Result::Err(error) => {
                        let again = #call.makes_room(&error, #attempts);
                        let kept = #first.take().unwrap_or(error);
                        if !again {
                            break ::core::result::Result::Err(kept);
                        }
                        #first = ::core::option::Option::Some(kept);
                    }
                }
            }
        }}
    }

    /// `let result = …;`: the function's own code for each slice of the first array.
    fn ran_by_slice(&self) -> TokenStream {
        let Self { options, call, result, parameters, .. } = self;
        let root = &options.root;
        let Some(first) = parameters.arrays.first() else { return TokenStream::new() };
        let (name, array) = (&first.name, &first.array);
        let mutable = (first.mutable && !first.by_reference).then(|| quote!(mut));
        let by_reference = first.by_reference.then(|| quote!(let #name = &#name;));
        let (done, checked) = (self.done(Some(&self.again())), self.checked());
        let slices = Ident::new("slices", Span::mixed_site());
        quote! {
            let mut #slices = #call
                .slices(#root::call::IntoArray::into_array(#name))
                .map_err(#root::call::attribute::Error::from)?;
            while let ::core::option::Option::Some(#mutable #name) =
                #slices.next_slice::<#array, _>()?
            {
                #by_reference
                let #result = #done;
                #checked
                #slices.push(#result)?;
            }
            let #result = #slices.finish()?;
        }
    }

    fn checked(&self) -> Option<TokenStream> {
        let (root, name) = (&self.options.root, self.function.sig.ident.to_string());
        let result = &self.result;
        self.options.contract.as_ref().map(|contract| {
            quote_spanned!(at(contract)=> #root::call::check_contract(#name, &#result, #contract)?;)
        })
    }

    /// The other parameters once more, for a function that may run again.
    fn again(&self) -> TokenStream {
        let each = self.parameters.others.iter().filter_map(|one| {
            let Pat::Ident(pattern) = &one.pattern else { return None };
            let (name, mutable) = (&pattern.ident, &pattern.mutability);
            Some(if one.is_mutable_reference {
                quote!(let #mutable #name = &mut *#name;)
            } else {
                quote!(let #mutable #name = ::core::clone::Clone::clone(&#name);)
            })
        });
        quote!(#(#each)*)
    }
}

/// `let x: Tensor = …;`
fn taken(parameter: &ArrayParameter, call: &Ident) -> TokenStream {
    let ArrayParameter { name, array, mutable, by_reference } = parameter;
    let mutable = (*mutable && !by_reference).then(|| quote!(mut));
    let by_reference = by_reference.then(|| quote!(let #name = &#name;));
    let converted = quote_spanned! {at(array)=> #call.argument::<_, #array, _>(#name)? };
    quote! {
        let #mutable #name: #array = #converted;
        #by_reference
    }
}

/// Where the compiler points to if this has a type that cannot be converted. The code is the attribute's
/// all the same, so that nobody is advised to write it otherwise.
fn at(written: &impl Spanned) -> Span {
    written.span().resolved_at(Span::call_site())
}
