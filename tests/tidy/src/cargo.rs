//! Which files Cargo compiles as roots of crates: by its usual places, and by `path = "….rs"` in manifests.

use crate::Repository;
use std::collections::BTreeSet;

/// Roots of all crates of the repository, sorted.
pub fn crate_roots(repository: &Repository) -> Vec<String> {
    let mut roots = BTreeSet::new();
    for source in repository.sources() {
        let Some(folder) = source.path.strip_suffix("Cargo.toml") else {
            continue;
        };
        for line in source.text.lines() {
            let value = line.trim().strip_prefix("path").map(str::trim_start);
            let value = value.and_then(|rest| rest.strip_prefix('=')).map(str::trim);
            if let Some(path) = value.map(|text| text.trim_matches('"'))
                && path.ends_with(".rs")
            {
                roots.insert(format!("{folder}{path}"));
            }
        }
        for file in repository.rust() {
            if let Some(inside) = file.path.strip_prefix(folder)
                && is_usual_root(inside)
            {
                roots.insert(file.path.clone());
            }
        }
    }
    roots.retain(|root| repository.exists(root));
    roots.into_iter().collect()
}

/// Whether Cargo finds a target at this path of a package by itself.
fn is_usual_root(path: &str) -> bool {
    if ["build.rs", "src/lib.rs", "src/main.rs"].contains(&path) {
        return true;
    }
    for folder in ["src/bin/", "tests/", "benches/", "examples/"] {
        if let Some(name) = path.strip_prefix(folder) {
            let is_target = match name.split_once('/') {
                None => true,
                Some((_, rest)) => rest == "main.rs",
            };
            if is_target {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_found_by_place_and_by_manifest() {
        let repository = Repository::of(&[
            ("Cargo.toml", "[package]\n"),
            ("src/lib.rs", ""),
            ("src/a.rs", ""),
            ("tests/one.rs", ""),
            ("tests/two/main.rs", ""),
            ("tests/two/part.rs", ""),
            (
                "tests/fuzz/Cargo.toml",
                "[[bin]]\npath = \"targets/head.rs\"\n",
            ),
            ("tests/fuzz/targets/head.rs", ""),
        ]);
        assert_eq!(
            crate_roots(&repository),
            [
                "src/lib.rs",
                "tests/fuzz/targets/head.rs",
                "tests/one.rs",
                "tests/two/main.rs"
            ]
        );
    }
}
