//! Structs with many public fields. `exemptions.txt` names those that must have them.

use crate::syntax::line_of;
use crate::{Finding, Repository};
use syn::visit::{self, Visit};

/// Most fields with any `pub`.
const PUBLIC_FIELDS_MAX: usize = 12;

/// Structs of `src` with more public fields than the limit.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of_src = repository
        .rust()
        .filter(|source| source.path.starts_with("src/"));
    for source in of_src {
        let mut structs = Structs::default();
        if let Some(file) = source.syntax() {
            structs.visit_file(file);
        }
        for (name, line, fields) in structs.found {
            if fields > PUBLIC_FIELDS_MAX {
                let message = format!("`{name}` has {fields} public fields");
                findings.push(Finding::new("struct-size", &source.path, line, message));
            }
        }
    }
    findings
}

/// Name, line and number of public fields of each struct.
#[derive(Default)]
struct Structs {
    found: Vec<(String, usize, usize)>,
}

impl<'ast> Visit<'ast> for Structs {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let is_public = |field: &&syn::Field| !matches!(field.vis, syn::Visibility::Inherited);
        let fields = item.fields.iter().filter(is_public).count();
        let line = line_of(item.ident.span());
        self.found.push((item.ident.to_string(), line, fields));
        visit::visit_item_struct(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    #[test]
    fn the_thirteenth_public_field_is_found() {
        let fields = |count: usize| {
            let fields: Vec<String> = (0..count).map(|at| format!("pub f{at}: u8")).collect();
            format!("struct S {{ own: u8, {} }}", fields.join(", "))
        };
        assert!(found(check, &[("src/a.rs", &fields(12))]).is_empty());
        assert_eq!(
            found(check, &[("src/a.rs", &fields(13))]),
            ["src/a.rs:1 `S` has 13 public fields"]
        );
        assert!(found(check, &[("tests/a.rs", &fields(13))]).is_empty());
    }
}
