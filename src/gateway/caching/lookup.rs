//! The cache's part of a trip: what the caller wishes, both look-ups, storing an answer.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::cache::coalesce::shared_calls::CoalesceKey;
use crate::cache::controls::Controls;
use crate::cache::controls::{read_coalesce, read_controls};
use crate::cache::entry::{Entry, NewEntry};
use crate::cache::freshness::classify::Freshness;
use crate::cache::freshness::terms::Terms;
use crate::cache::key::Key;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::cache::semantic::miss::SemanticMiss;
use crate::cache::semantic::tier::LookupResult;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::verify::{SIMILARITY_FLOOR, Thresholds};
use crate::config::sections::cache::{
    Cache as CacheConfig, Semantic as SemanticConfig, SemanticMode,
};
use crate::embedding::vector::Vector;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::caching::hit_sampling::{HitSample, SampleInput};
use crate::gateway::caching::observe;
use crate::gateway::context::cache::{CacheResult, ServedEntry};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::headers;
use crate::http::encode;
use crate::http::head::{Headers, RequestHead};
use crate::protocols::client_api::ClientApi;
use crate::protocols::registry;
use crate::protocols::request::canonical_request::{Canonical, NotSemantic};
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::clock;
use crate::runtime::io::before;
use futures_channel::oneshot;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How long past its deadline a look-up's refusal is waited for: the workshop notices the deadline itself.
const DEADLINE_SLACK: Duration = Duration::from_millis(2);

/// The cache's configuration, for as long as the trip lasts.
struct Held(CurrentSnapshot);

impl Deref for Held {
    type Target = CacheConfig;

    fn deref(&self) -> &CacheConfig {
        &self.0.config.cache
    }
}

/// The cache's part of one trip. It may outlive the client, if others wait for the answer.
pub(crate) struct CacheSession {
    core: Rc<Core>,
    config: Held,
    controls: Controls,
    coalesces: bool,
    /// Stands for what the query says of the answer's form.
    form: u64,
    /// Headers of the caller's dialect that steer the answer; none are known in OpenAI's.
    steering: Vec<u8>,
    key: Option<Key>,
    /// The key, once others may share the call.
    shared_key: Option<Arc<Key>>,
    owner: Option<Name>,
    model: Option<Name>,
    /// How long past its time an answer may be when every target failed.
    stale_for: Duration,
    semantic: Result<(), NotSemantic>,
    vector: Option<Arc<OnceLock<Vector>>>,
    /// Class of the question, once it was needed: an exact hit needs none.
    freshness: Option<Freshness>,
    /// The look-up of mode `observe`.
    observed: Option<oneshot::Receiver<LookupResult>>,
}

/// An answer from the cache.
pub(crate) struct Hit {
    /// What is served.
    pub entry: Arc<Entry>,
    /// Of a hit by meaning: similarity, confidence, score.
    pub found: Option<(f32, f32, f32)>,
}

impl CacheSession {
    /// Reads the caller's wishes.
    ///
    /// # Errors
    /// 400 for a malformed wish.
    pub(crate) fn new(
        core: &Rc<Core>,
        snapshot: &CurrentSnapshot,
        head: &RequestHead<'_>,
        client_api: &'static dyn ClientApi,
    ) -> Result<Self, GatewayError> {
        let headers = &head.headers;
        let controls = read_controls(
            headers::CACHE_CONTROL.read_str(headers),
            headers::CACHE_TTL.read_str(headers),
            headers::SIMILARITY_MIN.read_str(headers),
        )?;
        let coalesces = read_coalesce(headers::COALESCE.read_str(headers))?;
        Ok(Self {
            core: Rc::clone(core),
            config: Held(Rc::clone(snapshot)),
            controls,
            coalesces,
            form: form_of(head.target),
            steering: steering(headers, client_api),
            key: None,
            shared_key: None,
            owner: None,
            model: None,
            stale_for: Duration::ZERO,
            semantic: Ok(()),
            vector: None,
            freshness: None,
            observed: None,
        })
    }

