//! `#[derive(ReadFields)]`: how a request's fields are read into a struct.
//!
//! The struct says everything once. Its fields' types check the values, its doc comments and `utoipa`'s attributes go
//! into the API's document, and from the same attributes the reader knows names and defaults:
//!
//! - a field is required, unless it is an `Option` or has a default: `#[schema(default = <function>)]`, or
//!   `#[param(default = <function>)]` for a parameter;
//! - it has its own name, or that of `#[schema(rename = "…")]` or `#[param(rename = "…")]`;
//! - `#[read(check = <function>(<field>, …))]` on the struct calls `<function>(<field>, …, fields)` with references to
//!   those fields' values as soon as they are right, whatever is wrong with others, to say what is wrong with them
//!   together.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprCall, Field, Fields, Ident, LitStr, Type, meta::ParseNestedMeta,
    parse_macro_input, spanned::Spanned,
};

/// Implements `ReadFields` of the api-service's `http::read`; see the crate.
#[proc_macro_derive(ReadFields, attributes(read, schema, param, serde, into_params))]
pub fn read_fields(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let fields = named_fields(input)?;
    let mut reads = Vec::new();
    for field in fields {
        reads.push(read_of(field)?);
    }
    let checks = checks(&input.attrs)?;
    let names: Vec<&Ident> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let (struct_name, (impls, types, bounds)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        impl #impls crate::http::read::ReadFields for #struct_name #types #bounds {
            fn read(fields: &mut crate::http::read::Fields<'_>) -> ::core::option::Option<Self> {
                #(#reads)*
                #(#checks)*
                ::core::option::Option::Some(Self { #(#names: #names?),* })
            }
        }
    })
}

fn named_fields(input: &DeriveInput) -> syn::Result<&syn::punctuated::Punctuated<Field, syn::Token![,]>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(&fields.named),
            other => Err(syn::Error::new(other.span(), "only structs with named fields can be read")),
        },
        _ => Err(syn::Error::new(input.ident.span(), "only structs can be read")),
    }
}

/// The statement that reads one field, into an `Option` of its type that is empty where something was wrong.
fn read_of(field: &Field) -> syn::Result<proc_macro2::TokenStream> {
    let (ident, ty) = (&field.ident, &field.ty);
    let mut name = ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut default = None;
    let described =
        |attribute: &&Attribute| ["schema", "param"].iter().any(|path| attribute.path().is_ident(path));
    for attribute in field.attrs.iter().filter(described) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                default = Some(meta.value()?.parse::<Expr>()?);
            } else if meta.path.is_ident("rename") {
                name = meta.value()?.parse::<LitStr>()?.value();
            } else {
                skip(&meta)?;
            }
            Ok(())
        })?;
    }
    let read = match (default, is_option(ty)) {
        (Some(default), false) => quote! { fields.or_else(#name, #default) },
        (None, true) => quote! { fields.optional(#name) },
        (None, false) => quote! { fields.required(#name) },
        (Some(default), true) => {
            return Err(syn::Error::new(
                default.span(),
                "a field that has a default is never absent: no Option",
            ));
        }
    };
    Ok(quote! { let #ident: ::core::option::Option<#ty> = #read; })
}

/// The statements that look at several fields together.
fn checks(attributes: &[Attribute]) -> syn::Result<Vec<proc_macro2::TokenStream>> {
    let mut checks = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("read")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(meta.error("only `check` is known here"));
            }
            let ExprCall { func, args, .. } = match meta.value()?.parse()? {
                Expr::Call(call) => call,
                other => return Err(syn::Error::new(other.span(), "`check` is a call: function(field, …)")),
            };
            let values: Vec<Ident> = (0..args.len()).map(|index| format_ident!("value_{index}")).collect();
            let given = args.iter();
            checks.push(quote! {
                if let (#(::core::option::Option::Some(#values),)*) = (#(&#given,)*) {
                    #func(#(#values,)* fields);
                }
            });
            Ok(())
        })?;
    }
    Ok(checks)
}

/// Passes over what only the document needs.
fn skip(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(syn::Token![=]) {
        let value = meta.value()?;
        let ahead = value.fork();
        if ahead.parse::<Type>().is_ok() && (ahead.is_empty() || ahead.peek(syn::Token![,])) {
            value.parse::<Type>()?;
        } else {
            value.parse::<Expr>()?;
        }
    } else if meta.input.peek(syn::token::Paren) {
        let inside;
        syn::parenthesized!(inside in meta.input);
        inside.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}

fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Option"))
}
