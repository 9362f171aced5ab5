//! Ringside's HTTP codec against hyper's: a request that Ringside accepts, hyper reads as the same one.
//!
//! Whatever Ringside takes from a connection (method, target, body and where the next request begins)
//! hyper must take too. The reverse is not asked: Ringside may refuse more.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ringside::http::framing::{BodyReader, request_body, request_keep_alive};
use ringside::http::head::{Parsed, parse_request_head};
use ringside::http::limits::HeadLimits;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Mutated connections.
const MUTATIONS: usize = 50_000;
/// Of those, so many at least must hold a whole request that Ringside accepts, and so many a refused one.
const ACCEPTED_MIN: usize = 15_000;
const REJECTED_MIN: usize = 35_000;

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    body: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = self.body.escape_ascii();
        write!(f, "{} {} {body}", self.method, self.target)
    }
}

/// How our reading of a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Rejected(String),
    Unfinished,
    Closed,
}

/// What we read, and where each request ends.
#[derive(Debug)]
struct Ours {
    requests: Vec<(Seen, usize)>,
    end: End,
}

fn ours(bytes: &[u8]) -> Ours {
    let (mut requests, mut at) = (Vec::new(), 0);
    let end = loop {
        let rest = &bytes[at..];
        let (head, consumed) = match parse_request_head(rest, &HeadLimits::default()) {
            Ok(Parsed::Complete { value, consumed }) => (value, consumed),
            Ok(Parsed::NeedMore) => break End::Unfinished,
            Err(reject) => break End::Rejected(reject.to_string()),
        };
        let length = match request_body(&head) {
            Ok(length) => length,
            Err(reject) => break End::Rejected(reject.to_string()),
        };
        let (mut reader, mut body) = (BodyReader::new(length), Vec::new());
        let taken = match reader.read(&rest[consumed..], &mut body) {
            Ok(taken) => taken,
            Err(error) => break End::Rejected(error.to_string()),
        };
        if !reader.is_done() {
            break End::Unfinished;
        }
        let name = rest.split(|byte| *byte == b' ').next().unwrap();
        at += consumed + taken;
        let seen = Seen {
            method: String::from_utf8(name.to_vec()).unwrap(),
            target: head.target.to_owned(),
            body,
        };
        requests.push((seen, at));
        if !request_keep_alive(&head) {
            break End::Closed;
        }
    };
    Ours { requests, end }
}

