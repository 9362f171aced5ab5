//! What the headers and the query of a request say about the cache. A client may only be stricter than the
//! configuration.

use crate::cache::controls::{Controls, read_coalesce, read_controls};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::forward_headers::forwarded;
use crate::headers;
use crate::http::encode;
use crate::http::head::{Headers, RequestHead};
use crate::protocols::client_api::ClientApi;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) struct ClientControls {
    pub cache: Controls,
    /// The request may share an upstream call with identical requests.
    pub coalesces: bool,
    /// Hash of the query, which decides the form of the response.
    pub form: u64,
    /// The lines of forwarded headers on which a response may depend: part of the cache's scope.
    pub scope_headers: Vec<u8>,
}

impl ClientControls {
    /// # Errors
    /// 400 for a malformed header.
    pub(crate) fn read(
        head: &RequestHead<'_>,
        client_api: &'static dyn ClientApi,
    ) -> Result<Self, GatewayError> {
        let headers = &head.headers;
        Ok(Self {
            cache: read_controls(
                headers::CACHE_CONTROL.read_str(headers),
                headers::CACHE_TTL.read_str(headers),
                headers::SIMILARITY_MIN.read_str(headers),
            )?,
            coalesces: read_coalesce(headers::COALESCE.read_str(headers))?,
            form: form_of(head.target),
            scope_headers: scope_headers(headers, client_api),
        })
    }

    /// # Errors
    /// 504 for `only-if-cached` (RFC 9111, 5.2.1.7).
    pub(crate) fn may_call_upstream(&self) -> Result<(), GatewayError> {
        if self.cache.only_if_cached {
            return Err(GatewayError::new(
                ErrorCode::NotCached,
                "the request said `only-if-cached` and no cached answer may be served for it",
            ));
        }
        Ok(())
    }

    /// Whether the cache is neither read nor written, whatever the request is.
    #[must_use]
    pub(crate) fn excludes_cache(&self) -> bool {
        self.cache.no_lookup && self.cache.no_store
    }
}

/// Hash of the query, without the client's key; 0 where there is none.
fn form_of(target: &str) -> u64 {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.filter(|pair| !pair.starts_with("key="));
    pairs.fold(0, |hash, pair| xxh3_64_with_seed(pair.as_bytes(), hash))
}

fn scope_headers(headers: &Headers<'_>, client_api: &'static dyn ClientApi) -> Vec<u8> {
    let mut lines = Vec::new();
    for (header, value) in forwarded(headers, client_api) {
        if header.in_cache_scope {
            encode::header(&mut lines, header.name, value);
        }
    }
    lines
}
