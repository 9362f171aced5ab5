//! The cache's part of one request, whether it is used or not: look-ups by exact key, the key of a shared call, and what a stored response is read
//! with. It may outlive the client, if followers wait for the response.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::base::random::mix;
use crate::cache::coalesce::shared_calls::CoalesceKey;
use crate::cache::key::Key;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::config::sections::cache::Cache as CacheConfig;
use crate::gateway::caching::active_session::{ActiveSession, SemanticLookup, SessionKey};
use crate::gateway::caching::client_controls::ClientControls;
use crate::gateway::caching::hit::Hit;
use crate::gateway::caching::store;
use crate::gateway::context::cache::ServedEntry;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::observability::metrics::cache::CacheResult;
use crate::protocols::request::canonical_request::Canonical;
use crate::runtime::clock;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[allow(
    clippy::large_enum_variant,
    reason = "one per request, and nearly always On"
)]
pub(crate) enum CacheSession {
    /// No entry is read or written.
    Off(CacheBypass),
    On(ActiveSession),
}

/// Why the cache is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheBypass {
    /// The configuration turns the cache off.
    CacheOff,
    NoStore,
    NoCache,
    /// The client's API lets the provider store responses.
    StoredByProvider,
}

impl CacheBypass {
    /// Value in `x-ringside-cache-reason`.
    fn as_str(self) -> &'static str {
        match self {
            Self::CacheOff => "cache-off",
            Self::NoStore => "no-store",
            Self::NoCache => "no-cache",
            Self::StoredByProvider => "responses",
        }
    }
}

/// The request that look-ups go by.
pub(crate) struct CacheableRequest<'r> {
    pub caller: Caller<'r>,
    pub model: Name,
    /// Hash of all that decides the response beside the request: targets, epoch, constraints.
    pub identity: u64,
    pub stale_for: Duration,
    /// `None` when the response cannot be cached.
    pub canonical: Option<Canonical>,
}

impl CacheSession {
    #[must_use]
    pub(crate) fn new(
        core: &Rc<Core>,
        snapshot: &CurrentSnapshot,
        controls: ClientControls,
        request: CacheableRequest<'_>,
    ) -> Self {
        let Some(mut canonical) = request.canonical else {
            return Self::Off(bypass(&snapshot.config.cache, &controls));
        };
        let scope_headers = &controls.scope_headers;
        canonical.extend_scope(scope_headers);
        // With their length last, so that they cannot be the end of another scope.
        canonical.extend_scope(&(scope_headers.len() as u64).to_le_bytes());
        let semantic = canonical.semantic;
        let (secret, tenant) = (&core.shared.secret, request.caller.tenant);
        Self::On(ActiveSession {
            core: Rc::clone(core),
            snapshot: Rc::clone(snapshot),
            controls,
            key: SessionKey::Own(Key::new(secret, tenant, request.identity, canonical)),
            owner: request.caller.key,
            model: request.model,
            since: core.shared.store.deletions(),
            stale_for: request.stale_for,
            semantic,
            lookup: SemanticLookup::default(),
        })
    }

    fn active(&self) -> Option<&ActiveSession> {
        match self {
            Self::Off(_) => None,
            Self::On(active) => Some(active),
        }
    }

    /// The session, if the cache may be read for it.
    pub(crate) fn readable(&self) -> Option<&ActiveSession> {
        self.active()
            .filter(|active| !active.controls.cache.no_lookup)
    }

    /// Looks for the same request.
    pub(crate) fn look_up_exact(&self, ctx: &mut RequestContext) -> Option<Hit> {
        let active = match self {
            Self::Off(reason) => {
                ctx.cache.bypassed(reason.as_str());
                return None;
            }
            Self::On(active) if active.controls.cache.no_lookup => {
                ctx.cache.bypassed(CacheBypass::NoCache.as_str());
                return None;
            }
            Self::On(active) => active,
        };
        // The second look-up, just before a call is made, keeps the reason of the semantic look-up.
        ctx.cache.missed("new-request");
        let now = clock::recent();
        let entry = active.core.shared.store.get(active.key(), now)?;
        let served = ServedEntry {
            id: entry.id,
            age: entry.age(now),
        };
        ctx.cache.hit(CacheResult::Exact, "same request", served);
        Some(Hit {
            entry,
            scores: None,
        })
    }

    /// Looks for the same question in other words; a miss when that cannot be decided in time.
    pub(crate) async fn look_up_semantic(&mut self, ctx: &mut RequestContext) -> Option<Hit> {
        match self {
            Self::Off(_) => None,
            Self::On(active) => active.look_up_semantic(ctx).await,
        }
    }

    /// The key of the upstream call that this request may share. `models` is a hash of the models that may answer
    /// beside the one of the request. `None` if it wants its own call, or must not be served from the cache.
    pub(crate) fn coalesce_key(
        &mut self,
        models: u64,
        streams: bool,
    ) -> Option<(CoalesceKey, Arc<Key>)> {
        let may_share = self.readable().is_some_and(|active| {
            let client = &active.controls;
            client.coalesces && !client.cache.no_store && active.config().coalesce
        });
        if !may_share {
            return None;
        }
        let Self::On(active) = std::mem::replace(self, Self::Off(CacheBypass::CacheOff)) else {
            return None;
        };
        let (active, key) = active.share_key();
        let coalesce_key = CoalesceKey {
            exact: key.exact,
            streams,
            // A request that comes after a deletion does not share a call that began before it.
            models: models ^ active.controls.form ^ mix(active.since.get(), 0),
        };
        *self = Self::On(active);
        Some((coalesce_key, key))
    }

    /// Stores nothing from now on: the response is not the one that the key stands for.
    pub(crate) fn turn_off(&mut self) {
        *self = Self::Off(CacheBypass::CacheOff);
    }

    /// The session, if the response may be stored.
    fn storable(&self) -> Option<&ActiveSession> {
        self.active()
            .filter(|active| !active.controls.cache.no_store)
    }

    /// Reads the response from a stream in OpenAI's format; `None` when it is not to be stored.
    #[must_use]
    pub(crate) fn stream_reader(&self) -> Option<StreamReader> {
        let active = self.storable()?;
        Some(StreamReader::new(active.config().entry_bytes_max))
    }

    /// Collects the response from neutral events; `None` when it is not to be stored.
    #[must_use]
    pub(crate) fn collector(&self) -> Option<ResponseCollector> {
        let active = self.storable()?;
        Some(ResponseCollector::new(active.config().entry_bytes_max))
    }

    /// Stores a response, if it may be stored.
    pub(crate) fn store(
        self,
        target: Name,
        read: impl FnOnce(&Core) -> Result<CachedResponse, NotStored>,
    ) {
        let Self::On(active) = self else {
            return;
        };
        if active.controls.cache.no_store {
            return;
        }
        let core = Rc::clone(&active.core);
        let stored = read(&core).and_then(|response| store::store(active, target, response));
        if let Err(reason) = stored {
            let mut metrics = core.metrics.borrow_mut();
            metrics.cache.not_stored.increment(reason.as_str());
        }
    }
}

fn bypass(config: &CacheConfig, controls: &ClientControls) -> CacheBypass {
    if !config.enabled {
        CacheBypass::CacheOff
    } else if controls.cache.no_store {
        CacheBypass::NoStore
    } else if controls.cache.no_lookup {
        CacheBypass::NoCache
    } else {
        CacheBypass::StoredByProvider
    }
}
