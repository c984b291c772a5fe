//! `#[derive(Columns)]`: a struct is written as several columns, or read and written as one struct column.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Generics, Ident, Index, Lifetime, LifetimeParam, LitStr,
    Result, Type,
};

use crate::signature::{column_name, location, refuse_doubled, refuse_usize};

const ALLOWED: &str = "a struct with named fields: `struct Place { lat: f64, lon: f64 }`";

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(input)?;
    refuse_generics(&input.generics)?;
    let write = write(input, &fields);
    let read = read(input, &fields);
    let (ident, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        #write
        #read

        #[automatically_derived]
        impl #generics ::wasmpipe_sdk::glue::Element for #ident #arguments #bounds {}
    })
}

struct Column<'a> {
    field: &'a Ident,
    name: LitStr,
    ty: &'a Type,
}

fn fields(input: &DeriveInput) -> Result<Vec<Column<'_>>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, format!("#[derive(Columns)] is for {ALLOWED}")));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, format!("#[derive(Columns)] is for {ALLOWED}")));
    };
    if named.named.is_empty() {
        return Err(Error::new_spanned(&input.ident, "#[derive(Columns)] needs at least one field"));
    }
    let fields = named.named.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
    fields.iter().try_for_each(|column| refuse_usize(column.ty))?;
    let mut seen = Vec::new();
    fields.iter().try_for_each(|column| refuse_doubled(&column.name, &mut seen))?;
    Ok(fields)
}

impl<'a> Column<'a> {
    fn new(field: &'a Field) -> Result<Self> {
        let ident = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, ALLOWED))?;
        let renamed = field.attrs.iter().find(|attribute| attribute.path().is_ident("column"));
        let name = match renamed {
            Some(attribute) => column_name(attribute)?,
            None => LitStr::new(&ident.unraw().to_string(), ident.span()),
        };
        Ok(Self { field: ident, name, ty: &field.ty })
    }
}

fn refuse_generics(generics: &Generics) -> Result<()> {
    match generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_))) {
        Some(param) => Err(Error::new_spanned(
            param,
            "a struct with #[derive(Columns)] has concrete types: only lifetimes are allowed here",
        )),
        None => Ok(()),
    }
}

