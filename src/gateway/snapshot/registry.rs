//! State that a reload keeps: identities of endpoints and targets, addresses, credentials, statistics.

use crate::config::sections::experiment::Experiment;
use crate::config::sections::provider::Provider as ProviderConfig;
use crate::config::sections::server::ServerTls;
use crate::gateway::snapshot::experiment::{ExperimentRoute, Rollbacks};
use crate::gateway::snapshot::mirror::MirrorStats;
use crate::gateway::snapshot::provider::Provider;
use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::runtime::tls::{ClientSettings, ServerSettings, client_settings, server_settings};
use crate::upstream::credentials::Credentials;
use crate::upstream::endpoint::{Addresses, Endpoint};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use xxhash_rust::xxh3::xxh3_64;

/// State that a reload keeps: endpoints keep their identity and so their pooled connections, hosts keep their addresses.
#[derive(Default)]
pub struct Registry {
    endpoints: Vec<String>,
    hosts: HashMap<(String, u16), Arc<Addresses>>,
    targets: HashMap<u64, TargetSlot>,
    models: HashMap<String, ModelIndex>,
    /// By model, with the experiment that the rollbacks belong to.
    rollbacks: HashMap<String, (Experiment, Arc<Rollbacks>)>,
    /// By model.
    mirror_stats: HashMap<String, Arc<MirrorStats>>,
    trust: HashMap<Option<Vec<u8>>, ClientSettings>,
    /// The settings of the last server certificate. They are reused while the certificate is the same, so that its session
    /// tickets stay valid.
    server_tls: Option<(ServerTls, ServerSettings)>,
    /// Weak, so that credentials are dropped with the last configuration that uses them.
    credentials: Vec<Weak<Credentials>>,
    credentials_made: u64,
}

impl Registry {
    /// The hosts that are names, whose addresses have to be resolved.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Addresses>> {
        self.hosts.values().filter(|host| host.is_name())
    }

    pub(crate) fn endpoint(&mut self, provider: &ProviderConfig) -> Result<Endpoint, String> {
        let url = provider.base_url.clone();
        let tls = if url.tls {
            Some(self.trusted(&provider.connection.ca_pem, &provider.name)?)
        } else {
            None
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

    /// The slot of a target in each core's target table. A target with other keys gets another slot, so that the cooldown
    /// of a rejected key ends when the key is replaced.
    pub(crate) fn target(&mut self, location: &str, backend: Option<&Provider>) -> TargetSlot {
        let api_keys = backend.map_or(&[][..], |backend| &backend.api_keys);
        let keys = api_keys.iter().map(|key| xxh3_64(key.0.as_bytes()));
        let credentials = backend.and_then(|backend| backend.credentials.as_ref());
        let mut identity = location.to_owned();
        identity.extend(keys.map(|key| format!("\0{key:016x}")));
        identity.extend(credentials.map(|credentials| format!("\0{}", credentials.id)));
        let next = TargetSlot::new(self.targets.len());
        *self
            .targets
            .entry(xxh3_64(identity.as_bytes()))
            .or_insert(next)
    }

    pub(crate) fn model(&mut self, name: &str) -> ModelIndex {
        let next = ModelIndex::new(self.models.len());
        *self.models.entry(name.to_owned()).or_insert(next)
    }

    /// The experiment of a model. Its arms stay rolled back as long as the experiment is unchanged.
    pub(crate) fn experiment(&mut self, model: &str, experiment: &Experiment) -> ExperimentRoute {
        let rollbacks = match self.rollbacks.get(model) {
            Some((same, rollbacks)) if same == experiment => Arc::clone(rollbacks),
            Some((_, earlier)) => Arc::new(Rollbacks::replacing(earlier)),
            None => Arc::default(),
        };
        let entry = (experiment.clone(), Arc::clone(&rollbacks));
        self.rollbacks.insert(model.to_owned(), entry);
        ExperimentRoute::new(model, experiment, rollbacks, |name| self.model(name))
    }

    /// The statistics of a model's mirrored requests.
    pub(crate) fn mirror_stats(&mut self, model: &str) -> Arc<MirrorStats> {
        Arc::clone(self.mirror_stats.entry(model.to_owned()).or_default())
    }

    fn trusted(&mut self, ca: &Option<Vec<u8>>, provider: &str) -> Result<ClientSettings, String> {
        if let Some(settings) = self.trust.get(ca) {
            return Ok(Arc::clone(settings));
        }
        let settings = client_settings(ca.as_deref())
            .map_err(|error| format!("providers.{provider}: {error}"))?;
        self.trust.insert(ca.clone(), Arc::clone(&settings));
        Ok(settings)
    }

    /// The TLS settings for a server certificate.
    pub(crate) fn server_tls(&mut self, tls: &ServerTls) -> Result<ServerSettings, String> {
        if let Some((same, settings)) = &self.server_tls
            && same == tls
        {
            return Ok(Arc::clone(settings));
        }
        let settings = server_settings(&tls.cert_pem, &tls.key_pem)?;
        self.server_tls = Some((tls.clone(), Arc::clone(&settings)));
        Ok(settings)
    }

    /// The credentials in use, which have to be renewed.
    #[must_use]
    pub fn credentials(&self) -> Vec<Arc<Credentials>> {
        self.credentials.iter().filter_map(Weak::upgrade).collect()
    }

    /// The provider's credentials; the same ones as before a reload if their source is unchanged.
    pub(crate) fn credentials_of(
        &mut self,
        provider: &ProviderConfig,
    ) -> Result<Option<Arc<Credentials>>, String> {
        let Some(source) = &provider.credentials.auth else {
            return Ok(None);
        };
        self.credentials.retain(|known| known.strong_count() > 0);
        let same =
            |known: &Arc<Credentials>| known.provider == provider.name && known.source == *source;
        if let Some(known) = self.credentials().into_iter().find(same) {
            return Ok(Some(known));
        }
        // The provider's own CA does not apply: tokens come from another host.
        let trust = match source.token_url() {
            Some(url) if url.tls => Some(self.trusted(&None, &provider.name)?),
            _ => None,
        };
        self.credentials_made += 1;
        let id = self.credentials_made;
        let credentials = Credentials::new(id, &provider.name, source.clone(), trust);
        let credentials = Arc::new(credentials);
        self.credentials.push(Arc::downgrade(&credentials));
        Ok(Some(credentials))
    }
}
