//! Reads the response of one attempt, a stream up to its first good bytes and any other response completely, and decides
//! whether the client gets it. It must not know how the request was sent.

use crate::auth::response_ids::ResponseIdSeal;
use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::response::{
    AttemptResult, BufferedResponse, RESPONSE_BYTES_MAX, StreamingResponse,
};
use crate::gateway::attempt::response_body::{
    BodyLimits, ResponseBodyError, read_piece, read_to_end,
};
use crate::gateway::attempt::response_head::UpstreamHead;
use crate::gateway::attempt::target_call::{CallStats, TargetCall};
use crate::gateway::transform::first_event::{StreamInspector, begins_with_error};
use crate::gateway::transform::id_sealing;
use crate::gateway::transform::id_sealing::IdSealer;
use crate::gateway::transform::translate_body;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::provider_refusals::{is_about_content, refusal};
use crate::protocols::status_class::{StatusClass, is_overload};
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::routing::limiter::Work;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamResponse};
use crate::upstream::response_memory::ResponseReservation;
use std::sync::Arc;

/// Bytes of a stream that are held back at most; then it is relayed.
pub(crate) const HOLD_BYTES_MAX: usize = 256 * 1024;

/// A response that was read to its end.
struct CompleteResponse {
    attempt_guard: AttemptGuard,
    upstream_response: UpstreamResponse<UpstreamHead>,
    body: Vec<u8>,
    reservation: ResponseReservation,
    class: StatusClass,
}

/// Reads the response whose head has arrived.
pub(crate) async fn read_response(
    call: &TargetCall<'_>,
    mut attempt_guard: AttemptGuard,
    mut upstream_response: UpstreamResponse<UpstreamHead>,
    watch: &mut ClientWatch<'_, '_>,
    stats: &mut CallStats,
) -> Result<AttemptResult, AttemptError> {
    let (core, deadline) = (call.core, &call.plan.scope.deadline);
    let class = call.dialect().classify_status(upstream_response.status);
    let is_ok = class == StatusClass::Ok;
    if is_ok && upstream_response.head.is_encoded && must_be_readable(call, &attempt_guard) {
        call.count(AttemptOutcome::NotJson);
        attempt_guard.end(core, Outcome::Unusable);
        return Err(attempt_error::compressed(call.backend));
    }
    // A 204 or 205 has no body, so it is no stream.
    let has_body = !matches!(upstream_response.status, 204 | 205);
    let is_stream = is_ok && has_body && is_streamed(call, &upstream_response.head);
    let mut body = buffer::take(buffer::CLASS_BYTES[0]);
    let mut reservation = core.response_memory.reservation();
    let began_at = clock::recent();
    let read = if is_stream {
        let (guard, response) = (&mut attempt_guard, &mut upstream_response);
        read_stream_start(call, guard, response, &mut body, watch).await
    } else {
        let limits = body_limits(call);
        let (response, reserved) = (&mut upstream_response, &mut reservation);
        let read = read_to_end(response, &mut body, reserved, limits, watch).await;
        read.map(|()| BodyProgress::Done)
    };
    stats.waited += clock::recent().saturating_duration_since(began_at);
    let progress = match read {
        Ok(progress) => progress,
        Err(error) => {
            call.count(error.outcome());
            attempt_guard.end(core, error.health());
            let failed = attempt_error::incomplete_response(core, call.backend, &error, deadline);
            return Err(failed);
        }
    };
    if !is_stream {
        let complete = CompleteResponse {
            attempt_guard,
            upstream_response,
            body,
            reservation,
            class,
        };
        return judge(call, complete).map_err(|failed| *failed);
    }
    call.count(AttemptOutcome::Status(StatusClass::Ok));
    let seal = call.seal(attempt_guard.key_index());
    Ok(AttemptResult::Stream(Box::new(StreamingResponse {
        target: call.target.label,
        backend: Arc::clone(call.backend),
        attempt_guard,
        upstream_response,
        first: body,
        is_done: progress == BodyProgress::Done,
        translation: call.translation(),
        id_sealer: seal.map(|seal| Box::new(IdSealer::new(seal))),
    })))
}

