//! Writes the verifier's features of labelled pairs, for `models/verifier.py` to train on.
//!
//! Standard input: JSON lines with `a`, `b`, and other fields, which are copied. Standard output: the
//! same lines with `cosine`, `features` (see `ringside::cache::verify::features::NAMES`) and `veto`. The one argument
//! is the model's folder. Pairs that the gateway would not compare have `features: null`.

use ringside::cache::verify::features::{NAMES, compare};
use ringside::cache::verify::rules::HardRule;
use ringside::cache::verify::words::Words;
use ringside::embedding::pool::EmbeddingPool;
use ringside::embedding::settings::Settings;
use ringside::embedding::status::ModelState;
use ringside::embedding::table::StaticTable;
use ringside::embedding::vector::Vector;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::mpsc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .ok_or("usage: pair_features MODEL_DIR")?,
    );
    let table = StaticTable::read(
        &std::fs::read(folder.join("static.bin"))?,
        &std::fs::read(folder.join("tokenizer.json"))?,
    )?;
    let embedding_pool = EmbeddingPool::start(Settings {
        model_dir: folder,
        threads: 2,
        queue_max: 1024,
        runtime_library: None,
    });
    while !embedding_pool.is_ready() {
        if let ModelState::Failed(why) = embedding_pool.model_state() {
            return Err(why.into());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let embed = |text: &str| -> mpsc::Receiver<Option<Vector>> {
        let (send, receive) = mpsc::sync_channel(1);
        let then = move |outcome: Result<ringside::embedding::embed_result::Embedded, _>| {
            let _ = send.send(outcome.ok().map(|embedded| embedded.vector));
        };
        // A full queue drops the callback, which reads as no vector.
        let _ = embedding_pool.embed(text.to_owned(), None, then);
        receive
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let mut batch = Vec::new();
        for line in lines.by_ref().take(256) {
            let pair: serde_json::Value = serde_json::from_str(&line?)?;
            let text = |name: &str| pair[name].as_str().unwrap_or_default().to_owned();
            let (a, b) = (text("a"), text("b"));
            let vectors = (embed(&a), embed(&b));
            batch.push((pair, a, b, vectors));
        }
        if batch.is_empty() {
            break;
        }
        for (mut pair, a, b, vectors) in batch {
            let vectors = (
                vectors.0.recv().ok().flatten(),
                vectors.1.recv().ok().flatten(),
            );
            let words = (Words::read(&a, &table), Words::read(&b, &table));
            if let ((Some(va), Some(vb)), (Some(wa), Some(wb))) = (vectors, words) {
                let cosine = va.iter().zip(vb.iter()).map(|(x, y)| x * y).sum();
                let compared = compare(&wa, &wb, cosine, &table);
                pair["veto"] = serde_json::json!(compared.err().map(HardRule::as_str));
                pair["cosine"] = serde_json::json!(cosine);
                let features = compared.unwrap_or([0.0; NAMES.len()]);
                pair["features"] = serde_json::json!(features.as_slice());
            } else {
                pair["features"] = serde_json::Value::Null;
            }
            serde_json::to_writer(&mut out, &pair)?;
            out.write_all(b"\n")?;
        }
    }
    eprintln!("{} features", NAMES.len());
    Ok(())
}
