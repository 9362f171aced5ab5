//! Liveness, readiness, and facts about the process.

use crate::admin::response::{AdminResponse, ok, text};
use crate::control::plane::Plane;
use crate::embedding::status::ModelState;
use hyper::StatusCode;
use serde_json::{Value, json};

pub(crate) fn live() -> AdminResponse {
    text(StatusCode::OK, "ok\n")
}

pub(crate) fn ready(plane: &Plane) -> AdminResponse {
    if plane.is_draining() {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        text(StatusCode::OK, "ready\n")
    }
}

pub(crate) fn info(plane: &Plane) -> AdminResponse {
    let snapshot = plane.shared.snapshot.load();
    let reload = plane.reload.lock();
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "driver": plane.cores.first().map(|core| core.driver),
        "cores": plane.cores.len(),
        "listen": plane.addresses,
        "draining": plane.is_draining(),
        "embedding": embedding(plane),
        "models": snapshot.model_names,
        "prices": { "version": snapshot.prices.version, "as_of": snapshot.prices.as_of },
        "config": {
            "path": reload.path,
            "generation": reload.generation,
            "refused": reload.refused,
        },
        "limits": {
            "body_bytes_max": snapshot.config.server.body_bytes_max,
            "connections_per_core_max": snapshot.config.server.connections_per_core_max,
            "cache_bytes_max": plane.shared.store.bytes_max(),
            "response_bytes_max": crate::gateway::attempt::response::RESPONSE_BYTES_MAX,
        },
    }))
}

fn embedding(plane: &Plane) -> Value {
    let pool = plane.shared.embedding_pool.as_ref();
    match pool.map(|pool| pool.model_state()) {
        None => json!({ "state": "off" }),
        Some(ModelState::Loading) => json!({ "state": "loading" }),
        Some(ModelState::Ready { model, load_ms }) => {
            json!({ "state": "ready", "model": model, "load_ms": load_ms })
        }
        Some(ModelState::Failed(reason)) => json!({ "state": "failed", "reason": reason }),
    }
}