/// Whether a good response is read and not only forwarded: it is translated, its ids are sealed, or it is a stream of
/// events, to which an error may have to be added.
fn must_be_readable(call: &TargetCall<'_>, attempt_guard: &AttemptGuard) -> bool {
    let is_passed_on = matches!(call.plan.operation, UpstreamOperation::Passthrough(_));
    !call.is_native()
        || (call.plan.body.streams && !is_passed_on)
        || call.seal(attempt_guard.key_index()).is_some()
}

fn body_limits(call: &TargetCall<'_>) -> BodyLimits {
    BodyLimits {
        bytes_max: RESPONSE_BYTES_MAX,
        read_timeout: call.backend.endpoint.timeouts.read,
        deadline: Some(call.plan.scope.deadline.by),
    }
}

/// Whether a good response is relayed while it arrives. JSON is buffered: whether it is good can only be judged when it
/// is complete.
fn is_streamed(call: &TargetCall<'_>, head: &UpstreamHead) -> bool {
    match call.plan.operation {
        UpstreamOperation::Passthrough(_) => !head.is_json,
        _ => call.plan.body.streams && head.is_event_stream,
    }
}

/// Reads the first bytes of a stream, and holds them back for as long as is configured: after a failure meanwhile,
/// another target can still be tried.
async fn read_stream_start(
    call: &TargetCall<'_>,
    attempt_guard: &mut AttemptGuard,
    upstream_response: &mut UpstreamResponse<UpstreamHead>,
    body: &mut Vec<u8>,
    watch: &mut ClientWatch<'_, '_>,
) -> Result<BodyProgress, ResponseBodyError> {
    let limits = body_limits(call);
    let mut progress = read_piece(upstream_response, body, limits, watch).await?;
    attempt_guard.began(call.core, call.plan.body.bytes.len());
    if !upstream_response.head.is_event_stream {
        return Ok(progress);
    }
    if call.hold.is_zero() {
        return if begins_with_error(call.dialect(), body) {
            Err(ResponseBodyError::Stream("error event"))
        } else {
            Ok(progress)
        };
    }
    let until = call.plan.scope.deadline.by.min(clock::now() + call.hold);
    let mut inspector = StreamInspector::new(call.dialect());
    loop {
        let is_done = progress == BodyProgress::Done;
        inspector.inspect(body, is_done);
        if inspector.has_failed() {
            return Err(ResponseBodyError::Stream("error event"));
        }
        if is_done && !inspector.is_complete() {
            return Err(ResponseBodyError::Stream("ended unfinished"));
        }
        if is_done || body.len() >= HOLD_BYTES_MAX || clock::now() >= until {
            return Ok(progress);
        }
        match upstream_response.read(body, until, watch).await {
            Ok(next) => progress = next,
            Err(UpstreamBodyError::Stalled) => return Ok(BodyProgress::More),
            Err(error) => return Err(ResponseBodyError::Body(error)),
        }
    }
}

/// Ends the attempt of a complete response: the client gets it, or another target is tried.
fn judge(
    call: &TargetCall<'_>,
    complete: CompleteResponse,
) -> Result<AttemptResult, Box<AttemptError>> {
    let (core, backend) = (call.core, call.backend);
    let CompleteResponse {
        mut attempt_guard,
        mut upstream_response,
        body,
        reservation,
        mut class,
    } = complete;
    let (status, selects) = (upstream_response.status, call.selects());
    if class != StatusClass::Ok {
        let detail = call.dialect().read_error_detail(status, &body);
        class = call.dialect().classify_status(detail.status);
        upstream_response.head.take_wait(detail.retry_after);
    }
    if class == StatusClass::Unauthorized && is_about_content(status, &body) {
        class = StatusClass::ClientError;
    }
    let health = classify::health_of_status(class, upstream_response.head.wait, selects);
    let retry = classify::retry(class, selects);
    // Compressed bytes are forwarded as they are, and never read as text.
    let is_json = match upstream_response.head.is_encoded {
        true => call.is_native() && !body.is_empty(),
        false => looks_like_json(&body),
    };
    let head = upstream_response.finish(&backend.endpoint, &core.pool);
    if !is_json {
        call.count(AttemptOutcome::NotJson);
        let is_good = health == Outcome::Good;
        attempt_guard.end(core, if is_good { Outcome::Unusable } else { health });
        let failed = attempt_error::not_json(backend, status, retry);
        return Err(Box::new(failed));
    }
    call.count(AttemptOutcome::Status(class));
    if class == StatusClass::Ok {
        measure(call, &mut attempt_guard, &body);
    } else if is_overload(status) {
        attempt_guard.record_overload(core);
    }
    attempt_guard.end(core, health);
    let response = BufferedResponse {
        target: call.target.label,
        status,
        head,
        refusal: refusal(status, &body),
        body,
        reservation,
    };
    let mut response = in_client_format(call, response)?;
    seal_ids(call, call.seal(attempt_guard.key_index()), &mut response);
    if retry == Retry::Never {
        return Ok(AttemptResult::Whole(response));
    }
    Err(Box::new(AttemptError {
        error: GatewayError::new(ErrorCode::UpstreamError, "the provider failed"),
        detail: format!("{}: status {status}", backend.provider),
        response: Some(response),
    }))
}

