//! What providers keep of answers to Responses: whose it is, which requests may go on from it, and what is
//! asked of it by its id. Ids are sealed (`admission/seal.rs`), so that nothing need be remembered here.

use crate::auth::keys::Caller;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::GatewayError;
use crate::gateway::attempt::attempt_loop::ANSWER_BYTES_MAX;
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::provider_proxy;
use crate::gateway::endpoints::provider_proxy::Passed;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::snapshot::{Backend, ModelRoute, Provider, Snapshot};
use crate::gateway::streaming::id_sealing::seal_answer;
use crate::gateway::streaming::raw_body::{Arrived, RawBodyRelay};
use crate::gateway::streaming::relay_response;
use crate::gateway::streaming::upload::Sent;
use crate::gateway::streaming::upstream_stream::StreamEnd;
use crate::observability::metrics::core_metrics::Stage;
use crate::protocols::json::document::Scratch;
use crate::protocols::openai::chat_head::ChatRequest;
use crate::protocols::passthrough::ProviderProxy;
use crate::protocols::responses::client::api;
use crate::protocols::responses::client::state;
use crate::protocols::responses::client::state::{State, StoredResponseCall};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::upstream::exchange::{Piece, UpstreamBodyError};
use crate::upstream::exchange::{UpstreamError, UpstreamResponse};
use std::borrow::Cow;
use std::sync::Arc;

/// What a provider keeps of a request's answer, and of the one before.
pub struct StoredResponses<'s> {
    grant: Caller<'s>,
    /// The answer that the request goes on from.
    pub previous: Option<Previous>,
}

/// The answer that a request goes on from.
pub struct Previous {
    /// Its id at the provider.
    pub id: String,
    /// The API key that made it.
    pub lane: usize,
}

impl StoredResponses<'_> {
    /// What seals answers that `site` gives by the key of this lane.
    #[must_use]
    pub fn seal(&self, site: &Provider, lane: usize) -> Option<ResponseIdSeal> {
        keeps(site, self.grant).then_some(())?;
        seal(site, lane, self.grant)
    }
}

/// Whether a provider takes Responses as they are.
fn is_native(site: &Provider) -> bool {
    site.responses.is_some() || site.dialect.native() == api::NAME
}

/// Whether what a provider keeps is served to this caller. Without a key there is nothing to seal with:
/// then only if there is nobody else to seal it from.
fn keeps(site: &Provider, grant: Caller<'_>) -> bool {
    let has_secret = || {
        let mut keys = site.api_keys.iter();
        keys.len() > 0 && keys.all(|key| !key.0.is_empty())
    };
    is_native(site) && (grant.is_alone || has_secret())
}

fn seal(site: &Provider, lane: usize, grant: Caller<'_>) -> Option<ResponseIdSeal> {
    let secret = match site.api_keys.get(lane) {
        Some(key) => &key.0,
        None if site.api_keys.is_empty() && lane == 0 => "",
        None => return None,
    };
    Some(ResponseIdSeal::new(secret, &site.provider, grant.tenant))
}

/// The answer called `sealed`, if it is one of this caller's: provider, lane, and its id there.
fn find<'s, 'i>(
    snapshot: &'s Snapshot,
    grant: Caller<'_>,
    sealed: &'i str,
) -> Option<(&'s Arc<Provider>, usize, &'i str)> {
    let sites = snapshot.sites.iter();
    let mut sites =
        sites.filter(|site| keeps(site, grant) && provider_proxy::is_allowed(grant, site));
    sites.find_map(|site| {
        let mut lanes = 0..site.api_keys.len().max(1);
        lanes.find_map(|lane| Some((site, lane, seal(site, lane, grant)?.open(sealed)?)))
    })
}

/// Says which providers a request may go to for what it takes from kept answers, and puts the provider's
/// own id in its place.
///
/// # Errors
/// 400 naming what no provider of the models can serve, or an answer that is not the caller's.
pub(crate) fn settle<'s>(
    snapshot: &'s Snapshot,
    grant: Caller<'s>,
    (chat, body): (&mut ChatRequest, &mut Cow<'_, [u8]>),
    models: &[&ModelRoute],
    steer: &mut RouteConstraints<'s>,
) -> Result<(), GatewayError> {
    let state = chat.state.take();
    let found = match &state {
        Some(state) => named(snapshot, grant, state, models, steer)?,
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
        steer.kept = Some(StoredResponses {
            grant,
            previous: found,
        });
    }
    chat.state = state;
    Ok(())
}

/// Which providers may be asked; the answer that the request goes on from, if it does.
fn named(
    snapshot: &Snapshot,
    grant: Caller<'_>,
    state: &State,
    models: &[&ModelRoute],
    steer: &mut RouteConstraints<'_>,
) -> Result<Option<Previous>, GatewayError> {
    let providers = |wanted: &dyn Fn(&Provider) -> bool| {
        let targets = models.iter().flat_map(|route| &route.targets);
        let sites = targets.filter_map(|target| match &target.site {
            Backend::Remote(site) if wanted(site) => Some(site.provider.clone()),
            _ => None,
        });
        sites.collect::<Vec<_>>()
    };
    if let Some(place) = state.reference.as_ref().filter(|_| !grant.is_alone) {
        // Those who keep nothing cannot hand out what is another's.
        let others = providers(&|site| !is_native(site));
        if others.is_empty() || state.field().is_some() {
            return Err(state::refused_reference(place));
        }
        steer.demand.keepers = Some(others);
    }
    if let Some(field) = state.field() {
        let keepers = providers(&|site| keeps(site, grant));
        if keepers.is_empty() {
            return Err(state::refused(field));
        }
        steer.demand.keepers = Some(keepers);
    }
    let Some(previous) = &state.previous else {
        return Ok(None);
    };
    let is_plain = previous.range.len() == previous.id.len();
    let found = is_plain.then(|| find(snapshot, grant, &previous.id));
    let Some((site, lane, id)) = found.flatten() else {
        let message = format!("Previous response with id '{}' not found.", previous.id);
        let fault = GatewayError::client(400, "previous_response_not_found", message);
        return Err(fault.on("previous_response_id"));
    };
    steer.demand.keepers = Some(vec![site.provider.clone()]);
    Ok(Some(Previous {
        id: id.to_owned(),
        lane,
    }))
}

