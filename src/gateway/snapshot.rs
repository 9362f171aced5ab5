//! The configuration as the data plane uses it: immutable, swapped whole on reload.

use crate::accounting::prices::PriceBook;
use crate::auth::keys::KeyTable;
use crate::base::names::Name;
use crate::config::provider_family::Kind;
use crate::config::root::Config;
use crate::config::secret::Secret;
use crate::config::sections::experiment::Experiment;
use crate::config::sections::failover::Failover;
use crate::config::sections::model::Model;
use crate::config::sections::provider::Provider as ProviderConfig;
use crate::config::sections::server::ServerTls;
use crate::config::sections::target::{Target, TargetLocation};
use crate::gateway::experiments::arms::{ExperimentRoute, Rollbacks};
use crate::gateway::experiments::mirroring::{MirrorStats, MirrorTarget};
use crate::gateway::plan::rules::RuleRoute;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::registry::{native_api, provider};
use crate::routing::demand::{Abilities, Traits};
use crate::routing::indices::{KeyIndex, ModelIndex, TargetSlot};
use crate::routing::limiter::Bounds;
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::target_ref::TargetRef;
use crate::runtime::clock;
use crate::runtime::tls::{ClientSettings, ServerSettings, client_settings, server_settings};
use crate::signing::auth::Auth;
use crate::upstream::credentials::Credentials;
use crate::upstream::credentials::Current;
use crate::upstream::endpoint::Addresses;
use crate::upstream::endpoint::Endpoint;
use arc_swap::Guard;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use xxhash_rust::xxh3::xxh3_64;

/// One configuration, ready for use.
pub struct Snapshot {
    /// As validated.
    pub config: Config,
    /// Virtual keys.
    pub keys: KeyTable,
    /// Providers in the order of the file.
    pub sites: Vec<Arc<Provider>>,
    /// Models by name.
    pub models: HashMap<String, ModelRoute, foldhash::fast::RandomState>,
    /// What its targets charge.
    pub prices: PriceBook,
    /// Model names in the order of the file.
    pub model_names: Vec<String>,
    /// TLS settings of new client connections; `None` = plaintext.
    pub server_tls: Option<ServerSettings>,
}

/// A model and where it is served.
pub struct ModelRoute {
    /// Its name.
    pub name: Name,
    /// The policy epoch: hash of all that is configured and decides an answer (targets with URL, dialect
    /// and model, `cache.epoch`). Part of the cache's scope, so that a change makes what is stored
    /// unreachable at once.
    pub identity: u64,
    /// Orders its targets.
    pub policy: &'static dyn RoutingPolicy,
    /// Its place among the models a core takes turns for.
    pub index: ModelIndex,
    /// What routing knows of its targets.
    pub target_refs: Vec<TargetRef>,
    /// What is known of them beside that, in the same order.
    pub traits: Vec<Traits>,
    /// All of them are at OpenRouter.
    pub is_openrouter: bool,
    /// Its targets, in the same order.
    pub targets: Vec<TargetRoute>,
    /// What is done about slow and failing ones.
    pub failover: Failover,
    /// Arms that share its requests.
    pub experiment: Option<ExperimentRoute>,
    /// Which of them go where; the first that applies.
    pub rules: Vec<RuleRoute>,
    /// Another target that a share of them is sent to as well.
    pub mirror: Option<MirrorTarget>,
}

/// One target.
pub struct TargetRoute {
    /// `provider/model`.
    pub label: Name,
    /// Model name at the target.
    pub model: String,
    /// Where it is.
    pub backend: Backend,
}

/// Where a target is.
pub enum Backend {
    /// At a provider.
    Remote(Arc<Provider>),
    /// The embedding model in this process.
    Local,
}

/// A provider, ready to be called.
pub struct Provider {
    /// Its name.
    pub provider: String,
    /// Its dialect.
    pub dialect: &'static dyn ProviderApi,
    /// The dialect in which it takes requests in Responses as they are, if it does.
    pub responses: Option<&'static dyn ProviderApi>,
    /// What is odd about it, if it is one of the compatible ones in the table.
    pub kind: Option<&'static Kind>,
    /// Version of its API, where paths name one.
    pub api_version: Option<String>,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// Fields that its dialect has no place for are dropped, not refused.
    pub drops_untranslatable: bool,
    /// Its region, if it has one.
    pub region: Option<String>,
    /// What it promises about data.
    pub tags: Vec<String>,
    /// `provider/*`: target and model of what is passed to it directly.
    pub any_model: Name,
    /// API keys, rotated.
    pub api_keys: Vec<Secret>,
    /// Credentials instead of them.
    pub credentials: Option<Arc<Credentials>>,
}

