//! `[server]`: the data plane.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{Bounds, GIB, HOUR, KIB, MIB, MINUTE, TAGS, TIMEOUT};
use crate::config::listen::{Listen, listen};
use crate::config::notation::{
    Choices, Notation, choice, duration, host_name, list, number, pem, size, written,
};
use crate::config::problem::Complaint;
use crate::config::reader::Item;
use crate::config::references::Pem;
use crate::config::settings::{optional_section, section, settings};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

settings! {
    /// `[server]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Server {
        // Loopback: without virtual keys the gateway is open, so only this machine may reach it by default.
        /// address, `"unix:/path"`, or a list of them
        pub listen: Vec<Listen> = key("listen", addresses())
            .default_shown(vec![Listen::Tcp(LISTEN)], "`\"127.0.0.1:8080\"`")
            .restart();
        /// data-plane threads; 0 = chosen from the machine
        pub cores: usize = key("cores", number(Bounds::new("CORES", 0, 1024))).default(0).restart();
        // Containers often forbid io_uring, so the gateway finds out by itself.
        /// I/O driver; `auto` = io_uring where the kernel permits it, else epoll
        pub driver: Driver = key("driver", choice(Driver::CHOICES)).default(Driver::Auto).restart();
        // A prompt with a few images in base64. The body is held in memory as a whole.
        /// largest request body; 413 beyond
        pub body_bytes_max: usize = key("body_max", size(Bounds::new("BODY_BYTES", KIB, GIB)))
            .default(20 * MIB)
            .restart();
        // Twelve bodies of the default `body_max` at once. Parsed and encoded copies come on top.
        /// request bodies in memory on one core; 503 beyond. Each of these limits is at least `body_max`
        pub bodies_per_core_bytes_max: usize = key("bodies_per_core_max", size(BODIES))
            .default(256 * MIB)
            .restart();
        // Leaves room for others, and is enough for one key that has the core to itself.
        /// the same, of one key
        pub bodies_per_key_bytes_max: usize = key("bodies_per_key_max", size(BODIES))
            .default(192 * MIB)
            .restart();
        // All of them are on this machine, which the gateway shares with them.
        /// the same, of all callers without a key, where no keys are configured
        pub bodies_keyless_bytes_max: usize = key("bodies_keyless_max", size(BODIES))
            .default(128 * MIB)
            .restart();
        // Four responses of the largest size that is buffered.
        /// providers' whole responses in memory on one core; 503 beyond
        pub responses_per_core_bytes_max: usize = key(
            "responses_per_core_max",
            size(Bounds::new("RESPONSES_BYTES", 64 * MIB, 1024 * GIB)),
        )
        .default(256 * MIB)
        .restart();
        // Keeps the file descriptors of one core below usual process limits.
        /// open client connections per core; a further one is closed
        pub connections_per_core_max: usize = key(
            "connections_per_core_max",
            number(Bounds::new("CONNECTIONS_PER_CORE", 1, 1_000_000)),
        )
        .default(8192)
        .restart();
        // A head is one or two packets; ten seconds allow for lost ones and end slow-loris clients.
        /// for a request head to arrive once its first byte came; 408 beyond
        pub head_timeout: Duration = key("head_timeout", duration(TIMEOUT))
            .default(Duration::from_secs(10))
            .restart();
        // The default `body_max` at about 3 Mbit/s.
        /// for a request body to arrive; 408 beyond
        pub body_timeout: Duration = key("body_timeout", duration(TIMEOUT)).default(MINUTE).restart();
        // Above the 60 s of common load balancers, so that they close first and never use a closed connection.
        /// how long a keep-alive connection may be idle
        pub idle_timeout: Duration = key("idle_timeout", duration(TIMEOUT))
            .default(Duration::from_secs(75))
            .restart();
        // A client that reads nothing for this long is gone.
        /// how long a write to a client may stall
        pub write_timeout: Duration = key("write_timeout", duration(TIMEOUT))
            .default(Duration::from_secs(30))
            .restart();
        // A page whose name is rebound to this machine's address must not reach a gateway without keys.
        /// while there are no keys: host names by which this machine may call, beside IP addresses, `localhost` and `host.docker.internal`
        pub hosts: Vec<String> = key("hosts", list(TAGS, "host names", host_name()))
            .default_shown(Vec::new(), "none");
        /// Graceful stop.
        pub drain: Drain = section("drain");
        /// Server certificate; `None` = plaintext.
        pub tls: Option<ServerTls> = optional_section("tls");
    }
}

settings! {
    /// `[server.drain]`, read when the process stops.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Drain {
        // Time for a load balancer to check readiness and to react.
        /// at a stop: readiness answers 503 for this long before the listeners close; zero closes them at once
        pub delay: Duration = key(
            "delay",
            duration(Bounds::new("DRAIN_DELAY", Duration::ZERO, MINUTE.saturating_mul(10))),
        )
        .default(Duration::from_secs(5));
        // The default grace period of Kubernetes.
        /// at a stop: how long busy connections may go on after that; zero cuts them at once
        pub deadline: Duration = key("deadline", duration(Bounds::new("DRAIN_DEADLINE", Duration::ZERO, HOUR)))
            .default(Duration::from_secs(30));
    }
}

settings! {
    /// `[server.tls]`, read: PEM texts.
    #[derive(Clone, PartialEq, Eq)]
    pub struct ServerTls {
        /// certificate chain; without `[server.tls]` the data plane serves plaintext
        pub cert_pem: Vec<u8> = key("cert", pem(Pem::Certificate))
            .required("add the certificate chain, e.g. `cert = \"file:server.crt\"`");
        /// private key; required beside `tls.cert`
        pub key_pem: Vec<u8> = key("key", pem(Pem::PrivateKey))
            .required("add the private key, e.g. `key = \"file:server.key\"`");
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls(…)")
    }
}

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Request bodies in memory on one core.
const BODIES: Bounds<usize> = Bounds::new("BODIES_BYTES", MIB, 1024 * GIB);
/// Addresses of the data plane; each has its own acceptor thread.
const LISTEN_ADDRESSES: Bounds<usize> = Bounds::new("LISTEN_ADDRESSES", 1, 16);

/// `[server] driver`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel permits it, else epoll.
    Auto,
    /// io_uring or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

impl Driver {
    pub(crate) const CHOICES: Choices<Self> = &[
        ("auto", Self::Auto),
        ("io_uring", Self::IoUring),
        ("epoll", Self::Epoll),
    ];
}

/// One address or a list of them, of which no two take the same port.
fn addresses() -> Notation<Vec<Listen>> {
    written("1 to 16 addresses", |item, _: &Context<'_>| {
        if !item.is_list() {
            return Ok(vec![listen(item.text()?)?]);
        }
        let mut taken: Vec<Listen> = Vec::new();
        for item in item.counted_list(&LISTEN_ADDRESSES)? {
            match address(&item, &taken) {
                Ok(address) => taken.push(address),
                Err(complaint) => item.complain(complaint),
            }
        }
        Ok(taken)
    })
}

fn address(item: &Item<'_>, taken: &[Listen]) -> Result<Listen, Complaint> {
    let address = listen(item.text()?)?;
    if taken.iter().any(|other| other.overlaps(&address)) {
        return Err(Complaint::new(
            "this address is already in the list",
            "remove one of the two, or give them different ports",
        ));
    }
    Ok(address)
}
