//! Names that the keys of a file refer to: those that other folders define, and those in the file itself, which are
//! read before the sections, so that a section may refer to a later one.
//!
//! It must not know what any setting does, and reports nothing: the sections report what is wrong with a name.

use crate::config::provider_family::family;
use crate::config::reader::{Item, Section};

/// The provider name that means the embedding model in this process.
pub(crate) const LOCAL: &str = "local";
/// Name of the embedding model in this process, as its publisher writes it.
pub(crate) const LOCAL_MODEL: &str = "all-MiniLM-L6-v2";
/// The dialect of most providers and local servers.
pub(crate) const DIALECT: &str = "openai";

/// Names that the configuration may use and that other folders define; passed in, so that this
/// folder need not import them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownNames<'a> {
    /// Wire dialects of providers.
    pub dialects: &'a [&'a str],
    /// The dialects whose answers can be compared with others.
    pub comparable: &'a [&'a str],
    /// Routing policies.
    pub policies: &'a [&'a str],
    /// Smallest rate of wrong hits that the semantic cache can guarantee.
    pub wrong_hit_rate_least: f64,
}

/// Names of the routing policies.
pub(crate) fn known_policies(known: &KnownNames<'_>) -> Vec<String> {
    known
        .policies
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}

/// Names in one file, in its order; an entry without a valid name has an empty one.
#[derive(Default)]
pub(crate) struct FileNames {
    pub providers: Vec<ProviderNames>,
    pub models: Vec<ModelNames>,
    pub keys: Vec<String>,
    pub teams: Vec<String>,
}

/// Names of one `[[providers]]` section.
pub(crate) struct ProviderNames {
    pub name: String,
    pub dialect: String,
}

/// Names in one `[[models]]` section.
#[derive(Default)]
pub(crate) struct ModelNames {
    pub name: String,
    /// Empty when one of the targets is wrong: then nothing can be said about names of targets.
    pub targets: Vec<TargetName>,
    /// Arms of its experiment.
    pub arms: Vec<String>,
}

/// The two names of a target.
pub(crate) struct TargetName {
    pub provider: String,
    /// `provider/model`
    pub label: String,
}

impl FileNames {
    /// The names in the file.
    pub(crate) fn peek(root: &Section<'_>) -> Self {
        let entries = |key| entries(root.peek(key));
        let providers: Vec<ProviderNames> = entries("providers").map(provider).collect();
        let models = entries("models").map(|item| model(&item, &providers));
        let models = models.collect();
        let texts = |field: &'static str| entries("keys").filter_map(move |key| text(&key, field));
        Self {
            models,
            keys: texts("name").collect(),
            teams: texts("team").collect(),
            providers,
        }
    }

    /// Index of the provider called `name`.
    pub(crate) fn provider(&self, name: &str) -> Option<usize> {
        self.providers
            .iter()
            .position(|provider| provider.name == name)
    }

    /// Names of providers, without the missing ones.
    pub(crate) fn provider_names(&self) -> impl Iterator<Item = &str> {
        let names = self.providers.iter().map(|provider| provider.name.as_str());
        names.filter(|name| !name.is_empty())
    }

    /// Names of models, without the missing ones.
    pub(crate) fn model_names(&self) -> impl Iterator<Item = &str> {
        let names = self.models.iter().map(|model| model.name.as_str());
        names.filter(|name| !name.is_empty())
    }

    /// Whether a target is the embedding model in this process.
    pub(crate) fn has_local_target(&self) -> bool {
        let targets = self.models.iter().flat_map(|model| &model.targets);
        targets.into_iter().any(|target| target.provider == LOCAL)
    }
}

fn entries<'a>(list: Option<Item<'a>>) -> impl Iterator<Item = Item<'a>> {
    list.and_then(|list| list.list().ok())
        .unwrap_or_default()
        .into_iter()
}

fn text(item: &Item<'_>, field: &str) -> Option<String> {
    Some(item.field(field)?.text().ok()?.to_owned())
}

fn provider(item: Item<'_>) -> ProviderNames {
    let kind = text(&item, "kind");
    let kind = kind.and_then(|name| family().iter().find(|kind| kind.name == name));
    let usual = || {
        kind.map_or(DIALECT, |kind| kind.dialect.as_str())
            .to_owned()
    };
    ProviderNames {
        name: text(&item, "name").unwrap_or_default(),
        dialect: text(&item, "dialect").unwrap_or_else(usual),
    }
}

fn model(item: &Item<'_>, providers: &[ProviderNames]) -> ModelNames {
    let name = text(item, "name").unwrap_or_default();
    let target = |target: Item<'_>| {
        let provider = text(&target, "provider")?;
        let is_local = provider == LOCAL;
        let is_known = is_local || providers.iter().any(|known| known.name == provider);
        let usual = if is_local { LOCAL_MODEL } else { name.as_str() };
        let model = match target.field("model") {
            Some(model) => model.text().ok()?.to_owned(),
            None => usual.to_owned(),
        };
        let label = format!("{provider}/{model}");
        is_known.then_some(TargetName { provider, label })
    };
    let targets: Option<Vec<TargetName>> = entries(item.field("targets")).map(target).collect();
    let experiment = item.field("experiment");
    let arms = entries(experiment.and_then(|experiment| experiment.field("arms")));
    ModelNames {
        targets: targets.unwrap_or_default(),
        arms: arms
            .map(|arm| text(&arm, "name").unwrap_or_default())
            .collect(),
        name,
    }
}
