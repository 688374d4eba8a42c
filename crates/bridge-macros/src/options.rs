//! What is written in the attribute's parentheses.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Path, Token, Type, parenthesized};

use crate::names::{BACKENDS, DTYPES, OPTIONS, RESCALES, listed, unknown};

/// All that the attribute says.
pub(crate) struct Options {
    /// The backend's name.
    pub(crate) on: LitStr,
    /// Where the code is that the function is made of.
    pub(crate) root: TokenStream,
    /// The expression of the device, a `Result`.
    pub(crate) device: Option<TokenStream>,
    pub(crate) input: Option<Kind>,
    pub(crate) output: Option<Kind>,
    pub(crate) oom_recovery: Option<OomRecovery>,
    /// A variant of `DtypeConversion`.
    pub(crate) dtype: Option<Ident>,
    /// An expression of `Rescale`.
    pub(crate) rescale: Option<Rescale>,
    pub(crate) contract: Option<Expr>,
    pub(crate) by_slice: bool,
    /// An expression that is a reference to an `Admission`.
    pub(crate) within: Option<Expr>,
    /// An expression that is a reference to a `MemorySource`.
    pub(crate) pool: Option<Expr>,
}

/// What arguments or results are.
pub(crate) enum Kind {
    /// Arrays of the backend of this name.
    Named(LitStr),
    /// Of this Rust type.
    Typed(Box<Type>),
}

/// `oom_recovery(retries = 2, clear_cache)`.
pub(crate) struct OomRecovery {
    pub(crate) span: Span,
    pub(crate) retries: u32,
    pub(crate) clear_cache: bool,
}

/// A rule's variant, with the ends of a range.
pub(crate) struct Rescale {
    pub(crate) rule: Ident,
    pub(crate) range: Option<(Expr, Expr)>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self {
            on: backend(input)?,
            root: quote!(::arraybridge::memory),
            device: None,
            input: None,
            output: None,
            oom_recovery: None,
            dtype: None,
            rescale: None,
            contract: None,
            by_slice: false,
            within: None,
            pool: None,
        };
        let mut given: Vec<String> = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let option = input.call(Ident::parse_any)?;
            let name = option.to_string();
            if !OPTIONS.contains(&name.as_str()) {
                return Err(unknown(&option, "option of `on`", &name, OPTIONS));
            }
            if given.contains(&name) {
                return Err(syn::Error::new(option.span(), format!("`{name}` is given twice")));
            }
            options.read(&option, &name, input)?;
            given.push(name);
        }
        Ok(options)
    }
}