/// Seals the ids in a whole answer; in an error, which speaks of the answer `id`, that one.
pub(crate) fn hide_ids(
    seal: &ResponseIdSeal,
    id: Option<&str>,
    status: u16,
    body: &mut Vec<u8>,
    scratch: &mut Scratch,
) {
    if status < 400 {
        return seal_answer(seal, body, scratch);
    }
    let Some(id) = id else {
        return;
    };
    // Not within a longer word.
    let is_outside = |byte: Option<&u8>| !byte.is_some_and(|byte| ResponseIdSeal::takes(*byte));
    let mut out = Vec::with_capacity(body.len() + 128);
    let mut from = 0;
    for at in memchr::memmem::find_iter(body, id.as_bytes()) {
        let end = at + id.len();
        let before = at.checked_sub(1).and_then(|at| body.get(at));
        if is_outside(before) && is_outside(body.get(end)) {
            out.extend_from_slice(body.get(from..end).unwrap_or_default());
            out.extend_from_slice(&seal.of(id));
            from = end;
        }
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    *body = out;
}

/// Serves what is asked of a kept answer: by its provider, with the key that made it. Tokens are not
/// counted here: but for those of a background answer they were when it was made.
///
/// # Errors
/// What the client is told.
pub(crate) async fn serve(
    core: &Core,
    snapshot: &Snapshot,
    (request, call): (&Request<'_>, StoredResponseCall<'_>),
    grant: Caller<'_>,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let Some((site, lane, id)) = find(snapshot, grant, call.id) else {
        let message = format!("Response with id '{}' not found.", call.id);
        return Err(GatewayError::client(404, "response_not_found", message));
    };
    let seal = seal(site, lane, grant)
        .ok_or_else(|| GatewayError::gateway(500, "internal_error", "the seal was lost"))?;
    // Which model it is about is not said.
    (trip.target, trip.model) = (Some(site.any_model), Some(site.any_model));
    trip.stage_done(core, Stage::Read);
    let rest = ["/responses/", id, call.rest, call.query].concat();
    let asked = ProviderProxy {
        provider: None,
        rest: &rest,
        operation: "responses",
    };
    let body = Sent::Whole(request.body.into());
    let bytes = provider_proxy::encoded((site, lane), request, &body, asked, &trip.request_id)?;
    trip.stage_done(core, Stage::Route);
    let reply = provider_proxy::ask(core, site, bytes, request.head.method, client, trip).await?;
    if reply.head.is_event_stream && reply.status < 300 {
        stream(core, site, (reply, seal), client, trip).await;
        return Ok(());
    }
    whole(core, site, reply, (&seal, id), client, trip).await
}

/// Passes events on as they come.
async fn stream(
    core: &Core,
    site: &Provider,
    (mut reply, seal): (UpstreamResponse<Passed>, ResponseIdSeal),
    client: &mut Client,
    trip: &mut RequestContext,
) {
    trip.stream = true;
    let mut passage = RawBodyRelay::sealed(seal);
    let passed = std::mem::take(&mut reply.head.lines);
    let arrived = Arrived {
        bytes: buffer::take(buffer::CLASS_BYTES[0]),
        is_done: false,
        head: relay_response::begin_stream((reply.status, &passed), client, trip),
    };
    let timeout = site.endpoint.limits.read;
    let end = passage
        .pump(&core.scratch, &mut reply, timeout, arrived, client)
        .await;
    if matches!(end, StreamEnd::Complete) {
        reply.finish(&site.endpoint, &core.pool);
    }
    passage.conclude(core, end, client, trip).await;
}

/// Passes an answer on once it is whole.
async fn whole(
    core: &Core,
    site: &Provider,
    mut reply: UpstreamResponse<Passed>,
    (seal, id): (&ResponseIdSeal, &str),
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let mut body = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    loop {
        let by = clock::recent() + site.endpoint.limits.read;
        let why = match reply.read(&mut body, by, client).await {
            Ok(Piece::Done) => break,
            Ok(Piece::More) if body.len() <= ANSWER_BYTES_MAX => continue,
            Ok(Piece::More) => "it is too large".to_owned(),
            Err(UpstreamBodyError::Interrupted(why)) => {
                let fault = UpstreamError::Interrupted(why);
                return Err(classify::failed(site, &fault).fault);
            }
            Err(fault) => fault.why().to_owned(),
        };
        let message = format!(
            "the provider `{}` broke off in the middle of its answer ({why})",
            site.provider
        );
        return Err(GatewayError::upstream(502, "upstream_broke_off", message));
    }
    trip.waited += clock::now().saturating_duration_since(began_at);
    let passed = std::mem::take(&mut reply.head.lines);
    let status = reply.status;
    reply.finish(&site.endpoint, &core.pool);
    {
        let mut scratch = core.scratch.borrow_mut();
        hide_ids(seal, Some(id), status, &mut body, &mut scratch);
    }
    provider_proxy::write_whole((status, &passed), &body, client, trip).await;
    buffer::give(body);
    Ok(())
}
