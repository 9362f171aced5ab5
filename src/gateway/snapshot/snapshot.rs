//! Makes a snapshot from a validated configuration. A snapshot is immutable; a reload replaces it as a whole.

use crate::accounting::prices::PriceBook;
use crate::auth::keys::KeyTable;
use crate::base::names::Name;
use crate::config::root::Config;
use crate::config::sections::model::Model;
use crate::config::sections::provider::Provider as ProviderConfig;
use crate::config::sections::target::{Target, TargetLocation};
use crate::gateway::snapshot::mirror::MirrorTarget;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::registry::Registry;
use crate::gateway::snapshot::rule::RuleRoute;
use crate::gateway::snapshot::target::{Backend, TargetRoute};
use crate::protocols::registry::{native_api, provider_api};
use crate::routing::demand::{Abilities, Traits};
use crate::routing::limiter::Bounds;
use crate::routing::policies::registry::policy;
use crate::routing::target_ref::TargetRef;
use crate::runtime::tls::ServerSettings;
use std::collections::HashMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A configuration as requests use it.
pub struct Snapshot {
    pub config: Config,
    /// Virtual keys.
    pub keys: KeyTable,
    /// Providers in the order of the configuration.
    pub providers: Vec<Arc<Provider>>,
    pub models: HashMap<String, ModelRoute, foldhash::fast::RandomState>,
    pub prices: PriceBook,
    /// Model names in the order of the configuration.
    pub model_names: Vec<String>,
    /// TLS settings of new client connections; `None` = plaintext.
    pub server_tls: Option<ServerSettings>,
}

impl Snapshot {
    /// # Errors
    /// A problem that validation cannot find, such as missing root certificates.
    pub fn new(config: Config, registry: &mut Registry) -> Result<Self, String> {
        let mut providers = Vec::new();
        for provider in &config.providers {
            providers.push(Arc::new(Provider {
                provider: provider.name.clone(),
                dialect: provider_api(&provider.dialect)
                    .ok_or_else(|| format!("unknown dialect `{}`", provider.dialect))?,
                responses: native_api(crate::protocols::responses::vocabulary::NAME)
                    .filter(|_| has_responses_api(provider)),
                kind: provider.kind,
                api_version: provider.api_version.clone(),
                endpoint: registry.endpoint(provider)?,
                drops_unsupported_fields: provider.translation.drops_unsupported_fields,
                region: provider.region.clone(),
                tags: provider.tags.clone(),
                any_model: Name::new(&format!("{}/*", provider.name)),
                api_keys: provider.credentials.api_keys.clone(),
                credentials: registry.credentials_of(provider)?,
            }));
        }
        let server_tls = config.server.tls.as_ref();
        let server_tls = server_tls.map(|tls| registry.server_tls(tls)).transpose()?;
        let mut models = HashMap::default();
        for model in &config.models {
            models.insert(
                model.name.clone(),
                model_route(model, &config, &providers, registry)?,
            );
        }
        Ok(Self {
            prices: PriceBook::new(&config)?,
            keys: KeyTable::new(&config.keys, config.cache.scope),
            model_names: config
                .models
                .iter()
                .map(|model| model.name.clone())
                .collect(),
            models,
            server_tls,
            providers,
            config,
        })
    }
}

/// Host of OpenAI's own API, which has the Responses API; few compatible servers have it.
const OPENAI_HOST: &str = "api.openai.com";

/// Whether a provider takes Responses requests without translation.
fn has_responses_api(provider: &ProviderConfig) -> bool {
    let is_openai = provider.base_url.host.eq_ignore_ascii_case(OPENAI_HOST);
    provider.dialect == crate::protocols::openai::vocabulary::NAME
        && provider.translation.responses.unwrap_or(is_openai)
}