/// Requests that hyper reads from a connection which ends behind `bytes`, each with its whole body.
async fn hypers(bytes: &[u8]) -> Vec<Seen> {
    let (mut client, server) = tokio::io::duplex(256 * 1024);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let requests = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let requests = requests.clone();
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            if let Ok(body) = request.into_body().collect().await {
                let body = body.to_bytes().to_vec();
                requests.borrow_mut().push(Seen {
                    method,
                    target,
                    body,
                });
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .half_close(true)
        .serve_connection(TokioIo::new(server), service);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let responses = async {
        let mut responses = Vec::new();
        client.read_to_end(&mut responses).await.unwrap();
    };
    let _ = tokio::join!(connection, responses);
    seen.take()
}

/// `None` if hyper agrees, else what it made of it.
async fn disagreement(bytes: &[u8], ours: &Ours) -> Option<String> {
    let accepted: Vec<Seen> = ours.requests.iter().map(|(seen, _)| seen.clone()).collect();
    let hypers_all = hypers(bytes).await;
    let mut problems = Vec::new();
    if !hypers_all.starts_with(&accepted) {
        problems.push(format!("hyper read {hypers_all:?}"));
    }
    // The same boundaries: up to where we say that a request ends, hyper has read it whole and nothing
    // more; one byte less, and it lacks the last one.
    for (index, (_, end)) in ours.requests.iter().enumerate() {
        let whole = hypers(&bytes[..*end]).await;
        if whole != accepted[..=index] {
            problems.push(format!("hyper read {whole:?} of the first {end} bytes"));
        }
        let short = hypers(&bytes[..*end - 1]).await;
        if short != accepted[..index] {
            problems.push(format!(
                "hyper read {short:?} of the first {} bytes",
                end - 1
            ));
        }
    }
    if problems.is_empty() {
        return None;
    }
    let input = bytes.escape_ascii();
    Some(format!(
        "{input}\n  we read {ours:?}\n  {}",
        problems.join("\n  ")
    ))
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Follows every request, so that a boundary in the wrong place shows.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

const VALID: [&str; 10] = [
    "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n",
    "PUT /t?q=1 HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n00a\r\n0123456789\r\n000\r\nX-T: v\r\nY: \r\n\r\n",
    "DELETE /d HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 0\r\nAccept: */*\r\n\r\n",
    "POST /old HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    "HEAD /h HTTP/1.1\r\nhost: a\r\nX:\r\nY: \t z\t \r\n\r\n",
    "PATCH /p%20q HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\nConnection: x, keep-alive\r\n\r\npatched",
    "POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
];

/// Pieces that parsers have read differently.
const PIECES: [&str; 44] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "\0",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    ":",
    ",",
    ";",
    "+",
    "-",
    "0x",
    "0",
    "1",
    "f",
    "\u{7f}",
    "\u{e9}",
    "\\",
    "\"",
    "#",
    "?",
    "/",
    "_",
    "chunked",
    "identity",
    "Content-Length: 0\r\n",
    "Content-Length: 3\r\n",
    "Content-Length : 3\r\n",
    "Content_Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding:\u{b}chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Host: b\r\n",
    "X: y\r\n z\r\n",
    "Connection: close\r\n",
    "Upgrade: h2c\r\n",
    "0\r\n\r\n",
    "5;a\nb\r\n",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(2) {
        bytes.extend_from_slice(random.pick(&VALID).as_bytes());
    }
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let lines: Vec<usize> = std::iter::once(0)
            .chain((1..bytes.len()).filter(|at| bytes[at - 1] == b'\n'))
            .collect();
        match random.below(9) {
            0 => bytes[at] = random.next().to_be_bytes()[0],
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = bytes.len().min(at + 1 + random.below(8));
                bytes.drain(at..end);
            }
            4 => {
                let end = bytes.len().min(at + 1 + random.below(40));
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => bytes.insert(at, b"0123456789abcdefABCDEF"[random.below(22)]),
            6 => {
                let piece = random.pick(&PIECES).bytes();
                bytes.splice(at..at, piece);
            }
            // Where a line begins: most likely a good header, or a bad one.
            _ => {
                let at = *random.pick(&lines);
                let piece = random.pick(&PIECES).bytes();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes.extend_from_slice(NEXT);
    bytes
}

/// What the mutations found that we once took and hyper does not: now we must refuse it too, or agree.
const FOUND: [&str; 13] = [
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \u{1}\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \u{7f}\r\n\r\n",
    // The next request taken for a trailer.
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /< HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /> HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /` HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?< HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Each family of request smuggling; we refuse them all.
const SMUGGLING: [(&str, &str); 34] = [
    (
        "CL.TE",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "CL.TE, smuggled",
        "Content-Length: 35\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE list",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("TE.TE x", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "TE.TE quoted",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE parameter",
        "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE comma",
        "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE space before colon",
        "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE vertical tab",
        "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE folded",
        "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE bare line feed",
        "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE.TE bare carriage return",
        "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "CL.CL",
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "CL.CL same",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("CL.CL list", "Content-Length: 5, 5\r\n\r\nhello"),
    ("CL sign", "Content-Length: +5\r\n\r\nhello"),
    ("CL hexadecimal", "Content-Length: 0x5\r\n\r\nhello"),
    ("CL underscore", "Content-Length: 0_5\r\n\r\nhello"),
    (
        "CL overflow",
        "Content-Length: 18446744073709551621\r\n\r\nhello",
    ),
    ("CL empty", "Content-Length:\r\n\r\nhello"),
    (
        "0.CL space before colon",
        "Content-Length : 31\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "0.CL folded",
        "Content-Length:\r\n 31\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "0.CL NUL",
        "Content-Length\0: 31\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "0.CL expect",
        "Expect: y 100-continue\r\nContent-Length: 31\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "chunk extension line feed",
        "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n4c\r\n0\r\n\r\n",
    ),
    (
        "chunk extension two line feeds",
        "Transfer-Encoding: chunked\r\n\r\n2;a\n\nxx\r\n0\r\n\r\n",
    ),
    (
        "chunk size line feed",
        "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    ),
    (
        "chunk size space",
        "Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
    ),
    (
        "chunk data overrun",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    ),
    (
        "chunk size overflow",
        "Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\nx\r\n0\r\n\r\n",
    ),
    (
        "trailer line feed",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n\r\n",
    ),
];

#[tokio::test]
async fn what_we_accept_hyper_reads_alike() {
    let mut disagreements = Vec::new();
    for valid in VALID {
        let bytes = [valid.as_bytes(), NEXT].concat();
        let read = ours(&bytes);
        let requests = if valid.contains("close") { 1 } else { 2 };
        assert_eq!(read.requests.len(), requests, "{valid:?}");
        assert_eq!(read.requests[0].1, valid.len(), "{valid:?}");
        disagreements.extend(disagreement(&bytes, &read).await);
    }
    for (family, rest) in SMUGGLING {
        let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\n", rest.as_bytes(), NEXT].concat();
        let read = ours(&bytes);
        assert!(read.requests.is_empty(), "{family}: {read:?}");
        assert!(matches!(read.end, End::Rejected(_)), "{family}: {read:?}");
    }
    for found in FOUND {
        let bytes = [found.as_bytes(), NEXT].concat();
        disagreements.extend(disagreement(&bytes, &ours(&bytes)).await);
    }
    let mut random = Random(0x5269_6e67_7369_6465);
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..MUTATIONS {
        let bytes = mutated(&mut random);
        let read = ours(&bytes);
        accepted += usize::from(!read.requests.is_empty());
        rejected += usize::from(matches!(read.end, End::Rejected(_)));
        if !read.requests.is_empty() {
            disagreements.extend(disagreement(&bytes, &read).await);
        }
    }
    println!("of {MUTATIONS} mutations {accepted} accepted, {rejected} rejected");
    let count = disagreements.len();
    disagreements.sort_by_key(String::len);
    disagreements.truncate(20);
    assert_eq!(count, 0, "hyper disagrees:\n{}", disagreements.join("\n"));
    assert!(accepted >= ACCEPTED_MIN, "{accepted} accepted");
    assert!(rejected >= REJECTED_MIN, "{rejected} rejected");
}
