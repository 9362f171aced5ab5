//! Small questions about parsed Rust that several rules ask.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Attribute, Expr, ImplItem, Item, Meta, Stmt, Token, TraitItem};

/// Line from 1 at which a span begins.
pub fn line_of(span: Span) -> usize {
    span.start().line
}

/// Whether what carries these attributes is compiled for tests only.
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|meta| needs_test(&meta)))
    })
}

/// Whether a condition can hold in tests only.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let parts = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .unwrap_or_default();
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else if list.path.is_ident("any") {
        !parts.is_empty() && parts.iter().all(needs_test)
    } else {
        false
    }
}

/// Attributes of an item; none for what has none.
pub fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Attributes of an item in an `impl` block.
pub fn impl_item_attributes(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// Attributes of an item in a trait.
pub fn trait_item_attributes(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// Attributes of a statement that is not an item.
pub fn statement_attributes(statement: &Stmt) -> &[Attribute] {
    match statement {
        Stmt::Local(local) => &local.attrs,
        Stmt::Macro(call) => &call.attrs,
        Stmt::Expr(Expr::Block(block), _) => &block.attrs,
        Stmt::Expr(Expr::If(branch), _) => &branch.attrs,
        Stmt::Expr(Expr::MethodCall(call), _) => &call.attrs,
        Stmt::Expr(Expr::Call(call), _) => &call.attrs,
        _ => &[],
    }
}

/// Visits a file without what is compiled for tests only.
pub fn visit_without_tests<'ast>(file: &'ast syn::File, visitor: &mut impl Visit<'ast>) {
    let mut filter = WithoutTests { inner: visitor };
    if !is_test_only(&file.attrs) {
        filter.visit_file(file);
    }
}

/// Hands on each function, struct and expression root that is not compiled for tests only.
struct WithoutTests<'a, V> {
    inner: &'a mut V,
}

impl<'ast, V: Visit<'ast>> Visit<'ast> for WithoutTests<'_, V> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_only(item_attributes(item)) {
            return;
        }
        match item {
            Item::Mod(module) => module
                .content
                .iter()
                .flat_map(|(_, items)| items)
                .for_each(|item| self.visit_item(item)),
            Item::Impl(block) => block
                .items
                .iter()
                .filter(|item| !is_test_only(impl_item_attributes(item)))
                .for_each(|item| self.inner.visit_impl_item(item)),
            Item::Trait(block) => block
                .items
                .iter()
                .filter(|item| !is_test_only(trait_item_attributes(item)))
                .for_each(|item| self.inner.visit_trait_item(item)),
            _ => self.inner.visit_item(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_test(text: &str) -> bool {
        let item: Item = syn::parse_str(&format!("{text} fn f() {{}}")).expect("an item");
        is_test_only(item_attributes(&item))
    }

    #[test]
    fn conditions_that_need_tests() {
        assert!(is_test("#[cfg(test)]"));
        assert!(is_test("#[test]"));
        assert!(is_test("#[cfg(all(test, unix))]"));
        assert!(is_test("#[cfg(any(test))]"));
        assert!(!is_test("#[cfg(not(test))]"));
        assert!(!is_test("#[cfg(any(test, unix))]"));
        assert!(!is_test("#[cfg(unix)]"));
        assert!(!is_test(""));
    }

    #[test]
    fn code_after_a_test_module_is_visited() {
        struct Names(Vec<String>);
        impl Visit<'_> for Names {
            fn visit_ident(&mut self, name: &proc_macro2::Ident) {
                self.0.push(name.to_string());
            }
        }
        let text = "#[cfg(test)] mod tests { fn a() {} }
            mod m { #[cfg(test)] fn b() {} fn c() {} }
            impl S { #[cfg(test)] fn d() {} fn e() {} }
            fn f() {}";
        let file = syn::parse_file(text).expect("a file");
        let mut names = Names(Vec::new());
        visit_without_tests(&file, &mut names);
        assert_eq!(names.0, ["c", "e", "f"]);
    }
}
