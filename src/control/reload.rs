//! Hot reload: a new file is validated whole and swapped in, or refused whole.

use crate::cache::disk::folder::Folder;
use crate::cache::verify::model::Verifier;
use crate::config::names::KnownNames;
use crate::config::root;
use crate::config::root::Config;
use crate::control::log;
use crate::gateway::core::Shared;
use crate::gateway::experiments::background;
use crate::gateway::snapshot::registry::Registry;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::upstream::credentials::Credentials;
use crate::upstream::endpoint::Addresses;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The state of reloads: the file, the registry, and the outcome of the last one.
pub struct Reload {
    /// The file; `None` when the built-in configuration is used.
    pub path: Option<PathBuf>,
    registry: Registry,
    /// Loads that took effect, the first included.
    pub generation: u64,
    /// Why the last reload was refused; `None` when it was not.
    pub refused: Option<String>,
}

/// Names of all dialects and policies.
#[must_use]
pub fn known_names() -> (Vec<&'static str>, Vec<&'static str>) {
    (
        crate::protocols::registry::PROVIDERS
            .iter()
            .map(|provider| provider.name())
            .collect(),
        crate::routing::policies::registry::POLICIES
            .iter()
            .map(|policy| policy.name())
            .collect(),
    )
}

/// Smallest rate of wrong hits that the shipped verifier was measured to keep.
#[must_use]
pub fn wrong_hit_rate_least() -> f64 {
    Verifier::shipped().map_or(1.0, Verifier::least_rate)
}

/// `text`, the content of `docs/configuration.md`, with its tables of keys as the code declares them.
#[must_use]
pub fn documentation(text: &str) -> String {
    with_known_names(|known| root::documentation(text, known))
}

/// Calls `with` with the names that the configuration may use and other folders define.
fn with_known_names<T>(with: impl FnOnce(&KnownNames<'_>) -> T) -> T {
    let (dialects, policies) = known_names();
    let comparable = background::comparable();
    with(&KnownNames {
        dialects: &dialects,
        comparable: &comparable,
        policies: &policies,
        wrong_hit_rate_least: wrong_hit_rate_least(),
    })
}

/// Reads and validates a file.
///
/// # Errors
/// Every problem, with file, line, key and remedy.
pub fn load(path: &Path) -> Result<Config, String> {
    let loaded = with_known_names(|known| crate::config::load::load(path, known));
    let config = loaded.map_err(|problems| problems.to_string())?;
    if let Some(folder) = config.cache.dir.as_ref().filter(|_| config.cache.enabled) {
        Folder::check(folder).map_err(|why| format!("{}: {why}\n", path.display()))?;
    }
    Ok(config)
}

/// Validates the text of a built-in configuration.
///
/// # Errors
/// Every problem, as for a file.
pub(crate) fn parse_built_in(text: &str) -> Result<Config, String> {
    let env = |name: &str| std::env::var(name).ok();
    let parse = |known: &KnownNames<'_>| {
        crate::config::load::parse(text, "(built in)", Path::new(""), known, &env)
    };
    with_known_names(parse).map_err(|problems| problems.to_string())
}

/// What would happen to the chat request `input` under `config`, without network and without measurements.
///
/// # Errors
/// A problem that only use shows, e.g. no trusted root certificates.
pub fn explain_offline(config: Config, input: &[u8]) -> Result<serde_json::Value, String> {
    let snapshot = Snapshot::new(config, &mut Registry::default())?;
    let target_table = crate::routing::targets::TargetTable::default();
    Ok(crate::gateway::explain::explain(
        &snapshot,
        &target_table,
        0,
        input,
    ))
}

impl Reload {
    /// The state after the first load from `path`.
    #[must_use]
    pub fn new(path: Option<PathBuf>, registry: Registry) -> Self {
        Self {
            path,
            registry,
            generation: 1,
            refused: None,
        }
    }

    /// Hosts to be resolved.
    #[must_use]
    pub fn hosts(&self) -> Vec<Arc<Addresses>> {
        self.registry.hosts().cloned().collect()
    }

    /// Credentials to be renewed.
    #[must_use]
    pub fn credentials(&self) -> Vec<Arc<Credentials>> {
        self.registry.credentials()
    }

    /// Puts a file that was read again into effect. Keys that need a restart keep their effect, and the log lists them.
    pub fn apply(&mut self, loaded: Result<Config, String>, shared: &Shared) {
        let loaded = loaded.and_then(|config| {
            let old = shared.snapshot.load();
            let restart = old.config.restart_difference(&config);
            Ok((Snapshot::new(config, &mut self.registry)?, restart))
        });
        match loaded {
            Ok((snapshot, restart)) => {
                shared.snapshot.store(Arc::new(snapshot));
                self.generation += 1;
                self.refused = None;
                log::event(
                    "reloaded",
                    &serde_json::json!({
                        "generation": self.generation,
                        "needs_restart": restart,
                    }),
                );
            }
            Err(why) => {
                log::event("reload_refused", &serde_json::json!({ "reason": why }));
                self.refused = Some(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `RINGSIDE_BLESS=1` the test writes the file instead.
    #[test]
    fn tables_of_keys_in_the_documentation_are_those_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let written = documentation(&text);
        if std::env::var_os("RINGSIDE_BLESS").is_some() {
            std::fs::write(path, written).unwrap();
            return;
        }
        let differing = written
            .lines()
            .zip(text.lines())
            .find(|(new, old)| new != old);
        assert!(
            written == text,
            "docs/configuration.md differs from the declared keys; RINGSIDE_BLESS=1 writes the tables.\n\
             First difference (declared, file): {differing:#?}"
        );
    }
}
