//! The trait of a client API: it reads requests and writes responses, streams and errors.
//!
//! Pure: bytes in, bytes out. It must not know sockets or the clock. [`ResponseContext`] holds the values that a
//! writer needs and that the provider's response may lack.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request::ChatRequest;
use std::borrow::Cow;

/// Values for a response that the provider's response may lack.
#[derive(Debug, Clone, Default)]
pub struct ResponseContext {
    /// Used for ids if the provider sent none.
    pub request_id: String,
    /// Used as the time stamp if the provider sent none, in seconds since the Unix epoch.
    pub created: u64,
    /// Whether the client requested the usage event of a stream.
    pub wants_usage: bool,
    /// The model's name at the provider, used if the response does not name the model.
    pub model: String,
    /// The provider's error type, if a response header names it.
    pub error_kind: Option<String>,
    /// The result of [`ClientApi::echoed_fields`] for the request.
    pub echoed_fields: Vec<u8>,
}

/// A wire format that clients use.
pub trait ClientApi: Sync {
    /// The name that [`crate::protocols::provider_api::ProviderApi::native_client_api`] returns.
    fn name(&self) -> &'static str;

    /// The route of `path`; `None` if the path does not belong to this API.
    fn route(&self, path: &str) -> Option<ClientRoute>;

    /// Whether errors about `path` have this API's format, even if the path has no route.
    fn owns_path(&self, path: &str) -> bool {
        self.route(path).is_some()
    }

    /// The client's API key in the query of `target`, if the API allows keys there.
    ///
    /// # Errors
    /// 400 if the key cannot be decoded.
    fn key_in_query<'t>(&self, _target: &'t str) -> Result<Option<Cow<'t, str>>, GatewayError> {
        Ok(None)
    }

    /// Whether `target` requests a stream in the form of one JSON array instead of server-sent events.
    fn streams_array(&self, _target: &str) -> bool {
        false
    }

    /// Reads the fields that routing and caching need. A provider with the same wire format needs no further
    /// parsing. `target` is the request's path and query.
    ///
    /// # Errors
    /// 400 that names the position or the field.
    fn inspect_request(
        &self,
        target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError>;

    /// Adds to the body what this wire format may omit and [`ClientApi::read_request`] needs; `None` if nothing is
    /// missing.
    fn normalize_request(&self, _body: &[u8], _scratch: &mut Scratch) -> Option<Vec<u8>> {
        None
    }

    /// Reads a whole request into the neutral form.
    ///
    /// # Errors
    /// 400 that names a malformed or unsupported field.
    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Request<'d>, GatewayError>;

    /// Appends a whole response.
    fn write_response(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    );

    /// The fields of a request body that the response echoes, encoded for the response.
    fn echoed_fields(&self, _body: &[u8], _scratch: &mut Scratch) -> Vec<u8> {
        Vec::new()
    }

    /// Appends an error body for an error that the provider reported.
    fn write_provider_error(&self, error: &ProviderError<'_>, out: &mut Vec<u8>);

    /// The error body for an error of the gateway.
    fn error_body(&self, error: &GatewayError) -> String;

    /// Appends the event that reports to a client that its stream was interrupted.
    fn write_error_event(&self, error: &GatewayError, out: &mut Vec<u8>);

    /// An encoder for one stream.
    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder>;

    /// The list of models; `created` is the gateway's start, in seconds since the Unix epoch.
    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, created: u64) -> Vec<u8>;

    /// One model of that list.
    fn write_model(&self, name: &str, created: u64) -> Vec<u8>;
}

/// The purpose of a path of a client API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRoute {
    /// A chat completion.
    Chat,
    /// The number of tokens of a chat request.
    CountTokens,
    /// The list of models.
    Models,
    /// One model.
    Model,
}

impl PartialEq for dyn ClientApi {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn ClientApi {}

impl std::fmt::Debug for dyn ClientApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes the events of one stream.
pub trait Encoder {
    /// Appends `event` in this wire format. One neutral event becomes any number of events; a heartbeat is
    /// written only between events.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
}
