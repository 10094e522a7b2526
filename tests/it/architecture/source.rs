//! What each module of the crate names, read from its source. Code under `#[cfg(test)]` is left out.

use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A path that stands in the source of `module`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// From the crate's root: `["registry", "model"]`; empty in `lib.rs`, `["main"]` in `main.rs`.
    pub module: Vec<String>,
    /// From the root where it names the crate itself (`["crate", "event", "Code"]`), else as written.
    pub path: Vec<String>,
}

/// Everything that the crate at `source` (its `src`) names.
pub fn names_of_crate(source: &Path) -> Vec<Named> {
    let mut named = Vec::new();
    read_file(source, &source.join("lib.rs"), Vec::new(), &mut named);
    read_file(
        source,
        &source.join("main.rs"),
        vec!["main".to_owned()],
        &mut named,
    );
    named
}

fn read_file(source: &Path, file: &Path, module: Vec<String>, named: &mut Vec<Named>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (found, children) =
        names_of_text(&text, module).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    named.extend(found);
    for child in children {
        read_file(source, &file_of(source, &child), child, named);
    }
}

fn file_of(source: &Path, module: &[String]) -> PathBuf {
    let directory = source.join(module.join("/"));
    let nested = directory.join("mod.rs");
    if nested.exists() {
        nested
    } else {
        directory.with_extension("rs")
    }
}

/// What one file names, and the modules that it declares in files of their own.
fn names_of_text(text: &str, module: Vec<String>) -> syn::Result<(Vec<Named>, Vec<Vec<String>>)> {
    let mut reader = Reader {
        module,
        named: Vec::new(),
        children: Vec::new(),
    };
    reader.visit_file(&syn::parse_file(text)?);
    Ok((reader.named, reader.children))
}

struct Reader {
    module: Vec<String>,
    named: Vec<Named>,
    children: Vec<Vec<String>>,
}

impl Reader {
    fn record(&mut self, path: Vec<String>) {
        let root = || std::iter::once("crate".to_owned());
        let rest = |from: usize| path[from..].iter().cloned();
        let path = match path[0].as_str() {
            "headworks" if self.module == ["main"] => root().chain(rest(1)).collect(),
            "self" => root().chain(self.module.iter().cloned()).chain(rest(1)).collect(),
            "super" => {
                let levels = path.iter().take_while(|segment| *segment == "super").count();
                let kept = self.module.len().saturating_sub(levels);
                root()
                    .chain(self.module[..kept].iter().cloned())
                    .chain(rest(levels))
                    .collect()
            }
            _ => path,
        };
        self.named.push(Named {
            module: self.module.clone(),
            path,
        });
    }

    fn record_use(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            syn::UseTree::Path(path) => self.record_use(&path.tree, &with(path.ident.to_string())),
            // `use a::{self}` names `a`.
            syn::UseTree::Name(name) if name.ident == "self" => self.record(before.to_vec()),
            syn::UseTree::Name(name) => self.record(with(name.ident.to_string())),
            syn::UseTree::Rename(rename) => self.record(with(rename.ident.to_string())),
            syn::UseTree::Glob(_) => self.record(with("*".to_owned())),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.record_use(tree, before);
                }
            }
        }
    }

    /// Paths in what the parser leaves as tokens: the arguments of macros and attributes.
    fn record_tokens(&mut self, tokens: &str) {
        let spaced = tokens.replace("::", " :: ");
        let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
        let words: Vec<&str> = spaced
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .filter(|word| !word.is_empty())
            .collect();
        let mut path: Vec<String> = Vec::new();
        let mut joined = false;
        for word in words.into_iter().chain([""]) {
            if word == "::" {
                joined = !path.is_empty();
            } else if joined && is_name(word) && !word.is_empty() {
                path.push(word.to_owned());
                joined = false;
            } else {
                if path.len() > 1 {
                    self.record(std::mem::take(&mut path));
                }
                path = if is_name(word) && !word.is_empty() {
                    vec![word.to_owned()]
                } else {
                    Vec::new()
                };
                joined = false;
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        assert!(
            !item
                .attrs
                .iter()
                .any(|attribute| attribute.path().is_ident("path")),
            "mod {}: a module lies where its name says",
            item.ident
        );
        let is_in_main = self.module == ["main"];
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            visit::visit_item_mod(self, item);
        } else {
            assert!(!is_in_main, "main.rs has no modules: they belong to the library");
            self.children.push(self.module.clone());
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.record_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.record(
                path.segments
                    .iter()
                    .map(|segment| segment.ident.to_string())
                    .collect(),
            );
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.record_tokens(&invocation.tokens.to_string());
        visit::visit_macro(self, invocation);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.record_tokens(&list.tokens.to_string());
        visit::visit_meta_list(self, list);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::TraitAlias(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[test]
fn every_way_to_name_something_is_seen() {
    let text = r#"
        //! crate::in_a_comment::is_no_name
        use crate::{event::{self, Code}, json as j};
        use super::sibling::*;
        pub(crate) mod elsewhere;
        #[cfg(test)] mod tests;
        #[derive(utoipa::ToSchema)]
        struct A { field: crate::limits::Limits, }
        fn f() -> Vec<rdkafka::Message> {
            tokio::select! { _ = crate::deliver::send(&[self::B, hyper::Method::GET]) => {} }
            Validated::attest(1)
        }
        mod inner { fn g() { super::super::up() } }
        #[cfg(test)] fn h() { crate::only::in_tests() }
        impl A { #[cfg(test)] fn i() { crate::only::in_tests() } }
    "#;
    let (named, children) = names_of_text(text, vec!["a".into(), "b".into()]).expect("it is Rust");
    let named: Vec<String> = named.into_iter().map(|named| named.path.join("::")).collect();
    let expected = [
        "crate::event",
        "crate::event::Code",
        "crate::json",
        "crate::a::sibling::*",
        "utoipa::ToSchema",
        "crate::limits::Limits",
        "rdkafka::Message",
        "tokio::select",
        "crate::deliver::send",
        "crate::a::b::B",
        "hyper::Method::GET",
        "Validated::attest",
        "crate::a::up",
    ];
    for path in expected {
        assert!(
            named.contains(&path.to_owned()),
            "{path} is not seen in {named:?}"
        );
    }
    assert_eq!(named.len(), expected.len(), "{named:?}");
    assert_eq!(children, [["a", "b", "elsewhere"]]);
}
