//! The dialects that applications speak. A face is one folder here and one line in [`CLIENT_APIS`].
//!
//! Pure: bytes in, bytes out. What a writer cannot know from an answer is handed to it in [`ResponseContext`].

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request::ChatRequest;
use std::borrow::Cow;

/// What a writer of answers is told beside the answer.
#[derive(Debug, Clone, Default)]
pub struct ResponseContext {
    /// For ids that the provider did not give.
    pub request_id: String,
    /// For a time stamp that the provider did not give, in seconds since the Unix epoch.
    pub created: u64,
    /// The caller asked for the usage event of a stream.
    pub wants_usage: bool,
    /// The model's name at the provider, for one that does not say who answered.
    pub model: String,
    /// The provider's word for the kind of an error, where it stands in the answer's head.
    pub error_kind: Option<String>,
    /// What [`Face::repeated`] said of the request.
    pub repeated: Vec<u8>,
}

/// A dialect that applications speak.
pub trait ClientApi: Sync {
    /// Its name: providers that speak it natively name it too.
    fn name(&self) -> &'static str;

    /// What `path` asks for; `None` if it is none of this dialect's.
    fn ask(&self, path: &str) -> Option<ClientRoute>;

    /// Whether errors about `path` are told in this dialect, known or not.
    fn owns(&self, path: &str) -> bool {
        self.ask(path).is_some()
    }

    /// The caller's key, where the dialect lets it stand in the query of `target`.
    ///
    /// # Errors
    /// 400 if it cannot be read.
    fn key_in_query<'t>(&self, _target: &'t str) -> Result<Option<Cow<'t, str>>, GatewayError> {
        Ok(None)
    }

    /// Whether `target` asks for a stream as one JSON array instead of events.
    fn streams_array(&self, _target: &str) -> bool {
        false
    }

    /// Headers of its own that cross to a provider that speaks it natively, in small letters.
    fn forwarded_headers(&self) -> &'static [&'static str];

    /// What the gateway must know of a request, of which it needs no more if the provider speaks the
    /// same dialect. `target` is the request's path and query.
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

    /// The body with what [`Face::read_request`] needs and this dialect leaves out; `None` if it lacks
    /// nothing.
    fn prepare(&self, _body: &[u8], _scratch: &mut Scratch) -> Option<Vec<u8>> {
        None
    }

    /// All of a request.
    ///
    /// # Errors
    /// 400 naming a field that is malformed, or lost.
    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Request<'d>, GatewayError>;

    /// Appends a whole answer.
    fn write_answer(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    );

    /// The fields of a request with this body that its answers repeat, as they are written there.
    fn repeated(&self, _body: &[u8], _scratch: &mut Scratch) -> Vec<u8> {
        Vec::new()
    }

    /// Appends a provider's error as a body.
    fn write_failure(&self, failure: &Failure<'_>, out: &mut Vec<u8>);

    /// The body of an error of the gateway's own.
    fn envelope(&self, fault: &GatewayError) -> String;

    /// Appends the event that tells a client that its stream broke.
    fn write_fault_event(&self, fault: &GatewayError, out: &mut Vec<u8>);

    /// What writes the events of one stream.
    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder>;

    /// The list of models; `created` is the gateway's start, in seconds since the Unix epoch.
    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, created: u64) -> Vec<u8>;

    /// One model of that list.
    fn write_model(&self, name: &str, created: u64) -> Vec<u8>;
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRoute {
    /// A chat.
    Chat,
    /// How many tokens a chat has.
    CountTokens,
    /// The models there are.
    Models,
    /// One of them.
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
    /// Appends what `event` is in this dialect: any number of events, heartbeats at their boundaries.
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>);
}
