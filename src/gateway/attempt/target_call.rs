//! One target that a request is sent to: which API of the provider is used, and the request encoded for it. It must not
//! know how bytes are sent.

use crate::auth::response_ids::ResponseIdSeal;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::translate;
use crate::gateway::attempt::translate::{EncodedBody, TranslationInput};
use crate::gateway::core::Core;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::TargetRoute;
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::client_api::ResponseContext;
use crate::protocols::forwarded_headers::Selects;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation};
use crate::protocols::provider_api::ProviderApi;
use crate::routing::indices::KeyIndex;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::upstream::exchange::UpstreamError;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct TargetCall<'a> {
    pub core: &'a Core,
    pub target: &'a TargetRoute,
    pub backend: &'a Arc<Provider>,
    pub plan: &'a AttemptPlan<'a>,
    /// How long the first bytes of a stream are held back.
    pub hold: Duration,
    /// The policy compares tokens per second.
    pub measures_rate: bool,
}

/// What a call to one target took.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallStats {
    pub attempts: u32,
    /// Time spent waiting for the target.
    pub waited: Duration,
    /// From the request sent to the first byte of its response.
    pub first_byte: Option<Duration>,
    /// Fields of the request that were dropped because the provider's API does not have them.
    pub dropped: Option<String>,
}

impl TargetCall<'_> {
    /// The API of the provider that is used.
    pub(crate) fn dialect(&self) -> &'static dyn ProviderApi {
        let client_api = self.plan.body.client_api.name();
        let responses =
            (self.backend.responses).filter(|api| api.native_client_api() == client_api);
        responses.unwrap_or(self.backend.dialect)
    }

    /// Whether the provider accepts the request in the client's format.
    pub(crate) fn is_native(&self) -> bool {
        self.plan.operation != UpstreamOperation::Chat || self.has_client_format()
    }

    fn has_client_format(&self) -> bool {
        self.dialect().native_client_api() == self.plan.body.client_api.name()
    }

    /// What the caller's own headers select at the provider.
    pub(crate) fn selects(&self) -> Selects {
        let forwarded_headers = &self.plan.scope.forwarded_headers;
        forwarded_headers.selects(self.is_native())
    }

    /// The encoded request, with this API key.
    pub(crate) fn encode(
        &self,
        key_index: KeyIndex,
        stats: &mut CallStats,
    ) -> Result<Vec<u8>, Box<AttemptError>> {
        let (plan, backend) = (self.plan, self.backend);
        let operation = plan.operation;
        // Counting tokens is not translated.
        let has_format = operation != UpstreamOperation::CountTokens || self.has_client_format();
        if !has_format || !self.dialect().supports(operation) {
            let failed = attempt_error::unsupported_operation(self.target, operation);
            return Err(Box::new(failed));
        }
        let held = backend.held();
        let auth = backend.auth(held.as_deref(), key_index);
        let auth = auth.map_err(|reason| self.without_credentials(reason))?;
        let encoded_body = self.encode_body(stats)?;
        let body = encoded_body.body(backend, &plan.body);
        let forwarded_headers = plan.scope.forwarded_headers.lines(self.is_native());
        let length = plan.body.bytes.len().max(encoded_body.own_bytes());
        let mut request = buffer::take(length + forwarded_headers.len() + 1024);
        self.dialect().encode(
            &OutgoingRequest {
                call: operation,
                streams: plan.body.streams,
                body,
                model: &self.target.model,
                base_path: &backend.endpoint.url.path,
                api_version: backend.api_version.as_deref(),
                authority: &backend.endpoint.url.authority,
                auth,
                forwarded_headers,
            },
            &mut request,
        );
        if let EncodedBody::Translated(bytes) = encoded_body {
            buffer::give(bytes);
        }
        Ok(request)
    }

    fn encode_body(&self, stats: &mut CallStats) -> Result<EncodedBody, Box<AttemptError>> {
        let (plan, backend) = (self.plan, self.backend);
        if plan.operation != UpstreamOperation::Chat {
            return Ok(EncodedBody::Unchanged);
        }
        let mut unsupported = UnsupportedFields::new(backend.drops_unsupported_fields);
        let input = TranslationInput {
            backend,
            dialect: self.dialect(),
            body: plan.body,
            model: &self.target.model,
        };
        let mut scratch = self.core.scratch.borrow_mut();
        let encoded = translate::encode_chat(&input, &mut unsupported, &mut scratch);
        stats.dropped = unsupported.header();
        encoded.map_err(|error| Box::new(attempt_error::unsupported(self.target, error)))
    }

    /// Nothing can be sent to the target. Its health does not change.
    fn without_credentials(&self, reason: String) -> Box<AttemptError> {
        let error = UpstreamError::NoCredentials(reason);
        self.count(classify::outcome_of_error(&error));
        Box::new(attempt_error::exchange_failed(self.backend, &error))
    }

    pub(crate) fn count(&self, outcome: AttemptOutcome) {
        let mut metrics = self.core.metrics.borrow_mut();
        let key = (self.target.label, outcome);
        metrics.upstream.attempts.increment(key);
    }

    /// Seals the ids of what the provider stores for the response.
    pub(crate) fn seal(&self, key_index: KeyIndex) -> Option<ResponseIdSeal> {
        let stored_responses = self.plan.scope.constraints.stored_responses.as_ref();
        stored_responses
            .filter(|_| self.is_native())?
            .seal(self.backend, key_index)
    }

    /// Translates a stream into the client's format; `None` when the provider has the same format.
    pub(crate) fn translation(&self) -> Option<Box<NeutralRelay>> {
        (!self.is_native()).then(|| {
            let encoder = self.plan.body.client_api.encoder(self.response_ctx());
            let decoder = self.dialect().decoder();
            let relay = NeutralRelay::new(decoder, Some(encoder), None);
            Box::new(relay.with_model(self.target.model.clone()))
        })
    }

    /// What encoders of responses need to know. They always write the usage: a client that does not want it is not
    /// shown it later.
    pub(crate) fn response_ctx(&self) -> ResponseContext {
        let scratch = &mut self.core.scratch.borrow_mut();
        let body = &self.plan.body;
        ResponseContext {
            echoed_fields: body.client_api.echoed_fields(body.bytes, scratch),
            request_id: self.plan.scope.forwarded_headers.request_id().to_owned(),
            created: clock::since_epoch().as_secs(),
            wants_usage: true,
            model: self.target.model.clone(),
            error_kind: None,
        }
    }
}