fn write(input: &DeriveInput, columns: &[Column<'_>]) -> TokenStream {
    let (ident, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    let at = indices(columns);
    let width = columns.len();
    // Every mention of a field's type stands where the author wrote it, and so does every error about it.
    let each = |code: &dyn Fn(&Column<'_>, &Index, &TokenStream) -> TokenStream| -> Vec<TokenStream> {
        columns.iter().zip(&at).map(|(column, at)| code(column, at, &column.as_value())).collect()
    };
    let builders = each(&|column, _, ty| column.spanned(quote! { #ty::Builder }));
    let checked = each(&|column, _, ty| column.spanned(quote! { #ty::CHECKED }));
    let new = each(&|column, _, ty| column.spanned(quote! { #ty::builder(rows) }));
    let append = each(&|column @ Column { field, .. }, at, ty| {
        column.spanned(quote! { #ty::append_to(self.#field, &mut builder.#at); })
    });
    let nothing = each(&|column, at, ty| column.spanned(quote! { #ty::append_nothing(&mut builder.#at); }));
    let check = each(&|column @ Column { field, name, .. }, _, ty| {
        column.spanned(quote! { ::wasmpipe_sdk::glue::within(#name, #ty::check(&self.#field))?; })
    });
    let fields = each(&|column @ Column { name, ty, .. }, _, _| {
        column.spanned(quote! { ::wasmpipe_sdk::glue::add::<#ty>(#name) })
    });
    let finish = each(&|column, at, ty| column.spanned(quote! { #ty::finish(builder.#at) }));
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic)]
        impl #generics ::wasmpipe_sdk::glue::IntoColumn for #ident #arguments #bounds {
            type Builder = (#(#builders,)*);
            const CHECKED: bool = false #(|| #checked)*;
            const WIDTH: usize = #width;
            const NAMED: bool = true;
            fn data_type() -> ::wasmpipe_sdk::DataType {
                ::wasmpipe_sdk::glue::struct_type(<Self as ::wasmpipe_sdk::glue::IntoColumn>::fields(&[]))
            }
            fn builder(rows: usize) -> Self::Builder {
                (#(#new,)*)
            }
            #[inline]
            fn append_to(self, builder: &mut Self::Builder) {
                #(#append)*
            }
            fn append_nothing(builder: &mut Self::Builder) {
                #(#nothing)*
            }
            fn finish(
                builder: Self::Builder,
                nulls: ::core::option::Option<::wasmpipe_sdk::arrow_buffer::NullBuffer>,
            ) -> ::wasmpipe_sdk::arrow_array::ArrayRef {
                let fields = <Self as ::wasmpipe_sdk::glue::IntoColumn>::fields(&[]);
                let arrays = <Self as ::wasmpipe_sdk::glue::IntoColumn>::finish_row(builder);
                ::wasmpipe_sdk::glue::struct_array(fields, arrays, nulls)
            }
            #[inline]
            fn check(&self) -> ::core::result::Result<(), ::std::string::String> {
                #(#check)*
                ::core::result::Result::Ok(())
            }
            fn fields(_: &[&str]) -> ::std::vec::Vec<::wasmpipe_sdk::Field> {
                ::std::vec![#(#fields),*]
            }
            fn finish_row(builder: Self::Builder) -> ::std::vec::Vec<::wasmpipe_sdk::arrow_array::ArrayRef> {
                ::std::vec![#(#finish),*]
            }
        }
    }
}

impl Column<'_> {
    fn as_value(&self) -> TokenStream {
        let ty = self.ty;
        self.spanned(quote! { <#ty as ::wasmpipe_sdk::Value> })
    }

    /// Moves code to where the author wrote the field's type.
    fn spanned(&self, code: TokenStream) -> TokenStream {
        moved(code, location(self.ty))
    }
}

fn moved(code: TokenStream, span: Span) -> TokenStream {
    let moved = |token| match token {
        TokenTree::Group(group) => {
            let mut new = Group::new(group.delimiter(), moved(group.stream(), span));
            new.set_span(group.span().located_at(span));
            TokenTree::Group(new)
        }
        mut token => {
            token.set_span(token.span().located_at(span));
            token
        }
    };
    code.into_iter().map(moved).collect()
}

fn indices(columns: &[Column<'_>]) -> Vec<Index> {
    (0..columns.len()).map(Index::from).collect()
}

// All that is borrowed is borrowed from the block, so one lifetime is enough for reading.
fn read(input: &DeriveInput, columns: &[Column<'_>]) -> TokenStream {
    let ident = &input.ident;
    let lifetime = Lifetime::new("'column", Span::call_site());
    let arguments = input.generics.lifetimes().map(|_: &LifetimeParam| &lifetime);
    let (fields, names) = (columns.iter().map(|column| column.field), columns.iter().map(|column| &column.name));
    let (fields, names): (Vec<_>, Vec<_>) = (fields.collect(), names.collect());
    let types: Vec<_> = columns.iter().map(|column| borrowed(column.ty, &lifetime)).collect();
    let each = |code: &dyn Fn(&Type, &LitStr) -> TokenStream| -> Vec<TokenStream> {
        let all = columns.iter().zip(&types);
        all.map(|(column, ty)| column.spanned(code(ty, &column.name))).collect()
    };
    let inner = each(&|ty, _| quote! { ::wasmpipe_sdk::glue::Inner<#lifetime, #ty> });
    let wanted = each(&|ty, name| quote! { ::wasmpipe_sdk::glue::need_field::<#ty>(#name, input) });
    let at = indices(columns);
    let readers: Vec<_> = (0..columns.len()).map(|index| format_ident!("field_{index}")).collect();
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic)]
        impl<#lifetime> ::wasmpipe_sdk::glue::FromColumn<#lifetime> for #ident<#(#arguments),*> {
            type Column = (#(#inner,)*);
            const FALLIBLE: bool = true;
            fn data_type(
                input: ::core::option::Option<&::wasmpipe_sdk::DataType>,
            ) -> ::wasmpipe_sdk::DataType {
                ::wasmpipe_sdk::glue::struct_type(::std::vec![
                    #(#wanted),*
                ])
            }
            fn column(
                array: &#lifetime dyn ::wasmpipe_sdk::arrow_array::Array,
                _rows: usize,
            ) -> Self::Column {
                let array = ::wasmpipe_sdk::glue::struct_of(array);
                (#(::wasmpipe_sdk::glue::Inner::field(array, #at),)*)
            }
            #[inline]
            fn at(column: &Self::Column, row: usize) -> ::core::result::Result<Self, ::std::string::String> {
                let (#(#readers,)*) = column;
                ::core::result::Result::Ok(Self {
                    #(#fields: ::wasmpipe_sdk::glue::within(#names, ::wasmpipe_sdk::glue::Inner::at(#readers, row))?),*
                })
            }
        }
    }
}

fn borrowed(ty: &Type, lifetime: &Lifetime) -> Type {
    struct Rename<'a>(&'a Lifetime);
    impl VisitMut for Rename<'_> {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident = self.0.ident.clone();
            }
        }
    }
    let mut ty = ty.clone();
    visit_mut::visit_type_mut(&mut Rename(lifetime), &mut ty);
    ty
}
