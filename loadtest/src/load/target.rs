//! Where load goes.

use ringside::runtime::tls::{ClientSettings, client_settings};
use std::net::{SocketAddr, ToSocketAddrs};

/// An endpoint.
#[derive(Clone)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// As it was written.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// `host` header.
    pub authority: String,
    /// Host alone, for TLS.
    pub host: String,
    /// Path prefix, `/v1` by default.
    pub path: String,
    /// For `https`.
    pub tls: Option<ClientSettings>,
    /// Bearer keys of its own; empty = those of the plan.
    pub keys: Vec<String>,
    /// Headers of its own, beside those of the plan.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// Reads a URL and looks its host up. `ca` is a PEM file to be trusted instead of the system's.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(name: Option<&str>, url: &str, ca: Option<&str>) -> Result<Self, String> {
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(format!("url {url}: must begin with http:// or https://")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => authority,
        };
        let with_port = if host.len() == authority.len() {
            format!("{authority}:{}", if is_tls { 443 } else { 80 })
        } else {
            authority.to_owned()
        };
        let address = with_port
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| format!("url {url}: no address"))?;
        let tls = if is_tls {
            let pem = ca
                .map(|file| std::fs::read(file).map_err(|error| format!("{file}: {error}")))
                .transpose()?;
            Some(client_settings(pem.as_deref())?)
        } else {
            None
        };
        Ok(Self {
            name: name.unwrap_or(authority).to_owned(),
            url: url.to_owned(),
            address,
            authority: authority.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            path: if path.is_empty() {
                "/v1".into()
            } else {
                format!("/{}", path.trim_end_matches('/'))
            },
            tls,
            keys: Vec::new(),
            headers: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::new(None, "http://127.0.0.1:8080", None).unwrap();
        assert_eq!(target.address, ([127, 0, 0, 1], 8080).into());
        assert_eq!(
            (target.path.as_str(), target.name.as_str()),
            ("/v1", "127.0.0.1:8080")
        );
        let target = Target::new(Some("a"), "http://[::1]/openai/v1/", None).unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (80, "::1"));
        assert_eq!(
            (target.path.as_str(), target.name.as_str()),
            ("/openai/v1", "a")
        );
        assert!(Target::new(None, "127.0.0.1:80", None).is_err());
        assert!(Target::new(None, "http://127.0.0.1:http", None).is_err());
    }
}
