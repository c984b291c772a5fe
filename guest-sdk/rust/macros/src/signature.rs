//! A function as its author wrote it: name, docs, and parameters with their columns. No decision about kinds.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, ItemFn, Lifetime, LitStr, Pat, PatType, Result, ReturnType, Type,
    TypePath, Visibility,
};

/// A function, with its parameters' attributes taken off.
pub(crate) struct Signature {
    pub(crate) function: ItemFn,
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) params: Vec<Param>,
}

pub(crate) enum Param {
    /// `text: &str`
    Column { name: LitStr, ty: Box<Type>, nullable: Option<Span> },
    /// `#[config] config: &Config`, without the `&`
    Config { ty: Box<Type> },
    /// `#[state] state: &State`, without the `&`
    State { ty: Box<Type> },
}

impl Signature {
    pub(crate) fn new(mut function: ItemFn) -> Result<Self> {
        refuse_modifiers(&function)?;
        refuse_type_name(&function.sig.ident)?;
        let params = function.sig.inputs.iter_mut().map(Param::take).collect::<Result<Vec<_>>>()?;
        refuse_second(&function, &params, "#[config]", |param| matches!(param, Param::Config { .. }))?;
        refuse_second(&function, &params, "#[state]", |param| matches!(param, Param::State { .. }))?;
        refuse_doubled_columns(&params)?;
        let name = function.sig.ident.unraw().to_string();
        let doc = doc_of(&function.attrs);
        Ok(Self { function, name, doc, params })
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (&LitStr, &Type)> {
        self.params.iter().filter_map(|param| match param {
            Param::Column { name, ty, .. } => Some((name, &**ty)),
            Param::Config { .. } | Param::State { .. } => None,
        })
    }

    /// Refuses `#[nullable]` where nulls are written otherwise.
    pub(crate) fn refuse_nullable(&self, instead: &str) -> Result<()> {
        for param in &self.params {
            if let Param::Column { nullable: Some(span), .. } = param {
                return Err(Error::new(*span, format!("#[nullable] is for arrays in #[map_batches]: {instead}")));
            }
        }
        Ok(())
    }

    pub(crate) fn config_type(&self) -> Option<&Type> {
        self.params.iter().find_map(|param| match param {
            Param::Config { ty } => Some(&**ty),
            _ => None,
        })
    }

    fn state_type(&self) -> Option<&Type> {
        self.params.iter().find_map(|param| match param {
            Param::State { ty } => Some(&**ty),
            _ => None,
        })
    }

    /// Code that makes `config` and `state` of the JSON text `json`, or refuses a config where neither is declared.
    pub(crate) fn config(&self) -> TokenStream {
        let config = self.config_type().map(|ty| {
            quote_spanned! { location(ty) => let config: #ty = ::wasmpipe_sdk::glue::config::<#ty>(json)?; }
        });
        let state = self.state_type().map(|ty| {
            quote_spanned! { location(ty) => let state: #ty = ::wasmpipe_sdk::glue::state::<#ty>(json)?; }
        });
        match (&config, &state) {
            (None, None) => quote! { ::wasmpipe_sdk::glue::no_config(json)?; },
            _ => quote! { #config #state },
        }
    }

    /// Code for the JSON Schema of the config.
    fn schema(&self) -> TokenStream {
        let of = |span, ty: TokenStream| {
            quote_spanned! { span => (&::wasmpipe_sdk::glue::SchemaOf::<#ty>::new()).schema() }
        };
        let config = self.config_type().map(|ty| of(location(ty), quote! { #ty }));
        let state = self.state_type().map(|ty| {
            let span = location(ty);
            of(span, quote_spanned! { span => <#ty as ::wasmpipe_sdk::State>::Config })
        });
        let schema = match (config, state) {
            (None, None) => quote! { ::wasmpipe_sdk::glue::no_schema() },
            (Some(config), Some(state)) => quote! { ::wasmpipe_sdk::glue::any_schema(#config, #state) },
            (config, state) => quote! { #config #state },
        };
        quote! {{
            use ::wasmpipe_sdk::glue::{WithSchema as _, WithoutSchema as _};
            #schema
        }}
    }

    /// The arguments of a call: columns are given by `column`, in their order.
    pub(crate) fn arguments(&self, mut column: impl FnMut(usize, &LitStr, &Type) -> TokenStream) -> TokenStream {
        let mut index = 0..;
        let arguments = self.params.iter().map(|param| match param {
            Param::Config { .. } => quote! { &config },
            Param::State { .. } => quote! { &state },
            Param::Column { name, ty, .. } => column(index.next().unwrap_or_default(), name, ty),
        });
        quote! { #(#arguments),* }
    }

    /// The function as it was, and the type of the same name beside it.
    pub(crate) fn with_marker(&self, kind: &str, code: &Code) -> TokenStream {
        let Self { function, name, doc, .. } = self;
        let Code { bind, needs, adds } = code;
        let schema = self.schema();
        let (vis, ident) = (&function.vis, &function.sig.ident);
        let kind = format_ident!("{kind}");
        let marker = marker(vis, ident);
        quote! {
            #function

            #marker

            impl ::wasmpipe_sdk::Exported for #ident {
                const FUNCTION: ::wasmpipe_sdk::Function = {
                    #[allow(unused_variables, clippy::all, clippy::pedantic)]
                    fn bind(
                        input: &::wasmpipe_sdk::Schema,
                        json: &str,
                    ) -> ::core::result::Result<::wasmpipe_sdk::glue::Bound, ::std::string::String> {
                        #bind
                    }
                    #[allow(unused_imports, clippy::all, clippy::pedantic)]
                    fn describe() -> ::wasmpipe_sdk::glue::Described {
                        ::wasmpipe_sdk::glue::Described { config: #schema,
                            needs: needs(::core::option::Option::None),
                            adds: adds().and_then(::core::result::Result::ok),
                        }
                    }
                    #[allow(unused_variables, clippy::all, clippy::pedantic)]
                    fn needs(
                        input: ::core::option::Option<&::wasmpipe_sdk::Schema>,
                    ) -> ::core::option::Option<::std::vec::Vec<::wasmpipe_sdk::Field>> {
                        #needs
                    }
                    #[allow(clippy::all, clippy::pedantic)]
                    fn adds() -> ::core::option::Option<
                        ::core::result::Result<::std::vec::Vec<::wasmpipe_sdk::Field>, ::std::string::String>
                    > {
                        #adds
                    }
                    ::wasmpipe_sdk::Function {
                        name: #name,
                        kind: ::wasmpipe_sdk::Kind::#kind,
                        doc: #doc,
                        bind,
                        describe,
                    }
                };
            }
        }
    }
}

/// The type that has the function's name.
fn marker(vis: &Visibility, ident: &Ident) -> TokenStream {
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #ident {}
    }
}

/// A function about which an error was told: as far as others can name it, it is there.
pub(crate) fn refused(mut function: ItemFn) -> TokenStream {
    function.sig.inputs.iter_mut().for_each(|arg| match arg {
        FnArg::Typed(arg) => arg.attrs.retain(is_compilers),
        FnArg::Receiver(_) => {}
    });
    if function.sig.receiver().is_some() {
        return quote! { #function };
    }
    let (vis, ident) = (&function.vis, &function.sig.ident);
    let is_generic = function.sig.generics.type_params().next().is_some();
    let item = if is_generic {
        quote! { #vis fn #ident() {} }
    } else {
        quote! { #function }
    };
    let (name, marker) = (ident.unraw().to_string(), marker(vis, ident));
    quote! {
        #item

        #marker

        impl ::wasmpipe_sdk::Exported for #ident {
            const FUNCTION: ::wasmpipe_sdk::Function = ::wasmpipe_sdk::glue::refused(#name);
        }
    }
}

/// What a kind of function fills in.
pub(crate) struct Code {
    /// Statements that end with a `Result<Bound, String>`; `input: &Schema` and `json: &str` are there, and the functions
    /// `needs` and `adds` of the two below.
    pub(crate) bind: TokenStream,
    /// An `Option<Vec<Field>>`; `input: Option<&Schema>` is there. None if it depends on input or config.
    pub(crate) needs: TokenStream,
    /// An `Option<Result<Vec<Field>, String>>`, likewise.
    pub(crate) adds: TokenStream,
}

/// `Bound`, for a function whose columns do not depend on its config.
pub(crate) fn bound(work: &TokenStream) -> TokenStream {
    quote! {
        ::core::result::Result::Ok(::wasmpipe_sdk::glue::Bound {
            needs: needs(::core::option::Option::Some(input)).unwrap_or_default(),
            adds: adds().transpose()?.unwrap_or_default(),
            work: ::std::boxed::Box::new(move |batch| { #work }),
        })
    }
}

/// Errors are shown where the author wrote `tokens`; names are looked up where the attribute stands.
pub(crate) fn location(tokens: &impl Spanned) -> Span {
    Span::call_site().located_at(tokens.span())
}

impl Param {
    fn take(arg: &mut FnArg) -> Result<Self> {
        let FnArg::Typed(arg) = arg else {
            return Err(Error::new_spanned(arg, "a function of a pipeline is a plain function, without `self`"));
        };
        let Marks { config, state, column, nullable } = Marks::take(arg)?;
        let ty = without_lifetimes(&arg.ty);
        match (config, state, column) {
            (true, false, None) => shared(&ty, "config", "what serde reads: `&Config`").map(|ty| Param::Config { ty }),
            (false, true, None) => shared(&ty, "state", "your `State`: `&Table`").map(|ty| Param::State { ty }),
            (false, false, column) => {
                let name = column.map_or_else(|| pattern_name(&arg.pat), Ok)?;
                Ok(Param::Column { name, ty: Box::new(ty), nullable })
            }
            _ => Err(Error::new_spanned(arg, "a parameter is one of #[config], #[state] and #[column(\"name\")]")),
        }
    }
}

/// The attributes of a parameter that are ours.
#[derive(Default)]
struct Marks {
    config: bool,
    state: bool,
    column: Option<LitStr>,
    nullable: Option<Span>,
}

impl Marks {
    fn take(arg: &mut PatType) -> Result<Self> {
        let mut marks = Self::default();
        for attribute in &arg.attrs {
            let path = attribute.path();
            if path.is_ident("config") {
                plain(attribute, "config")?;
                marks.config = true;
            } else if path.is_ident("state") {
                plain(attribute, "state")?;
                marks.state = true;
            } else if path.is_ident("nullable") {
                plain(attribute, "nullable")?;
                marks.nullable = Some(path.span());
            } else if path.is_ident("column") {
                marks.column = Some(column_name(attribute)?);
            } else if !is_compilers(attribute) {
                return Err(Error::new_spanned(
                    attribute,
                    "allowed before a parameter: #[config], #[state], #[column(\"name\")]",
                ));
            }
        }
        arg.attrs.retain(is_compilers);
        Ok(marks)
    }
}

/// Whether the compiler itself allows it before a parameter.
fn is_compilers(attribute: &Attribute) -> bool {
    const ALLOWED: &[&str] = &["allow", "expect", "warn", "deny", "forbid", "cfg", "cfg_attr"];
    ALLOWED.iter().any(|allowed| attribute.path().is_ident(allowed))
}

fn plain(attribute: &Attribute, word: &str) -> Result<()> {
    attribute
        .meta
        .require_path_only()
        .map(drop)
        .map_err(|error| Error::new(error.span(), format!("nothing follows `{word}`: write #[{word}]")))
}

pub(crate) fn column_name(attribute: &Attribute) -> Result<LitStr> {
    attribute.parse_args().map_err(|error| Error::new(error.span(), "write the column's name: #[column(\"name\")]"))
}

fn pattern_name(pattern: &Pat) -> Result<LitStr> {
    match pattern {
        Pat::Ident(pattern) => Ok(LitStr::new(&pattern.ident.unraw().to_string(), pattern.ident.span())),
        _ => Err(Error::new_spanned(
            pattern,
            "the parameter's name is the column's name: write a plain name, or add #[column(\"name\")]",
        )),
    }
}

fn shared(ty: &Type, word: &str, what: &str) -> Result<Box<Type>> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => Ok(reference.elem.clone()),
        _ => Err(Error::new_spanned(ty, format!("a #[{word}] parameter is a shared reference to {what}"))),
    }
}

/// The type beside the function has its name, and would stand before the language's own.
fn refuse_type_name(name: &Ident) -> Result<()> {
    const TYPES: [&str; 17] = [
        "bool", "char", "str", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize",
        "f32", "f64",
    ];
    match TYPES.iter().any(|ty| name == ty) {
        true => Err(Error::new(name.span(), "this is the name of a type: give the function another name")),
        false => Ok(()),
    }
}

fn refuse_modifiers(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        return Err(Error::new_spanned(word, "a function of a pipeline is not async: it has nothing to wait for"));
    }
    if let Some(word) = &signature.unsafety {
        return Err(Error::new_spanned(word, "a function of a pipeline is safe to call: remove `unsafe`"));
    }
    let generic = signature.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)));
    if let Some(param) = generic {
        return Err(Error::new_spanned(
            param,
            "a function of a pipeline has concrete types: only lifetimes are allowed here",
        ));
    }
    Ok(())
}

fn refuse_second(function: &ItemFn, params: &[Param], word: &str, is: fn(&Param) -> bool) -> Result<()> {
    let mut marked = function.sig.inputs.iter().zip(params).filter(|(_, param)| is(param));
    match marked.nth(1) {
        Some((arg, _)) => Err(Error::new_spanned(arg, format!("a second {word} parameter: put both into one struct"))),
        None => Ok(()),
    }
}

fn refuse_doubled_columns(params: &[Param]) -> Result<()> {
    let mut seen = Vec::new();
    for param in params {
        if let Param::Column { name, .. } = param {
            refuse_doubled(name, &mut seen)?;
        }
    }
    Ok(())
}

/// Refuses the second of two equal column names.
pub(crate) fn refuse_doubled(name: &LitStr, seen: &mut Vec<String>) -> Result<()> {
    if seen.contains(&name.value()) {
        return Err(Error::new_spanned(name, format!("the column `{}` is named twice", name.value())));
    }
    seen.push(name.value());
    Ok(())
}

/// The type with every lifetime but `'static` inferred, as code outside of the function must write it.
pub(crate) fn without_lifetimes(ty: &Type) -> Type {
    struct Erase;
    impl VisitMut for Erase {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident = Ident::new("_", lifetime.ident.span());
            }
        }
    }
    let mut ty = ty.clone();
    visit_mut::visit_type_mut(&mut Erase, &mut ty);
    ty
}

/// Refuses the types whose size is the machine's, wherever they stand in a type.
pub(crate) fn refuse_usize(ty: &Type) -> Result<()> {
    struct Find(Option<Error>);
    impl<'ast> Visit<'ast> for Find {
        fn visit_type_path(&mut self, path: &'ast TypePath) {
            for (word, instead) in [("usize", "u64"), ("isize", "i64")] {
                if path.path.is_ident(word) {
                    let message = format!("a column has no `{word}`, whose size is the machine's: use {instead}");
                    self.0.get_or_insert_with(|| Error::new_spanned(path, message));
                }
            }
            visit::visit_type_path(self, path);
        }
    }
    let mut find = Find(None);
    find.visit_type(ty);
    find.0.map_or(Ok(()), Err)
}

/// What the function returns; a function that returns nothing is refused.
pub(crate) fn return_type(function: &ItemFn) -> Result<&Type> {
    match &function.sig.output {
        ReturnType::Type(_, ty) => Ok(ty),
        ReturnType::Default => {
            Err(Error::new_spanned(&function.sig.ident, "this function returns nothing: say what it returns"))
        }
    }
}

fn doc_of(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    lines.join("\n").trim().to_owned()
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let syn::Meta::NameValue(meta) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &meta.value else { return None };
    let text = meta.path.is_ident("doc").then(|| text.value())?;
    Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
}
