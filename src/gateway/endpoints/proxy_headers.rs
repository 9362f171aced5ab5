//! Which header lines cross when a request goes to one provider unchanged: from the client to the provider, and from
//! the provider to the client. It must not know which provider that is.

use crate::gateway::attempt::response_head::is_encoded;
use crate::headers;
use crate::http::encode;
use crate::http::head::{Headers, ResponseHead};

/// Client headers that do not go to the provider: they frame the message, belong to the client's connection,
/// authenticate the client to the gateway, or say where the client is.
const CLIENT_HEADERS_DROPPED: [&str; 24] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "origin",
    "referer",
    "forwarded",
    "via",
    "x-real-ip",
    "accept-encoding",
    "x-request-id",
    "user-agent",
];
/// Prefixes of further ones.
const CLIENT_PREFIXES_DROPPED: [&str; 3] = [headers::OWN_PREFIX, "x-forwarded-", "x-amz-"];

/// Provider headers that do not go to the client: they frame the message, describe the account that all clients share,
/// or would set policy for the gateway's own host.
const PROVIDER_HEADERS_DROPPED: [&str; 18] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "set-cookie",
    "server",
    "date",
    "alt-svc",
    "strict-transport-security",
    "cache-control",
    "www-authenticate",
    "openai-organization",
    "openai-project",
];
/// Prefixes of further ones.
const PROVIDER_PREFIXES_DROPPED: [&str; 4] = [
    headers::OWN_PREFIX,
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "access-control-",
];

/// What is taken from the head of a provider's response.
pub(crate) struct ProxiedHead {
    /// Encoded header lines for the client.
    pub lines: Vec<u8>,
    /// The body is a stream of server-sent events.
    pub is_event_stream: bool,
    /// The body is compressed.
    pub is_encoded: bool,
}

/// Appends the client's headers that go to the provider.
pub(crate) fn write_client_headers(out: &mut Vec<u8>, headers: &Headers<'_>) {
    for (name, value) in headers.iter() {
        if crosses(
            name,
            headers,
            &CLIENT_HEADERS_DROPPED,
            &CLIENT_PREFIXES_DROPPED,
        ) {
            encode::header(out, name, value);
        }
    }
}

/// Reads the head of a provider's response.
pub(crate) fn read_head(head: &ResponseHead<'_>) -> ProxiedHead {
    let mut lines = Vec::with_capacity(256);
    for (name, value) in head.headers.iter() {
        let is_id = ["x-request-id", "request-id"]
            .iter()
            .any(|id| name.eq_ignore_ascii_case(id));
        if is_id {
            headers::UPSTREAM_REQUEST_ID.write(&mut lines, value);
        } else if crosses(
            name,
            &head.headers,
            &PROVIDER_HEADERS_DROPPED,
            &PROVIDER_PREFIXES_DROPPED,
        ) {
            encode::header(&mut lines, name, value);
        }
    }
    let media_type = headers::CONTENT_TYPE
        .read_str(&head.headers)
        .unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    ProxiedHead {
        lines,
        is_event_stream: media_type.eq_ignore_ascii_case("text/event-stream"),
        is_encoded: is_encoded(head),
    }
}

/// Whether a header crosses: it is not one of the dropped ones, and `connection` does not name it.
fn crosses(name: &str, headers: &Headers<'_>, dropped: &[&str], prefixes: &[&str]) -> bool {
    let is_prefix = |prefix: &&str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let connections = headers
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case("connection"));
    let mut hop_by_hop = connections.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    !dropped.iter().any(|other| name.eq_ignore_ascii_case(other))
        && !prefixes.iter().any(is_prefix)
        && !hop_by_hop.any(|hop| hop.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}
