//! Tests of the embedding pool with the real model. Without ONNX Runtime they fail and name the remedy.

use crate::embedding::codes;
use crate::embedding::embed_result::{EmbedError, EmbedRejection, Embedded};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::settings::Settings;
use crate::embedding::status::ModelState;
use crate::embedding::vector::{DIMENSIONS, Vector, WINDOW_TOKENS};
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

const SOON: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        model_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("models/all-minilm-l6-v2"),
        threads: 1,
        queue_max: 64,
        runtime_library: None,
    }
}

fn outcome(settings: Settings) -> (EmbeddingPool, ModelState) {
    let embedding_pool = EmbeddingPool::start(settings);
    let start = Instant::now();
    while embedding_pool.model_state() == ModelState::Loading && start.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(2));
    }
    let state = embedding_pool.model_state();
    (embedding_pool, state)
}

fn ready(settings: Settings) -> EmbeddingPool {
    let (embedding_pool, state) = outcome(settings);
    assert!(
        matches!(state, ModelState::Ready { .. }),
        "the embedding pool is not ready: {state:?}\nIf ONNX Runtime is missing, run models/fetch-runtime"
    );
    assert!(embedding_pool.is_ready());
    embedding_pool
}

fn embed(embedding_pool: &EmbeddingPool, text: &str) -> Result<Embedded, EmbedError> {
    let (upstream_response, outcome) = mpsc::channel();
    let then = move |result| upstream_response.send(result).unwrap();
    embedding_pool.embed(text.to_owned(), None, then).unwrap();
    outcome.recv_timeout(SOON).unwrap()
}

fn vector(embedding_pool: &EmbeddingPool, text: &str) -> Vector {
    embed(embedding_pool, text).unwrap().vector
}

fn cosine(embedding_pool: &EmbeddingPool, a: &str, b: &str) -> f32 {
    codes::dot(&vector(embedding_pool, a), &vector(embedding_pool, b))
}

/// Occupies the only worker until the sender is dropped.
fn block(embedding_pool: &EmbeddingPool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    let work = move || {
        started.send(()).unwrap();
        let _ = released.recv();
    };
    embedding_pool.run(work).unwrap();
    starts.recv_timeout(SOON).unwrap();
    release
}

#[test]
fn a_paraphrase_is_nearer_than_another_question() {
    let embedding_pool = ready(settings());
    let same = [
        (
            "What is the capital of France?",
            "What's the capital city of France?",
        ),
        (
            "How do I reset my password?",
            "How can I reset my password?",
        ),
        (
            "Who wrote Pride and Prejudice?",
            "Who is the author of Pride and Prejudice?",
        ),
    ];
    for (a, b) in same {
        let near = cosine(&embedding_pool, a, b);
        assert!(near > 0.85, "{near}: {a} / {b}");
        for (other, _) in same {
            if other != a {
                let far = cosine(&embedding_pool, a, other);
                assert!(far < 0.5, "{far}: {a} / {other}");
            }
        }
    }
}

#[test]
fn two_pools_give_a_text_the_same_vector() {
    let (first, second) = (ready(settings()), ready(settings()));
    for text in [
        "hi",
        "What is the capital of France?",
        "Write a haiku about autumn rain.",
    ] {
        let embedded = embed(&first, text).unwrap();
        assert_eq!(embedded.vector.len(), DIMENSIONS);
        assert!((codes::dot(&embedded.vector, &embedded.vector) - 1.0).abs() < 1e-5);
        assert_eq!(embedded.vector, vector(&first, text));
        assert_eq!(embedded.vector, vector(&second, text));
    }
    assert_ne!(first.embedder_id(), 0);
    assert_eq!(first.embedder_id(), second.embedder_id());
}

#[test]
fn a_text_is_embedded_whole_or_not_at_all() {
    let embedding_pool = ready(settings());
    // One token for each word, and two around them.
    let words = |count| vec!["word"; count].join(" ");
    assert_eq!(
        embed(&embedding_pool, &words(254)).unwrap().tokens,
        WINDOW_TOKENS
    );
    let over = embed(&embedding_pool, &words(255)).unwrap_err();
    assert_eq!(over, EmbedError::OverWindow { tokens: 257 });
    let far_over = embed(&embedding_pool, &words(1 << 20)).unwrap_err();
    assert!(matches!(far_over, EmbedError::OverWindow { tokens } if tokens > 1 << 20));
    for empty in ["", "  \n\t", "\u{0}\u{200b}"] {
        assert_eq!(
            embed(&embedding_pool, empty).unwrap_err(),
            EmbedError::Empty,
            "{empty:?}"
        );
    }
}

