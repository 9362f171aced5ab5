//! The format in which the client wants its response.

use crate::gateway::transform::json_array::JsonArray;
use crate::protocols::client_api::ClientApi;
use crate::protocols::registry;

pub(crate) struct ResponseFormat {
    /// The API that was called: its wire format is that of the response and of errors.
    pub client_api: &'static dyn ClientApi,
    /// The client wants a stream.
    pub streams: bool,
    /// How much of a stream that is sent as one JSON array was written; `None` for a stream of events.
    pub array: Option<JsonArray>,
}

impl Default for ResponseFormat {
    fn default() -> Self {
        Self {
            client_api: registry::DEFAULT,
            streams: false,
            array: None,
        }
    }
}
