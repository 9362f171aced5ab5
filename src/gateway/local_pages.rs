//! Protects a gateway without keys from the pages of a browser on its machine.

use crate::auth::keys::{KeyTable, Peer};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::cross_site;
use crate::http::cross_site::{Origins, Refusal};
use crate::http::head::Headers;

/// Refuses a request that a browser sends for a page that is not of this machine. With keys it is the key that decides: no
/// page has one by itself. `hosts` are names by which this machine may call.
///
/// # Errors
/// 403.
pub(crate) fn check(
    keys: &KeyTable,
    headers: &Headers<'_>,
    peer: Peer,
    hosts: &[String],
) -> Result<(), GatewayError> {
    if !keys.is_empty() || peer == Peer::UnixSocket {
        return Ok(());
    }
    let values = |name: &'static str| {
        let named = headers
            .iter()
            .filter(move |(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value)
    };
    cross_site::check(values, hosts, Origins::ThisMachine).map_err(|refusal| match refusal {
        Refusal::Host => GatewayError::new(
            ErrorCode::HostNotAllowed,
            "without keys, requests are taken for an IP address, `localhost`, or a name in `server.hosts`",
        ),
        Refusal::Origin => GatewayError::new(
            ErrorCode::OriginNotAllowed,
            "without keys, no request is taken that a browser sends for a page of another machine; add [[keys]] to serve such pages",
        ),
    })
}
