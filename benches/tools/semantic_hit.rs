//! Compares the latency of a semantic hit with one run of the model: both in turn, in one process.
//!
//! usage: semantic_hit MODEL_DIR; pin it to two CPUs that nothing else uses.

#[path = "../../tests/in_process/mod.rs"]
mod in_process;

use in_process::{WHOLE, gateway, provider};
use ringside::embedding::pool::EmbeddingPool;
use ringside::embedding::settings::Settings;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A stored question and a paraphrase of it, of 14 tokens.
const STORED: &str = "What should I do if my new card has not arrived?";
const PARAPHRASE: &str = "What should I do when my new card hasn't arrived?";

/// Model runs that are queued together, so that no thread switch is counted.
const RUNS: u32 = 8;
const ROUNDS: usize = 100;

/// A stored question is indexed after its response was sent.
const INDEXED_WITHIN: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model_dir = std::env::args()
        .nth(1)
        .ok_or("usage: semantic_hit MODEL_DIR")?;
    let folder = tempfile::tempdir()?;
    let cache = format!(
        "semantic = {{ mode = \"serve\", deadline = \"5s\" }}\n[embedding]\nthreads = 1\nmodel_dir = {:?}",
        std::fs::canonicalize(&model_dir)?
    );
    let address = gateway(folder.path(), "auto", provider(WHOLE), &cache);
    let embedding_pool = EmbeddingPool::start(Settings {
        model_dir: model_dir.into(),
        threads: 1,
        queue_max: 64,
        runtime_library: None,
    });
    while !embedding_pool.is_ready() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut stream = connect(address);
    // The gateway's own model loads in the background. A repeated question would be an exact hit.
    let mut number = 0;
    while send(&mut stream, &format!("warm-up {number}")).contains("model-not-ready") {
        number += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    send(&mut stream, STORED);
    std::thread::sleep(INDEXED_WITHIN);
    let (mut bare, mut hits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began_at = Instant::now();
        run_model(&embedding_pool);
        bare.push(began_at.elapsed() / RUNS);
        // As many runs, so that neither copy of the model is better cached by the CPU.
        for _ in 0..RUNS {
            let began_at = Instant::now();
            let response = send(&mut stream, PARAPHRASE);
            hits.push(began_at.elapsed());
            assert!(
                response.contains("x-ringside-cache: semantic"),
                "{response}"
            );
        }
    }
    let p50 = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (bare, hit) = (p50(&mut bare), p50(&mut hits));
    let ratio = hit.as_secs_f64() / bare.as_secs_f64();
    println!(
        "one run of the model {bare:?}, a semantic hit over HTTP {hit:?}: {ratio:.2} times (p50)"
    );
    Ok(())
}

fn run_model(embedding_pool: &EmbeddingPool) {
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..RUNS {
        let send = send.clone();
        let queued = embedding_pool.embed(PARAPHRASE.to_owned(), None, move |outcome| {
            let _ = send.send(outcome.is_ok());
        });
        assert!(queued.is_ok());
    }
    for _ in 0..RUNS {
        assert_eq!(receive.recv(), Ok(true));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn send(stream: &mut TcpStream, question: &str) -> String {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{question}"}}]}}"#);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the gateway reads");
    let mut buffer = [0; 16384];
    let mut held = 0;
    while !buffer[..held].ends_with(b"}") {
        held += stream
            .read(&mut buffer[held..])
            .expect("the gateway answers");
    }
    String::from_utf8_lossy(&buffer[..held]).into_owned()
}
