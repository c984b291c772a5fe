//! A function as its author wrote it: name, docs, and parameters with their columns. No decision about kinds.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, ItemFn, Lifetime, LitStr, Pat, PatType, Result, ReturnType, Type,
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
    Column { name: LitStr, ty: Box<Type> },
    /// `#[config] config: &Config`, without the `&`
    Config { ty: Box<Type> },
}

impl Signature {
    pub(crate) fn new(mut function: ItemFn) -> Result<Self> {
        refuse_modifiers(&function)?;
        let params = function.sig.inputs.iter_mut().map(Param::take).collect::<Result<Vec<_>>>()?;
        refuse_second_config(&function, &params)?;
        refuse_doubled_columns(&params)?;
        let name = function.sig.ident.unraw().to_string();
        let doc = doc_of(&function.attrs);
        Ok(Self { function, name, doc, params })
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (&LitStr, &Type)> {
        self.params.iter().filter_map(|param| match param {
            Param::Column { name, ty } => Some((name, &**ty)),
            Param::Config { .. } => None,
        })
    }

    /// Code that makes `config` of the JSON text `json`, or refuses a config where none is declared.
    pub(crate) fn config(&self) -> TokenStream {
        let ty = self.params.iter().find_map(|param| match param {
            Param::Config { ty } => Some(ty),
            Param::Column { .. } => None,
        });
        match ty {
            Some(ty) => {
                let span = proc_macro2::Span::call_site().located_at(ty.span());
                quote_spanned! { span => let config: #ty = ::wasmpipe_sdk::glue::config::<#ty>(json)?; }
            }
            None => quote! { ::wasmpipe_sdk::glue::no_config(json)?; },
        }
    }

    pub(crate) fn has_config(&self) -> bool {
        self.params.iter().any(|param| matches!(param, Param::Config { .. }))
    }

    /// The function as it was, and the type of the same name beside it.
    pub(crate) fn with_marker(&self, kind: &str, bind: &TokenStream) -> TokenStream {
        let Self { function, name, doc, .. } = self;
        let (vis, ident) = (&function.vis, &function.sig.ident);
        let kind = format_ident!("{kind}");
        quote! {
            #function

            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            #vis enum #ident {}

            impl ::wasmpipe_sdk::Exported for #ident {
                const FUNCTION: ::wasmpipe_sdk::Function = {
                    #[allow(unused_variables, clippy::all, clippy::pedantic)]
                    fn bind(
                        input: &::wasmpipe_sdk::Schema,
                        json: &str,
                    ) -> ::core::result::Result<::wasmpipe_sdk::glue::Bound, ::std::string::String> {
                        #bind
                    }
                    ::wasmpipe_sdk::Function { name: #name, kind: ::wasmpipe_sdk::Kind::#kind, doc: #doc, bind }
                };
            }
        }
    }
}

impl Param {
    fn take(arg: &mut FnArg) -> Result<Self> {
        let FnArg::Typed(arg) = arg else {
            return Err(Error::new_spanned(arg, "a function of a pipeline is a plain function, without `self`"));
        };
        let (config, column) = take_attributes(arg)?;
        let ty = without_lifetimes(&arg.ty);
        match (config, column) {
            (true, None) => config_type(&ty).map(|ty| Param::Config { ty }),
            (true, Some(name)) => Err(Error::new_spanned(name, "a #[config] parameter is not a column")),
            (false, Some(name)) => Ok(Param::Column { name, ty: Box::new(ty) }),
            (false, None) => Ok(Param::Column { name: pattern_name(&arg.pat)?, ty: Box::new(ty) }),
        }
    }
}

fn take_attributes(arg: &mut PatType) -> Result<(bool, Option<LitStr>)> {
    let (mut config, mut column) = (false, None);
    for attribute in &arg.attrs {
        if attribute.path().is_ident("config") {
            attribute.meta.require_path_only()?;
            config = true;
        } else if attribute.path().is_ident("column") {
            column = Some(column_name(attribute)?);
        }
    }
    arg.attrs.retain(|attribute| !attribute.path().is_ident("config") && !attribute.path().is_ident("column"));
    Ok((config, column))
}

fn column_name(attribute: &Attribute) -> Result<LitStr> {
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

fn config_type(ty: &Type) -> Result<Box<Type>> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => Ok(reference.elem.clone()),
        _ => Err(Error::new_spanned(ty, "a #[config] parameter is a shared reference to what serde reads: `&Config`")),
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

fn refuse_second_config(function: &ItemFn, params: &[Param]) -> Result<()> {
    let mut configs = function.sig.inputs.iter().zip(params).filter(|(_, param)| matches!(param, Param::Config { .. }));
    match configs.nth(1) {
        Some((arg, _)) => Err(Error::new_spanned(arg, "a second #[config] parameter: put both into one struct")),
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
