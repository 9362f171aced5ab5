//! TLS by rustls on owned buffers, as a state machine between cipher text and plain text.
//!
//! It has no socket. All cores share the configurations, so that a session ticket issued on one core is accepted on
//! any other.

use crate::runtime::io::SocketError;
use crate::runtime::tls_fault::describe;
use rustls::client::Resumption;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig};
use std::io::{Read, Write};
use std::sync::Arc;

/// Server names whose tickets the shared client configuration remembers.
const TICKET_NAMES_MAX: usize = 256;

/// One TLS session.
pub struct Session {
    connection: Connection,
    /// Decrypted bytes that were not read yet. They are taken from rustls after every record, because rustls accepts
    /// no more cipher text while it holds 16 KiB of plain text.
    plain: Vec<u8>,
    closed_by_peer: bool,
    /// Why the peer was refused, or refused.
    fault: Option<String>,
}

/// Client settings shared by all cores.
pub type ClientSettings = Arc<ClientConfig>;
/// Server settings shared by all cores.
pub type ServerSettings = Arc<ServerConfig>;

/// Client settings that trust the roots of the system, or `ca_pem` if given.
///
/// # Errors
/// There is no usable root certificate; the text names the locations that were tried.
pub fn client_settings(ca_pem: Option<&[u8]>) -> Result<ClientSettings, String> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate =
                    certificate.map_err(|error| format!("ca: not a PEM certificate: {error}"))?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("ca: unusable certificate: {error}"))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (_, _) = roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(match ca_pem {
            Some(_) => "ca: the file holds no certificate".into(),
            None => "no system root certificates found: install the package ca-certificates, or set `ca` on the provider".into(),
        });
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(TICKET_NAMES_MAX);
    Ok(Arc::new(config))
}

/// Server settings from a PEM chain and key, with stateless session tickets.
///
/// # Errors
/// The chain or the key is unusable; the text gives the reason.
pub fn server_settings(cert_pem: &[u8], key_pem: &[u8]) -> Result<ServerSettings, String> {
    let chain = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("server.tls.cert: not a PEM certificate: {error}"))?;
    if chain.is_empty() {
        return Err("server.tls.cert: the file holds no certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| format!("server.tls.key: not a PEM private key: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("server.tls: certificate and key do not fit: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

impl Session {
    /// A client session for `host`.
    ///
    /// # Errors
    /// TLS cannot verify `host`, because it is neither a name nor an address.
    pub fn client(settings: &ClientSettings, host: &str) -> Result<Self, SocketError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SocketError::Tls)?;
        let connection = rustls::ClientConnection::new(Arc::clone(settings), name)
            .map_err(|_| SocketError::Tls)?;
        Ok(Self::from(Connection::Client(connection)))
    }

    /// A server session.
    ///
    /// # Errors
    /// rustls rejected the settings.
    pub fn server(settings: &ServerSettings) -> Result<Self, SocketError> {
        let connection =
            rustls::ServerConnection::new(Arc::clone(settings)).map_err(|_| SocketError::Tls)?;
        Ok(Self::from(Connection::Server(connection)))
    }

    fn from(mut connection: Connection) -> Self {
        // One write passes all plain text, so the caller's buffer is the limit.
        connection.set_buffer_limit(None);
        Self {
            connection,
            plain: Vec::new(),
            closed_by_peer: false,
            fault: None,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Why the last bytes were refused, for the operator.
    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    pub(crate) fn closed_by_peer(&self) -> bool {
        self.closed_by_peer
    }

    /// Reads cipher text.
    pub(crate) fn take_in(&mut self, mut cipher: &[u8]) -> Result<(), SocketError> {
        while !cipher.is_empty() {
            let read = self
                .connection
                .read_tls(&mut cipher)
                .map_err(|_| SocketError::Tls)?;
            let state = self.connection.process_new_packets().map_err(|error| {
                self.fault = Some(describe(&error));
                SocketError::Tls
            })?;
            self.closed_by_peer |= state.peer_has_closed();
            // `WouldBlock` only means that there is no more plain text.
            let _ = self.connection.reader().read_to_end(&mut self.plain);
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Appends decrypted plain text to `into`.
    pub(crate) fn take_out(&mut self, into: &mut Vec<u8>) -> usize {
        let count = self.plain.len();
        if into.is_empty() {
            std::mem::swap(into, &mut self.plain);
        } else {
            into.append(&mut self.plain);
        }
        count
    }

    /// The number of decrypted bytes that were not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.plain.len()
    }

    /// Encrypts plain text.
    pub(crate) fn put_in(&mut self, plain: &[u8]) -> Result<(), SocketError> {
        self.connection
            .writer()
            .write_all(plain)
            .map_err(|_| SocketError::Tls)
    }

    /// Appends cipher text to send.
    pub(crate) fn put_out(&mut self, cipher: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(cipher).is_err() {
                break;
            }
        }
    }

    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
    }
}
