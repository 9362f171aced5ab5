//! What a client API must implement: reading requests, and writing responses, streams and errors.
//!
//! Pure: bytes in, bytes out. [`ResponseContext`] holds what a writer cannot know from the response.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request::ChatRequest;
use std::borrow::Cow;

/// What is written into a response besides the response itself.
#[derive(Debug, Clone, Default)]
pub struct ResponseContext {
    /// For ids that the provider did not give.
    pub request_id: String,
    /// For a time stamp that the provider did not give, in seconds since the Unix epoch.
    pub created: u64,
    /// Whether the client requested the usage event of a stream.
    pub wants_usage: bool,
    /// The model's name at the provider, for providers whose responses do not name it.
    pub model: String,
    /// The provider's type of error, if a response header has it.
    pub error_kind: Option<String>,
    /// The result of [`ClientApi::repeated`] for the request.
    pub repeated: Vec<u8>,
}

/// A wire format that clients use.
pub trait ClientApi: Sync {
    /// Its name, which [`crate::protocols::provider_api::ProviderApi::native`] refers to.
    fn name(&self) -> &'static str;

    /// The route of `path`; `None` if the path does not belong to this API.
    fn ask(&self, path: &str) -> Option<ClientRoute>;

    /// Whether errors about `path` have this API's envelope, even if no route has the path.
    fn owns(&self, path: &str) -> bool {
        self.ask(path).is_some()
    }

    /// The client's key, if the API allows it in the query of `target`.
    ///
    /// # Errors
    /// 400 if it cannot be read.
    fn key_in_query<'t>(&self, _target: &'t str) -> Result<Option<Cow<'t, str>>, GatewayError> {
        Ok(None)
    }

    /// Whether `target` requests a stream as one JSON array instead of events.
    fn streams_array(&self, _target: &str) -> bool {
        false
    }

    /// Headers of this API that are forwarded to providers with the same wire format, in lower case.
    fn forwarded_headers(&self) -> &'static [&'static str];

    /// Reads what the gateway must know of a request. It needs no more if the provider has the same wire format.
    /// `target` is the request's path and query.
    ///
    /// # Errors
    /// 400 with the position or the field.
    fn read_head(
        &self,
        target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError>;

    /// The body with what [`ClientApi::read_request`] needs and this wire format may leave out; `None` if nothing
    /// is missing.
    fn prepare(&self, _body: &[u8], _scratch: &mut Scratch) -> Option<Vec<u8>> {
        None
    }

    /// Reads a whole request.
    ///
    /// # Errors
    /// 400 naming a field that is malformed or not supported.
    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Request<'d>, GatewayError>;

    /// Appends a whole response.
    fn write_answer(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    );

    /// The fields of this request body that responses repeat, written as in a response.
    fn repeated(&self, _body: &[u8], _scratch: &mut Scratch) -> Vec<u8> {
        Vec::new()
    }

    /// Appends a provider's error as a body.
    fn write_failure(&self, failure: &Failure<'_>, out: &mut Vec<u8>);

    /// The body of an error of the gateway.
    fn envelope(&self, fault: &GatewayError) -> String;

    /// Appends the event that reports to a client that its stream broke off.
    fn write_fault_event(&self, fault: &GatewayError, out: &mut Vec<u8>);

    /// An encoder for one stream.
    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder>;

    /// The list of models; `created` is the gateway's start, in seconds since the Unix epoch.
    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, created: u64) -> Vec<u8>;

    /// One model of that list.
    fn write_model(&self, name: &str, created: u64) -> Vec<u8>;
}

/// What a path of a client API is for.
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
    /// Appends `event` in this wire format: any number of events, heartbeats at their boundaries.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
}