#[test]
fn unknown_words_are_refused_unless_the_caller_allows_them() {
    let embedding_pool = ready(settings());
    let unknown = [
        "What does 🙂 mean?",
        "What does 🙁 mean?",
        "[UNK]",
        &"a".repeat(101),
    ];
    for text in unknown {
        assert_eq!(
            embed(&embedding_pool, text).unwrap_err(),
            EmbedError::UnknownToken,
            "{text}"
        );
    }
    let (upstream_response, outcome) = mpsc::channel();
    for text in &unknown[..2] {
        let upstream_response = upstream_response.clone();
        let then = move |result: Result<Embedded, _>| {
            upstream_response.send(result.unwrap().vector).unwrap();
        };
        embedding_pool
            .embed_any((*text).to_owned(), None, then)
            .unwrap();
    }
    // The reason for the refusal: two different texts have the same vector.
    let next = || outcome.recv_timeout(SOON).unwrap();
    assert_eq!(next(), next());
}

#[test]
fn a_late_job_ends_without_the_model_and_a_full_queue_rejects() {
    let embedding_pool = ready(Settings {
        queue_max: 2,
        ..settings()
    });
    let release = block(&embedding_pool);
    let (upstream_response, outcome) = mpsc::channel();
    let then = {
        let upstream_response = upstream_response.clone();
        move |result: Result<Embedded, _>| upstream_response.send(result.map(|_| ())).unwrap()
    };
    embedding_pool
        .embed("late".to_owned(), Some(Instant::now()), then)
        .unwrap();
    let (then, hour) = (
        move |result: Result<Embedded, _>| upstream_response.send(result.map(|_| ())).unwrap(),
        3600,
    );
    let by = Instant::now() + Duration::from_secs(hour);
    embedding_pool
        .embed("in time".to_owned(), Some(by), then)
        .unwrap();
    let refused = embedding_pool.embed("over the limit".to_owned(), None, |_| {
        panic!("it was refused")
    });
    assert_eq!(refused, Err(EmbedRejection::QueueFull));
    let stats = embedding_pool.stats();
    assert_eq!((stats.queued, stats.queue_max, stats.workers), (2, 2, 1));
    drop(release);
    assert_eq!(
        outcome.recv_timeout(SOON).unwrap(),
        Err(EmbedError::Deadline)
    );
    assert_eq!(outcome.recv_timeout(SOON).unwrap(), Ok(()));
    let stats = embedding_pool.stats();
    assert_eq!((stats.late, stats.embedded, stats.refused), (1, 1, 1));
    assert_eq!((stats.queued, stats.queued_high_water), (0, 2));
}

#[test]
fn a_panic_ends_a_job_and_not_its_worker() {
    let embedding_pool = ready(settings());
    embedding_pool.run(|| panic!("on purpose")).unwrap();
    embedding_pool
        .embed("hello".to_owned(), None, |_| panic!("on purpose"))
        .unwrap();
    assert!(embed(&embedding_pool, "still here").is_ok());
    assert_eq!(embedding_pool.stats().failed, 2);
}

#[test]
fn a_file_that_cannot_be_loaded_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let failure = |settings| match outcome(settings) {
        (embedding_pool, ModelState::Failed(why)) => {
            assert_eq!(embedding_pool.embedder_id(), 0);
            let refused = embedding_pool.embed("hello".to_owned(), None, |_| ());
            assert_eq!(refused, Err(EmbedRejection::NotReady));
            why
        }
        (_, state) => panic!("{state:?}"),
    };
    let in_folder = || Settings {
        model_dir: folder.path().to_owned(),
        ..settings()
    };
    let why = failure(in_folder());
    assert!(
        why.contains("model.json") && why.contains("models/build.py"),
        "{why}"
    );

    std::fs::copy(settings().model_dir.join("model.json"), at("model.json")).unwrap();
    std::fs::write(at("model.onnx"), "damaged").unwrap();
    let why = failure(in_folder());
    assert!(
        why.contains("model.onnx") && why.contains("SHA-256"),
        "{why}"
    );

    let library = |path: PathBuf| Settings {
        runtime_library: Some(path),
        ..settings()
    };
    let why = failure(library(at("libonnxruntime.so")));
    assert!(
        why.contains("is missing") && why.contains("models/fetch-runtime"),
        "{why}"
    );

    std::fs::write(at("libonnxruntime.so"), "no library").unwrap();
    let why = failure(library(at("libonnxruntime.so")));
    assert!(why.contains("cannot be used"), "{why}");
}