/// Records what routing learns from a good complete response. Its tokens are read only if a policy or a limiter uses
/// them.
fn measure(call: &TargetCall<'_>, attempt_guard: &mut AttemptGuard, body: &[u8]) {
    let (core, plan) = (call.core, call.plan);
    attempt_guard.measure(core, plan.series());
    let is_limited = attempt_guard.is_limited();
    if !call.measures_rate && !is_limited {
        return;
    }
    let usage = usage::in_response(body);
    if let Some(usage) = usage.filter(|_| call.measures_rate) {
        let sent_at = attempt_guard.sent_at();
        attempt_guard.generated(plan.series(), usage.completion, sent_at);
    }
    let tokens = usage.map_or(0, |usage| usage.completion);
    attempt_guard.record_success(core, Work::whole(plan.body.bytes.len(), tokens));
}

/// Translates a complete response into the client's format.
fn in_client_format(
    call: &TargetCall<'_>,
    mut response: BufferedResponse,
) -> Result<BufferedResponse, Box<AttemptError>> {
    let is_error = response.status >= 400;
    let has_own_errors = call.backend.kind.is_some_and(|kind| kind.own_errors);
    if call.is_native() && (!is_error || !has_own_errors) {
        return Ok(response);
    }
    if call.plan.body.streams && !is_error {
        return Err(Box::new(attempt_error::not_a_stream(call.backend)));
    }
    // A provider with its own errors has them at all of its endpoints, whatever the format of this one.
    let dialect = if has_own_errors && is_error {
        call.backend.dialect
    } else {
        call.dialect()
    };
    let mut response_ctx = call.response_ctx();
    let error_kind = &response.head.error_kind;
    response_ctx.error_kind.clone_from(error_kind);
    let translated = translate_body::translate_response(
        call.plan.body.client_api,
        dialect,
        response.status,
        &response.body,
        &response_ctx,
        &mut call.core.scratch.borrow_mut(),
    );
    match translated {
        Ok((status, body)) => {
            response.status = status;
            buffer::give(std::mem::replace(&mut response.body, body));
            Ok(response)
        }
        Err(error) => Err(Box::new(attempt_error::unsupported(call.target, error))),
    }
}

/// Seals the ids in a complete response.
fn seal_ids(call: &TargetCall<'_>, seal: Option<ResponseIdSeal>, response: &mut BufferedResponse) {
    let Some(seal) = seal else {
        return;
    };
    let stored_responses = call.plan.scope.constraints.stored_responses.as_ref();
    let previous = stored_responses.and_then(|stored| stored.previous.as_ref());
    let previous_id = previous.map(|previous| previous.id.as_str());
    let mut scratch = call.core.scratch.borrow_mut();
    let (status, body) = (response.status, &mut response.body);
    id_sealing::seal_ids(&seal, previous_id, status, body, &mut scratch);
}

/// Whether the body begins and ends as JSON does. An error page does not, nor does a body that was cut off.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let ends = (body.first(), body.last());
    matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}