impl Options {
    fn read(&mut self, option: &Ident, name: &str, input: ParseStream<'_>) -> syn::Result<()> {
        match name {
            "by_slice" => {
                self.by_slice = true;
                return Ok(());
            }
            "oom_recovery" => {
                self.oom_recovery = Some(oom_recovery(option, input)?);
                return Ok(());
            }
            _ => {}
        }
        if !input.peek(Token![=]) {
            let text = format!("`{name}` needs a value: `{name} = …`");
            return Err(syn::Error::new(option.span(), text));
        }
        input.parse::<Token![=]>()?;
        match name {
            "device" => self.device = Some(device(input)?),
            "input" => self.input = Some(kind(input)?),
            "output" => self.output = Some(kind(input)?),
            "dtype" => self.dtype = Some(dtype(input)?),
            "rescale" => self.rescale = Some(rescale(input)?),
            "contract" => self.contract = Some(input.parse()?),
            "within" => self.within = Some(input.parse()?),
            "pool" => self.pool = Some(input.parse()?),
            // The only one that is left.
            _ => {
                let path = input.call(Path::parse_mod_style)?;
                self.root = quote!(#path);
            }
        }
        Ok(())
    }
}

/// The backend that comes first, by its name.
fn backend(input: ParseStream<'_>) -> syn::Result<LitStr> {
    if input.is_empty() {
        let text = format!(
            "say which backend the function works in, as `on(torch)`: {}",
            listed(BACKENDS)
        );
        return Err(syn::Error::new(Span::call_site(), text));
    }
    if input.peek(LitStr) {
        return input.parse();
    }
    let Ok(key) = input.call(Ident::parse_any) else {
        return Err(
            input.error("a backend's name comes first, as `on(torch)` or `on(\"my-backend\")`")
        );
    };
    let name = key.to_string();
    if input.peek(Token![=]) && OPTIONS.contains(&name.as_str()) {
        let text = format!("the backend comes first, before `{name}`: `on(torch, {name} = …)`");
        return Err(syn::Error::new(key.span(), text));
    }
    if !BACKENDS.contains(&name.as_str()) {
        let error = unknown(&key, "backend of arraybridge", &name, BACKENDS);
        let text =
            format!("{error}; one of another crate is written in quotes, as `on(\"{name}\")`");
        return Err(syn::Error::new(key.span(), text));
    }
    Ok(LitStr::new(&name, key.span()))
}

/// `"cuda:0"`, or an expression that is a `Device`.
fn device(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let value: Expr = input.parse()?;
    let span = value.span();
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(quote_spanned!(span=> device(#text))),
        Expr::Lit(other) => {
            let text = "`device` is a text, as \"cuda:0\", or an expression that is a `Device`";
            Err(syn::Error::new(other.span(), text))
        }
        value => Ok(quote_spanned!(span=> given_device(#value))),
    }
}

/// `"ndarray"`, or a Rust type.
fn kind(input: ParseStream<'_>) -> syn::Result<Kind> {
    if input.peek(LitStr) {
        return input.parse().map(Kind::Named);
    }
    input.parse().map(|one| Kind::Typed(Box::new(one))).map_err(|error| {
        let text = "a Rust type is asked for here, or a backend's name in quotes, as \"ndarray\"";
        syn::Error::new(error.span(), text)
    })
}

fn dtype(input: ParseStream<'_>) -> syn::Result<Ident> {
    let (name, span) = word(input, "dtype", "preserve")?;
    let found = DTYPES.iter().find(|(long, short, _)| name == *long || name == *short);
    match found {
        Some((_, _, variant)) => Ok(Ident::new(variant, span)),
        None => {
            let names: Vec<_> = DTYPES.iter().map(|(long, ..)| *long).collect();
            Err(unknown(&Ident::new("dtype", span), "dtype conversion", &name, &names))
        }
    }
}

fn rescale(input: ParseStream<'_>) -> syn::Result<Rescale> {
    let (name, span) = word(input, "rescale", "saturate")?;
    let Some((_, variant)) = RESCALES.iter().find(|(known, _)| name == *known) else {
        let names: Vec<_> = RESCALES.iter().map(|(known, _)| *known).collect();
        return Err(unknown(&Ident::new("rescale", span), "rescale rule", &name, &names));
    };
    let rule = Ident::new(variant, span);
    if name != "range" {
        return Ok(Rescale { rule, range: None });
    }
    let wrong = || syn::Error::new(span, "a range has two ends: `rescale = range(0.0, 1.0)`");
    let ends;
    if !input.peek(syn::token::Paren) {
        return Err(wrong());
    }
    parenthesized!(ends in input);
    let ends = Punctuated::<Expr, Token![,]>::parse_terminated(&ends)?;
    let mut ends = ends.into_iter();
    match (ends.next(), ends.next(), ends.next()) {
        (Some(low), Some(high), None) => Ok(Rescale { rule, range: Some((low, high)) }),
        _ => Err(wrong()),
    }
}

/// A plain word, or one in quotes.
fn word(input: ParseStream<'_>, option: &str, example: &str) -> syn::Result<(String, Span)> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return Ok((text.value(), text.span()));
    }
    let word = input.call(Ident::parse_any).map_err(|error| {
        let text = format!("`{option}` is a word, as `{option} = {example}`");
        syn::Error::new(error.span(), text)
    })?;
    Ok((word.to_string(), word.span()))
}

fn oom_recovery(option: &Ident, input: ParseStream<'_>) -> syn::Result<OomRecovery> {
    let span = option.span();
    let mut recovery =
        OomRecovery { span, retries: 2, clear_cache: !input.peek(syn::token::Paren) };
    if recovery.clear_cache {
        return Ok(recovery);
    }
    let inside;
    parenthesized!(inside in input);
    while !inside.is_empty() {
        let part = inside.call(Ident::parse_any)?;
        match part.to_string().as_str() {
            "clear_cache" => recovery.clear_cache = true,
            "retries" => {
                inside.parse::<Token![=]>()?;
                let count: Lit = inside.parse()?;
                let Lit::Int(count) = &count else {
                    let text = "`retries` is a whole number, as `retries = 2`";
                    return Err(syn::Error::new(count.span(), text));
                };
                recovery.retries = count.base10_parse()?;
            }
            other => {
                let known = &["retries", "clear_cache"];
                return Err(unknown(&part, "option of `oom_recovery`", other, known));
            }
        }
        if !inside.is_empty() {
            inside.parse::<Token![,]>()?;
        }
    }
    Ok(recovery)
}