impl Provider {
    /// The credentials that are published now, to be held for the time of one encoding.
    #[must_use]
    pub fn held(&self) -> Option<Guard<Arc<Current>>> {
        self.credentials.as_ref().map(|one| one.current())
    }

    /// What proves who sends, with the key of this lane or what is `held`.
    ///
    /// # Errors
    /// Why there is nothing to prove with.
    pub fn auth<'r>(
        &'r self,
        held: Option<&'r Arc<Current>>,
        key_index: KeyIndex,
    ) -> Result<Auth<'r>, String> {
        match (&self.credentials, held) {
            (Some(credentials), Some(held)) => {
                credentials.auth(held, clock::since_epoch().as_secs())
            }
            _ => Ok(match self.api_keys.get(key_index.get()) {
                Some(key) => Auth::Key(&key.0),
                None => Auth::None,
            }),
        }
    }

    /// Keys that can be set aside one by one; credentials count as one.
    fn keys(&self) -> usize {
        match self.credentials {
            Some(_) => 1,
            None => self.api_keys.len(),
        }
    }
}

/// What outlives a configuration: endpoints keep their identity (and so their pooled connections),
/// hosts their addresses, over a reload.
#[derive(Default)]
pub struct Registry {
    endpoints: Vec<String>,
    hosts: HashMap<(String, u16), Arc<Addresses>>,
    targets: HashMap<u64, TargetSlot>,
    models: HashMap<String, ModelIndex>,
    /// By model, with the experiment that they are of.
    rollbacks: HashMap<String, (Experiment, Arc<Rollbacks>)>,
    /// Of mirrors, by model.
    tallies: HashMap<String, Arc<MirrorStats>>,
    trust: HashMap<Option<Vec<u8>>, ClientSettings>,
    /// The settings of the last server certificate: while it is the same, its session tickets stay valid.
    server_tls: Option<(ServerTls, ServerSettings)>,
    /// As long as a configuration uses them.
    credentials: Vec<Weak<Credentials>>,
    credentials_made: u64,
}

