//! Builds the modules of a crate from its root by following `mod` declarations.

use super::references::{attribute_paths, plain, token_paths, use_leaves};
use super::{Definition, Module, ModuleId, Modules, Reference, ReferenceKind};
use crate::Repository;
use crate::syntax::{
    impl_item_attributes, is_test_only, item_attributes, line_of, statement_attributes,
    trait_item_attributes,
};
use std::collections::BTreeMap;
use syn::visit::{self, Visit};

/// The modules of the crate whose root is the file `root`.
pub fn build(repository: &Repository, root: &str) -> Modules {
    let mut builder = Builder {
        repository,
        modules: Modules::default(),
        module: 0,
        file: root.to_owned(),
        folder: folder_of(root).to_owned(),
        inline: Vec::new(),
        is_test: false,
    };
    let module = builder.add_module(root, None);
    builder.read_file(root, module);
    builder.modules
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `folder/name` with `.` and `..` removed.
fn join(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

struct Builder<'a> {
    repository: &'a Repository,
    modules: Modules,
    module: ModuleId,
    file: String,
    /// Where files of the present file's child modules lie.
    folder: String,
    /// Names of the inline modules around the present place, inside of the file.
    inline: Vec<String>,
    is_test: bool,
}

impl Builder<'_> {
    fn add_module(&mut self, file: &str, parent: Option<ModuleId>) -> ModuleId {
        self.modules.all.push(Module {
            file: file.to_owned(),
            parent,
            names: BTreeMap::new(),
            globs: Vec::new(),
            references: Vec::new(),
        });
        self.modules.all.len() - 1
    }

    fn define(&mut self, name: String, definition: Definition) {
        let names = &mut self.modules.all[self.module].names;
        names.entry(name).or_default().push(definition);
    }

    fn refer(&mut self, path: Vec<String>, line: usize, kind: ReferenceKind) {
        let is_test = self.is_test;
        self.modules.all[self.module].references.push(Reference {
            path,
            line,
            is_test,
            kind,
        });
    }

    fn refer_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut found = Vec::new();
        token_paths(tokens, &mut found);
        for token in found {
            let kind = if token.is_macro {
                ReferenceKind::Macro
            } else {
                ReferenceKind::Name
            };
            self.refer(token.path, token.line, kind);
        }
    }

    fn in_test_if(&mut self, is_test: bool, visit: impl FnOnce(&mut Self)) {
        let before = self.is_test;
        self.is_test |= is_test;
        visit(self);
        self.is_test = before;
    }

    fn read_file(&mut self, path: &str, module: ModuleId) {
        if !self.modules.files.insert(path.to_owned()) {
            return;
        }
        let source = self.repository.source(path);
        if let Some(file) = source.and_then(|source| source.syntax()) {
            self.module = module;
            let is_test = is_test_only(&file.attrs);
            self.in_test_if(is_test, |this| visit::visit_file(this, file));
        }
    }

    fn visit_module(&mut self, item: &syn::ItemMod) {
        let name = plain(&item.ident);
        let parent = self.module;
        if let Some((_, items)) = &item.content {
            let file = self.file.clone();
            let module = self.add_module(&file, Some(parent));
            self.define(name.clone(), Definition::Module(module));
            self.module = module;
            self.inline.push(name);
            items.iter().for_each(|item| self.visit_item(item));
            self.inline.pop();
            self.module = parent;
            return;
        }
        let named = item.attrs.iter().find_map(path_attribute);
        let below = join(&self.folder, &self.inline.join("/"));
        let (path, folder) = match named {
            Some(path) if self.inline.is_empty() => {
                let path = join(folder_of(&self.file), &path);
                let folder = folder_of(&path).to_owned();
                (path, folder)
            }
            Some(path) => {
                let path = join(&below, &path);
                let folder = folder_of(&path).to_owned();
                (path, folder)
            }
            None => {
                let folder = join(&below, &name);
                let path = format!("{folder}.rs");
                let in_folder = format!("{folder}/mod.rs");
                let is_in_folder = !self.repository.exists(&path);
                let in_folder_exists = self.repository.exists(&in_folder);
                let chosen = is_in_folder && in_folder_exists;
                (if chosen { in_folder } else { path }, folder)
            }
        };
        let module = self.add_module(&path, Some(parent));
        self.define(name, Definition::Module(module));
        if !self.repository.exists(&path) {
            let line = line_of(item.ident.span());
            self.modules.missing.push((self.file.clone(), line, path));
            return;
        }
        let file = std::mem::replace(&mut self.file, path.clone());
        let folder = std::mem::replace(&mut self.folder, folder);
        let inline = std::mem::take(&mut self.inline);
        self.read_file(&path, module);
        self.module = parent;
        self.file = file;
        self.folder = folder;
        self.inline = inline;
    }
}

