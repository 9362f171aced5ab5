//! The type of a route of the admin API, and the search for the route of a request. It must not know any route.

use crate::admin::query::Query;
use crate::admin::response::AdminResponse;
use crate::control::plane::Plane;
use hyper::Method;
use hyper::body::Incoming;
use std::pin::Pin;

/// Prefix of the JSON routes.
pub(crate) const PREFIX: &str = "/admin/v1";

/// Who may use a route. There are no credentials yet: documentation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Load balancers and monitoring.
    Probe,
    /// Reads, and changes nothing.
    View,
    /// Changes what the gateway does or stores.
    Operate,
}

impl Permission {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::View => "view",
            Self::Operate => "operate",
        }
    }
}

/// A parameter in the query.
pub(crate) struct QueryParameter {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
}

/// A request as its handler gets it.
pub(crate) struct AdminRequest<'a> {
    pub(crate) plane: &'a Plane,
    /// All routes, for the handlers that describe them.
    pub(crate) routes: &'static [AdminRoute],
    /// The segment in place of `{id}` in the path; empty if the route has no `{id}`.
    pub(crate) id: &'a str,
    pub(crate) query: Query,
    pub(crate) body: Incoming,
}

pub(crate) type HandlerFuture<'a> = Pin<Box<dyn Future<Output = AdminResponse> + 'a>>;

/// A route of the admin API.
pub(crate) struct AdminRoute {
    pub(crate) method: Method,
    /// A segment may be `{id}`.
    pub(crate) path: &'static str,
    pub(crate) permission: Permission,
    pub(crate) query: &'static [QueryParameter],
    /// Description of the request's JSON body; `None` without a body.
    pub(crate) body: Option<&'static str>,
    /// Media type of the response.
    pub(crate) content_type: &'static str,
    /// What it does, in one or two sentences.
    pub(crate) doc: &'static str,
    pub(crate) handler: for<'a> fn(AdminRequest<'a>) -> HandlerFuture<'a>,
}

impl AdminRoute {
    /// Refuses parameters that the route does not have. Probes may carry any: their senders add some of their own.
    ///
    /// # Errors
    /// The message.
    pub(crate) fn check_query(&self, query: &Query) -> Result<(), String> {
        let known: Vec<&str> = self.query.iter().map(|known| known.name).collect();
        match query.unknown(&known) {
            Some(name) if self.permission != Permission::Probe => {
                let known = match known.as_slice() {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                Err(format!(
                    "unknown parameter `{name}`; known parameters: {known}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// The segment in place of `{id}`, empty if the route has none; `None` if the path does not match the route.
    pub(crate) fn id_in<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut id = "";
        let mut segments = path.split('/');
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            match expected {
                "{id}" if !segment.is_empty() => id = segment,
                _ if segment == expected => {}
                _ => return None,
            }
        }
        segments.next().is_none().then_some(id)
    }
}

/// The result of the search for a route.
pub(crate) enum Match<'p> {
    Route {
        route: &'static AdminRoute,
        id: &'p str,
    },
    /// The path has routes for these methods only.
    OtherMethod(String),
    /// No route has the path. The path with the prefix of the JSON routes, if a route has that.
    Unknown { moved_to: Option<String> },
}

/// Finds the route of a request.
pub(crate) fn find<'p>(routes: &'static [AdminRoute], method: &Method, path: &'p str) -> Match<'p> {
    let mut methods = Vec::new();
    for route in routes {
        let Some(id) = route.id_in(path) else {
            continue;
        };
        if route.method == *method {
            return Match::Route { route, id };
        }
        methods.push(route.method.as_str());
    }
    if !methods.is_empty() {
        return Match::OtherMethod(methods.join(", "));
    }
    let moved_to = format!("{PREFIX}{path}");
    let exists = routes.iter().any(|route| route.id_in(&moved_to).is_some());
    Match::Unknown {
        moved_to: exists.then_some(moved_to),
    }
}
