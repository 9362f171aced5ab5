//! The client's headers that are forwarded to providers. It must not know which provider that is.

use crate::headers;
use crate::headers::Header;
use crate::http::encode;
use crate::http::head::Headers;
use crate::protocols::client_api::ClientApi;
use std::ops::Range;

/// Client headers that are forwarded to every provider. No other header is, except those of the client's API to a
/// provider with the same API: credentials are replaced, and the gateway frames its own messages.
const FORWARDED_TO_ALL: [&str; 3] = [
    headers::IDEMPOTENCY_KEY.name(),
    headers::TRACEPARENT.name(),
    headers::TRACESTATE.name(),
];

/// Encoded header lines for providers.
pub(crate) struct ForwardedHeaders {
    lines: Vec<u8>,
    /// Where the headers of the client's own API begin.
    native_start: usize,
    request_id: Range<usize>,
}

impl ForwardedHeaders {
    pub(crate) fn request_id(&self) -> &str {
        let bytes = self.lines.get(self.request_id.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Adds a header for providers that have the client's API.
    pub(crate) fn add(&mut self, name: Header, value: &str) {
        name.write(&mut self.lines, value);
    }

    /// The lines for a provider; `is_native` says that it has the client's API.
    pub(crate) fn lines(&self, is_native: bool) -> &[u8] {
        let end = if is_native {
            self.lines.len()
        } else {
            self.native_start
        };
        self.lines.get(..end).unwrap_or_default()
    }
}

/// Encodes the headers for providers.
#[must_use]
pub(crate) fn forwarded_headers(
    headers: &Headers<'_>,
    client_api: &dyn ClientApi,
    request_id: &str,
) -> ForwardedHeaders {
    let mut lines = Vec::with_capacity(128);
    let forward = |wanted: &[&str], lines: &mut Vec<u8>| {
        for (name, value) in headers.iter() {
            if wanted
                .iter()
                .any(|wanted| name.eq_ignore_ascii_case(wanted))
            {
                encode::header(lines, name, value);
            }
        }
    };
    forward(&FORWARDED_TO_ALL, &mut lines);
    headers::X_REQUEST_ID.write(&mut lines, request_id.as_bytes());
    let native_start = lines.len();
    forward(client_api.forwarded_headers(), &mut lines);
    let id_end = native_start.saturating_sub("\r\n".len());
    ForwardedHeaders {
        lines,
        native_start,
        request_id: id_end.saturating_sub(request_id.len())..id_end,
    }
}
