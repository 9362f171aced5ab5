//! The affinity key of a request. The policy `sticky` gives requests with the same key the same target, and experiments
//! give them the same arm.

use crate::base::names::Name;
use crate::headers;
use crate::http::head::Headers;
use xxhash_rust::xxh3::xxh3_64;

/// Hash of the session that a header names, else of the virtual key; `None` without either.
#[must_use]
pub(crate) fn affinity_key(headers: &Headers<'_>, key: Option<Name>) -> Option<u64> {
    let session = headers::SESSION.read(headers);
    session
        .map(xxh3_64)
        .or_else(|| key.map(|key| xxh3_64(&key.number().to_le_bytes())))
}
