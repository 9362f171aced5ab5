//! Stores a response: for how long, whether the semantic tier finds it, and what mode `observe` learns from it.

use crate::base::names::Name;
use crate::cache::entry::{Entry, NewEntry};
use crate::cache::freshness::classify::Freshness;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::not_stored::NotStored;
use crate::gateway::caching::active_session::ActiveSession;
use crate::gateway::caching::observe;
use crate::runtime::clock;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// # Errors
/// Why it is not stored.
pub(crate) fn store(
    mut session: ActiveSession,
    target: Name,
    response: CachedResponse,
) -> Result<(), NotStored> {
    if let Some(observed) = session.lookup.observed.take() {
        observe::compare(&session, observed, &response);
    }
    if response.bytes() > session.config().entry_bytes_max {
        return Err(NotStored::TooLarge);
    }
    let class = Freshness::of_response(response.content()).max(session.class());
    let terms = session.terms(class);
    if terms.ttl.is_zero() {
        return Err(NotStored::NotLasting(class));
    }
    let is_lasting = class.is_lasting() || !session.config().freshness.enabled;
    let requested_ttl = session.controls.cache.ttl;
    let core = Rc::clone(&session.core);
    let shared = &core.shared;
    let is_semantic = session.semantic.is_ok() && session.uses_semantic() && terms.allows_semantic;
    let semantic = shared.semantic.as_ref().filter(|_| is_semantic);
    let new_entry = NewEntry {
        response,
        model: session.model,
        key: session.owner,
        target,
        stored_at: clock::recent(),
        ttl: requested_ttl.unwrap_or(terms.ttl).min(terms.ttl),
        // A client that asks for a shorter life gets no stale response either.
        stale_for: match requested_ttl {
            None if is_lasting => session.stale_for,
            _ => Duration::ZERO,
        },
        indexed: semantic.is_some(),
    };
    let (vector, since) = (session.lookup.vector.take(), session.since);
    let removals = Arc::clone(&shared.pending_removals);
    let entry = Arc::new(Entry::new(session.into_key(), new_entry, removals));
    shared.store.insert_since(Arc::clone(&entry), since)?;
    let Some(semantic) = semantic else {
        shared.store.persist(&entry, None);
        return Ok(());
    };
    let vector = vector.and_then(|vector| vector.get().cloned());
    if let Err(reason) = semantic.index(&entry, vector) {
        shared.store.persist(&entry, None);
        let mut metrics = core.metrics.borrow_mut();
        metrics.cache.semantic_refusals.increment(reason.as_str());
    }
    Ok(())
}
