//! `[admin]`: the listener of the control plane.

use crate::config::key::key;
use crate::config::limits::TAGS;
use crate::config::listen::{Listen, socket_address};
use crate::config::notation::{Notation, host_name, list, written};
use crate::config::problem::Complaint;
use crate::config::settings::settings;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

settings! {
    /// `[admin]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Admin {
        // Loopback: the admin API has no credentials of its own.
        /// admin listener; its port must not be one of `server.listen`. It has no credentials, so keep it private
        pub listen: SocketAddr = key("listen", address()).default(LISTEN).restart();
        // A page whose name is rebound to this machine's address must not reach the admin API by an operator's browser.
        /// host names by which the admin API may be called, beside IP addresses, `localhost` and `host.docker.internal`
        pub hosts: Vec<String> = key("hosts", list(TAGS, "host names", host_name()))
            .default_shown(Vec::new(), "none");
    }
}

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

impl Admin {
    /// The complaint about a port that the data plane takes too.
    pub(crate) fn conflict(&self, taken: &[Listen]) -> Option<Complaint> {
        let listen = self.listen;
        let is_taken = taken
            .iter()
            .any(|other| other.overlaps(&Listen::Tcp(listen)));
        is_taken.then(|| {
            Complaint::new(
                format!("`{listen}` is also an address of `server.listen`"),
                "set `[admin] listen` to an address with a port of its own",
            )
        })
    }
}

fn address() -> Notation<SocketAddr> {
    written("one IP address and port", |item, _| {
        socket_address(item.text()?)
    })
    .shown(|address| format!("\"{address}\""))
}
