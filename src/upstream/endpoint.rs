//! How a provider is reached: addresses (updated by the control plane), TLS, time limits.

use crate::config::base_url::BaseUrl;
use crate::config::sections::provider::{Connection, Timeouts};
use crate::runtime::tls::ClientSettings;
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One provider's endpoint. Shared by all cores; connections are pooled by `id`.
pub struct Endpoint {
    /// Identifies host, port and trust: endpoints with the same id may share connections.
    pub id: u32,
    /// Scheme, host and path.
    pub url: BaseUrl,
    /// TLS settings; `None` for plaintext.
    pub tls: Option<ClientSettings>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Most idle connections per core.
    pub idle_connections_max: usize,
    addresses: Arc<Addresses>,
}

/// The addresses of a host, or why there are none. Only the control plane writes them.
pub struct Addresses {
    /// Host name or IP literal.
    pub host: String,
    /// Port.
    pub port: u16,
    resolution: ArcSwap<Resolution>,
    next: AtomicUsize,
    /// A connection failed: the name may have moved.
    wants_look_up: AtomicBool,
    is_looked_up: AtomicBool,
}

enum Resolution {
    Addresses(Vec<SocketAddr>),
    Unresolved(String),
}

impl Addresses {
    /// The addresses of `host`. An IP literal is resolved at once; a name is resolved later.
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
            wants_look_up: AtomicBool::new(false),
            is_looked_up: AtomicBool::new(false),
        }
    }

    /// Whether the host is a name, which must be resolved again from time to time.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Asks the control plane to look the name up soon, because a connection to one of its addresses failed.
    pub(crate) fn request_look_up(&self) {
        self.wants_look_up.store(true, Ordering::Relaxed);
    }

    /// Whether a connection failed since the last look-up began.
    #[must_use]
    pub(crate) fn wants_look_up(&self) -> bool {
        self.wants_look_up.load(Ordering::Relaxed)
    }

    /// Begins a look-up; false if one is in flight.
    pub(crate) fn begin_look_up(&self) -> bool {
        let begins = !self.is_looked_up.swap(true, Ordering::Relaxed);
        if begins {
            self.wants_look_up.store(false, Ordering::Relaxed);
        }
        begins
    }

    /// Ends it.
    pub(crate) fn end_look_up(&self) {
        self.is_looked_up.store(false, Ordering::Relaxed);
    }

    /// Records the result of a resolution. After a failure the last addresses stay in use.
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

    /// The next address, in rotation.
    ///
    /// # Errors
    /// The host has no address; the text gives the reason.
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
    /// An endpoint with shared addresses.
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
