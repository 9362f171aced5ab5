//! Finds what a path names: the file of an item, a module, or something of another crate.

use super::{Definition, ModuleId, Modules};
use std::collections::BTreeSet;

/// What a path leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Files that hold the item, or hand it on by an import.
    pub files: BTreeSet<String>,
    /// The full path when it belongs to another crate.
    pub external: Option<Vec<String>>,
    /// The file of the module, when the path names one.
    pub module: Option<String>,
}

/// The end of one way through the names.
#[derive(Clone)]
enum Target {
    Item(String),
    Module(ModuleId),
    External(Vec<String>),
}

/// One look-up: the names that are being resolved, so that a cycle of imports ends, and the files it passes through.
#[derive(Default)]
struct Walk {
    pending: Vec<(ModuleId, String)>,
    through: BTreeSet<String>,
}

impl Modules {
    /// Resolves a path that stands in the module `from`.
    pub fn resolve(&self, from: ModuleId, path: &[String]) -> Resolved {
        let mut walk = Walk::default();
        let targets = self.follow(from, path, &mut walk);
        let mut resolved = Resolved::default();
        for target in targets {
            match target {
                Target::Item(file) => {
                    resolved.files.insert(file);
                }
                Target::Module(id) => resolved.module = Some(self.all[id].file.clone()),
                Target::External(path) => resolved.external = Some(path),
            }
        }
        // A module's name alone uses nothing of the files that it was found through.
        if !resolved.files.is_empty() || resolved.external.is_some() {
            resolved.files.extend(walk.through);
        }
        resolved
    }

    fn follow(&self, from: ModuleId, path: &[String], walk: &mut Walk) -> Vec<Target> {
        let Some((first, mut rest)) = path.split_first() else {
            return Vec::new();
        };
        let mut targets = match first.as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(from)],
            "super" => {
                let mut module = self.all[from].parent.unwrap_or(0);
                while let Some((next, after)) = rest.split_first()
                    && next == "super"
                {
                    module = self.all[module].parent.unwrap_or(0);
                    rest = after;
                }
                vec![Target::Module(module)]
            }
            // The package's own name in a root that uses its library; never an outside crate.
            _ => match self.lookup(from, first, !rest.is_empty(), walk) {
                found if found.is_empty() => vec![Target::External(vec![first.clone()])],
                found => found,
            },
        };
        while let Some((name, after)) = rest.split_first() {
            let is_last = after.is_empty();
            targets = targets
                .into_iter()
                .flat_map(|target| self.step(target, name, is_last, walk))
                .collect();
            rest = after;
        }
        targets
    }

    fn step(&self, target: Target, name: &str, is_last: bool, walk: &mut Walk) -> Vec<Target> {
        match target {
            // An associated item or a variant.
            Target::Item(file) => vec![Target::Item(file)],
            Target::External(mut path) => {
                path.push(name.to_owned());
                vec![Target::External(path)]
            }
            Target::Module(module) => {
                let found = self.lookup(module, name, !is_last, walk);
                if found.is_empty() {
                    // Made by a macro there, or by a derive.
                    return vec![Target::Item(self.all[module].file.clone())];
                }
                found
            }
        }
    }

    /// What `name` means in `module`; imports and globs are followed.
    fn lookup(
        &self,
        module: ModuleId,
        name: &str,
        is_prefix: bool,
        walk: &mut Walk,
    ) -> Vec<Target> {
        let key = (module, name.to_owned());
        // An import that leads back to its own name: only what is defined here can be meant.
        let is_round = walk.pending.contains(&key);
        walk.pending.push(key);
        let home = &self.all[module];
        let mut found = Vec::new();
        let definitions = home.names.get(name).map_or(&[][..], Vec::as_slice);
        let has_module = definitions
            .iter()
            .any(|definition| matches!(definition, Definition::Module(_)));
        for definition in definitions {
            match definition {
                // Of a function and a module of one name, a longer path means the module.
                Definition::Item | Definition::Import(_) if is_prefix && has_module => {}
                Definition::Import(_) if is_round => {}
                Definition::Item => found.push(Target::Item(home.file.clone())),
                Definition::Module(id) => found.push(Target::Module(*id)),
                Definition::Import(path) => {
                    // The importing file hands the name on to whoever finds it there.
                    walk.through.insert(home.file.clone());
                    found.extend(self.follow(module, path, walk));
                }
            }
        }
        if found.is_empty() && !is_round {
            for path in &home.globs {
                for target in self.follow(module, path, walk) {
                    if let Target::Module(id) = target {
                        let targets = self.lookup(id, name, is_prefix, walk);
                        if !targets.is_empty() {
                            walk.through.insert(home.file.clone());
                        }
                        found.extend(targets);
                    }
                }
            }
        }
        walk.pending.pop();
        found
    }
}
