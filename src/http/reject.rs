//! Why a client's or a provider's head is rejected.

use std::fmt;

/// Why a request is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants' messages say what they mean")]
pub enum Reject {
    HeadTooLarge { bytes_max: usize },
    TooManyHeaders { headers_max: usize },
    BareLineFeed,
    BareCarriageReturn,
    NulByte,
    FoldedHeader,
    RequestLine,
    Malformed,
    VersionNotSupported,
    TargetNotOriginForm,
    MethodNotAllowed,
    HostNotOnce,
    BadHost,
    LengthAndTransferEncoding,
    SeveralLengths,
    BadLength,
    TransferEncodingNotSupported,
    TransferEncodingOnHttp10,
    Upgrade,
    ExpectationNotSupported,
}

impl Reject {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::HeadTooLarge { .. } | Self::TooManyHeaders { .. } => 431,
            Self::VersionNotSupported => 505,
            Self::MethodNotAllowed => 405,
            Self::TransferEncodingNotSupported => 501,
            Self::ExpectationNotSupported => 417,
            _ => 400,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLarge { bytes_max } => {
                return write!(f, "the request head is larger than {bytes_max} bytes");
            }
            Self::TooManyHeaders { headers_max } => {
                return write!(f, "the request has more than {headers_max} headers");
            }
            Self::BareLineFeed => "a line of the head ends in a bare line feed",
            Self::BareCarriageReturn => "the head contains a bare carriage return",
            Self::NulByte => "the head contains a NUL byte",
            Self::FoldedHeader => "a header is folded over two lines",
            Self::RequestLine => "the request line is not `METHOD /target HTTP/1.1`",
            Self::Malformed => "the head is malformed",
            Self::VersionNotSupported => "only HTTP/1.1 and HTTP/1.0 are supported",
            Self::TargetNotOriginForm => {
                "the request target must be a path of URI characters, without fragment"
            }
            Self::MethodNotAllowed => "this method is not allowed here",
            Self::HostNotOnce => "an HTTP/1.1 request needs exactly one host header",
            Self::BadHost => "the host header is not a name or address with an optional port",
            Self::LengthAndTransferEncoding => {
                "content-length and transfer-encoding must not occur together"
            }
            Self::SeveralLengths => "content-length must occur only once",
            Self::BadLength => "content-length is not a plain decimal number",
            Self::TransferEncodingNotSupported => {
                "the only supported transfer-encoding is `chunked`, once"
            }
            Self::TransferEncodingOnHttp10 => "HTTP/1.0 does not define transfer-encoding",
            Self::Upgrade => "upgrade is not supported",
            Self::ExpectationNotSupported => "the only supported expectation is 100-continue",
        })
    }
}

/// Why a provider's head cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants' messages say what they mean")]
pub enum BadUpstream {
    HeadTooLarge { bytes_max: usize },
    TooManyHeaders { headers_max: usize },
    Malformed,
    LengthAndTransferEncoding,
    SeveralLengths,
    BadLength,
    TransferEncodingNotSupported,
}

impl fmt::Display for BadUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLarge { bytes_max } => {
                return write!(f, "head larger than {bytes_max} bytes");
            }
            Self::TooManyHeaders { headers_max } => {
                return write!(f, "more than {headers_max} headers");
            }
            Self::Malformed => "malformed head",
            Self::LengthAndTransferEncoding => "content-length and transfer-encoding together",
            Self::SeveralLengths => "content-length twice",
            Self::BadLength => "content-length is not a plain decimal number",
            Self::TransferEncodingNotSupported => "transfer-encoding other than chunked",
        })
    }
}
