//! Fairness: a client whose next request is always there does not keep its core from other clients.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Requests that a pipelining client may be ahead of another client's request. Without turns these are tens of
/// thousands.
const AHEAD_MAX: usize = 4000;
const REQUESTS_OF_THE_OTHER: usize = 40;

/// A client that sends one request after the other without waiting, and counts the responses.
struct Pipeliner {
    stream: TcpStream,
    responses: Arc<AtomicUsize>,
    stops: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Pipeliner {
    fn start(gateway: &Gateway, request: &[u8], status: u16) -> Self {
        let mut client = gateway.connect();
        client.send(request);
        let first = client.response();
        assert_eq!(first.status, status, "{first:?}");
        let stream = client.stream;
        let responses = Arc::new(AtomicUsize::new(0));
        let stops = Arc::new(AtomicBool::new(false));
        let many = request.repeat(2000);
        let (mut writer, stopping) = (stream.try_clone().unwrap(), Arc::clone(&stops));
        let send = std::thread::spawn(move || {
            while !stopping.load(Ordering::SeqCst) && writer.write_all(&many).is_ok() {}
        });
        let (mut reader, counted) = (stream.try_clone().unwrap(), Arc::clone(&responses));
        let receive = std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            let mut last = Vec::new();
            while let Ok(count) = reader.read(&mut bytes) {
                if count == 0 {
                    return;
                }
                // The end of the last read may hold the beginning of a status line.
                last.extend_from_slice(&bytes[..count]);
                let found = memchr::memmem::find_iter(&last, b"HTTP/1.1 ").count();
                counted.fetch_add(found, Ordering::SeqCst);
                let rest = last.split_off(last.len().saturating_sub(8));
                last = rest;
            }
        });
        Self {
            stream,
            responses,
            stops,
            threads: vec![send, receive],
        }
    }

    fn responses(&self) -> usize {
        self.responses.load(Ordering::SeqCst)
    }
}

impl Drop for Pipeliner {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::SeqCst);
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How many responses the pipelining clients got while another client waited for one: a quarter of its requests
/// waited for less.
fn ahead(gateway: &Gateway, pipeliners: &[Pipeliner], request: &[u8]) -> usize {
    let total = || pipeliners.iter().map(Pipeliner::responses).sum::<usize>();
    wait_until("the pipelining clients are served", || {
        pipeliners
            .iter()
            .all(|pipeliner| pipeliner.responses() > 100)
    });
    let mut ahead: Vec<usize> = (0..REQUESTS_OF_THE_OTHER)
        .map(|_| {
            let before = total();
            let mut client = gateway.connect();
            client.send(request);
            assert_eq!(client.response().status, 200);
            total() - before
        })
        .collect();
    ahead.sort_unstable();
    ahead[REQUESTS_OF_THE_OTHER / 4]
}

#[test]
fn pipelining_clients_leave_others_their_turn() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.key"), "sk-a").unwrap();
        let config = format!(
            "{}[[keys]]\nname = \"a\"\nsecret = \"file:a.key\"\n",
            upstream.config()
        );
        let gateway = Setup::new(driver, config)
            .server("cores = 1")
            .start_in(folder);
        let key = ("authorization", "Bearer sk-a");
        let hit = request(
            "/v1/chat/completions",
            &[key],
            ask("pipelined").to_string().as_bytes(),
        );
        let models = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-a\r\n\r\n";
        let without_key = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
        for (flood, status) in [(&hit[..], 200), (&models[..], 200), (&without_key[..], 401)] {
            for clients in [1, 4] {
                let pipeliners: Vec<_> = (0..clients)
                    .map(|_| Pipeliner::start(&gateway, flood, status))
                    .collect();
                let ahead = ahead(&gateway, &pipeliners, models);
                assert!(
                    ahead < AHEAD_MAX,
                    "{driver}: {ahead} responses of {clients} came first"
                );
            }
        }
    });
}