fn model_route(
    model: &Model,
    config: &Config,
    providers: &[Arc<Provider>],
    registry: &mut Registry,
) -> Result<ModelRoute, String> {
    let epoch = config.cache.epoch.as_deref().unwrap_or_default();
    let mut identity = format!("{}\0{epoch}\0", model.name);
    let mut targets = Vec::new();
    let mut target_refs = Vec::new();
    let mut traits = Vec::new();
    let admission = &model.failover.admission;
    let bounds = admission.enabled.then_some(Bounds {
        min: admission.concurrency_min,
        max: admission.concurrency_max,
    });
    for target in &model.targets {
        let (target_ref, route) =
            target_route(target, config, providers, registry, bounds, &mut identity)?;
        target_refs.push(target_ref);
        traits.push(traits_of(target, config));
        targets.push(route);
    }
    let mirror = mirror_route(model, config, providers, registry)?;
    Ok(ModelRoute {
        mirror,
        rules: model
            .rules
            .iter()
            .map(|rule| RuleRoute::new(&model.name, rule))
            .collect(),
        name: Name::new(&model.name),
        identity: xxh3_64(identity.as_bytes()),
        policy: policy(&model.policy)
            .ok_or_else(|| format!("unknown policy `{}`", model.policy))?,
        index: registry.model(&model.name),
        is_openrouter: targets.iter().all(is_at_openrouter),
        target_refs,
        traits,
        targets,
        failover: model.failover.clone(),
        experiment: model
            .experiment
            .as_ref()
            .map(|experiment| registry.experiment(&model.name, experiment)),
    })
}

/// A target and its entry for the target table. Appends to `identity` all configuration that decides the target's
/// responses.
fn target_route(
    target: &Target,
    config: &Config,
    providers: &[Arc<Provider>],
    registry: &mut Registry,
    bounds: Option<Bounds>,
    identity: &mut String,
) -> Result<(TargetRef, TargetRoute), String> {
    let mut location = String::new();
    let mut remote = None;
    let backend = match target.location {
        TargetLocation::Local => Backend::Local,
        TargetLocation::Provider(index) => {
            let backend = providers.get(index).ok_or("a target names no provider")?;
            let url = &config
                .providers
                .get(index)
                .ok_or("no such provider")?
                .base_url;
            location = format!("{url:?}\0");
            if let Some(version) = &backend.api_version {
                location.push_str(version);
            }
            if let Some(kind) = backend.kind {
                location.push_str(&kind.name);
            }
            identity.push_str(&location);
            identity.push_str(backend.dialect.name());
            identity.push('\0');
            remote = Some(backend.as_ref());
            Backend::Remote(Arc::clone(backend))
        }
    };
    let label = config.label_of(target);
    identity.push_str(&label);
    identity.push('\0');
    location.push_str(&label);
    let target_ref = TargetRef {
        slot: registry.target(&location, remote),
        identity: xxh3_64(location.as_bytes()),
        priority: target.priority,
        weight: target.weight,
        keys: remote.map_or(0, Provider::keys),
        bounds,
    };
    let route = TargetRoute {
        label: Name::new(&label),
        model: target.model.clone(),
        backend,
    };
    Ok((target_ref, route))
}

fn mirror_route(
    model: &Model,
    config: &Config,
    providers: &[Arc<Provider>],
    registry: &mut Registry,
) -> Result<Option<MirrorTarget>, String> {
    let Some(mirror) = &model.mirror else {
        return Ok(None);
    };
    let target = &mirror.target;
    let (target_ref, route) = target_route(
        target,
        config,
        providers,
        registry,
        None,
        &mut String::new(),
    )?;
    Ok(Some(MirrorTarget {
        target: route,
        target_ref,
        traits: traits_of(target, config),
        share: mirror.share,
        tokens_max: mirror.tokens_max,
        stats: registry.mirror_stats(&model.name),
    }))
}

/// What the configuration says about a target.
fn traits_of(target: &Target, config: &Config) -> Traits {
    let provider = match target.location {
        TargetLocation::Local => None,
        TargetLocation::Provider(index) => config.providers.get(index),
    };
    let abilities = &target.abilities;
    Traits {
        provider: provider.map_or_else(|| "local".to_owned(), |provider| provider.name.clone()),
        label: config.label_of(target),
        region: provider.and_then(|provider| provider.region.clone()),
        tags: provider
            .map(|provider| provider.tags.clone())
            .unwrap_or_default(),
        abilities: Abilities {
            context_tokens: abilities.context,
            tools: abilities.tools,
            vision: abilities.vision,
            schema: abilities.schema,
            streaming: abilities.streaming,
        },
    }
}

fn is_at_openrouter(target: &TargetRoute) -> bool {
    match &target.backend {
        Backend::Remote(backend) => backend
            .endpoint
            .url
            .host
            .eq_ignore_ascii_case("openrouter.ai"),
        Backend::Local => false,
    }
}
