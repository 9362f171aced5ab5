//! Every error code that a client, the access log or the admin API can show, each in one line of one table.
//!
//! `docs/errors.md` is written from this table.

use crate::error::class::{ClientRetry, ErrorSource, Retry};
use std::fmt;

macro_rules! error_codes {
    ($($code:ident $name:literal $status:literal $source:ident $retry:ident $client_retry:ident $meaning:literal, $remedy:literal;)+) => {
        /// What went wrong, as in the envelope's `code` and the access log's `error_code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $code,)+
        }

        impl ErrorCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$code => Row {
                        name: $name,
                        status: $status,
                        source: ErrorSource::$source,
                        retry: Retry::$retry,
                        client_retry: ClientRetry::$client_retry,
                        meaning: $meaning,
                        remedy: $remedy,
                    },)+
                }
            }
        }
    };
}

/// One line of the table.
struct Row {
    name: &'static str,
    status: u16,
    source: ErrorSource,
    retry: Retry,
    client_retry: ClientRetry,
    meaning: &'static str,
    remedy: &'static str,
}

// Columns: variant, code, HTTP status, who is at fault, what the gateway tries next, whether the client may send
// the request again, meaning, remedy.
error_codes! {
    MalformedRequest "malformed_request" 400 Client Never No "The client's HTTP is broken, or two parsers could read it as two different requests.", "The message names the rule; correct the client or the proxy before Ringside.";
    InvalidBodyFraming "invalid_body_framing" 400 Client Never No "The chunks of the request's body are malformed.", "Correct the client or the proxy before Ringside.";
    HeadTooLarge "head_too_large" 431 Client Never No "The request's head has too many bytes or headers.", "Send fewer or shorter headers.";
    BodyTooLarge "body_too_large" 413 Client Never No "The request's body is larger than `server.body_max`.", "Send less, or raise `server.body_max`.";
    RequestTimeout "request_timeout" 408 Client Never Later "The request did not arrive within `server.head_timeout` or `server.body_timeout`.", "Check the client's network, or raise the timeout.";
    HttpVersionNotSupported "http_version_not_supported" 505 Client Never No "The request is neither HTTP/1.1 nor HTTP/1.0.", "Use HTTP/1.1.";
    TransferEncodingNotSupported "not_implemented" 501 Client Never No "The request's transfer encoding is not `chunked`.", "Send `content-length` or `transfer-encoding: chunked`.";
    ExpectationNotSupported "expectation_not_supported" 417 Client Never No "The request's `expect` header is not `100-continue`.", "Leave the header out.";
    ConnectionsExhausted "connections_exhausted" 503 Gateway Never Later "Every core has as many open connections as it may have.", "Raise `server.connections_per_core_max`, or have clients keep fewer connections.";
    BodyMemoryExhausted "body_memory_exhausted" 503 Gateway Never Later "The bodies of the requests in progress, or of their responses, take as much memory as they may.", "Wait for `retry-after`, or raise the limit that the message names, such as `server.bodies_per_key_max`.";
    UnknownPath "unknown_path" 404 Client Never No "No endpoint has this path; often `/v1` is missing from the client's base URL or is there twice.", "The message lists the paths.";
    MethodNotAllowed "method_not_allowed" 405 Client Never No "The path does not take this method.", "The `allow` header lists the methods.";
    UnsupportedMediaType "unsupported_media_type" 415 Client Never No "The body is neither JSON nor a multipart form.", "Correct `content-type`.";
    InvalidPath "invalid_path" 400 Client Never No "The path holds `.`, `..`, an empty segment, a backslash or a control character.", "Escape the path once, and leave these out.";
    InvalidHeader "invalid_header" 400 Client Never No "A header that controls the request has a value that cannot be read.", "The message names the header and its form.";
    InvalidJson "invalid_json" 400 Client Never No "The body is not JSON, or not a JSON object.", "The message says where.";
    InvalidForm "invalid_form" 400 Client Never No "The body is not a well-formed multipart form.", "Correct the form.";
    InvalidRequest "invalid_request" 400 Client Never No "A field is missing or has a value that cannot be served.", "The message and `param` name the field.";
    KeysRequired "keys_required" 403 Client Never No "A caller from another machine, but no keys are configured.", "Add `[[keys]]`.";
    HostNotAllowed "host_not_allowed" 403 Client Never No "The admin API, or a gateway without keys, was called by a host name that it does not know: a web page may have given its own name the address of this machine.", "Call it by an IP address or `localhost`, or add the name to `admin.hosts` or `server.hosts`.";
    OriginNotAllowed "origin_not_allowed" 403 Client Never No "A browser sent the request to the admin API, or to a gateway without keys, for a page of another site.", "Call it from the page's own server; for the data side, configure `[[keys]]`.";
    MissingApiKey "missing_api_key" 401 Client Never No "No Ringside key was sent.", "Send a key as `authorization: Bearer KEY`.";
    InvalidApiKey "invalid_api_key" 401 Client Never No "The key is not one of `[[keys]]`; often the provider's own key was sent.", "Send a Ringside key.";
    ModelNotAllowed "model_not_allowed" 403 Client Never No "The key's `models` do not list the model.", "Correct `[[keys]]`, or ask for another model.";
    ModelNotFound "model_not_found" 404 Client Never No "The model is not in `[[models]]`.", "The message lists the models that this key may use.";
    ProviderNotAllowed "provider_not_allowed" 403 Client Never No "The key's `providers` do not list the provider.", "Correct `[[keys]]`.";
    ProviderMissing "provider_missing" 400 Client Never No "The key may reach several providers that have this path, and the request names none.", "Send `x-ringside-provider`.";
    UnsupportedOperation "unsupported_operation" 400 Client Never No "No target of the model has this operation; a `local` model has embeddings only.", "Use another model or path.";
    UnsupportedFields "unsupported_fields" 400 Client OnNextTarget No "The API of the target cannot express a field of the request.", "Leave the field out, or set `unsupported_fields = \"drop\"` for the provider.";
    ContextLengthExceeded "context_length_exceeded" 400 Client Never No "The input is longer than the model's context window.", "Shorten the input.";
    StatefulNotSupported "stateful_not_supported" 400 Client Never No "The request refers to a conversation, item or id that only a provider stores.", "Send the whole conversation as `input`, or go on by `previous_response_id`.";
    PreviousResponseNotFound "previous_response_not_found" 400 Client Never No "`previous_response_id` names no response of this key.", "Send the whole conversation as `input`.";
    ResponseNotFound "response_not_found" 404 Client Never No "The path names no response of this key.", "Use the id from the response.";
    RequestNotFound "request_not_found" 404 Client Never No "The rating names no recent request of this key that belongs to an experiment.", "Rate soon after the response, with its `x-request-id`.";
    AlreadyRated "already_rated" 409 Client Never No "The request has a rating already.", "Send one rating for each request.";
    NoEligibleTarget "no_eligible_target" 400 Client Never No "Regions, tags, constraints or the request's needs leave no target of the model.", "The message names each target and its reason; `ringside explain` shows more.";
    NotCached "not_cached" 504 Client Never No "The request says `only-if-cached`, and no cached response may be served for it.", "Send it without `only-if-cached`.";
    ClientDisconnected "client_disconnected" 499 Client Never No "The client closed the connection before it had the whole response; shown in the log only.", "Check the client's own timeout.";
    Overloaded "overloaded" 503 Gateway Never Later "Every target of the model has as many requests in flight as it may have, and the queue is full or too slow.", "Wait for `retry-after`, or raise the limits of `[models.admission]`.";
    DeadlineExceeded "deadline_exceeded" 504 Gateway Never Later "No target responded within the request's deadline.", "Raise `deadline` of the model or `x-ringside-deadline-ms`.";
    ShuttingDown "shutting_down" 503 Gateway Never Later "The gateway stops, and `server.drain.deadline` has passed.", "Send the request to another instance.";
    CoalescedRequestFailed "coalesced_request_failed" 502 Gateway OnNextTarget Later "The request that called the provider for this one too ended without a response.", "Standard error has the message of the panic.";
    CoalescedStreamTooSlow "coalesced_stream_too_slow" 503 Gateway OnNextTarget Later "A stream that several requests share was read too slowly by this one.", "Read faster, or send `x-ringside-coalesce: off`.";
    HedgeCancelled "hedge_cancelled" 500 Gateway Never Later "A hedged attempt lost the race; never sent to a client.", "None needed.";
    ModelNotLoaded "model_not_loaded" 503 Gateway OnNextTarget Later "The local embedding model was configured by a reload.", "Restart.";
    ModelNotReady "model_not_ready" 503 Gateway OnNextTarget Later "The local embedding model is loading, or could not be loaded.", "`/admin/v1/info` has the reason.";
    ModelBusy "model_busy" 503 Gateway OnNextTarget Later "The queue of the local embedding model is full.", "Raise `embedding.threads`.";
    ModelFailed "model_failed" 500 Gateway OnNextTarget Later "The local embedding model failed.", "The message has the reason; report it.";
    NoTarget "no_target" 500 Gateway OnNextTarget No "The model has no target.", "Correct `[[models]]`.";
    InternalError "internal_error" 500 Gateway OnNextTarget No "A state that should be impossible.", "Report it with the request's id.";
    InvalidEntryId "invalid_entry_id" 400 Client Never No "Admin API: the path holds no id of a cache entry.", "Use the 32 hexadecimal digits of `x-ringside-cache-entry`.";
    InvalidQuery "invalid_query" 400 Client Never No "Admin API: the query has an unknown parameter, or a value that is not percent-encoded text.", "The message lists the parameters.";
    UnreadableBody "unreadable_body" 400 Client Never No "Admin API: the request's body did not arrive in time, or is too large.", "Send less, or send it faster.";
    NoSuchEntry "no_such_entry" 404 Client Never No "Admin API: the cache has no entry with this id.", "The entry expired or was removed; nothing is left to do.";
    NoSuchTarget "no_such_target" 404 Client Never No "Admin API: no model has this target.", "Write it as the log does, `provider/model`.";
    NoExperiment "no_experiment" 404 Client Never No "Admin API: no model, or not this one, has an experiment.", "Correct the parameter `model`.";
    DeletionNotOnDisk "deletion_not_on_disk" 500 Gateway Never Later "Admin API: entries were removed from memory, but the deletion could not be written to `cache.dir`; they may come back after a restart.", "Repeat the request, or remove the segments in `cache.dir`.";
    UpstreamRateLimited "upstream_rate_limited" 429 Upstream OnNextTarget Later "Every target of the model is rate-limited by its provider.", "Wait for `retry-after`, or add targets or keys.";
    UpstreamNoCredentials "upstream_no_credentials" 502 Upstream OnNextTarget Later "The gateway has no valid credentials for the provider: they could not be fetched or renewed.", "The log's `credentials_not_renewed` has the reason.";
    UpstreamUnreachable "upstream_unreachable" 502 Upstream OnNextTarget Later "The provider's name has no address, or no connection could be made.", "Check DNS, network, `base_url` and `connect_timeout`.";
    UpstreamTls "upstream_tls" 502 Upstream OnNextTarget Later "The provider's certificate is not trusted, or it does not use TLS.", "Set `ca`, install `ca-certificates`, or correct `base_url`.";
    UpstreamTimeout "upstream_timeout" 504 Upstream OnNextTarget Later "The provider sent no first byte within `first_byte_timeout`.", "Raise it for slow models.";
    UpstreamConnectionClosed "upstream_connection_closed" 502 Upstream OnNextTarget Later "The provider closed the connection without a response.", "See the provider's log; set `idle_timeout` below the provider's.";
    UpstreamMalformed "upstream_malformed" 502 Upstream OnNextTarget Later "The provider's response is not HTTP/1.1.", "Correct `base_url`: another port or protocol.";
    UpstreamNotJson "upstream_not_json" 502 Upstream OnNextTarget Later "The provider sent something else than JSON, such as the HTML page of a proxy; the status is the provider's if that is an error.", "Correct `base_url`.";
    UpstreamNotAStream "upstream_not_a_stream" 502 Upstream OnNextTarget Later "The provider sent no stream in response to a request for one.", "Use a target that streams.";
    UpstreamInvalidResponse "upstream_invalid_response" 502 Upstream OnNextTarget Later "The provider's response does not have the form of its API.", "Check the provider's `type`.";
    UpstreamClosedEarly "upstream_closed_early" 502 Upstream OnNextTarget Later "The provider broke off in the middle of its response, or sent nothing for `read_timeout`.", "See the provider's log; raise `read_timeout`.";
    UpstreamTruncated "upstream_truncated" 502 Upstream OnNextTarget Later "The provider ended a stream without finishing its response.", "See the provider's log.";
    UpstreamResponseTooLarge "upstream_response_too_large" 502 Upstream OnNextTarget No "The provider's response is larger than Ringside buffers.", "Ask for less, or for a stream.";
    UpstreamEventTooLarge "upstream_event_too_large" 502 Upstream OnNextTarget No "The provider sent an event of a stream that is larger than Ringside buffers.", "Ask for less.";
    UpstreamError "upstream_error" 502 Upstream OnNextTarget Later "The provider failed without a response that could be forwarded.", "See the provider's log.";
}

