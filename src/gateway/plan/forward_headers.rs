//! The client's headers that are forwarded to providers. It must not know which provider that is.

use crate::headers;
use crate::headers::Header;
use crate::http::encode;
use crate::http::head::Headers;
use crate::protocols::client_api::ClientApi;
use crate::protocols::forwarded_headers::{ForwardedHeader, Selects};
use std::ops::Range;

/// Encoded header lines for providers.
pub(crate) struct ForwardedHeaders {
    lines: Vec<u8>,
    /// Where the headers of the client's own API begin.
    native_start: usize,
    request_id: Range<usize>,
    /// What the headers of the client's own API select.
    selects: Selects,
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

    /// What the lines for such a provider select there.
    pub(crate) fn selects(&self, is_native: bool) -> Selects {
        if is_native {
            self.selects
        } else {
            Selects::Nothing
        }
    }
}

/// The forwarded ones of a client's headers, with their values.
pub(crate) fn forwarded<'h>(
    headers: &'h Headers<'_>,
    client_api: &'static dyn ClientApi,
) -> impl Iterator<Item = (&'static ForwardedHeader, &'h [u8])> {
    let api = client_api.name();
    headers
        .iter()
        .filter_map(move |(name, value)| Some((ForwardedHeader::find(name, api)?, value)))
}

/// Encodes the headers for providers.
#[must_use]
pub(crate) fn forwarded_headers(
    headers: &Headers<'_>,
    client_api: &'static dyn ClientApi,
    request_id: &str,
) -> ForwardedHeaders {
    let (mut lines, mut native) = (Vec::with_capacity(128), Vec::new());
    let mut selects = Selects::Nothing;
    for (header, value) in forwarded(headers, client_api) {
        if header.goes_to_all() {
            encode::header(&mut lines, header.name, value);
        } else {
            encode::header(&mut native, header.name, value);
            selects = selects.max(header.selects(value));
        }
    }
    headers::X_REQUEST_ID.write(&mut lines, request_id.as_bytes());
    let native_start = lines.len();
    lines.extend_from_slice(&native);
    let id_end = native_start.saturating_sub("\r\n".len());
    ForwardedHeaders {
        lines,
        native_start,
        request_id: id_end.saturating_sub(request_id.len())..id_end,
        selects,
    }
}
