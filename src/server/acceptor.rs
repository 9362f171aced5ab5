//! One blocking thread per listen address passes each connection to the core with the fewest connections.
//!
//! This balances the load exactly (SO_REUSEPORT hashes, which is uneven for the few connections of an SDK), behaves
//! the same on both drivers, and never cancels an accept on a ring.

use crate::config::listen::Listen;
use crate::error::code::ErrorCode;
use crate::runtime::descriptors;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Connections the kernel may hold before they are accepted.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept, for example if there are no free file descriptors.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A connection that is being passed to a core.
pub enum Accepted {
    /// From a TCP listener, with the peer's address.
    Tcp(TcpStream, SocketAddr),
    /// From a Unix-socket listener.
    Unix(UnixStream),
}

impl Accepted {
    fn descriptor(&self) -> RawFd {
        match self {
            Self::Tcp(stream, _) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// The number of open connections of a core. It has its own cache line, because both the acceptors and the core write
/// it.
#[derive(Default)]
#[repr(align(128))]
pub struct CoreLoad {
    open: AtomicU32,
}

impl CoreLoad {
    /// Records that the core closed a connection.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of connections that are open or being passed to the core.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }
}

/// A bound listener that does not accept yet.
pub struct Acceptor {
    listener: Listener,
    /// The bound address, with the actual port.
    pub address: String,
    stopping: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Stops an acceptor and reports how many connections it rejected.
pub struct AcceptorHandle {
    listener: Listener,
    stopping: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    path: Option<std::path::PathBuf>,
}

impl Acceptor {
    /// Binds `listen`. A Unix socket of a process that no longer exists is replaced.
    ///
    /// # Errors
    /// A sentence that names the address and what to do.
    pub fn bind(listen: &Listen) -> Result<Self, String> {
        let (listener, address) = match listen {
            Listen::Tcp(address) => {
                let listener = bind_tcp(*address).map_err(|error| explain(address, &error))?;
                let bound = listener.local_addr().map_err(|error| error.to_string())?;
                (Listener::Tcp(listener), bound.to_string())
            }
            Listen::Unix(path) => {
                let shown = format!("unix:{}", path.display());
                if UnixStream::connect(path).is_err() {
                    // No process listens there: the file is left over, or does not exist.
                    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| {
                        std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type())
                    });
                    if is_socket {
                        let _ = std::fs::remove_file(path);
                    }
                }
                let listener = UnixListener::bind(path).map_err(|error| explain(&shown, &error))?;
                (Listener::Unix(listener), shown)
            }
        };
        Ok(Self {
            listener,
            address,
            stopping: Arc::default(),
            refused: Arc::default(),
        })
    }

    /// Starts a thread that accepts connections. `hand_over` receives the number of the core.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        self,
        loads: Arc<[CoreLoad]>,
        per_core_max: u32,
        hand_over: impl Fn(usize, Accepted) -> bool + Send + 'static,
    ) -> io::Result<AcceptorHandle> {
        let (listener, path) = match &self.listener {
            Listener::Tcp(listener) => (Listener::Tcp(listener.try_clone()?), None),
            Listener::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(Into::into);
                (Listener::Unix(listener.try_clone()?), path)
            }
        };
        let handle = AcceptorHandle {
            listener,
            stopping: Arc::clone(&self.stopping),
            refused: Arc::clone(&self.refused),
            path,
        };
        std::thread::Builder::new()
            .name("acceptor".into())
            .spawn(move || self.accept_all(&loads, per_core_max, &hand_over))?;
        Ok(handle)
    }

    fn accept_all(
        &self,
        loads: &[CoreLoad],
        per_core_max: u32,
        hand_over: &impl Fn(usize, Accepted) -> bool,
    ) {
        while !self.stopping.load(Ordering::Acquire) {
            let accepted = match &self.listener {
                Listener::Tcp(listener) => listener
                    .accept()
                    .map(|(stream, peer)| Accepted::Tcp(stream, peer)),
                Listener::Unix(listener) => {
                    listener.accept().map(|(stream, _)| Accepted::Unix(stream))
                }
            };
            let accepted = match accepted {
                Ok(accepted) => accepted,
                Err(_) if self.stopping.load(Ordering::Acquire) => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    std::thread::sleep(PAUSE_AFTER_FAILURE);
                    continue;
                }
            };
            let least = (0..loads.len()).min_by_key(|core| loads.get(*core).map(CoreLoad::open));
            let Some((core, load)) = least.and_then(|core| Some((core, loads.get(core)?))) else {
                return;
            };
            let limit = if load.open() >= per_core_max {
                Some("server.connections_per_core_max")
            } else if !descriptors::leaves_enough(accepted.descriptor()) {
                Some("the process's limit of open files; a quarter of it is not for clients")
            } else {
                None
            };
            if let Some(limit) = limit {
                self.refused.fetch_add(1, Ordering::Relaxed);
                refuse(accepted, limit);
                continue;
            }
            load.open.fetch_add(1, Ordering::Relaxed);
            if !hand_over(core, accepted) {
                load.closed();
                return;
            }
        }
    }
}

/// Sends the reason to a plaintext client; best effort, never blocking.
fn refuse(accepted: Accepted, limit: &str) {
    let code = ErrorCode::ConnectionsExhausted;
    let message = format!("too many open connections ({limit})");
    let body = format!(
        r#"{{"error":{{"message":"{message}","type":"server_error","param":null,"code":"{code}"}}}}"#
    );
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    match accepted {
        Accepted::Tcp(mut stream, _) => {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(response.as_bytes());
        }
        Accepted::Unix(mut stream) => {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(response.as_bytes());
        }
    }
}

impl AcceptorHandle {
    /// Stops accepting. Shutting down the listening socket wakes the blocked accept.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _ = match &self.listener {
            Listener::Tcp(listener) => {
                socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both)
            }
            Listener::Unix(listener) => {
                socket2::SockRef::from(listener).shutdown(std::net::Shutdown::Both)
            }
        };
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The number of connections that were rejected because every core was at its limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn explain(address: &impl std::fmt::Display, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop it, or set another address in server.listen"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not bind it: use a port above 1023 or a writable path in server.listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: correct server.listen"
        }
        _ => "correct server.listen",
    };
    format!("cannot listen on {address}: {error}; {remedy}")
}
