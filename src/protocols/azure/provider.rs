//! Azure OpenAI: OpenAI's wire format under other paths, with the API key in another header.
//!
//! With `api_version`, the classic paths that name the deployment; without it, the v1 API, in which `model` is the
//! name of the deployment. (learn.microsoft.com, "Azure OpenAI in Microsoft Foundry Models REST API reference" and
//! "... API version lifecycle".)

use crate::error::gateway_error::GatewayError;
use crate::http::percent::push_escaped;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::provider::api::OpenAi;
use crate::protocols::openai::vocabulary;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::signing::auth::KeyHeader;

pub(crate) struct Azure;

const API_KEY: KeyHeader = KeyHeader {
    name: "api-key",
    prefix: "",
};

impl ProviderApi for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn native_client_api(&self) -> &'static str {
        vocabulary::NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        operation != UpstreamOperation::Rerank && OpenAi.supports(operation)
    }

    fn key_header(&self) -> KeyHeader {
        API_KEY
    }

    fn path(
        &self,
        base_path: &str,
        endpoint: &str,
        model: Option<&str>,
        api_version: Option<&str>,
    ) -> String {
        path(base_path, endpoint, model, api_version)
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        let suffix = match request.call {
            UpstreamOperation::Embeddings => "/embeddings",
            UpstreamOperation::Passthrough(path) => path,
            UpstreamOperation::Chat
            | UpstreamOperation::CountTokens
            | UpstreamOperation::Rerank => "/chat/completions",
        };
        let path = path(
            request.base_path,
            suffix,
            Some(request.model),
            request.api_version,
        );
        post(request, &path, API_KEY, b"", out);
    }

    fn write_request(
        &self,
        request: &Request<'_>,
        model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        OpenAi.write_request(request, model, unsupported, out)
    }

    fn read_response<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
        OpenAi.read_response(document)
    }

    fn read_error<'d>(&self, status: u16, document: &Document<'d>) -> ProviderError<'d> {
        OpenAi.read_error(status, document)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        OpenAi.decoder()
    }
}

/// The path after `base_path`, which names either the resource alone or the v1 API too.
fn path(
    base_path: &str,
    suffix: &str,
    deployment: Option<&str>,
    api_version: Option<&str>,
) -> String {
    let Some(version) = api_version else {
        let is_given = base_path.ends_with("/openai/v1");
        return [if is_given { "" } else { "/openai/v1" }, suffix].concat();
    };
    let mut path = String::from("/openai");
    if let Some(deployment) = deployment {
        path.push_str("/deployments/");
        push_escaped(deployment, b"", &mut path);
    }
    path.push_str(suffix);
    path.push_str("?api-version=");
    push_escaped(version, b"", &mut path);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_paths() {
        let chat = |base: &str, version| path(base, "/chat/completions", Some("gpt 4/o"), version);
        assert_eq!(
            chat("", Some("2024-10-21")),
            "/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21"
        );
        assert_eq!(chat("", None), "/openai/v1/chat/completions");
        assert_eq!(chat("/openai/v1", None), "/chat/completions");
        let files = path("", "/files", None, Some("2024-10-21"));
        assert_eq!(files, "/openai/files?api-version=2024-10-21");
    }
}
