//! Labelled pairs: read from files, embedded, and judged as the gateway judges a candidate.

use crate::cache::freshness::classify::Freshness;
use crate::cache::verify::features::compare;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::rules::HardRule;
use crate::cache::verify::words::Words;
use crate::embedding::codes::dot as cosine;
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::settings::Settings;
use crate::embedding::status::ModelState;
use crate::embedding::vector::Vector;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Most pairs read: they are held in memory.
const PAIRS_MAX: usize = 1_000_000;
/// Pairs embedded at once.
const BATCH: usize = 128;

/// Two questions, and whether one answer serves both.
pub(crate) struct Pair {
    a: String,
    b: String,
    same: bool,
}

/// The content of the files.
#[derive(Default)]
pub(crate) struct Read {
    /// Labelled pairs.
    pub pairs: Vec<Pair>,
    /// Lines whose label is not known.
    pub unknown: usize,
}

/// A line of a file: a pair with `same`, or an observation with `label`.
#[derive(serde::Deserialize)]
struct Line {
    a: String,
    b: String,
    same: Option<Same>,
    label: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Same {
    Flag(bool),
    Number(u8),
}

/// The message about a file that cannot be read or written.
pub(crate) fn file_error(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl Read {
    /// Adds the pairs of a file.
    ///
    /// # Errors
    /// The file and line that cannot be read.
    pub(crate) fn add(&mut self, path: &PathBuf) -> Result<(), String> {
        let file = std::fs::File::open(path).map_err(|error| file_error(path, &error))?;
        for (index, line) in std::io::BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| file_error(path, &error))?;
            if line.trim().is_empty() {
                continue;
            }
            let position = || format!("{}:{}", path.display(), index + 1);
            let line: Line =
                serde_json::from_str(&line).map_err(|error| format!("{}: {error}", position()))?;
            let same = match (&line.same, line.label.as_deref()) {
                (Some(Same::Flag(same)), _) => *same,
                (Some(Same::Number(0)), _) | (None, Some("wrong")) => false,
                (Some(Same::Number(1)), _) | (None, Some("right")) => true,
                (None, Some("unknown")) => {
                    self.unknown += 1;
                    continue;
                }
                _ => {
                    return Err(format!(
                        "{}: no label: `same` is true or false, or `label` is right, wrong or unknown",
                        position()
                    ));
                }
            };
            if self.pairs.len() == PAIRS_MAX {
                return Err(format!("{}: more than {PAIRS_MAX} pairs", position()));
            }
            let (a, b) = (line.a, line.b);
            self.pairs.push(Pair { a, b, same });
        }
        Ok(())
    }
}

/// A pair with the values that the gateway decides by.
pub(crate) struct Candidate {
    /// One answer serves both.
    pub same: bool,
    /// Cosine of the questions.
    pub cosine: f32,
    /// Score; `None` when a rule refuses.
    pub score: Option<f32>,
}

/// All pairs, judged.
pub(crate) struct Judged {
    /// Those that can be compared.
    pub candidates: Vec<Candidate>,
    /// Refused by rules: how many of the same, and of the different.
    pub refused: BTreeMap<&'static str, (usize, usize)>,
    /// Texts that cannot be embedded.
    pub unfit: usize,
    /// Lines without a known label.
    pub unknown: usize,
}

/// Embeds and judges.
///
/// # Errors
/// The model cannot be used.
pub(crate) fn judge(read: &Read, model_dir: &Path) -> Result<Judged, String> {
    let embedding_pool = start(model_dir)?;
    let table = embedding_pool
        .table()
        .ok_or("the model has no static table")?;
    let verifier = Verifier::shipped()?;
    let mut judged = Judged {
        candidates: Vec::with_capacity(read.pairs.len()),
        refused: BTreeMap::new(),
        unfit: 0,
        unknown: read.unknown,
    };
    for batch in read.pairs.chunks(BATCH) {
        let waiting: Vec<_> = batch
            .iter()
            .map(|pair| {
                (
                    embed(&embedding_pool, &pair.a),
                    embed(&embedding_pool, &pair.b),
                )
            })
            .collect();
        for (pair, (a, b)) in batch.iter().zip(waiting) {
            let vectors = (a.recv().ok().flatten(), b.recv().ok().flatten());
            let words = (Words::read(&pair.a, table), Words::read(&pair.b, table));
            let ((Some(va), Some(vb)), (Some(wa), Some(wb))) = (vectors, words) else {
                judged.unfit += 1;
                continue;
            };
            let cosine = cosine(&va, &vb);
            let outcome = match moves(pair) {
                Some(class) => Err(class.as_str()),
                None => compare(&wa, &wb, cosine, table).map_err(HardRule::as_str),
            };
            let score = match outcome {
                Ok(features) => Some(verifier.score(&features)),
                Err(rule) => {
                    let (same, other) = judged.refused.entry(rule).or_default();
                    *if pair.same { same } else { other } += 1;
                    None
                }
            };
            judged.candidates.push(Candidate {
                same: pair.same,
                cosine,
                score,
            });
        }
    }
    Ok(judged)
}

/// The freshness class that excludes a pair from semantic look-ups.
fn moves(pair: &Pair) -> Option<Freshness> {
    let class = Freshness::of_question(&pair.a).max(Freshness::of_question(&pair.b));
    (class != Freshness::Static).then_some(class)
}

fn start(model_dir: &Path) -> Result<EmbeddingPool, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let embedding_pool = EmbeddingPool::start(Settings {
        model_dir: model_dir.to_owned(),
        threads: threads.min(8),
        queue_max: 2 * BATCH,
        runtime_library: None,
    });
    loop {
        match embedding_pool.model_state() {
            ModelState::Ready { .. } => return Ok(embedding_pool),
            ModelState::Failed(why) => return Err(why),
            ModelState::Loading => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn embed(embedding_pool: &EmbeddingPool, text: &str) -> mpsc::Receiver<Option<Vector>> {
    let (send, receive) = mpsc::sync_channel(1);
    // A refused job drops the sender, which reads as no vector.
    let _ = embedding_pool.embed(text.to_owned(), None, move |outcome| {
        let _ = send.send(outcome.ok().map(|embedded| embedded.vector));
    });
    receive
}
