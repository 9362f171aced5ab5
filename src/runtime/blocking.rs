//! A blocking connection for slow work outside the core threads, limited by one deadline.

use crate::runtime::clock;
use crate::runtime::tls::ClientSettings;
use crate::runtime::tls_fault::describe;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A byte stream to a peer.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// Connects to the first address that accepts, with TLS if a name and settings are given.
///
/// # Errors
/// No address accepts in time, or the name cannot be verified. Reads and writes fail after `by`.
pub(crate) fn connect(
    addresses: &[SocketAddr],
    tls: Option<(&ClientSettings, &str)>,
    by: Instant,
) -> Result<Box<dyn Wire>> {
    let mut outcome = Err(Error::new(ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        outcome = left(by).and_then(|left| TcpStream::connect_timeout(address, left));
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    stream.set_nodelay(true)?;
    let stream = Bounded { stream, by };
    let Some((settings, host)) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;
    let session = ClientConnection::new(Arc::clone(settings), name).map_err(Error::other)?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}

/// What failed, for the operator.
pub(crate) fn why(error: &Error) -> String {
    let inner = error.get_ref();
    let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(fault) => format!("TLS failed ({})", describe(fault)),
        None if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            "no response in time".into()
        }
        None => error.to_string(),
    }
}

/// A stream whose reads and writes share one deadline.
struct Bounded {
    stream: TcpStream,
    by: Instant,
}

/// The remaining time, never zero, because a zero timeout means no timeout.
fn left(by: Instant) -> Result<Duration> {
    match by.saturating_duration_since(clock::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.stream.set_read_timeout(Some(left(self.by)?))?;
        self.stream.read(into)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.set_write_timeout(Some(left(self.by)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}
