//! Responses that providers store: which caller owns one, and which providers can serve a request that continues
//! one. The ids that clients see are sealed (`auth/response_ids.rs`), so the gateway stores nothing about them.

use crate::auth::keys::Caller;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::snapshot::target::Backend;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::request::stored_state::State;
use crate::protocols::responses::client::stored_responses;
use crate::protocols::responses::vocabulary;
use crate::routing::demand::Demand;
use crate::routing::indices::KeyIndex;
use std::borrow::Cow;
use std::sync::Arc;

/// What a request has to do with responses that a provider stores.
pub(crate) struct StoredResponses<'s> {
    caller: Caller<'s>,
    /// The response that the request continues.
    pub previous: Option<PreviousResponse>,
}

pub(crate) struct PreviousResponse {
    /// The provider's own id of the response.
    pub id: String,
    /// The API key that made the response; only this key can read it.
    pub key_index: KeyIndex,
}

/// A stored response of a caller, found by its sealed id.
pub(crate) struct FoundResponse<'s, 'i> {
    pub backend: &'s Arc<Provider>,
    /// The API key that made the response.
    pub key_index: KeyIndex,
    /// The provider's own id of the response.
    pub id: &'i str,
}

impl StoredResponses<'_> {
    /// The seal for ids of responses that `backend` makes with this API key; `None` if the caller may not use its
    /// stored responses.
    #[must_use]
    pub(crate) fn seal(&self, backend: &Provider, key_index: KeyIndex) -> Option<ResponseIdSeal> {
        can_store_for(backend, self.caller).then_some(())?;
        seal(backend, key_index, self.caller)
    }
}

/// Whether a provider takes requests in the Responses API without translation.
fn is_native(backend: &Provider) -> bool {
    backend.responses.is_some() || backend.dialect.native_client_api() == vocabulary::NAME
}

/// Whether responses that a provider stores are served to this caller. A provider without API keys gives no secret
/// to seal ids with: then only a single tenant is served, from whom no id needs to be hidden.
fn can_store_for(backend: &Provider, caller: Caller<'_>) -> bool {
    let has_secret = || {
        let mut keys = backend.api_keys.iter();
        keys.len() > 0 && keys.all(|key| !key.0.is_empty())
    };
    is_native(backend) && (caller.is_only_tenant || has_secret())
}

pub(crate) fn seal(
    backend: &Provider,
    key_index: KeyIndex,
    caller: Caller<'_>,
) -> Option<ResponseIdSeal> {
    let secret = match backend.api_keys.get(key_index.get()) {
        Some(key) => &key.0,
        None if backend.api_keys.is_empty() && key_index.get() == 0 => "",
        None => return None,
    };
    Some(ResponseIdSeal::new(
        secret,
        &backend.provider,
        caller.tenant,
    ))
}

/// The response with the id `sealed`; `None` if this caller has no such response.
pub(crate) fn find<'s, 'i>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    sealed: &'i str,
) -> Option<FoundResponse<'s, 'i>> {
    let mut backends = snapshot
        .providers
        .iter()
        .filter(|backend| can_store_for(backend, caller) && is_allowed(caller, backend));
    backends.find_map(|backend| {
        let mut key_indices = (0..backend.api_keys.len().max(1)).map(KeyIndex::new);
        key_indices.find_map(|key_index| {
            Some(FoundResponse {
                backend,
                key_index,
                id: seal(backend, key_index, caller)?.open(sealed)?,
            })
        })
    })
}

/// Resolves what the request refers to at a provider: restricts `demand` to the providers that can serve it, and
/// replaces the sealed id in `body` by the provider's own.
///
/// # Errors
/// 400 if no provider of the models can serve a field, or if the caller has no such response.
pub(crate) fn resolve<'s>(
    snapshot: &Snapshot,
    caller: Caller<'s>,
    chat: &mut ChatRequest,
    body: &mut Cow<'_, [u8]>,
    models: &[&ModelRoute],
    demand: &mut Demand<'_>,
) -> Result<Option<StoredResponses<'s>>, GatewayError> {
    let Some(state) = &chat.state else {
        return Ok(chat.stores.then_some(StoredResponses {
            caller,
            previous: None,
        }));
    };
    restrict_providers(caller, state, models, demand)?;
    let previous = find_previous(snapshot, caller, state, demand)?;
    let has_state = state.field().is_some();
    if let (Some(found), Some(given)) = (&previous, &state.previous) {
        let from = given.range.start + found.id.len();
        let range = from..given.range.end;
        // The range of the model moves only if it stands behind the id.
        if chat.model_range.start > from {
            chat.model_range.start -= range.len();
            chat.model_range.end -= range.len();
        }
        body.to_mut().drain(range);
    }
    let is_stored = chat.stores || has_state;
    Ok(is_stored.then_some(StoredResponses { caller, previous }))
}

/// Restricts `demand` to the providers that can serve the fields of `state`.
fn restrict_providers(
    caller: Caller<'_>,
    state: &State,
    models: &[&ModelRoute],
    demand: &mut Demand<'_>,
) -> Result<(), GatewayError> {
    let providers = |wanted: &dyn Fn(&Provider) -> bool| {
        let targets = models.iter().flat_map(|route| &route.targets);
        let names = targets.filter_map(|target| match &target.backend {
            Backend::Remote(backend) if wanted(backend) => Some(backend.provider.clone()),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    if let Some(reference) = state.reference.as_ref().filter(|_| !caller.is_only_tenant) {
        // The reference proves no ownership, so only providers that store nothing may get it.
        let others = providers(&|backend| !is_native(backend));
        if others.is_empty() || state.field().is_some() {
            return Err(stored_responses::unowned_reference(reference));
        }
        demand.storing_providers = Some(others);
    }
    if let Some(field) = state.field() {
        let capable = providers(&|backend| can_store_for(backend, caller));
        if capable.is_empty() {
            return Err(stored_responses::no_stored_responses(field));
        }
        demand.storing_providers = Some(capable);
    }
    Ok(())
}

/// The response that the request continues; restricts `demand` to the provider that stores it.
fn find_previous(
    snapshot: &Snapshot,
    caller: Caller<'_>,
    state: &State,
    demand: &mut Demand<'_>,
) -> Result<Option<PreviousResponse>, GatewayError> {
    let Some(previous) = &state.previous else {
        return Ok(None);
    };
    // With escapes in it, the id in the body is longer than its text, and is not one that the gateway gave out.
    let is_plain = previous.range.len() == previous.id.len();
    let found = is_plain.then(|| find(snapshot, caller, &previous.id));
    let Some(found) = found.flatten() else {
        let message = format!("Previous response with id '{}' not found.", previous.id);
        let error = GatewayError::new(ErrorCode::PreviousResponseNotFound, message);
        return Err(error.on("previous_response_id"));
    };
    demand.storing_providers = Some(vec![found.backend.provider.clone()]);
    Ok(Some(PreviousResponse {
        id: found.id.to_owned(),
        key_index: found.key_index,
    }))
}

/// Whether the regions and tags of the caller's key allow the provider.
pub(crate) fn is_allowed(caller: Caller<'_>, backend: &Provider) -> bool {
    let is_in = |names: &[String]| match &backend.region {
        _ if names.is_empty() => true,
        Some(region) => names.contains(region),
        None => false,
    };
    let has_tags = caller.tags.iter().all(|tag| backend.tags.contains(tag));
    is_in(caller.regions) && has_tags
}