    /// Whether the canonical form is needed.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.config.enabled && !(self.controls.no_lookup && self.controls.no_store)
    }

    /// Sets what the look-ups go by.
    pub(crate) fn set_key(
        &mut self,
        caller: Caller<'_>,
        model: Name,
        identity: u64,
        stale_for: Duration,
        canonical: Option<Canonical>,
    ) {
        self.owner = caller.key;
        self.model = Some(model);
        self.stale_for = stale_for;
        if let Some(mut canonical) = canonical {
            canonical.extend_scope(&self.steering);
            self.semantic = canonical.semantic;
            let secret = &self.core.shared.secret;
            self.key = Some(Key::new(secret, caller.tenant, identity, canonical));
        }
    }

    /// The upstream call that this request may share, with its key: `models` stand for those that may
    /// answer in the place of the one asked for. `None` if it wants its own, or if
    /// the exact tier would not serve it.
    pub(crate) fn call(&mut self, models: u64, streams: bool) -> Option<(CoalesceKey, Arc<Key>)> {
        let wants_own = self.controls.no_lookup || self.controls.no_store || !self.coalesces;
        if wants_own || !self.config.coalesce {
            return None;
        }
        self.shared_key = self.key.take().map(Arc::new);
        let key = Arc::clone(self.shared_key.as_ref()?);
        let call = CoalesceKey {
            exact: key.exact,
            streams,
            models: models ^ self.form,
        };
        Some((call, key))
    }

    fn key(&self) -> Option<&Key> {
        self.key.as_ref().or(self.shared_key.as_deref())
    }

    /// Stores nothing: the answer is another model's than the key says.
    pub(crate) fn store_nothing(&mut self) {
        self.controls.no_store = true;
    }

    /// Looks for the same request.
    pub(crate) fn exact(&self, ctx: &mut RequestContext) -> Option<Hit> {
        let asked = self.key().filter(|_| !self.controls.no_lookup);
        let Some(key) = asked else {
            ctx.cache.bypassed(self.bypassed());
            return None;
        };
        // The second look-up, just before a call is made, keeps the reason of the semantic look-up.
        ctx.cache.missed("new-request");
        let now = clock::recent();
        let entry = self.core.shared.store.get(key, now)?;
        let served = ServedEntry {
            id: entry.id,
            age: entry.age(now),
        };
        ctx.cache.hit(CacheResult::Exact, "same request", served);
        Some(Hit { entry, found: None })
    }

    /// Why there is no look-up.
    fn bypassed(&self) -> &'static str {
        if !self.config.enabled {
            "cache-off"
        } else if self.controls.no_store {
            "no-store"
        } else if self.controls.no_lookup {
            "no-cache"
        } else {
            // Its dialect lets a provider keep answers.
            "responses"
        }
    }

    /// Looks for the same question in other words; a miss when it cannot be decided in time.
    pub(crate) async fn semantic(&mut self, ctx: &mut RequestContext) -> Option<Hit> {
        if self.config.semantic.mode == SemanticMode::Off {
            return None;
        }
        match self.look_up(ctx).await {
            Ok(hit) => Some(hit),
            Err(None) => None,
            Err(Some(miss)) => {
                let mut metrics = self.core.metrics.borrow_mut();
                metrics.cache.semantic_refusals.increment(miss.as_str());
                ctx.cache.refused(miss.as_str());
                None
            }
        }
    }

    /// Without a reason the tier is off for this request, and there is nothing to report.
    async fn look_up(&mut self, ctx: &mut RequestContext) -> Result<Hit, Option<SemanticMiss>> {
        let key = self
            .key
            .as_ref()
            .filter(|_| !self.controls.no_lookup)
            .ok_or(None)?;
        self.semantic.map_err(SemanticMiss::Request)?;
        let semantic = self.core.shared.semantic.as_ref().ok_or(None)?;
        let class = *self
            .freshness
            .get_or_insert_with(|| Freshness::of_question(key.question()));
        if !self.terms(class).by_meaning {
            return Err(Some(SemanticMiss::Freshness(class)));
        }
        let config = &self.config.semantic;
        let raised = self
            .model
            .and_then(|model| semantic.quality().raised(model));
        let bar = bar(config, self.controls.similarity_min).raised_to(raised);
        let by = clock::now() + config.deadline;
        let observes = config.mode == SemanticMode::Observe;
        let look_up = semantic.look_up(key, bar, by, observes)?;
        self.vector = Some(look_up.vector);
        if observes {
            self.observed = Some(look_up.result);
            return Err(Some(SemanticMiss::Observed));
        }
        let found = before(by + DEADLINE_SLACK, look_up.result)
            .await
            .ok_or(SemanticMiss::Deadline)?
            .map_err(|_| SemanticMiss::ModelFailed)??;
        let served = ServedEntry {
            id: found.entry.id,
            age: found.entry.age(clock::now()),
        };
        let reason = likeness(found.similarity, found.confidence);
        ctx.cache.hit(CacheResult::Semantic, reason, served);
        let scores = (found.similarity, found.confidence, found.score);
        Ok(Hit {
            entry: found.entry,
            found: Some(scores),
        })
    }

    /// Draws a hit by meaning for a sample.
    #[must_use]
    pub(crate) fn hit_sample(
        &self,
        hit: &Hit,
        request: &SampleInput<'_>,
    ) -> Option<Box<HitSample>> {
        let question = self.key.as_ref()?.question();
        HitSample::draw(&self.core, &self.config, hit, question, self.owner, request)
    }

    /// Whether an answer past its time may be served at all when every target failed: never in the turn
    /// of an agent, which acts on it, and not what changes in minutes or is the asker's own.
    fn may_be_stale(&self, chat: &ChatRequest, class: Freshness) -> bool {
        let is_agents =
            chat.shape.has_tools || self.semantic == Err(NotSemantic::LastMessageNotUser);
        !self.stale_for.is_zero() && !self.controls.no_lookup && !is_agents && class.is_lasting()
    }

    /// Looks for an answer past its time, since every target failed with `why`: for the same request,
    /// then by meaning.
    pub(crate) async fn stale(
        &self,
        chat: &ChatRequest,
        why: &str,
        ctx: &mut RequestContext,
    ) -> Option<Hit> {
        let key = self.key()?;
        let class = self.class(key);
        if !self.may_be_stale(chat, class) {
            return None;
        }
        let store = &self.core.shared.store;
        let (entry, how) = match store.get_stale(key, self.stale_for, clock::now()) {
            Some(entry) => (entry, "same request".to_owned()),
            None if self.terms(class).by_meaning => self.stale_by_meaning(key).await?,
            None => return None,
        };
        let served = ServedEntry {
            id: entry.id,
            age: entry.age(clock::now()),
        };
        let reason = format!("every target failed ({why}); {how}");
        ctx.cache.hit(CacheResult::Stale, reason, served);
        Some(Hit { entry, found: None })
    }

    async fn stale_by_meaning(&self, key: &Key) -> Option<(Arc<Entry>, String)> {
        let config = &self.config.semantic;
        if config.mode != SemanticMode::Serve || self.semantic.is_err() {
            return None;
        }
        let bar = Thresholds {
            stale_for: self.stale_for,
            ..bar(config, self.controls.similarity_min)
        };
        let by = clock::now() + config.deadline;
        let semantic = self.core.shared.semantic.as_ref()?;
        let look_up = semantic.look_up(key, bar, by, false).ok()?;
        let outcome = before(by + DEADLINE_SLACK, look_up.result).await?;
        let found = outcome.ok()?.ok()?;
        Some((found.entry, likeness(found.similarity, found.confidence)))
    }

    /// The class of the question, where classes are in use.
    fn class(&self, key: &Key) -> Freshness {
        if !self.config.freshness.enabled {
            return Freshness::Static;
        }
        let known = self.freshness;
        known.unwrap_or_else(|| Freshness::of_question(key.question()))
    }

    fn terms(&self, class: Freshness) -> Terms {
        class.terms(&self.config.freshness, self.config.ttl)
    }

    /// `only-if-cached`: 504 instead of going upstream (RFC 9111, 5.2.1.7).
    ///
    /// # Errors
    /// That 504.
    pub(crate) fn refuse_unless_upstream_allowed(&self) -> Result<(), GatewayError> {
        if self.controls.only_if_cached {
            return Err(GatewayError::new(
                ErrorCode::NotCached,
                "the request said `only-if-cached` and no cached answer may be served for it",
            ));
        }
        Ok(())
    }

    /// What reads the answer of a stream as it passes; `None` when it is not to be stored.
    #[must_use]
    pub(crate) fn stream_reader(&self) -> Option<StreamReader> {
        let stores = self.key().is_some() && !self.controls.no_store;
        stores.then(|| StreamReader::new(self.config.entry_bytes_max))
    }

    /// What collects the answer of a stream from neutral events; `None` when it is not to be stored.
    #[must_use]
    pub(crate) fn collector(&self) -> Option<ResponseCollector> {
        let stores = self.key().is_some() && !self.controls.no_store;
        stores.then(|| ResponseCollector::new(self.config.entry_bytes_max))
    }

    /// Stores an answer, if it may be stored.
    pub(crate) fn store(
        &mut self,
        target: Name,
        read: impl FnOnce(&Core) -> Result<CachedResponse, NotStored>,
    ) {
        if self.controls.no_store {
            return;
        }
        // The table of calls holds a shared one until the answer is stored.
        let shared = self.shared_key.take().map(|key| Key::clone(&key));
        let (Some(key), Some(model)) = (self.key.take().or(shared), self.model) else {
            return;
        };
        if let Err(why) = self.try_store(key, model, target, read) {
            let mut metrics = self.core.metrics.borrow_mut();
            metrics.cache.not_stored.increment(why.as_str());
        }
    }

    fn try_store(
        &mut self,
        key: Key,
        model: Name,
        target: Name,
        read: impl FnOnce(&Core) -> Result<CachedResponse, NotStored>,
    ) -> Result<(), NotStored> {
        let response = read(&self.core)?;
        if let Some(observed) = self.observed.take() {
            let asked = (key.question(), model);
            observe::compare(
                &self.core,
                &self.config.semantic,
                observed,
                asked,
                &response,
            );
        }
        if response.bytes() > self.config.entry_bytes_max {
            return Err(NotStored::TooLarge);
        }
        let class = self
            .class(&key)
            .max(Freshness::of_answer(response.content()));
        let terms = self.terms(class);
        let is_lasting = class.is_lasting() || !self.config.freshness.enabled;
        if terms.ttl.is_zero() {
            return Err(NotStored::NotLasting(class));
        }
        let wished = self.controls.ttl.unwrap_or(terms.ttl);
        let shared = &self.core.shared;
        let semantic = shared
            .semantic
            .as_ref()
            .filter(|_| self.semantic.is_ok() && self.config.semantic.mode != SemanticMode::Off)
            .filter(|_| terms.by_meaning);
        let new_entry = NewEntry {
            response,
            model,
            key: self.owner,
            target,
            stored_at: clock::recent(),
            ttl: wished.min(terms.ttl),
            // A caller that asks for a shorter life means it.
            stale_for: match self.controls.ttl {
                None if is_lasting => self.stale_for,
                _ => Duration::ZERO,
            },
            indexed: semantic.is_some(),
        };
        let entry = Arc::new(Entry::new(
            key,
            new_entry,
            Arc::clone(&shared.pending_removals),
        ));
        if !shared.store.insert(Arc::clone(&entry)) {
            return Err(NotStored::NoRoom);
        }
        let Some(semantic) = semantic else {
            shared.store.persist(&entry, None);
            return Ok(());
        };
        let vector = self.vector.as_ref().and_then(|slot| slot.get().cloned());
        if let Err(reason) = semantic.index(&entry, vector) {
            shared.store.persist(&entry, None);
            let mut metrics = self.core.metrics.borrow_mut();
            metrics.cache.semantic_refusals.increment(reason.as_str());
        }
        Ok(())
    }
}