impl Registry {
    /// The host names in use, to be resolved.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Addresses>> {
        self.hosts.values().filter(|host| host.is_name())
    }

    fn endpoint(&mut self, provider: &ProviderConfig) -> Result<Endpoint, String> {
        let url = provider.base_url.clone();
        let tls = match url.tls {
            false => None,
            true => Some(self.trusted(&provider.connection.ca_pem, &provider.name)?),
        };
        let identity = format!(
            "{}:{}:{}:{:?}",
            url.tls, url.host, url.port, provider.connection.ca_pem
        );
        let known = self.endpoints.iter().position(|known| *known == identity);
        let id = known.unwrap_or_else(|| {
            self.endpoints.push(identity);
            self.endpoints.len() - 1
        });
        let addresses = self
            .hosts
            .entry((url.host.clone(), url.port))
            .or_insert_with(|| Arc::new(Addresses::new(&url.host, url.port)));
        let id = u32::try_from(id).map_err(|_| "too many endpoints".to_owned())?;
        Ok(Endpoint::new(
            id,
            url,
            tls,
            &provider.connection,
            Arc::clone(addresses),
        ))
    }

    /// The place of a target in each core's fleet. With other keys it is another target, so that what
    /// was learned of a refused key is forgotten when it is replaced.
    fn target(&mut self, place: &str, backend: Option<&Provider>) -> TargetSlot {
        let api_keys = backend.map_or(&[][..], |backend| &backend.api_keys);
        let keys = api_keys.iter().map(|key| xxh3_64(key.0.as_bytes()));
        let credentials = backend.and_then(|backend| backend.credentials.as_ref());
        let mut identity = place.to_owned();
        identity.extend(keys.map(|key| format!("\0{key:016x}")));
        identity.extend(credentials.map(|one| format!("\0{}", one.id)));
        let next = TargetSlot::new(self.targets.len());
        *self
            .targets
            .entry(xxh3_64(identity.as_bytes()))
            .or_insert(next)
    }

    fn model(&mut self, name: &str) -> ModelIndex {
        let next = ModelIndex::new(self.models.len());
        *self.models.entry(name.to_owned()).or_insert(next)
    }

    /// An experiment; what was rolled back stays so while it is the same.
    fn experiment(&mut self, model: &str, one: &Experiment) -> ExperimentRoute {
        let rollbacks = match self.rollbacks.get(model) {
            Some((same, rollbacks)) if same == one => Arc::clone(rollbacks),
            Some((_, earlier)) => Arc::new(Rollbacks::after(earlier)),
            None => Arc::default(),
        };
        let kept = (one.clone(), Arc::clone(&rollbacks));
        self.rollbacks.insert(model.to_owned(), kept);
        ExperimentRoute::new(model, one, rollbacks, |name| self.model(name))
    }

    fn trusted(&mut self, ca: &Option<Vec<u8>>, provider: &str) -> Result<ClientSettings, String> {
        if let Some(settings) = self.trust.get(ca) {
            return Ok(Arc::clone(settings));
        }
        let settings =
            client_settings(ca.as_deref()).map_err(|why| format!("providers.{provider}: {why}"))?;
        self.trust.insert(ca.clone(), Arc::clone(&settings));
        Ok(settings)
    }

    /// Settings for the server certificate `tls`.
    fn server_tls(&mut self, tls: &ServerTls) -> Result<ServerSettings, String> {
        if let Some((same, settings)) = &self.server_tls
            && same == tls
        {
            return Ok(Arc::clone(settings));
        }
        let settings = server_settings(&tls.cert_pem, &tls.key_pem)?;
        self.server_tls = Some((tls.clone(), Arc::clone(&settings)));
        Ok(settings)
    }

    /// Credentials in use, to be renewed.
    #[must_use]
    pub fn credentials(&self) -> Vec<Arc<Credentials>> {
        self.credentials.iter().filter_map(Weak::upgrade).collect()
    }

    /// The provider's credentials; those it had before if they come from the same place.
    fn credentials_of(&mut self, one: &ProviderConfig) -> Result<Option<Arc<Credentials>>, String> {
        let Some(source) = &one.credentials.auth else {
            return Ok(None);
        };
        self.credentials.retain(|known| known.strong_count() > 0);
        let same = |known: &Arc<Credentials>| known.provider == one.name && known.source == *source;
        if let Some(known) = self.credentials().into_iter().find(same) {
            return Ok(Some(known));
        }
        // Not the provider's own roots: who gives tokens is another host.
        let trust = match source.token_url() {
            Some(url) if url.tls => Some(self.trusted(&None, &one.name)?),
            _ => None,
        };
        self.credentials_made += 1;
        let made = Credentials::new(self.credentials_made, &one.name, source.clone(), trust);
        let made = Arc::new(made);
        self.credentials.push(Arc::downgrade(&made));
        Ok(Some(made))
    }
}

impl Snapshot {
    /// Makes a configuration ready for use.
    ///
    /// # Errors
    /// Something only this step can see, e.g. no trusted root certificates.
    pub fn new(config: Config, registry: &mut Registry) -> Result<Self, String> {
        let mut sites = Vec::new();
        for one in &config.providers {
            sites.push(Arc::new(Provider {
                provider: one.name.clone(),
                dialect: provider(&one.dialect)
                    .ok_or_else(|| format!("unknown dialect `{}`", one.dialect))?,
                responses: native_api(crate::protocols::responses::vocabulary::NAME)
                    .filter(|_| passes_responses(one)),
                kind: one.kind,
                api_version: one.api_version.clone(),
                endpoint: registry.endpoint(one)?,
                drops_untranslatable: one.translation.drops_unsupported_fields,
                region: one.region.clone(),
                tags: one.tags.clone(),
                any_model: Name::new(&format!("{}/*", one.name)),
                api_keys: one.credentials.api_keys.clone(),
                credentials: registry.credentials_of(one)?,
            }));
        }
        let mut models = HashMap::default();
        for model in &config.models {
            models.insert(
                model.name.clone(),
                model_route(model, &config, &sites, registry)?,
            );
        }
        let server_tls = config.server.tls.as_ref();
        let server_tls = server_tls.map(|tls| registry.server_tls(tls)).transpose()?;
        Ok(Self {
            server_tls,
            prices: PriceBook::new(&config)?,
            keys: KeyTable::new(&config.keys, config.cache.scope),
            model_names: config.models.iter().map(|one| one.name.clone()).collect(),
            models,
            sites,
            config,
        })
    }
}

