//! Explains in the admin API what each core would do with a request.

use crate::admin::response::{AdminResponse, error, ok};
use crate::control::core_message::CoreMessage;
use crate::control::gather::{REPLY_WITHIN, gather};
use crate::control::plane::Plane;
use crate::error::code::ErrorCode;
use crate::gateway::explain::explain;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::time::Duration;

/// Largest request that is explained, in bytes.
const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Longest wait for its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Cores that do not reply in time are left out. The work is done on this thread, not on the cores.
pub(crate) async fn explain_request(plane: &Plane, body: Incoming) -> AdminResponse {
    let body = Limited::new(body, BODY_BYTES_MAX);
    let read = tokio::time::timeout(BODY_WITHIN, body.collect()).await;
    let Ok(Ok(body)) = read else {
        return error(
            ErrorCode::UnreadableBody,
            "the request's body did not arrive in time, or is larger than 20 MiB",
        );
    };
    let input = body.to_bytes();
    let replies = gather(&plane.cores, REPLY_WITHIN, CoreMessage::TargetTable).await;
    let snapshot = plane.shared.snapshot.load();
    let cores = replies.into_iter().flatten();
    let cores = cores.map(|reply| explain(&snapshot, &reply.table, reply.now_us, &input));
    ok(&json!({ "cores": cores.collect::<Vec<_>>() }))
}
