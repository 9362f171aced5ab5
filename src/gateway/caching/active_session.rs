//! What the cache knows of a request that it may serve or store: the key, and what look-ups have found out.

use crate::base::names::Name;
use crate::cache::freshness::classify::Freshness;
use crate::cache::freshness::terms::Terms;
use crate::cache::key::Key;
use crate::cache::recent_deletions::DeletionCount;
use crate::cache::semantic::tier::LookupResult;
use crate::config::sections::cache::{Cache as CacheConfig, SemanticMode};
use crate::embedding::vector::Vector;
use crate::gateway::caching::client_controls::ClientControls;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::protocols::request::canonical_request::NotSemantic;
use futures_channel::oneshot;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A request that may be served from the cache, or stored in it.
pub(crate) struct ActiveSession {
    pub core: Rc<Core>,
    pub snapshot: CurrentSnapshot,
    pub controls: ClientControls,
    pub key: SessionKey,
    /// Virtual key of the client, which owns what is stored.
    pub owner: Option<Name>,
    pub model: Name,
    /// When the request began: what a later deletion covers is not stored.
    pub since: DeletionCount,
    /// How long past its time to live a response may be served if every target fails.
    pub stale_for: Duration,
    /// Whether the form of the request allows semantic hits.
    pub semantic: Result<(), NotSemantic>,
    /// What the semantic look-up leaves for storing the response.
    pub lookup: SemanticLookup,
}

pub(crate) enum SessionKey {
    Own(Key),
    /// Other requests may share the call.
    Shared(Arc<Key>),
}

/// What the semantic look-up leaves for storing the response.
#[derive(Default)]
pub(crate) struct SemanticLookup {
    /// The question's vector, once the embedding pool has made it.
    pub vector: Option<Arc<OnceLock<Vector>>>,
    /// Class of the question; an exact hit does not need it.
    pub class: Option<Freshness>,
    /// The outcome in mode `observe`, to be compared with the fresh response.
    pub observed: Option<oneshot::Receiver<LookupResult>>,
}

impl ActiveSession {
    pub(crate) fn config(&self) -> &CacheConfig {
        &self.snapshot.config.cache
    }

    pub(crate) fn key(&self) -> &Key {
        match &self.key {
            SessionKey::Own(key) => key,
            SessionKey::Shared(key) => key,
        }
    }

    /// Shares the key with the table of calls.
    pub(crate) fn share_key(self) -> (Self, Arc<Key>) {
        let key = match self.key {
            SessionKey::Own(key) => Arc::new(key),
            SessionKey::Shared(key) => key,
        };
        let shared = SessionKey::Shared(Arc::clone(&key));
        (
            Self {
                key: shared,
                ..self
            },
            key,
        )
    }

    /// The key, to be stored. The table of shared calls holds a shared one until the response is stored.
    pub(crate) fn into_key(self) -> Key {
        match self.key {
            SessionKey::Own(key) => key,
            SessionKey::Shared(key) => Arc::unwrap_or_clone(key),
        }
    }

    /// The class of the question, where classes are in use.
    pub(crate) fn class(&self) -> Freshness {
        if !self.config().freshness.enabled {
            return Freshness::Static;
        }
        let known = self.lookup.class;
        known.unwrap_or_else(|| Freshness::of_question(self.key().question()))
    }

    pub(crate) fn terms(&self, class: Freshness) -> Terms {
        class.terms(&self.config().freshness, self.config().ttl)
    }

    /// The semantic tier, unless it is off.
    pub(crate) fn uses_semantic(&self) -> bool {
        self.config().semantic.mode != SemanticMode::Off
    }
}
