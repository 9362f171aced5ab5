//! Responses that providers store: which caller owns one, and which providers a request may go to that
//! continues one. Their ids are sealed (`auth/response_ids.rs`), so that nothing need be remembered here.

use crate::auth::keys::Caller;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::snapshot::target::Backend;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::request::stored_state::State;
use crate::protocols::responses::client::stored_responses;
use crate::protocols::responses::vocabulary;
use crate::routing::indices::KeyIndex;
use std::borrow::Cow;
use std::sync::Arc;

/// What a provider keeps of a request's answer, and of the one before.
pub(crate) struct StoredResponses<'s> {
    caller: Caller<'s>,
    /// The answer that the request goes on from.
    pub previous: Option<Previous>,
}

/// The answer that a request goes on from.
pub(crate) struct Previous {
    /// Its id at the provider.
    pub id: String,
    /// The API key that made it.
    pub key_index: KeyIndex,
}

impl StoredResponses<'_> {
    /// What seals answers that `site` gives by the key of this lane.
    #[must_use]
    pub(crate) fn seal(&self, backend: &Provider, key_index: KeyIndex) -> Option<ResponseIdSeal> {
        keeps(backend, self.caller).then_some(())?;
        seal(backend, key_index, self.caller)
    }
}

/// Whether a provider takes Responses as they are.
fn is_native(backend: &Provider) -> bool {
    backend.responses.is_some() || backend.dialect.native_client_api() == vocabulary::NAME
}

/// Whether what a provider keeps is served to this caller. Without a key there is nothing to seal with:
/// then only if there is nobody else to seal it from.
fn keeps(backend: &Provider, caller: Caller<'_>) -> bool {
    let has_secret = || {
        let mut keys = backend.api_keys.iter();
        keys.len() > 0 && keys.all(|key| !key.0.is_empty())
    };
    is_native(backend) && (caller.is_alone || has_secret())
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

/// The answer called `sealed`, if it is one of this caller's: provider, lane, and its id there.
pub(crate) fn find<'s, 'i>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    sealed: &'i str,
) -> Option<(&'s Arc<Provider>, KeyIndex, &'i str)> {
    let sites = snapshot.sites.iter();
    let mut sites = sites.filter(|backend| keeps(backend, caller) && is_allowed(caller, backend));
    sites.find_map(|backend| {
        let mut key_indices = (0..backend.api_keys.len().max(1)).map(KeyIndex::new);
        key_indices.find_map(|key_index| {
            Some((
                backend,
                key_index,
                seal(backend, key_index, caller)?.open(sealed)?,
            ))
        })
    })
}

/// Says which providers a request may go to for what it takes from kept answers, and puts the provider's
/// own id in its place.
///
/// # Errors
/// 400 naming what no provider of the models can serve, or an answer that is not the caller's.
pub(crate) fn settle<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'s>,
    (chat, body): (&mut ChatRequest, &mut Cow<'_, [u8]>),
    models: &[&ModelRoute],
    constraints: &mut RouteConstraints<'s>,
) -> Result<(), GatewayError> {
    let state = chat.state.take();
    let found = match &state {
        Some(state) => named(snapshot, caller, state, models, constraints)?,
        None => None,
    };
    let has_state = state.as_ref().is_some_and(|one| one.field().is_some());
    if let (Some(found), Some(given)) =
        (&found, state.as_ref().and_then(|one| one.previous.as_ref()))
    {
        let from = given.range.start + found.id.len();
        let range = from..given.range.end;
        // What is in front of it stays where it is.
        if chat.model_range.start > from {
            chat.model_range.start -= range.len();
            chat.model_range.end -= range.len();
        }
        body.to_mut().drain(range);
    }
    if chat.stores || has_state {
        constraints.kept = Some(StoredResponses {
            caller,
            previous: found,
        });
    }
    chat.state = state;
    Ok(())
}

/// Which providers may be asked; the answer that the request goes on from, if it does.
fn named(
    snapshot: &Snapshot,
    caller: Caller<'_>,
    state: &State,
    models: &[&ModelRoute],
    constraints: &mut RouteConstraints<'_>,
) -> Result<Option<Previous>, GatewayError> {
    let providers = |wanted: &dyn Fn(&Provider) -> bool| {
        let targets = models.iter().flat_map(|route| &route.targets);
        let sites = targets.filter_map(|target| match &target.backend {
            Backend::Remote(backend) if wanted(backend) => Some(backend.provider.clone()),
            _ => None,
        });
        sites.collect::<Vec<_>>()
    };
    if let Some(place) = state.reference.as_ref().filter(|_| !caller.is_alone) {
        // Those who keep nothing cannot hand out what is another's.
        let others = providers(&|backend| !is_native(backend));
        if others.is_empty() || state.field().is_some() {
            return Err(stored_responses::refused_reference(place));
        }
        constraints.demand.keepers = Some(others);
    }
    if let Some(field) = state.field() {
        let keepers = providers(&|backend| keeps(backend, caller));
        if keepers.is_empty() {
            return Err(stored_responses::refused(field));
        }
        constraints.demand.keepers = Some(keepers);
    }
    let Some(previous) = &state.previous else {
        return Ok(None);
    };
    let is_plain = previous.range.len() == previous.id.len();
    let found = is_plain.then(|| find(snapshot, caller, &previous.id));
    let Some((backend, key_index, id)) = found.flatten() else {
        let message = format!("Previous response with id '{}' not found.", previous.id);
        let fault = GatewayError::new(ErrorCode::PreviousResponseNotFound, message);
        return Err(fault.on("previous_response_id"));
    };
    constraints.demand.keepers = Some(vec![backend.provider.clone()]);
    Ok(Some(Previous {
        id: id.to_owned(),
        key_index,
    }))
}

/// Whether regions and tags of the key allow the provider.
pub(crate) fn is_allowed(caller: Caller<'_>, backend: &Provider) -> bool {
    let is_in = |names: &[String]| match &backend.region {
        _ if names.is_empty() => true,
        Some(region) => names.contains(region),
        None => false,
    };
    let has_tags = caller.tags.iter().all(|tag| backend.tags.contains(tag));
    is_in(caller.regions) && has_tags
}
