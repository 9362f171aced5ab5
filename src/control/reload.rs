//! Hot reload: a new file is validated whole and swapped in, or refused whole.

use crate::cache::disk::folder::Folder;
use crate::cache::verify::model::Verifier;
use crate::config::load::KnownNames;
use crate::config::model::cache::SemanticMode;
use crate::config::model::config::Config;
use crate::control::log;
use crate::gateway::core::Shared;
use crate::gateway::experiments::background;
use crate::gateway::snapshot::{Registry, Snapshot};
use crate::upstream::credentials::Credentials;
use crate::upstream::endpoint::Addresses;
use std::path::PathBuf;
use std::sync::Arc;

/// What a reload needs, and how the last one went.
pub struct Reload {
    /// The file; `None` when the built-in configuration is used.
    pub path: Option<PathBuf>,
    registry: Registry,
    /// Loads that took effect, the first included.
    pub generation: u64,
    /// Why the last reload was refused; `None` when it was not.
    pub refused: Option<String>,
}

/// The dialects and policies there are.
#[must_use]
pub fn known_names() -> (Vec<&'static str>, Vec<&'static str>) {
    (
        crate::protocols::provider_api::PROVIDERS
            .iter()
            .map(|one| one.name())
            .collect(),
        crate::routing::policy::POLICIES
            .iter()
            .map(|one| one.name())
            .collect(),
    )
}

/// The least rate of wrong hits that the shipped verifier was shown to keep.
#[must_use]
pub fn wrong_hit_rate_least() -> f64 {
    Verifier::shipped().map_or(1.0, Verifier::least_rate)
}

/// Reads and validates a file.
///
/// # Errors
/// Every problem, with file, line, key and remedy.
pub fn load(path: &std::path::Path) -> Result<Config, String> {
    let (dialects, policies) = known_names();
    let comparable = background::comparable();
    let known = KnownNames {
        dialects: &dialects,
        comparable: &comparable,
        policies: &policies,
        wrong_hit_rate_least: wrong_hit_rate_least(),
    };
    let config =
        crate::config::load::load(path, &known).map_err(|problems| problems.to_string())?;
    if let Some(folder) = config.cache.dir.as_ref().filter(|_| config.cache.enabled) {
        Folder::check(folder).map_err(|why| format!("{}: {why}\n", path.display()))?;
    }
    Ok(config)
}

/// What would happen to the chat request `input` under `config`, without network and with nothing
/// learned yet.
///
/// # Errors
/// Something in the configuration that only use can see, e.g. no trusted root certificates.
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

    /// Reads the file again. What needs a restart (listeners, cores, cache size, model) stays.
    pub fn run(&mut self, shared: &Shared) {
        let Some(path) = self.path.clone() else {
            self.refused = Some("there is no configuration file to reload".into());
            return;
        };
        let loaded = load(&path).and_then(|config| {
            let old = shared.snapshot.load();
            let restart = needs_restart(&old.config, &config);
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

/// Sections that changed but take effect only at the next start.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut sections = Vec::new();
    let server = |config: &Config| format!("{:?}", config.server);
    if server(old) != server(new) {
        sections.push("server");
    }
    if format!("{:?}", old.admin) != format!("{:?}", new.admin) {
        sections.push("admin");
    }
    if old.cache.memory_bytes_max != new.cache.memory_bytes_max {
        sections.push("cache.memory_max");
    }
    if old
        .cache
        .key_share_max
        .total_cmp(&new.cache.key_share_max)
        .is_ne()
    {
        sections.push("cache.key_share_max");
    }
    let disk = |config: &Config| (config.cache.dir.clone(), config.cache.disk_bytes_max);
    if disk(old) != disk(new) {
        sections.push("cache.dir");
    }
    let is_semantic =
        |config: &Config| config.cache.enabled && config.cache.semantic.mode != SemanticMode::Off;
    if is_semantic(new) && !is_semantic(old) {
        sections.push("cache.semantic");
    }
    if format!("{:?}", old.embedding) != format!("{:?}", new.embedding) {
        sections.push("embedding");
    }
    sections
}
