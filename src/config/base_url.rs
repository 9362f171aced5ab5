//! The base URL of a provider or token endpoint. It must not know which key holds one.

use crate::config::limits;
use crate::config::problem::Complaint;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Scheme, authority and path prefix of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// True for `https`.
    pub tls: bool,
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// Port, also where the URL has none.
    pub port: u16,
    /// Path prefix without a trailing slash, e.g. `/v1`; may be empty.
    pub path: String,
    /// Value of the `Host` header.
    pub authority: String,
}

/// Scheme, host, optional port and path prefix of a provider.
pub(crate) fn base_url(text: &str) -> Result<BaseUrl, Complaint> {
    // No message quotes the URL: the wrong part may be a password.
    let wrong = |what: &str| {
        Complaint::new(
            what,
            "write scheme, host, optional port and path prefix, e.g. \"https://api.openai.com/v1\"",
        )
    };
    if text.len() > limits::BASE_URL_BYTES_MAX {
        return Err(wrong("the URL is too long (limit BASE_URL_BYTES_MAX)"));
    }
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(wrong("the URL holds a blank or a character outside ASCII"));
    }
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| wrong("the URL has no scheme"))?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(wrong("the URL's scheme is neither `https` nor `http`")),
    };
    if let Some(c) = rest.chars().find(|c| "?#\\\"<>^`{|}".contains(*c)) {
        return Err(wrong(&format!(
            "`{c}` in the URL: it has a host and a path, no query and no fragment"
        )));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(wrong(
            "a user or password in the URL: credentials go into `api_keys`",
        ));
    }
    let (host, port) = host_and_port(authority).map_err(wrong)?;
    let default_port = if tls { 443 } else { 80 };
    let bracketed = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    Ok(BaseUrl {
        tls,
        port: port.unwrap_or(default_port),
        path: path.trim_end_matches('/').to_owned(),
        authority: match port {
            Some(port) if port != default_port => format!("{bracketed}:{port}"),
            _ => bracketed,
        },
        host,
    })
}

/// Host in lower case without brackets, and the port if there is one.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the URL's `[` is not closed")?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| "the URL's brackets hold no IPv6 address")?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err("something follows the URL's `]`"),
                port => (host, port),
            }
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            if !is_host(host) {
                return Err("the URL has no valid host");
            }
            (host, port)
        }
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
            Some(port.ok_or("the URL's port is outside 1 to 65535")?)
        }
        Some(_) => return Err("the URL's port is no number"),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// A DNS name or an IPv4 address.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= limits::HOST_BYTES_MAX
        && name.split('.').all(label)
        // A name that ends in digits only is an address, and then must be a whole one.
        && (!name.rsplit('.').next().is_some_and(numeric) || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_split() {
        let cases = [
            (
                "https://api.openai.com/v1",
                (true, "api.openai.com", 443, "/v1", "api.openai.com"),
            ),
            ("HTTP://Mock:81/", (false, "mock", 81, "", "mock:81")),
            ("https://x:443", (true, "x", 443, "", "x")),
            (
                "http://[::1]:8000/a/b/",
                (false, "::1", 8000, "/a/b", "[::1]:8000"),
            ),
            (
                "http://127.0.0.1",
                (false, "127.0.0.1", 80, "", "127.0.0.1"),
            ),
        ];
        for (text, (tls, host, port, path, authority)) in cases {
            let expected = BaseUrl {
                tls,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
                authority: authority.to_owned(),
            };
            assert_eq!(base_url(text).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_base_urls_are_refused_and_not_quoted() {
        for text in [
            "",
            "api.openai.com",
            "ftp://x",
            "https://",
            "https:///v1",
            "https://u:hunter2@x",
            "https://x?a=hunter2",
            "https://x/#a",
            "https://x:0",
            "https://x:",
            "https://x:99999",
            "https://x:8o",
            "https://[::1",
            "https://[x]",
            "https://[::1]x",
            "https://a b",
            "https://a..b",
            "https://-a",
            "https://1.2.3",
            "https://1.2.3.999",
            "https://é",
            "https://x:+80",
            "https://::1/",
            "https://x\r\nhost: y",
        ] {
            let complaint = base_url(text).unwrap_err();
            assert!(!format!("{complaint:?}").contains("hunter2"), "{text}");
        }
    }
}
