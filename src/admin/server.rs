//! Serves the admin API: accepts connections and dispatches requests to their routes.

use crate::admin::connections::{Connection, Connections};
use crate::admin::query::Query;
use crate::admin::response::{AdminResponse, error};
use crate::admin::route::{AdminRequest, AdminRoute, Match, find};
use crate::control::plane::Plane;
use crate::error::code::ErrorCode;
use crate::http::cross_site;
use crate::http::cross_site::{Origins, Refusal};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long an admin connection may take for its request head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, e.g. because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the admin API; never returns.
pub(crate) async fn serve(plane: Arc<Plane>, routes: &'static [AdminRoute], listener: TcpListener) {
    let connections = Rc::<Connections>::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            if connections.close_one() {
                // Its descriptor is for the next one.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            continue;
        };
        let connection = connections.add();
        let served = serve_connection(
            Arc::clone(&plane),
            routes,
            stream,
            Entered {
                connections: Rc::clone(&connections),
                connection: Rc::clone(&connection),
            },
        );
        connection.served_by(tokio::task::spawn_local(served).abort_handle());
        // What was accepted is served before a flood of others can take its place.
        tokio::task::yield_now().await;
    }
}

/// An open connection; removed when it ends, however it does.
struct Entered {
    connections: Rc<Connections>,
    connection: Rc<Connection>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.remove(&self.connection);
    }
}

async fn serve_connection(
    plane: Arc<Plane>,
    routes: &'static [AdminRoute],
    stream: TcpStream,
    entered: Entered,
) {
    let entered = &entered;
    let service = service_fn(move |request: Request<Incoming>| {
        let plane = Arc::clone(&plane);
        async move {
            entered.connections.mark(&entered.connection, true);
            let response = respond(&plane, routes, request).await;
            entered.connections.mark(&entered.connection, false);
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    plane: &Plane,
    routes: &'static [AdminRoute],
    request: Request<Incoming>,
) -> AdminResponse {
    let (head, body) = request.into_parts();
    if let Err(refusal) = check_site(plane, &head) {
        return foreign(refusal);
    }
    let query = match Query::parse(head.uri.query()) {
        Ok(query) => query,
        Err(message) => return error(ErrorCode::InvalidQuery, &message),
    };
    match find(routes, &head.method, head.uri.path()) {
        Match::Route { route, id } => {
            if let Err(message) = route.check_query(&query) {
                return error(ErrorCode::InvalidQuery, &message);
            }
            let request = AdminRequest {
                plane,
                routes,
                id,
                query,
                body,
            };
            (route.handler)(request).await
        }
        Match::OtherMethod(allowed) => method_not_allowed(&allowed),
        Match::Unknown { moved_to } => unknown_path(routes, moved_to.as_deref()),
    }
}

/// Refuses what a browser sends for a page of another site.
fn check_site(plane: &Plane, head: &Parts) -> Result<(), Refusal> {
    let snapshot = plane.shared.snapshot.load();
    let names = &snapshot.config.admin.hosts;
    let in_target = head.uri.authority();
    let values = |name: &'static str| {
        let in_target = in_target.filter(|_| name == "host");
        let in_target = in_target.map(|authority| authority.as_str().as_bytes());
        let values = head.headers.get_all(name).into_iter();
        in_target
            .into_iter()
            .chain(values.map(HeaderValue::as_bytes))
    };
    cross_site::check(values, names, Origins::OwnHost)
}

fn foreign(refusal: Refusal) -> AdminResponse {
    match refusal {
        Refusal::Host => error(
            ErrorCode::HostNotAllowed,
            "the admin API takes requests for an IP address, `localhost`, or a name in `admin.hosts`",
        ),
        Refusal::Origin => error(
            ErrorCode::OriginNotAllowed,
            "the admin API takes no request that a browser sends for a page of another site",
        ),
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
