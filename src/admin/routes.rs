//! The admin side: health, metrics, facts, cache control. For operators; not for the open network.

use crate::admin::cache_page;
use crate::admin::experiments_page;
use crate::admin::metrics_page::page;
use crate::cache::disk::deletion::Deletion;
use crate::control::log;
use crate::control::plane::Plane;
use crate::embedding::status::ModelState;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

pub(crate) type AdminResponse = Response<Full<Bytes>>;

/// Admin connections served at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// How long an admin connection may take for its request head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Largest request that is explained, in bytes.
const EXPLAIN_BYTES_MAX: usize = 20 * 1024 * 1024;
/// How long its body may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Serves the admin side for ever.
pub(crate) async fn serve(plane: Arc<Plane>, listener: TcpListener) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let plane = Arc::clone(&plane);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let plane = Arc::clone(&plane);
                async move { Ok::<_, Infallible>(response(&plane, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

async fn response(plane: &Plane, request: Request<Incoming>) -> AdminResponse {
    if (request.method(), request.uri().path()) == (&Method::POST, "/explain") {
        return explain(plane, request).await;
    }
    let path = request.uri().path();
    let entry = path.strip_prefix("/cache/entries/");
    match (request.method(), path, entry) {
        (&Method::GET, "/livez", _) => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz", _) if plane.is_draining() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        (&Method::GET, "/readyz", _) => text(StatusCode::OK, "ready\n"),
        (&Method::GET, "/metrics", _) => {
            let mut page = text(StatusCode::OK, &page::page(plane).await);
            let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4");
            page.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
            page
        }
        (&Method::GET, "/cache/quality", _) => cache_page::quality(plane),
        (&Method::GET, "/experiments", _) => experiments_page::tell(plane).await,
        (&Method::POST, "/experiments/reset", _) => {
            experiments_page::reset(plane, request.uri().query())
        }
        (&Method::GET, "/info", _) => json_answer(StatusCode::OK, &info(plane)),
        (&Method::DELETE, "/cache", _) => delete_entries(plane, request.uri().query()).await,
        (&Method::DELETE, _, Some(id)) => delete_entry(plane, id).await,
        (&Method::POST, _, Some(rest)) if rest.ends_with("/wrong") => {
            cache_page::wrong(plane, rest.trim_end_matches("/wrong")).await
        }
        (
            _,
            "/livez" | "/readyz" | "/metrics" | "/info" | "/cache" | "/cache/quality" | "/explain"
            | "/experiments" | "/experiments/reset",
            _,
        )
        | (_, _, Some(_)) => error(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path takes another method",
        ),
        _ => error(
            StatusCode::NOT_FOUND,
            "unknown_path",
            "the admin side serves GET /livez, /readyz, /metrics, /info, /cache/quality, /experiments, POST /explain, /experiments/reset and DELETE /cache, /cache/entries/{id}, POST /cache/entries/{id}/wrong",
        ),
    }
}

/// `POST /explain`: what each core would do with the request in the body.
async fn explain(plane: &Plane, request: Request<Incoming>) -> AdminResponse {
    let body = Limited::new(request.into_body(), EXPLAIN_BYTES_MAX);
    let read = tokio::time::timeout(BODY_WITHIN, body.collect()).await;
    let Ok(Ok(body)) = read else {
        return error(
            StatusCode::BAD_REQUEST,
            "unreadable_body",
            "the request's body did not come, or is larger than 20 MiB",
        );
    };
    let told = plane.explain(&body.to_bytes()).await;
    json_answer(StatusCode::OK, &json!({ "cores": told }))
}

/// `DELETE /cache`: all, or `?model=NAME`, or `?key=NAME`, or both.
async fn delete_entries(plane: &Plane, query: Option<&str>) -> AdminResponse {
    let (mut model, mut key) = (None, None);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(value) = crate::http::percent::unescaped(value) else {
            return error(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                "a value is not percent-encoded text",
            );
        };
        match name {
            "model" => model = Some(value.into_owned()),
            "key" => key = Some(value.into_owned()),
            _ => {
                return error(
                    StatusCode::BAD_REQUEST,
                    "invalid_query",
                    "known parameters: model, key",
                );
            }
        }
    }
    let deletion = Deletion::Matching {
        model: model.clone(),
        key: key.clone(),
    };
    let (removed, is_on_disk) = cache_page::delete(plane, deletion).await;
    if let Some(semantic) = &plane.shared.semantic
        && model.is_none()
        && key.is_none()
    {
        semantic.wrong_answers().clear();
    }
    log::event(
        "cache_deleted",
        &json!({ "model": model, "key": key, "entries": removed }),
    );
    if !is_on_disk {
        return cache_page::not_on_disk();
    }
    json_answer(StatusCode::OK, &json!({ "removed": removed }))
}

async fn delete_entry(plane: &Plane, id: &str) -> AdminResponse {
    let id = match cache_page::entry_id(id) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let (removed, is_on_disk) = cache_page::delete(plane, Deletion::Entry(id)).await;
    if !is_on_disk {
        return cache_page::not_on_disk();
    }
    if removed == 0 {
        return cache_page::no_such_entry();
    }
    json_answer(StatusCode::OK, &json!({ "removed": 1 }))
}

fn info(plane: &Plane) -> Value {
    let snapshot = plane.shared.snapshot.load();
    let reload = plane.reload.lock();
    let embedding = match plane
        .shared
        .embedding_pool
        .as_ref()
        .map(|embedding_pool| embedding_pool.model_state())
    {
        None => json!({ "state": "off" }),
        Some(ModelState::Loading) => json!({ "state": "loading" }),
        Some(ModelState::Ready { model, load_ms }) => {
            json!({ "state": "ready", "model": model, "load_ms": load_ms })
        }
        Some(ModelState::Failed(why)) => json!({ "state": "failed", "reason": why }),
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "driver": plane.cores.first().map(|core| core.driver),
        "cores": plane.cores.len(),
        "listen": plane.addresses,
        "draining": plane.is_draining(),
        "embedding": embedding,
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
            "answer_bytes_max": crate::gateway::attempt::attempt_loop::ANSWER_BYTES_MAX,
        },
    })
}

fn text(status: StatusCode, body: &str) -> AdminResponse {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = status;
    response
}

pub(crate) fn json_answer(status: StatusCode, body: &Value) -> AdminResponse {
    let mut response = text(status, &format!("{body}\n"));
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, kind);
    response
}

pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> AdminResponse {
    let body = json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": code } });
    json_answer(status, &body)
}
