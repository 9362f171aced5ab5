//! A provider, ready to be called: its API, endpoint and credentials.

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
    pub(crate) fn keys(&self) -> usize {
        match self.credentials {
            Some(_) => 1,
            None => self.api_keys.len(),
        }
    }
}