/// How near the question of a hit by meaning is.
fn likeness(similarity: f32, confidence: f32) -> String {
    format!("similarity={similarity:.4} confidence={confidence:.4}")
}

/// What stands for the query, all but the caller's key; 0 where there is none.
fn form_of(target: &str) -> u64 {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let said = pairs.filter(|pair| !pair.starts_with("key="));
    said.fold(0, |hash, pair| xxh3_64_with_seed(pair.as_bytes(), hash))
}

/// The headers that cross to a provider of the caller's dialect, for the scope: length last, so that
/// they are no other scope's end.
fn steering(headers: &Headers<'_>, client_api: &'static dyn ClientApi) -> Vec<u8> {
    let mut lines = Vec::new();
    if client_api == registry::DEFAULT {
        return lines;
    }
    for (name, value) in headers.iter() {
        let own = client_api.forwarded_headers().iter();
        if let Some(own) = own.copied().find(|own| name.eq_ignore_ascii_case(own)) {
            encode::header(&mut lines, own, value);
        }
    }
    let length = lines.len() as u64;
    lines.extend_from_slice(&length.to_le_bytes());
    lines
}

/// What a candidate must reach. A caller may tighten, never loosen.
fn bar(config: &SemanticConfig, wished: Option<f32>) -> Thresholds {
    let wished = wished.unwrap_or(0.0);
    match config.similarity_min {
        Some(least) => Thresholds {
            stale_for: Duration::ZERO,
            score_min: None,
            similarity_min: least.max(wished),
            static_floor: None,
        },
        None => {
            let verifier = Verifier::shipped().ok();
            let least = verifier.and_then(|one| one.score_for(config.wrong_hit_rate_max));
            Thresholds {
                stale_for: Duration::ZERO,
                // A rate that no score was shown to keep serves nothing; the configuration refuses it.
                score_min: Some(least.unwrap_or(f32::INFINITY)),
                similarity_min: wished.max(SIMILARITY_FLOOR),
                static_floor: verifier.map(|one| one.static_floor),
            }
        }
    }
}
