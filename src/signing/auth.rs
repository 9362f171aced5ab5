//! How a request proves who sends it, as pure functions: time and credentials are handed in.
//!
//! No sockets, no clock, no randomness. It must not know any provider's dialect: a dialect says which header
//! carries its API keys, and what it sends, and has the rest written.

use crate::signing::sigv4;
use crate::signing::sigv4::{AmzDate, AwsKeys, Scope, ToSign};

/// The header in which a dialect carries API keys: its name, and what stands before the key.
#[derive(Debug, Clone, Copy)]
pub struct KeyHeader {
    /// Name in lower case.
    pub name: &'static str,
    /// What stands before the key.
    pub before: &'static str,
}

/// `authorization: Bearer …`, in which every token is carried too.
pub(crate) const BEARER: KeyHeader = KeyHeader {
    name: "authorization",
    before: "Bearer ",
};

/// What proves who sends a request.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'r> {
    /// Nothing does.
    None,
    /// An API key, in the header of the dialect.
    Key(&'r str),
    /// A token, as a bearer's.
    Bearer(&'r str),
    /// A signature.
    Aws {
        /// The keys.
        keys: &'r AwsKeys,
        /// Where the signature counts.
        scope: Scope<'r>,
        /// When.
        at: AmzDate,
    },
}

impl Auth<'_> {
    /// Whether [`Auth::write`] reads what is sent: then body and path must be final before the head is.
    #[must_use]
    pub fn signs(&self) -> bool {
        matches!(self, Self::Aws { .. })
    }

    /// Appends the header lines. `request` is what is sent; it counts only if this signs.
    pub fn write(&self, out: &mut Vec<u8>, key_header: KeyHeader, request: &ToSign<'_>) {
        let (header, secret) = match *self {
            Self::None => return,
            Self::Key(key) => (key_header, key),
            Self::Bearer(token) => (BEARER, token),
            Self::Aws { keys, scope, at } => {
                return sigv4::write_headers(out, keys, scope, at, request);
            }
        };
        for part in [header.name, ": ", header.before, secret, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_one_set_of_headers() {
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
                before: "",
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
