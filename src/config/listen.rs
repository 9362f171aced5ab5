//! Addresses to listen on. It must not know which key holds one.

use crate::config::limits;
use crate::config::problem::Complaint;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// One listen address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `host:port`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

impl Listen {
    /// True when one of the two could not be bound beside the other.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => overlap(a, b),
            (a, b) => a == b,
        }
    }
}

/// `host:port` or `unix:/path`.
pub(crate) fn listen(text: &str) -> Result<Listen, Complaint> {
    let Some(path) = text.strip_prefix("unix:") else {
        return socket_address(text).map(Listen::Tcp);
    };
    let longest = limits::UNIX_PATH_BYTES_MAX;
    if path.is_empty() || path.len() > longest || path.contains('\0') {
        return Err(Complaint::new(
            format!("a socket path has 1 to {longest} bytes (limit UNIX_PATH_BYTES_MAX)"),
            "write e.g. \"unix:/run/ringside.sock\"",
        ));
    }
    Ok(Listen::Unix(PathBuf::from(path)))
}

/// `host:port`. The host is an IP address: a name could resolve to more addresses than the user expects.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        let port = text
            .rsplit_once(':')
            .map(|(_, port)| port)
            .filter(|port| port.parse::<u16>().is_ok())
            .unwrap_or("PORT");
        Complaint::new(
            format!("`{text}` is not an IP address with a port"),
            format!(
                "write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for every \
                 IPv4 address, or \"[::]:{port}\" for every address"
            ),
        )
    })
}

/// True when one of the two could not be bound beside the other.
fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    let same_ip = a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (any(a.ip()) || any(b.ip())));
    a.port() != 0 && a.port() == b.port() && same_ip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_on_the_same_port() {
        let overlap = |a: &str, b: &str| overlap(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:80", "[::]:80"));
    }
}