/// Host of OpenAI's own API, which answers Responses; of servers like it, few do.
const OPENAI_HOST: &str = "api.openai.com";

/// Whether a provider takes requests in Responses as they are.
fn passes_responses(one: &ProviderConfig) -> bool {
    let is_openais = one.base_url.host.eq_ignore_ascii_case(OPENAI_HOST);
    one.dialect == crate::protocols::openai::vocabulary::NAME
        && one.translation.responses.unwrap_or(is_openais)
}

fn model_route(
    model: &Model,
    config: &Config,
    sites: &[Arc<Provider>],
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
        let (target_ref, route) = served(target, config, sites, registry, bounds, &mut identity)?;
        target_refs.push(target_ref);
        traits.push(traits_of(target, config));
        targets.push(route);
    }
    let mirror = mirror_route(model, config, sites, registry)?;
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
            .map(|one| registry.experiment(&model.name, one)),
    })
}

/// A target, ready for use; what decides its answers is appended to `identity`.
fn served(
    target: &Target,
    config: &Config,
    sites: &[Arc<Provider>],
    registry: &mut Registry,
    bounds: Option<Bounds>,
    identity: &mut String,
) -> Result<(TargetRef, TargetRoute), String> {
    let mut place = String::new();
    let mut remote = None;
    let backend = match target.location {
        TargetLocation::Local => Backend::Local,
        TargetLocation::Provider(at) => {
            let backend = sites.get(at).ok_or("a target names no provider")?;
            let url = &config.providers.get(at).ok_or("no such provider")?.base_url;
            place = format!("{url:?}\0");
            if let Some(version) = &backend.api_version {
                place.push_str(version);
            }
            if let Some(kind) = backend.kind {
                place.push_str(&kind.name);
            }
            identity.push_str(&place);
            identity.push_str(backend.dialect.name());
            identity.push('\0');
            remote = Some(backend.as_ref());
            Backend::Remote(Arc::clone(backend))
        }
    };
    let label = config.label_of(target);
    identity.push_str(&label);
    identity.push('\0');
    place.push_str(&label);
    let target_ref = TargetRef {
        slot: registry.target(&place, remote),
        identity: xxh3_64(place.as_bytes()),
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

/// Where a model's mirrors go, if they go anywhere.
fn mirror_route(
    model: &Model,
    config: &Config,
    sites: &[Arc<Provider>],
    registry: &mut Registry,
) -> Result<Option<MirrorTarget>, String> {
    let Some(mirror) = &model.mirror else {
        return Ok(None);
    };
    let target = &mirror.target;
    let (target_ref, route) = served(target, config, sites, registry, None, &mut String::new())?;
    Ok(Some(MirrorTarget {
        target: route,
        target_ref,
        traits: traits_of(target, config),
        share: mirror.share,
        tokens_max: mirror.tokens_max,
        stats: Arc::clone(registry.tallies.entry(model.name.clone()).or_default()),
    }))
}

/// What routing knows of a target by its configuration.
fn traits_of(target: &Target, config: &Config) -> Traits {
    let provider = match target.location {
        TargetLocation::Local => None,
        TargetLocation::Provider(at) => config.providers.get(at),
    };
    let said = &target.abilities;
    Traits {
        provider: provider.map_or_else(|| "local".to_owned(), |one| one.name.clone()),
        label: config.label_of(target),
        region: provider.and_then(|one| one.region.clone()),
        tags: provider.map(|one| one.tags.clone()).unwrap_or_default(),
        abilities: Abilities {
            context_tokens: said.context,
            tools: said.tools,
            vision: said.vision,
            schema: said.schema,
            streaming: said.streaming,
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
