//! Serves the admin API: accepts connections and dispatches requests to their routes.

use crate::admin::response::{AdminResponse, error};
use crate::admin::route::{AdminRequest, AdminRoute, Match, find};
use crate::control::plane::Plane;
use crate::error::code::ErrorCode;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Admin connections served at once; further connections wait.
const CONNECTIONS_MAX: usize = 64;
/// How long an admin connection may take for its request head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, e.g. because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the admin API; never returns.
pub(crate) async fn serve(plane: Arc<Plane>, routes: &'static [AdminRoute], listener: TcpListener) {
    let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let plane = Arc::clone(&plane);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let plane = Arc::clone(&plane);
                async move { Ok::<_, Infallible>(respond(&plane, routes, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

async fn respond(
    plane: &Plane,
    routes: &'static [AdminRoute],
    request: Request<Incoming>,
) -> AdminResponse {
    let (head, body) = request.into_parts();
    match find(routes, &head.method, head.uri.path()) {
        Match::Route { route, id } => {
            let request = AdminRequest {
                plane,
                routes,
                id,
                query: head.uri.query(),
                body,
            };
            (route.handler)(request).await
        }
        Match::OtherMethod(allowed) => method_not_allowed(&allowed),
        Match::Unknown { moved_to } => unknown_path(routes, moved_to.as_deref()),
    }
}

fn method_not_allowed(allowed: &str) -> AdminResponse {
    let message = format!("this path takes {allowed}");
    let mut response = error(ErrorCode::MethodNotAllowed, &message);
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

fn unknown_path(routes: &[AdminRoute], moved_to: Option<&str>) -> AdminResponse {
    let message = match moved_to {
        Some(path) => format!("this path is now {path}"),
        None => {
            let paths = routes.iter();
            let paths = paths.map(|route| format!("{} {}", route.method, route.path));
            let paths = paths.collect::<Vec<_>>().join(", ");
            format!("the admin API has {paths}")
        }
    };
    error(ErrorCode::UnknownPath, &message)
}
