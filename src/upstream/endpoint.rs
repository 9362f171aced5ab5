//! Where a provider is reached: addresses (kept up to date by the control plane), TLS, time limits.

use crate::config::base_url::BaseUrl;
use crate::config::sections::provider::{Connection, Timeouts};
use crate::runtime::tls::ClientSettings;
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One provider's endpoint. Shared by all cores; connections are pooled by `id`.
pub struct Endpoint {
    /// Identity of host, port and trust: endpoints that may share connections have the same.
    pub id: u32,
    /// Scheme, host and path.
    pub url: BaseUrl,
    /// TLS settings; `None` for plaintext.
    pub tls: Option<ClientSettings>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Unused connections stored per core.
    pub idle_connections_max: usize,
    addresses: Arc<Addresses>,
}

/// Addresses of a host, or why there are none. Written by the control plane only.
pub struct Addresses {
    /// Host name or IP literal.
    pub host: String,
    /// Port.
    pub port: u16,
    resolution: ArcSwap<Resolution>,
    next: AtomicUsize,
}

enum Resolution {
    Addresses(Vec<SocketAddr>),
    Unresolved(String),
}

impl Addresses {
    /// Addresses of `host`: resolution at once for an IP literal, else to be resolved.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let resolution = match host.parse::<IpAddr>() {
            Ok(ip) => Resolution::Addresses(vec![SocketAddr::new(ip, port)]),
            Err(_) => Resolution::Unresolved("not resolved yet".into()),
        };
        Self {
            host: host.to_owned(),
            port,
            resolution: ArcSwap::from_pointee(resolution),
            next: AtomicUsize::new(0),
        }
    }

    /// True for a name, which must be resolved again from time to time.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Takes over a resolver's outcome. A failure keeps the last good addresses.
    pub fn update(&self, resolved: Result<Vec<SocketAddr>, String>) {
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                self.resolution
                    .store(Arc::new(Resolution::Addresses(addresses)));
            }
            failed => {
                if let Resolution::Unresolved(_) = **self.resolution.load() {
                    let why = failed.err().unwrap_or_else(|| "no address".into());
                    self.resolution.store(Arc::new(Resolution::Unresolved(why)));
                }
            }
        }
    }

    /// The next address, in turn.
    ///
    /// # Errors
    /// Why the host has no address.
    pub fn pick(&self) -> Result<SocketAddr, String> {
        match &**self.resolution.load() {
            Resolution::Addresses(addresses) => {
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                addresses
                    .get(turn % addresses.len().max(1))
                    .copied()
                    .ok_or_else(|| "no address".into())
            }
            Resolution::Unresolved(why) => Err(format!("host `{}`: {why}", self.host)),
        }
    }
}

impl Endpoint {
    /// An endpoint over shared addresses.
    #[must_use]
    pub fn new(
        id: u32,
        url: BaseUrl,
        tls: Option<ClientSettings>,
        connection: &Connection,
        addresses: Arc<Addresses>,
    ) -> Self {
        Self {
            id,
            url,
            tls,
            timeouts: connection.timeouts,
            idle_connections_max: connection.idle_connections_max,
            addresses,
        }
    }

    /// The host's addresses.
    #[must_use]
    pub fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_look_up_keeps_the_last_good_addresses() {
        let addresses = Addresses::new("api.example", 443);
        assert!(addresses.pick().unwrap_err().contains("api.example"));
        addresses.update(Err("no such host".into()));
        assert!(addresses.pick().unwrap_err().contains("no such host"));
        let (a, b) = ("1.2.3.4:443".parse().unwrap(), "[::1]:443".parse().unwrap());
        addresses.update(Ok(vec![a, b]));
        addresses.update(Err("server down".into()));
        addresses.update(Ok(vec![]));
        let mut picked = [addresses.pick().unwrap(), addresses.pick().unwrap()];
        picked.sort();
        assert_eq!(picked, [a, b]);
    }
}
