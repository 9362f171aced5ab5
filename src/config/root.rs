//! The whole file: its sections, and the validated configuration that they become.
//!
//! It must not know the keys of any section.

use crate::config::context::Context;
use crate::config::documentation::{KeyDoc, with_tables};
use crate::config::key::key;
use crate::config::limits::Bounds;
use crate::config::names::KnownNames;
use crate::config::reader::Section;
use crate::config::sections::admin::Admin;
use crate::config::sections::cache::Cache;
use crate::config::sections::embedding::Embedding;
use crate::config::sections::log::Log;
use crate::config::sections::model::Model;
use crate::config::sections::prices::{PRICES, Price, PriceFile, price_file};
use crate::config::sections::provider::Provider;
use crate::config::sections::server::Server;
use crate::config::sections::target::{Target, TargetLocation};
use crate::config::sections::virtual_key::Key;
use crate::config::settings::{Settings, section, sections, settings};

settings! {
    /// The whole validated configuration, with every default filled in and every secret read.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Config checked by check_ports {
        /// Data-plane listeners, threads and limits.
        pub server: Server = section("server");
        /// Listener of the control plane.
        pub admin: Admin = section("admin");
        // Each has its own connection pool on each core.
        /// Upstream providers, in the order of the file.
        pub providers: Vec<Provider> = sections("providers", Bounds::new("PROVIDERS", 0, 256));
        /// Models that applications request, in the order of the file.
        pub models: Vec<Model> = sections("models", Bounds::new("MODELS", 1, 1024)).each(|context, index| context.of_model(index));
        // Each is a scope of the cache and a metric label.
        /// Virtual keys; without any, only loopback and Unix-socket peers are served.
        pub keys: Vec<Key> = sections("keys", Bounds::new("KEYS", 0, 10_000));
        /// Prices that take precedence over the table's.
        pub prices: Vec<Price> = sections("prices", PRICES);
        /// replaces the built-in price table, see [prices.md](prices.md)
        pub price_file: Option<PriceFile> = key("prices_file", price_file()).optional("the built-in table");
        /// Response cache.
        pub cache: Cache = section("cache");
        /// Embedding model in this process.
        pub embedding: Embedding = section("embedding");
        /// Access log.
        pub log: Log = section("log");
    }
}

fn check_ports(config: &mut Config, root: &Section<'_>, _: &Context<'_>) {
    if let Some(complaint) = config.admin.conflict(&config.server.listen) {
        root.complain_in("admin", "listen", complaint);
    }
}

impl Config {
    /// `provider/model` of a target, as in headers and metrics.
    #[must_use]
    pub fn label_of(&self, target: &Target) -> String {
        let provider = match target.location {
            TargetLocation::Local => "local",
            TargetLocation::Provider(index) => {
                let provider = self.providers.get(index);
                provider.map_or("", |provider| provider.name.as_str())
            }
        };
        format!("{provider}/{}", target.model)
    }

    /// Paths of the keys that differ in `new` and take effect at the next start only.
    #[must_use]
    pub fn restart_difference(&self, new: &Self) -> Vec<String> {
        let mut paths = Vec::new();
        self.restarts(new, "", &mut paths);
        // The embedding pool and the semantic tier start with the process.
        if new.cache.is_semantic() && !self.cache.is_semantic() {
            paths.push("cache.semantic.mode".to_owned());
        } else if new.uses_embedding() && !self.uses_embedding() {
            paths.push("models".to_owned());
        }
        paths
    }

    /// Whether a part of it needs the embedding model in this process.
    #[must_use]
    pub fn uses_embedding(&self) -> bool {
        let is_local = |target: &Target| target.location == TargetLocation::Local;
        let in_model = |model: &Model| model.mirror.is_some() || model.targets.iter().any(is_local);
        self.cache.is_semantic() || self.models.iter().any(in_model)
    }
}

/// Every key of the file, in the order of the declarations.
pub(crate) fn documented_keys(known: &KnownNames<'_>) -> Vec<KeyDoc> {
    let mut keys = Vec::new();
    Config::document("", known, &mut keys);
    keys
}

/// The text of `docs/configuration.md` with its tables of keys written anew.
pub(crate) fn documentation(text: &str, known: &KnownNames<'_>) -> String {
    with_tables(text, &documented_keys(known))
}