impl ErrorCode {
    /// The code as clients and logs show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// HTTP status of a response with this code.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// Who is at fault.
    #[must_use]
    pub fn source(self) -> ErrorSource {
        self.row().source
    }

    /// What the gateway may try next.
    #[must_use]
    pub fn retry(self) -> Retry {
        self.row().retry
    }

    /// What the client may do.
    #[must_use]
    pub fn client_retry(self) -> ClientRetry {
        self.row().client_retry
    }

    /// What happened, in a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// What a user or operator can do, in a sentence.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        self.row().remedy
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::generated_docs;
    use std::collections::HashSet;
    use std::fmt::Write;

    const INTRODUCTION: &str = "# Error codes

The code is in the body of an error response (`error.code`; Gemini's API has it as the `reason` of its details) and in the
access log (`error_code`). `detail` in the log has the cause in words. Once a stream has begun, an error is an event of the stream.
*Retry* says whether the client may send the same request again: `later` means after a pause, and after `retry-after` where
it is given. Ringside itself tries other targets before it reports an error. The header `x-should-retry` tells SDKs so.

This file is written by `RINGSIDE_BLESS=1 cargo test --lib error::code` from the table in `src/error/code.rs`.

| code | status | at fault | retry | meaning | what to do |
|---|---|---|---|---|---|
";

    #[test]
    fn the_documentation_lists_every_code() {
        let mut text = INTRODUCTION.to_owned();
        for code in ErrorCode::ALL {
            let (status, source) = (code.status(), code.source().as_str());
            let retry = code.client_retry().as_str();
            let (meaning, remedy) = (code.meaning(), code.remedy());
            let _ = writeln!(
                text,
                "| `{code}` | {status} | {source} | {retry} | {meaning} | {remedy} |"
            );
        }
        generated_docs::compare("docs/errors.md", &text);
    }

    #[test]
    fn codes_are_unique_and_agree_with_their_status() {
        let mut seen = HashSet::new();
        for code in ErrorCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} is declared twice");
            let words = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(code.as_str().chars().all(words), "{code}");
            assert!((400..=599).contains(&code.status()), "{code}");
            assert!(code.meaning().ends_with('.') && code.remedy().ends_with('.'));
        }
    }
}
