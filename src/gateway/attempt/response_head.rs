//! What is read from the head of a provider's response. It must not know what becomes of the body.

use crate::headers;
use crate::http::encode;
use crate::http::head::ResponseHead;
use crate::http::retry_after::{retry_after, whole_seconds};
use crate::runtime::clock;
use std::time::Duration;

/// Headers of a provider's response that are forwarded to the client; the framing is written anew. Rate-limit headers
/// are not: they describe the provider's key, which other clients use too.
const FORWARDED_TO_CLIENT: [&str; 5] = [
    headers::CONTENT_TYPE.name(),
    "content-encoding",
    headers::RETRY_AFTER.name(),
    "retry-after-ms",
    "openai-processing-ms",
];

pub(crate) struct UpstreamHead {
    /// Encoded header lines for the client.
    pub forwarded: Vec<u8>,
    /// The body is a stream of events.
    pub is_event_stream: bool,
    pub is_json: bool,
    /// The body is compressed.
    pub is_encoded: bool,
    /// How long a 429 says to wait.
    pub wait: Option<Duration>,
    /// AWS's name for the kind of error (`x-amzn-errortype`, up to a colon).
    pub error_kind: Option<String>,
}

impl UpstreamHead {
    /// Sets how long the body says to wait, if no header did.
    pub(crate) fn take_wait(&mut self, wait: Option<Duration>) {
        if let (Some(wait), None) = (wait, self.wait) {
            self.wait = Some(wait);
            let seconds = whole_seconds(wait);
            headers::RETRY_AFTER.write_u64(&mut self.forwarded, seconds);
        }
    }
}

/// The types of a stream of server-sent events, and of AWS's.
const EVENTS: &str = "text/event-stream";
const AWS_EVENTS: &str = "application/vnd.amazon.eventstream";

/// Headers with a provider's id of the request.
const UPSTREAM_IDS: [&str; 3] = [
    headers::X_REQUEST_ID.name(),
    headers::REQUEST_ID.name(),
    "x-amzn-requestid",
];

/// A content type without its parameters.
fn media_type<'v>(head: &ResponseHead<'v>) -> &'v [u8] {
    let value = headers::CONTENT_TYPE
        .read(&head.headers)
        .unwrap_or_default();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value.get(..end).unwrap_or_default().trim_ascii()
}

pub(crate) fn read_head(head: &ResponseHead<'_>) -> UpstreamHead {
    let media_type = media_type(head);
    let is_type = |wanted: &str| media_type.eq_ignore_ascii_case(wanted.as_bytes());
    let is_aws = is_type(AWS_EVENTS);
    let mut upstream_head = UpstreamHead {
        forwarded: Vec::with_capacity(128),
        is_event_stream: is_aws || is_type(EVENTS),
        is_json: is_type("application/json"),
        is_encoded: false,
        wait: None,
        error_kind: None,
    };
    if head.status == 429 {
        upstream_head.wait = retry_after(&head.headers, clock::since_epoch());
        if let (Some(wait), None) = (upstream_head.wait, headers::RETRY_AFTER.read(&head.headers)) {
            headers::RETRY_AFTER.write_u64(&mut upstream_head.forwarded, whole_seconds(wait));
        }
    }
    for (name, value) in head.headers.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(forwarded) = FORWARDED_TO_CLIENT.into_iter().find(|name| is(name)) {
            // AWS's events are translated: no client reads them.
            let is_replaced = is_aws && is(headers::CONTENT_TYPE.name());
            let value = if is_replaced {
                EVENTS.as_bytes()
            } else {
                value
            };
            encode::header(&mut upstream_head.forwarded, forwarded, value);
        } else if is("x-amzn-errortype") {
            let kind = std::str::from_utf8(value).unwrap_or_default();
            upstream_head.error_kind = kind.split(':').next().map(str::to_owned);
        } else if UPSTREAM_IDS.into_iter().any(is) {
            headers::UPSTREAM_REQUEST_ID.write(&mut upstream_head.forwarded, value);
        }
    }
    upstream_head.is_encoded = is_encoded(head);
    upstream_head
}

/// Whether the body is compressed.
pub(crate) fn is_encoded(head: &ResponseHead<'_>) -> bool {
    let mut lines = head.headers.iter();
    lines.any(|(name, value)| {
        let value = value.trim_ascii();
        name.eq_ignore_ascii_case("content-encoding")
            && !value.is_empty()
            && !value.eq_ignore_ascii_case(b"identity")
    })
}
