//! A request that a sample or a mirror may repeat in the background.

use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::snapshot::model::ModelRoute;
use crate::protocols::client_api::ClientApi;
use crate::protocols::request::chat_request::ChatRequest;

pub(crate) struct SampledRequest<'r> {
    pub route: &'r ModelRoute,
    pub chat: &'r ChatRequest,
    /// The body, as providers may see it.
    pub body: &'r [u8],
    /// Which targets may see the request.
    pub constraints: &'r RouteConstraints<'r>,
    pub client_api: &'static dyn ClientApi,
    /// The request has no effect beyond its response.
    pub may_repeat: bool,
}
