//! A connection for slow work off the cores: it blocks, and one deadline bounds all of it.

use crate::runtime::clock;
use crate::runtime::tls::ClientSettings;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes to and from a peer.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// Connects to the first address that answers; with TLS if a name and settings for it are given.
///
/// # Errors
/// No address answers in time, or the name cannot be verified. Reads and writes fail once `by` has passed.
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

/// A stream whose every read and write ends by one moment.
struct Bounded {
    stream: TcpStream,
    by: Instant,
}

/// The time left, never zero: zero would mean none is set.
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
