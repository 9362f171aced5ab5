//! Writes the credentials of a request to a provider. Pure: the time and the credentials are passed in.
//!
//! It must not know any dialect. A dialect passes the header that carries its API keys and the request to be signed.

use crate::signing::sigv4;
use crate::signing::sigv4::{AmzDate, AwsKeys, Scope, ToSign};

/// The header in which a dialect sends API keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyHeader {
    /// Name in lower case.
    pub name: &'static str,
    /// Text before the key in the header's value.
    pub prefix: &'static str,
}

/// `authorization: Bearer …`. Every dialect sends tokens in it.
pub(crate) const BEARER: KeyHeader = KeyHeader {
    name: "authorization",
    prefix: "Bearer ",
};

/// The credentials of a request.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'r> {
    /// No credentials.
    None,
    /// An API key, in the header of the dialect.
    Key(&'r str),
    /// A bearer token.
    Bearer(&'r str),
    /// A signature of AWS.
    Aws {
        /// Credentials to sign with.
        keys: &'r AwsKeys,
        /// Region and service that the signature is valid for.
        scope: Scope<'r>,
        /// Time of the signature.
        at: AmzDate,
    },
}

impl Auth<'_> {
    /// Whether [`Auth::write`] signs the request. Then path and body must be final before the head is written.
    #[must_use]
    pub fn signs(&self) -> bool {
        matches!(self, Self::Aws { .. })
    }

    /// Appends the header lines. `request` is read only if [`Auth::signs`].
    pub fn write(&self, out: &mut Vec<u8>, key_header: KeyHeader, request: &ToSign<'_>) {
        let (header, secret) = match *self {
            Self::None => return,
            Self::Key(key) => (key_header, key),
            Self::Bearer(token) => (BEARER, token),
            Self::Aws { keys, scope, at } => {
                return sigv4::write_headers(out, keys, scope, at, request);
            }
        };
        for part in [header.name, ": ", header.prefix, secret, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_credentials_writes_its_headers() {
        let request = ToSign {
            method: "POST",
            path: "/",
            query: "",
            headers: &[("host", "h")],
            body: b"{}",
        };
        let written = |auth: Auth<'_>| {
            let mut out = Vec::new();
            let key_header = KeyHeader {
                name: "x-api-key",
                prefix: "",
            };
            auth.write(&mut out, key_header, &request);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Auth::None), "");
        assert_eq!(written(Auth::Key("k")), "x-api-key: k\r\n");
        assert_eq!(written(Auth::Bearer("t")), "authorization: Bearer t\r\n");
        let keys = AwsKeys::new("A", "s", None);
        let scope = Scope {
            region: "r",
            service: "s",
        };
        let at = AmzDate::from_unix(0);
        let signed = Auth::Aws {
            keys: &keys,
            scope,
            at,
        };
        assert!(signed.signs() && !Auth::Bearer("t").signs());
        assert!(
            written(signed).starts_with("x-amz-date: 19700101T000000Z\r\nauthorization: AWS4-")
        );
    }
}
