//! Paths in code and in the tokens of macros.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::UseTree;

/// One name that a `use` brings in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UseLeaf {
    /// The whole path.
    pub path: Vec<String>,
    /// The name in the importing module; `None` for `*` and `as _`.
    pub name: Option<String>,
    /// Whether it is `*`.
    pub is_glob: bool,
    /// Line from 1.
    pub line: usize,
}

/// Flattens a `use` tree that follows `prefix`.
pub(super) fn use_leaves(tree: &UseTree, prefix: &[String], leaves: &mut Vec<UseLeaf>) {
    let with = |name: &proc_macro2::Ident| {
        let mut path = prefix.to_vec();
        // `a::{self}` is `a`.
        if name != "self" || prefix.is_empty() {
            path.push(plain(name));
        }
        path
    };
    match tree {
        UseTree::Path(part) => use_leaves(&part.tree, &with(&part.ident), leaves),
        UseTree::Name(part) => {
            let path = with(&part.ident);
            leaves.push(UseLeaf {
                name: path.last().cloned(),
                path,
                is_glob: false,
                line: crate::syntax::line_of(part.ident.span()),
            });
        }
        UseTree::Rename(part) => leaves.push(UseLeaf {
            path: with(&part.ident),
            name: (part.rename != "_").then(|| plain(&part.rename)),
            is_glob: false,
            line: crate::syntax::line_of(part.ident.span()),
        }),
        UseTree::Glob(part) => leaves.push(UseLeaf {
            path: prefix.to_vec(),
            name: None,
            is_glob: true,
            line: crate::syntax::line_of(part.star_token.spans[0]),
        }),
        UseTree::Group(part) => part
            .items
            .iter()
            .for_each(|tree| use_leaves(tree, prefix, leaves)),
    }
}

/// A path found in tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenPath {
    /// Segments; `$crate` is `crate`.
    pub path: Vec<String>,
    /// Line from 1.
    pub line: usize,
    /// Whether `!` and a group follow it.
    pub is_macro: bool,
}

/// Everything in `tokens` that looks like `a::b`, and names of macros that are called.
pub(super) fn token_paths(tokens: TokenStream, found: &mut Vec<TokenPath>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                token_paths(group.stream(), found);
                at += 1;
            }
            TokenTree::Ident(name) => {
                let mut path = vec![plain(name)];
                let mut next = at + 1;
                while is_double_colon(&tokens, next)
                    && let Some(TokenTree::Ident(name)) = tokens.get(next + 2)
                {
                    path.push(plain(name));
                    next += 3;
                }
                let follows_field_dot = at > 0 && is_punct(&tokens, at - 1, '.');
                let follows_colons = at > 1 && is_double_colon(&tokens, at - 2);
                let is_macro = is_punct(&tokens, next, '!')
                    && matches!(tokens.get(next + 1), Some(TokenTree::Group(group))
                        if group.delimiter() != Delimiter::None);
                if (path.len() > 1 || is_macro) && !follows_field_dot && !follows_colons {
                    found.push(TokenPath {
                        path,
                        line: crate::syntax::line_of(name.span()),
                        is_macro,
                    });
                }
                at = next;
            }
            _ => at += 1,
        }
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')
}

/// The name without `r#`.
pub(super) fn plain(name: &proc_macro2::Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// The path that a string in an attribute spells, as in `#[serde(with = "a::b")]`.
pub(super) fn attribute_paths(tokens: TokenStream, found: &mut Vec<TokenPath>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => attribute_paths(group.stream(), found),
            TokenTree::Literal(literal) => {
                let line = crate::syntax::line_of(literal.span());
                let text = literal.to_string();
                let Some(text) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
                    continue;
                };
                if let Ok(path) = syn::parse_str::<syn::Path>(text)
                    && path.segments.len() > 1
                {
                    let segments = path.segments.iter().map(|part| plain(&part.ident));
                    found.push(TokenPath {
                        path: segments.collect(),
                        line,
                        is_macro: false,
                    });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_trees_are_flattened() {
        let item: syn::ItemUse =
            syn::parse_str("use a::{self, b::{c as d, e as _}, f::*};").expect("a use");
        let mut leaves = Vec::new();
        use_leaves(&item.tree, &[], &mut leaves);
        let flat: Vec<String> = leaves
            .iter()
            .map(|leaf| {
                let name = leaf.name.as_deref().unwrap_or("-");
                format!("{} {name} {}", leaf.path.join("::"), leaf.is_glob)
            })
            .collect();
        assert_eq!(
            flat,
            [
                "a a false",
                "a::b::c d false",
                "a::b::e - false",
                "a::f - true"
            ]
        );
    }

    #[test]
    fn paths_in_tokens_are_found() {
        let tokens = "x.y(a::b(c::<D>::e), $crate::f::g, plain, list![h::i!(1)])"
            .parse()
            .expect("tokens");
        let mut found = Vec::new();
        token_paths(tokens, &mut found);
        let paths: Vec<String> = found.iter().map(|path| path.path.join("::")).collect();
        assert_eq!(paths, ["a::b", "crate::f::g", "list", "h::i"]);
        assert!(found[3].is_macro);
    }
}
