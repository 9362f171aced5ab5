//! Why a client connection ends, and the error of a head that cannot be read.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::reject::Reject;

/// Why a connection ends without serving a request.
pub(crate) enum ConnectionEnd {
    /// The client closed or was idle too long, or the process stops.
    Closed,
    /// The client sent a malformed request.
    Rejected(GatewayError),
    /// The client was told that its request is refused; its body was not read.
    Refused,
}

pub(crate) fn rejected(reject: &Reject) -> ConnectionEnd {
    let code = match reject {
        Reject::HeadTooLarge { .. } | Reject::TooManyHeaders { .. } => ErrorCode::HeadTooLarge,
        Reject::VersionNotSupported => ErrorCode::HttpVersionNotSupported,
        Reject::MethodNotAllowed => ErrorCode::MethodNotAllowed,
        Reject::TransferEncodingNotSupported => ErrorCode::TransferEncodingNotSupported,
        Reject::ExpectationNotSupported => ErrorCode::ExpectationNotSupported,
        _ => ErrorCode::MalformedRequest,
    };
    debug_assert_eq!(code.status(), reject.status());
    ConnectionEnd::Rejected(GatewayError::new(code, reject.to_string()))
}