/// The file that `#[path = "…"]` names.
fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        syn::Expr::Lit(literal) if pair.path.is_ident("path") => match &literal.lit {
            syn::Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// The name that an item gives to its module.
fn item_name(item: &syn::Item) -> Option<&proc_macro2::Ident> {
    match item {
        syn::Item::Const(item) => Some(&item.ident),
        syn::Item::Enum(item) => Some(&item.ident),
        syn::Item::Fn(item) => Some(&item.sig.ident),
        syn::Item::Macro(item) => item.ident.as_ref(),
        syn::Item::Static(item) => Some(&item.ident),
        syn::Item::Struct(item) => Some(&item.ident),
        syn::Item::Trait(item) => Some(&item.ident),
        syn::Item::TraitAlias(item) => Some(&item.ident),
        syn::Item::Type(item) => Some(&item.ident),
        syn::Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Builder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let is_test = is_test_only(item_attributes(item));
        self.in_test_if(is_test, |this| {
            if let Some(name) = item_name(item) {
                this.define(plain(name), Definition::Item);
            }
            match item {
                syn::Item::Mod(module) => this.visit_module(module),
                syn::Item::Macro(call) if call.ident.is_some() => {
                    let name = call.ident.as_ref().map(plain).unwrap_or_default();
                    let file = this.file.clone();
                    this.modules.macros.insert(name, file);
                    this.refer_tokens(call.mac.tokens.clone());
                }
                _ => visit::visit_item(this, item),
            }
        });
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        use_leaves(&item.tree, &[], &mut leaves);
        for leaf in leaves {
            if leaf.is_glob {
                self.modules.all[self.module].globs.push(leaf.path.clone());
                self.refer(leaf.path, leaf.line, ReferenceKind::Glob);
                continue;
            }
            if let Some(name) = leaf.name {
                self.define(name, Definition::Import(leaf.path.clone()));
            }
            self.refer(leaf.path, leaf.line, ReferenceKind::Name);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let is_test = is_test_only(impl_item_attributes(item));
        self.in_test_if(is_test, |this| visit::visit_impl_item(this, item));
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        let is_test = is_test_only(trait_item_attributes(item));
        self.in_test_if(is_test, |this| visit::visit_trait_item(this, item));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        let is_test = is_test_only(&field.attrs);
        self.in_test_if(is_test, |this| visit::visit_field(this, field));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        let is_test = is_test_only(statement_attributes(statement));
        self.in_test_if(is_test, |this| visit::visit_stmt(this, statement));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|p| plain(&p.ident)).collect();
        if let Some(first) = path.segments.first()
            && segments.len() > 1
        {
            self.refer(segments, line_of(first.ident.span()), ReferenceKind::Name);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let segments = call.path.segments.iter().map(|part| plain(&part.ident));
        let line = call.path.segments.first().map(|s| line_of(s.ident.span()));
        let kind = ReferenceKind::Macro;
        self.refer(segments.collect(), line.unwrap_or(0), kind);
        self.refer_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("doc") || attribute.path().is_ident("path") {
            return;
        }
        if let syn::Meta::List(list) = &attribute.meta {
            let mut found = Vec::new();
            attribute_paths(list.tokens.clone(), &mut found);
            for token in found {
                self.refer(token.path, token.line, ReferenceKind::Attribute);
            }
            self.refer_tokens(list.tokens.clone());
        }
    }
}
