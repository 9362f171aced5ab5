//! The client's headers that cross to a provider. It must not know which provider that is.

use crate::headers;
use crate::headers::Header;
use crate::http::encode;
use crate::http::head::Headers;
use crate::protocols::client_api::ClientApi;
use std::ops::Range;

/// Client headers that cross to the provider. Everything else stays: credentials are replaced, framing
/// is made anew, and what is not known is not passed on. Those of the client's own dialect come to them.
const PASSED_TO_PROVIDER: [&str; 3] = [
    headers::IDEMPOTENCY_KEY.name(),
    headers::TRACEPARENT.name(),
    headers::TRACESTATE.name(),
];

/// Encoded headers that cross to the provider.
pub(crate) struct ForwardedHeaders {
    lines: Vec<u8>,
    /// Where those of the client's own dialect begin.
    own_at: usize,
    request_id: Range<usize>,
}

impl ForwardedHeaders {
    /// The request's id.
    pub(crate) fn request_id(&self) -> &str {
        let bytes = self.lines.get(self.request_id.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Adds one, for a provider of the client's own dialect.
    pub(crate) fn add(&mut self, name: Header, value: &str) {
        name.write(&mut self.lines, value);
    }

    /// Those for a provider that speaks the client's dialect, or does not.
    pub(crate) fn lines(&self, is_native: bool) -> &[u8] {
        let end = if is_native {
            self.lines.len()
        } else {
            self.own_at
        };
        self.lines.get(..end).unwrap_or_default()
    }
}

/// The headers that cross to the provider, encoded.
#[must_use]
pub(crate) fn forwarded_headers(
    headers: &Headers<'_>,
    client_api: &dyn ClientApi,
    request_id: &str,
) -> ForwardedHeaders {
    let mut lines = Vec::with_capacity(128);
    let pass = |wanted: &[&str], lines: &mut Vec<u8>| {
        for (name, value) in headers.iter() {
            if wanted.iter().any(|one| name.eq_ignore_ascii_case(one)) {
                encode::header(lines, name, value);
            }
        }
    };
    pass(&PASSED_TO_PROVIDER, &mut lines);
    headers::X_REQUEST_ID.write(&mut lines, request_id.as_bytes());
    let own_at = lines.len();
    pass(client_api.forwarded_headers(), &mut lines);
    let id_end = own_at.saturating_sub("\r\n".len());
    ForwardedHeaders {
        lines,
        own_at,
        request_id: id_end.saturating_sub(request_id.len())..id_end,
    }
}
