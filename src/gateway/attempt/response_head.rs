//! What is taken from the head of a provider's answer. It must not know what becomes of the body.

use crate::gateway::attempt::classify;
use crate::gateway::respond::PASSED_TO_CLIENT;
use crate::headers;
use crate::http::encode;
use crate::http::head::ResponseHead;
use crate::http::retry_after::retry_after;
use crate::runtime::clock;
use std::time::Duration;

/// What is taken from an answer's head.
pub(crate) struct UpstreamHead {
    /// Encoded header lines that cross to the client.
    pub passed: Vec<u8>,
    /// It is a stream of events.
    pub is_event_stream: bool,
    /// Its body is JSON.
    pub is_json: bool,
    /// Its body is compressed.
    pub is_encoded: bool,
    /// How long a 429 says to wait.
    pub wait: Option<Duration>,
    /// AWS's word for the kind of error (`x-amzn-errortype`, up to a colon).
    pub error_kind: Option<String>,
}

impl UpstreamHead {
    /// How long the body says to wait, where no header did.
    pub(crate) fn take_wait(&mut self, wait: Option<Duration>) {
        if let (Some(wait), None) = (wait, self.wait) {
            self.wait = Some(wait);
            let seconds = classify::whole_seconds(wait);
            headers::RETRY_AFTER.write_u64(&mut self.passed, seconds);
        }
    }
}

/// The type of a stream of server-sent events, and of AWS's.
const EVENTS: &str = "text/event-stream";
const AWS_EVENTS: &str = "application/vnd.amazon.eventstream";

/// Headers in which providers name a request.
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

/// Takes what is needed.
pub(crate) fn upstream_head(head: &ResponseHead<'_>) -> UpstreamHead {
    let media_type = media_type(head);
    let is_type = |wanted: &str| media_type.eq_ignore_ascii_case(wanted.as_bytes());
    let is_of_aws = is_type(AWS_EVENTS);
    let mut taken = UpstreamHead {
        passed: Vec::with_capacity(128),
        is_event_stream: is_of_aws || is_type(EVENTS),
        is_json: is_type("application/json"),
        is_encoded: false,
        wait: None,
        error_kind: None,
    };
    if head.status == 429 {
        taken.wait = retry_after(&head.headers, clock::since_epoch());
        if let (Some(wait), None) = (taken.wait, headers::RETRY_AFTER.read(&head.headers)) {
            headers::RETRY_AFTER.write_u64(&mut taken.passed, classify::whole_seconds(wait));
        }
    }
    for (name, value) in head.headers.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(passed) = PASSED_TO_CLIENT.into_iter().find(|one| is(one)) {
            // No client reads AWS's events: they are translated.
            let is_replaced = is_of_aws && is(headers::CONTENT_TYPE.name());
            let value = if is_replaced {
                EVENTS.as_bytes()
            } else {
                value
            };
            encode::header(&mut taken.passed, passed, value);
        } else if is("x-amzn-errortype") {
            let kind = std::str::from_utf8(value).unwrap_or_default();
            taken.error_kind = kind.split(':').next().map(str::to_owned);
        } else if UPSTREAM_IDS.into_iter().any(is) {
            headers::UPSTREAM_REQUEST_ID.write(&mut taken.passed, value);
        }
        taken.is_encoded |= is("content-encoding");
    }
    taken
}
