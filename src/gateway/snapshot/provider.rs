//! A provider as requests use it: its API, endpoint and credentials.

use crate::base::names::Name;
use crate::config::provider_family::Kind;
use crate::config::secret::Secret;
use crate::protocols::provider_api::ProviderApi;
use crate::routing::indices::KeyIndex;
use crate::runtime::clock;
use crate::signing::auth::Auth;
use crate::upstream::credentials::{Credentials, Current};
use crate::upstream::endpoint::Endpoint;
use arc_swap::Guard;
use std::sync::Arc;

pub struct Provider {
    /// Its name in the configuration.
    pub provider: String,
    pub dialect: &'static dyn ProviderApi,
    /// The API through which the provider takes Responses requests without translation; `None` if it does not.
    pub responses: Option<&'static dyn ProviderApi>,
    /// How the provider's API differs from OpenAI's, if it is one of the compatible providers in the table.
    pub kind: Option<&'static Kind>,
    /// Version of the API, for APIs that have it in their paths or queries.
    pub api_version: Option<String>,
    pub endpoint: Endpoint,
    /// Fields that the provider's API cannot express are dropped; otherwise the request is rejected.
    pub drops_unsupported_fields: bool,
    pub region: Option<String>,
    /// What the provider promises about data.
    pub tags: Vec<String>,
    /// `provider/*`: the target and model of requests through the provider proxy.
    pub any_model: Name,
    /// API keys, used in rotation.
    pub api_keys: Vec<Secret>,
    /// Credentials that are renewed; used instead of API keys.
    pub credentials: Option<Arc<Credentials>>,
}

impl Provider {
    /// The current credentials, to be held while one request is encoded.
    #[must_use]
    pub fn held(&self) -> Option<Guard<Arc<Current>>> {
        self.credentials
            .as_ref()
            .map(|credentials| credentials.current())
    }

    /// How a request is authenticated: by the credentials `held`, else by this API key.
    ///
    /// # Errors
    /// The reason why the credentials are not valid now.
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

    /// The number of keys that can be in cooldown separately; credentials count as one.
    pub(crate) fn keys(&self) -> usize {
        match self.credentials {
            Some(_) => 1,
            None => self.api_keys.len(),
        }
    }
}
