//! Sends one HTTP request of the control plane, on a thread of its own: identity providers are called rarely and may be
//! slow.

use crate::config::base_url::BaseUrl;
use crate::http::encode;
use crate::http::framing::{BodyReader, response_body};
use crate::http::head::{Method, Parsed, parse_response_head};
use crate::http::limits::HeadLimits;
use crate::runtime::blocking;
use crate::runtime::clock;
use crate::runtime::tls::ClientSettings;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long one request may take, including DNS.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest response, in bytes; a token is some kilobytes.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// A request.
pub(crate) struct HttpCall {
    pub url: BaseUrl,
    /// The form of a POST; `None` sends a GET.
    pub form: Option<String>,
    /// Value of the `authorization` header.
    pub authorization: Option<String>,
}

/// A response.
pub(crate) struct HttpResponse {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Sends `call` and reads the response.
///
/// # Errors
/// Says what failed; it never contains what was sent.
pub(crate) async fn call(
    call: HttpCall,
    trust: Option<ClientSettings>,
) -> Result<HttpResponse, String> {
    let by = clock::now() + WITHIN;
    let lookup = tokio::net::lookup_host((call.url.host.as_str(), call.url.port));
    let addresses: Vec<SocketAddr> = match tokio::time::timeout_at(by.into(), lookup).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("host `{}`: {error}", call.url.host)),
        Err(_) => {
            return Err(format!(
                "host `{}`: the resolver is too slow",
                call.url.host
            ));
        }
    };
    let (sender, response) = futures_channel::oneshot::channel();
    std::thread::Builder::new()
        .name("credentials".into())
        .spawn(move || {
            let outcome = exchange(&call, trust.as_ref(), &addresses, by);
            let _ = sender.send(outcome.map_err(|why| format!("host `{}`: {why}", call.url.host)));
        })
        .map_err(|error| format!("no thread could be started: {error}"))?;
    response
        .await
        .unwrap_or_else(|_| Err("the thread ended".into()))
}

fn exchange(
    call: &HttpCall,
    trust: Option<&ClientSettings>,
    addresses: &[SocketAddr],
    by: Instant,
) -> Result<HttpResponse, String> {
    let failed = |error: std::io::Error| blocking::why(&error);
    let tls = trust.map(|settings| (settings, call.url.host.as_str()));
    let mut wire = blocking::connect(addresses, tls, by).map_err(failed)?;
    wire.write_all(&encoded(call)).map_err(failed)?;
    wire.flush().map_err(failed)?;
    let mut received = Vec::new();
    let (status, mut body, consumed) = loop {
        let head = parse_response_head(&received, &HeadLimits::default());
        if let Parsed::Complete { value, consumed } = head.map_err(|bad| format!("{bad:?}"))? {
            let method = if call.form.is_some() {
                Method::Post
            } else {
                Method::Get
            };
            let length = response_body(method, &value).map_err(|bad| format!("{bad:?}"))?;
            break (value.status, BodyReader::new(length), consumed);
        }
        if read_more(&mut *wire, &mut received)? == 0 {
            return Err("closed without a response".into());
        }
    };
    received.drain(..consumed);
    let mut response = HttpResponse {
        status,
        body: Vec::new(),
    };
    loop {
        let taken = body.read(&received, &mut response.body);
        received.drain(..taken.map_err(|bad| format!("{bad:?}"))?);
        if body.is_done() {
            return Ok(response);
        }
        if response.body.len() > RESPONSE_BYTES_MAX {
            return Err("the response is too large (limit RESPONSE_BYTES_MAX)".into());
        }
        if read_more(&mut *wire, &mut received)? == 0 {
            body.end_of_input().map_err(|_| "broke off".to_owned())?;
            return Ok(response);
        }
    }
}

fn encoded(call: &HttpCall) -> Vec<u8> {
    let mut out = Vec::new();
    let method = if call.form.is_some() { "POST" } else { "GET" };
    let path = if call.url.path.is_empty() {
        "/"
    } else {
        &call.url.path
    };
    encode::begin_request(&mut out, method, &[path], &call.url.authority);
    encode::header(&mut out, "accept", b"application/json");
    encode::header(&mut out, "connection", b"close");
    if let Some(value) = &call.authorization {
        encode::header(&mut out, "authorization", value.as_bytes());
    }
    if let Some(form) = &call.form {
        encode::header(
            &mut out,
            "content-type",
            b"application/x-www-form-urlencoded",
        );
        encode::content_length(&mut out, form.len() as u64);
    }
    encode::end_head(&mut out);
    out.extend_from_slice(call.form.as_deref().unwrap_or_default().as_bytes());
    out
}

fn read_more(wire: &mut dyn blocking::Wire, into: &mut Vec<u8>) -> Result<usize, String> {
    let mut chunk = [0; 4096];
    let count = wire
        .read(&mut chunk)
        .map_err(|error| blocking::why(&error))?;
    into.extend_from_slice(chunk.get(..count).unwrap_or_default());
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tls::{client_settings, server_settings};
    use std::io::{Read, Write};

    fn url(port: u16) -> BaseUrl {
        BaseUrl {
            tls: true,
            host: "127.0.0.1".into(),
            port,
            path: "/token".into(),
            authority: format!("127.0.0.1:{port}"),
        }
    }

    /// Serves one TLS connection; the thread returns what it read.
    fn serve(response: &'static [u8]) -> (u16, Vec<u8>, std::thread::JoinHandle<Vec<u8>>) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let cert = made.cert.pem().into_bytes();
        let key = made.signing_key.serialize_pem().into_bytes();
        let settings = server_settings(&cert, &key).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(settings).unwrap();
            let mut wire = rustls::StreamOwned::new(session, stream);
            let mut read = Vec::new();
            let mut piece = [0; 1024];
            while !read.ends_with(b"a=b") {
                match wire.read(&mut piece) {
                    Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                    _ => return read,
                }
            }
            let _ = wire.write_all(response);
            read
        });
        (port, cert, served)
    }

    fn send(port: u16, trust: ClientSettings) -> Result<HttpResponse, String> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let request = HttpCall {
            url: url(port),
            form: Some("a=b".into()),
            authorization: None,
        };
        runtime.block_on(call(request, Some(trust)))
    }

    #[test]
    fn a_response_is_read_whole_over_tls_from_a_trusted_server_only() {
        let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        let (port, cert, served) = serve(response);
        let response = send(port, client_settings(Some(&cert)).unwrap()).unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, &b"{}"[..])
        );
        let read = String::from_utf8(served.join().unwrap()).unwrap();
        assert!(read.starts_with(&format!(
            "POST /token HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        )));
        assert!(read.contains("\r\ncontent-length: 3\r\n"), "{read}");

        let (port, _, served) = serve(b"");
        let why = send(port, client_settings(Some(&cert)).unwrap())
            .err()
            .unwrap();
        assert!(why.contains("certificate"), "{why}");
        assert!(served.join().unwrap().is_empty());
    }

    #[test]
    fn an_incomplete_response_is_an_error() {
        let cases: [(&[u8], &str); 3] = [
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
                "broke off",
            ),
            (b"", "closed without"),
            (b"nonsense\r\n\r\n", "Malformed"),
        ];
        for (response, expected) in cases {
            let (port, cert, served) = serve(response);
            let why = send(port, client_settings(Some(&cert)).unwrap())
                .err()
                .unwrap();
            served.join().unwrap();
            // rustls reports first that the end of TLS is missing.
            assert!(
                why.contains(expected) || why.contains("close_notify"),
                "{why}"
            );
        }
    }
}
