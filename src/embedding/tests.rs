//! The workshop with the real model. Without ONNX Runtime these tests fail, and say how to get it.

use crate::embedding::codes;
use crate::embedding::pool::*;
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

fn outcome(settings: Settings) -> (EmbeddingPool, State) {
    let workshop = EmbeddingPool::start(settings);
    let start = Instant::now();
    while workshop.state() == State::Loading && start.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(2));
    }
    let state = workshop.state();
    (workshop, state)
}

fn ready(settings: Settings) -> EmbeddingPool {
    let (workshop, state) = outcome(settings);
    assert!(
        matches!(state, State::Ready { .. }),
        "the workshop is not ready: {state:?}\nIf ONNX Runtime is missing, run models/fetch-runtime"
    );
    assert!(workshop.is_ready());
    workshop
}

fn embed(workshop: &EmbeddingPool, text: &str) -> Result<Embedded, EmbedError> {
    let (reply, outcome) = mpsc::channel();
    let then = move |result| reply.send(result).unwrap();
    workshop.embed(text.to_owned(), None, then).unwrap();
    outcome.recv_timeout(SOON).unwrap()
}

fn vector(workshop: &EmbeddingPool, text: &str) -> Vector {
    embed(workshop, text).unwrap().vector
}

fn cosine(workshop: &EmbeddingPool, a: &str, b: &str) -> f32 {
    codes::dot(&vector(workshop, a), &vector(workshop, b))
}

/// Occupies the only worker until the sender is dropped.
fn block(workshop: &EmbeddingPool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel();
    let work = move || {
        started.send(()).unwrap();
        let _ = released.recv();
    };
    workshop.run(work).unwrap();
    starts.recv_timeout(SOON).unwrap();
    release
}

#[test]
fn a_question_is_nearer_to_itself_in_other_words_than_to_another() {
    let workshop = ready(settings());
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
        let near = cosine(&workshop, a, b);
        assert!(near > 0.85, "{near}: {a} / {b}");
        for (other, _) in same {
            if other != a {
                let far = cosine(&workshop, a, other);
                assert!(far < 0.5, "{far}: {a} / {other}");
            }
        }
    }
}

#[test]
fn a_text_has_one_vector_whoever_computes_it() {
    let (one, two) = (ready(settings()), ready(settings()));
    for text in [
        "hi",
        "What is the capital of France?",
        "Write a haiku about autumn rain.",
    ] {
        let embedded = embed(&one, text).unwrap();
        assert_eq!(embedded.vector.len(), DIMENSIONS);
        assert!((codes::dot(&embedded.vector, &embedded.vector) - 1.0).abs() < 1e-5);
        assert_eq!(embedded.vector, vector(&one, text));
        assert_eq!(embedded.vector, vector(&two, text));
    }
    assert_ne!(one.embedder_id(), 0);
    assert_eq!(one.embedder_id(), two.embedder_id());
}

#[test]
fn a_text_is_embedded_whole_or_not_at_all() {
    let workshop = ready(settings());
    // One token for each word, and two around them.
    let words = |count| vec!["word"; count].join(" ");
    assert_eq!(embed(&workshop, &words(254)).unwrap().tokens, WINDOW_TOKENS);
    let over = embed(&workshop, &words(255)).unwrap_err();
    assert_eq!(over, EmbedError::OverWindow { tokens: 257 });
    let far_over = embed(&workshop, &words(1 << 20)).unwrap_err();
    assert!(matches!(far_over, EmbedError::OverWindow { tokens } if tokens > 1 << 20));
    for empty in ["", "  \n\t", "\u{0}\u{200b}"] {
        assert_eq!(
            embed(&workshop, empty).unwrap_err(),
            EmbedError::Empty,
            "{empty:?}"
        );
    }
}

#[test]
fn what_the_vocabulary_cannot_spell_is_refused_unless_asked_for() {
    let workshop = ready(settings());
    let unknown = [
        "What does 🙂 mean?",
        "What does 🙁 mean?",
        "[UNK]",
        &"a".repeat(101),
    ];
    for text in unknown {
        assert_eq!(
            embed(&workshop, text).unwrap_err(),
            EmbedError::UnknownToken,
            "{text}"
        );
    }
    let (reply, outcome) = mpsc::channel();
    for text in &unknown[..2] {
        let reply = reply.clone();
        let then = move |result: Result<Embedded, _>| reply.send(result.unwrap().vector).unwrap();
        workshop.embed_any((*text).to_owned(), None, then).unwrap();
    }
    // The reason for the refusal: two texts, one vector.
    let next = || outcome.recv_timeout(SOON).unwrap();
    assert_eq!(next(), next());
}

#[test]
fn a_late_job_is_answered_without_the_model_and_a_full_queue_refuses() {
    let workshop = ready(Settings {
        queue_max: 2,
        ..settings()
    });
    let release = block(&workshop);
    let (reply, outcome) = mpsc::channel();
    let then = {
        let reply = reply.clone();
        move |result: Result<Embedded, _>| reply.send(result.map(|_| ())).unwrap()
    };
    workshop
        .embed("late".to_owned(), Some(Instant::now()), then)
        .unwrap();
    let (then, hour) = (
        move |result: Result<Embedded, _>| reply.send(result.map(|_| ())).unwrap(),
        3600,
    );
    let by = Instant::now() + Duration::from_secs(hour);
    workshop
        .embed("in time".to_owned(), Some(by), then)
        .unwrap();
    let refused = workshop.embed("one too many".to_owned(), None, |_| {
        panic!("it was refused")
    });
    assert_eq!(refused, Err(EmbedRejection::QueueFull));
    let gauges = workshop.gauges();
    assert_eq!((gauges.queued, gauges.queue_max, gauges.workers), (2, 2, 1));
    drop(release);
    assert_eq!(
        outcome.recv_timeout(SOON).unwrap(),
        Err(EmbedError::Deadline)
    );
    assert_eq!(outcome.recv_timeout(SOON).unwrap(), Ok(()));
    let gauges = workshop.gauges();
    assert_eq!((gauges.late, gauges.embedded, gauges.refused), (1, 1, 1));
    assert_eq!((gauges.queued, gauges.queued_high_water), (0, 2));
}

#[test]
fn a_panic_ends_a_job_and_not_its_worker() {
    let workshop = ready(settings());
    workshop.run(|| panic!("on purpose")).unwrap();
    workshop
        .embed("hello".to_owned(), None, |_| panic!("on purpose"))
        .unwrap();
    assert!(embed(&workshop, "still here").is_ok());
    assert_eq!(workshop.gauges().failed, 2);
}

#[test]
fn what_cannot_be_loaded_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let failure = |settings| match outcome(settings) {
        (workshop, State::Failed(why)) => {
            assert_eq!(workshop.embedder_id(), 0);
            let refused = workshop.embed("hello".to_owned(), None, |_| ());
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
