//! Serves embedding requests: by a provider, or by the model in this process.

use crate::accounting::billing::BilledUsage;
use crate::embedding::embed_result::{EmbedError, EmbedRejection};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::status::ModelState;
use crate::embedding::vector::{DIMENSIONS, Vector, WINDOW_TOKENS};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, RequestScope};
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::target::Backend;
use crate::observability::metrics::requests::Stage;
use crate::protocols::openai::embeddings::{read_embeddings, read_local, write_response};
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::request::request_shape::Shape;
use crate::protocols::usage;
use crate::protocols::usage::Usage;
use crate::runtime::clock;
use crate::runtime::io::before;
use crate::server::client::Client;
use futures_channel::oneshot;
use std::time::{Duration, Instant};

/// Time allowed for a request to the local model.
const LOCAL_DEADLINE: Duration = Duration::from_secs(30);

/// # Errors
/// The request is invalid, or no target served it.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot,
        request,
        caller,
    } = incoming;
    let input = read_embeddings(request.body, &mut core.scratch.borrow_mut())?;
    let route = find_model(snapshot, &input.model, caller, &mut ctx.route.model)?;
    ctx.stage_done(core, Stage::Read);
    if is_local(route) {
        return serve_locally(core, route, &input.model, request.body, client, ctx).await;
    }
    let headers = &request.head.headers;
    let constraints = RouteConstraints::new(snapshot, caller, headers, &Shape::default())?;
    let scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let body = ClientBody {
        client_api: ctx.format.client_api,
        bytes: request.body,
        model_range: &input.model_range,
        usage_edit: None,
        streams: false,
    };
    // Without fallbacks: vectors of another model cannot be compared with those of this one.
    let plan = AttemptPlan::new(UpstreamOperation::Embeddings, body, scope);
    if let AttemptResult::Whole(response) =
        attempt_loop::run(core, &[route], &plan, client, ctx).await?
    {
        if (200..300).contains(&response.status) {
            let usage = usage::in_response(&response.body);
            ctx.record_billed_usage(
                core,
                usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
            );
        }
        respond::forward(client, ctx, response).await;
    }
    Ok(())
}

fn is_local(route: &ModelRoute) -> bool {
    route
        .targets
        .first()
        .is_some_and(|target| matches!(target.backend, Backend::Local))
}

async fn serve_locally(
    core: &Core,
    route: &ModelRoute,
    model: &str,
    body: &[u8],
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    ctx.route.target = route.targets.first().map(|target| target.label);
    let input = read_local(body, &mut core.scratch.borrow_mut(), DIMENSIONS)?;
    let embedding_pool = core.shared.embedding_pool.as_ref().ok_or_else(|| {
        GatewayError::new(
            ErrorCode::ModelNotLoaded,
            "the local model was configured by a reload; it is loaded at the next start",
        )
    })?;
    let deadline = clock::now() + LOCAL_DEADLINE;
    let mut vectors = Vec::with_capacity(input.inputs.len());
    let mut tokens = 0;
    // Texts are embedded in turn, so that one large request does not fill the queue that the semantic cache needs.
    for (index, text) in input.inputs.into_iter().enumerate() {
        let (vector, count) = embed(embedding_pool, text, deadline)
            .await
            .map_err(|error| error.on(format!("input[{index}]")))?;
        vectors.push(vector);
        tokens += count as u64;
    }
    let response = write_response(model, &vectors, tokens, input.base64);
    let usage = Usage {
        prompt: tokens,
        ..Usage::default()
    };
    ctx.record_billed_usage(core, BilledUsage::Reported(usage));
    let _ = respond::whole(client, ctx, 200, "application/json", &response).await;
    Ok(())
}

async fn embed(
    embedding_pool: &EmbeddingPool,
    text: String,
    deadline: Instant,
) -> Result<(Vector, usize), GatewayError> {
    let busy = |message: &'static str| GatewayError {
        retry_after: Some("1".into()),
        ..GatewayError::new(ErrorCode::ModelBusy, message)
    };
    let (sender, outcome) = oneshot::channel();
    embedding_pool
        .embed_any(text, Some(deadline), move |embedded| {
            let _ = sender.send(embedded);
        })
        .map_err(|rejection| match rejection {
            EmbedRejection::QueueFull => {
                busy("the local model's queue is full (embedding.queue_max)")
            }
            EmbedRejection::NotReady => not_ready(embedding_pool),
        })?;
    let embedded = before(deadline, outcome)
        .await
        .and_then(Result::ok)
        .ok_or_else(|| busy("the local model did not answer in time"))?;
    match embedded {
        Ok(embedded) => Ok((embedded.vector, embedded.tokens)),
        Err(EmbedError::Empty) => Err(GatewayError::new(
            ErrorCode::InvalidRequest,
            "an input must not be empty",
        )),
        Err(EmbedError::OverWindow { tokens }) => Err(GatewayError::new(
            ErrorCode::ContextLengthExceeded,
            format!("an input has {tokens} tokens; the local model's window is {WINDOW_TOKENS}"),
        )),
        Err(EmbedError::Deadline) => Err(busy("the local model did not answer in time")),
        Err(error) => Err(GatewayError::new(
            ErrorCode::ModelFailed,
            format!("the local model failed: {error:?}"),
        )),
    }
}

fn not_ready(embedding_pool: &EmbeddingPool) -> GatewayError {
    let message = match embedding_pool.model_state() {
        ModelState::Failed(reason) => format!("the local model could not be loaded: {reason}"),
        _ => "the local model is still loading; try again in a moment".to_owned(),
    };
    GatewayError {
        retry_after: Some("1".into()),
        ..GatewayError::new(ErrorCode::ModelNotReady, message)
    }
}
