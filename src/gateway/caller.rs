//! Finds the caller of a request from the credentials in its head. It must not know what the request asks for.

use crate::auth::keys::{Caller, SEVERAL_KEYS};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::local_pages;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::headers;
use crate::protocols::client_api::ClientApi;
use crate::server::connection::Request;

/// The headers that can hold a key, beside `authorization`.
const KEY_HEADERS: [headers::Header; 3] = [
    headers::X_API_KEY,
    headers::API_KEY,
    headers::X_GOOG_API_KEY,
];

/// # Errors
/// 401 for a missing or wrong key, or several; 403 for a remote caller, or a web page, when no keys are configured.
pub(crate) fn authenticate<'s>(
    snapshot: &'s Snapshot,
    request: &Request<'_>,
    client_api: &'static dyn ClientApi,
) -> Result<Caller<'s>, GatewayError> {
    let headers = &request.head.headers;
    let hosts = &snapshot.config.server.hosts;
    local_pages::check(&snapshot.keys, headers, request.peer, hosts)?;
    let authorization = headers::AUTHORIZATION.read(headers);
    if authorization.is_some() && headers.count(headers::AUTHORIZATION.name()) > 1 {
        return Err(several());
    }
    let mut api_key = None;
    for header in KEY_HEADERS {
        let Some(value) = header.read(headers) else {
            continue;
        };
        if headers.count(header.name()) > 1 || api_key.is_some_and(|other| other != value) {
            return Err(several());
        }
        api_key = Some(value);
    }
    let in_query = client_api.key_in_query(request.head.target)?;
    let in_query = in_query.as_deref().map(str::as_bytes);
    if let (Some(in_query), Some(api_key)) = (in_query, api_key)
        && in_query != api_key
    {
        return Err(several());
    }
    let api_key = api_key.or(in_query);
    snapshot
        .keys
        .authenticate(authorization, api_key, request.peer)
}

/// Another parser before or behind the gateway could take another of them for the caller's.
fn several() -> GatewayError {
    GatewayError::new(ErrorCode::InvalidApiKey, SEVERAL_KEYS)
}
