//! The embedding model in this process: embeddings for callers, semantic hits, and serving without the model.

use crate::harness::*;
use serde_json::json;
use std::time::Duration;

const LOCAL: &str = "[[models]]\nname = \"embed\"\ntargets = [{ provider = \"local\" }]\n";
const SERVE: &str = "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.9\ndeadline = \"5s\"\n";

pub(crate) fn ready(gateway: &Gateway) {
    wait_until("the model is loaded", || {
        let state = gateway.info()["embedding"].clone();
        assert_ne!(
            state["state"], "failed",
            "{state} (run models/fetch-runtime)"
        );
        state["state"] == "ready"
    });
}

#[test]
fn embeddings_are_served_in_process() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config() + LOCAL).start();
        ready(&gateway);
        let texts = [
            "The cat sat on the mat.",
            "A cat was sitting on the mat.",
            "Interest rates rose.",
        ];
        let reply = gateway.post("/v1/embeddings", &json!({"model": "embed", "input": texts}));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(
            reply.header("x-ringside-target"),
            Some("local/all-MiniLM-L6-v2")
        );
        let body = reply.json();
        let vectors: Vec<Vec<f64>> = (0..3)
            .map(|at| {
                body["data"][at]["embedding"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one.as_f64().unwrap())
                    .collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert_eq!(vectors[0].len(), 384);
        assert!((dot(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-3);
        assert!(dot(&vectors[0], &vectors[1]) > 0.8);
        assert!(dot(&vectors[0], &vectors[2]) < 0.4);
        assert!(body["usage"]["prompt_tokens"].as_u64().unwrap() > 15);
        for (input, status, says) in [
            (json!([]), 400, "input"),
            (json!(""), 400, "empty"),
            (json!("word ".repeat(400)), 400, "window"),
            (json!([1, 2]), 400, "token ids"),
        ] {
            let reply = gateway.post("/v1/embeddings", &json!({"model": "embed", "input": input}));
            assert_eq!(reply.status, status, "{reply:?}");
            assert!(reply.error().1.contains(says), "{reply:?}");
        }
        // The embedding model does not serve chats.
        let chat = gateway.chat(&with(ask("x"), "model", "embed".into()));
        assert_eq!(
            (chat.status, chat.error().0.as_str()),
            (400, "unsupported_operation")
        );
        // Other models go to their provider, the body untouched but for the name.
        let sent = json!({"model": "m", "input": "x", "odd": {"b": 1, "a": 2}});
        gateway.post("/v1/embeddings", &sent);
        let seen = upstream.last();
        assert!(seen.line.starts_with("POST /v1/embeddings "));
        assert_eq!(
            String::from_utf8(seen.message.body).unwrap(),
            sent.to_string().replace("\"m\"", "\"m-at-up\"")
        );
    });
}

#[test]
fn the_same_question_in_other_words_is_answered_from_the_cache() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config() + SERVE).start();
        ready(&gateway);
        let first = gateway.chat(&ask("What is the capital of France?"));
        assert_eq!(first.cache(), "miss");
        assert_eq!(first.header("x-ringside-cache-reason"), Some("scope-empty"));
        gateway.wait_for_metric("ringside_cache_vectors", 1.0);
        let other = gateway.chat(&ask("What is the capital city of France?"));
        assert_eq!(other.cache(), "semantic", "{other:?}");
        assert!(
            other
                .header("x-ringside-cache-reason")
                .unwrap()
                .starts_with("similarity=0.9")
        );
        assert_eq!(other.content(), first.content());
        let streamed = gateway.chat(&ask_stream("What is the capital city of France?"));
        assert_eq!(
            (streamed.cache(), streamed.content()),
            ("semantic", first.content())
        );
        let unrelated = gateway.chat(&ask("How do I bake sourdough bread?"));
        assert_eq!(
            (
                unrelated.cache(),
                unrelated.header("x-ringside-cache-reason")
            ),
            ("miss", Some("similarity"))
        );
        // A caller may raise the threshold, never lower it.
        let strict = gateway.post_with(
            "/v1/chat/completions",
            &[("x-ringside-similarity-min", "0.9999")],
            &ask("What is the capital city of France??"),
        );
        assert_eq!(strict.cache(), "miss");
        let loose = gateway.post_with(
            "/v1/chat/completions",
            &[("x-ringside-similarity-min", "0.1")],
            &ask("Who painted the Mona Lisa?"),
        );
        assert_eq!(loose.cache(), "miss");
        // A deleted entry is no semantic hit either.
        gateway.admin("DELETE", "/admin/v1/cache");
        gateway.wait_for_metric("ringside_cache_vectors", 0.0);
        assert_eq!(
            gateway
                .chat(&ask("What is the capital city of France?"))
                .cache(),
            "miss"
        );
    });
}

#[test]
fn a_question_the_model_cannot_read_whole_gets_no_semantic_hit() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("io_uring", upstream.config() + SERVE).start();
    ready(&gateway);
    let (long, many) = (
        "antidisestablishmentarianism ".repeat(60),
        "word ".repeat(300),
    );
    gateway.chat(&ask("seed the scope"));
    gateway.wait_for_metric("ringside_cache_vectors", 1.0);
    for (question, why) in [
        (format!("{long} about the ocean"), "over-window"),
        (format!("{long} drop the table"), "over-window"),
        (format!("{many} about the ocean"), "too-many-words"),
        ("What does \u{2f999} mean?".to_owned(), "unknown-token"),
    ] {
        let reply = gateway.chat(&ask(&question));
        assert_eq!(
            (reply.cache(), reply.header("x-ringside-cache-reason")),
            ("miss", Some(why))
        );
        // The same words are still an exact hit.
        assert_eq!(gateway.chat(&ask(&question)).cache(), "exact");
    }
}

#[test]
fn observing_serves_nothing_and_counts() {
    let upstream = Upstream::echo();
    let config = upstream.config() + &SERVE.replace("serve", "observe");
    let gateway = Setup::new("epoll", config).start();
    ready(&gateway);
    gateway.chat(&ask("What is the capital of France?"));
    gateway.wait_for_metric("ringside_cache_vectors", 1.0);
    let other = gateway.chat(&ask("What is the capital city of France?"));
    assert_eq!(
        (other.cache(), other.header("x-ringside-cache-reason")),
        ("miss", Some("observed"))
    );
    gateway.wait_for_metric("ringside_cache_observed_total{outcome=\"hit\"}", 1.0);
    assert_eq!(upstream.count(), 2);
}

#[test]
fn without_the_model_file_the_gateway_serves_and_says_why() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let config = format!(
            "{}{LOCAL}{SERVE}[embedding]\nmodel_dir = \"no/such/folder\"\n",
            upstream.config()
        );
        let gateway = Setup::new(driver, config).start();
        wait_until("it has failed to load", || {
            gateway.info()["embedding"]["state"] == "failed"
        });
        let reason = gateway.info()["embedding"]["reason"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(reason.contains("no/such/folder"), "{reason}");
        let reply = gateway.chat(&ask("x"));
        assert_eq!(
            (reply.status, reply.header("x-ringside-cache-reason")),
            (200, Some("model-not-ready"))
        );
        let reply = gateway.post("/v1/embeddings", &json!({"model": "embed", "input": "x"}));
        assert_eq!(reply.status, 503);
        assert!(reply.error().1.contains("no/such/folder"), "{reply:?}");
    });
}

#[test]
fn a_deadline_that_is_too_short_is_a_counted_miss() {
    let upstream = Upstream::echo();
    let config = upstream.config() + &SERVE.replace("5s", "1ms");
    let gateway = Setup::new("io_uring", config).start();
    ready(&gateway);
    gateway.chat(&ask("What is the capital of France?"));
    gateway.wait_for_metric("ringside_cache_vectors", 1.0);
    // Together they take the workers much longer than a millisecond, however quick the machine.
    let slow = "Please explain in a few words why the sky is blue at noon and red in the evening. "
        .repeat(8);
    let late = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..40)
            .map(|at| {
                let question = format!("{at}. {slow}");
                let mut client = gateway.connect();
                scope.spawn(move || client.post("/v1/chat/completions", &[], &ask(&question)))
            })
            .collect();
        let replies = sent.into_iter().map(|one| one.join().unwrap());
        let late = replies.filter(|reply| {
            assert_eq!((reply.status, reply.cache()), (200, "miss"));
            reply.header("x-ringside-cache-reason") == Some("deadline")
        });
        late.count()
    });
    assert!(late > 0);
    assert_eq!(
        gateway.metric("ringside_cache_semantic_refusals_total{reason=\"deadline\"}"),
        late as f64
    );
}

/// Sends `first`, then `second`, in a conversation of their own; returns the second response.
fn ask_in_turn(
    gateway: &Gateway,
    at: usize,
    vectors: usize,
    first: &str,
    second: &str,
) -> Response {
    let ask = |question: &str| {
        gateway.chat(&json!({"model": "m", "messages": [
            {"role": "system", "content": format!("conversation {at}")},
            {"role": "user", "content": question},
        ]}))
    };
    assert_eq!(ask(first).cache(), "miss", "{first}");
    gateway.wait_for_metric("ringside_cache_vectors", vectors as f64);
    ask(second)
}

#[test]
fn another_question_is_refused_by_its_rule_however_low_the_threshold() {
    let pairs = [
        (
            "Can I pray before 5am?",
            "Can I pray after 5am?",
            "opposite",
        ),
        (
            "Is it safe to travel to Cuba?",
            "Is it not safe to travel to Cuba?",
            "negation",
        ),
        ("How do I tie 3 knots?", "How do I tie 4 knots?", "number"),
        (
            "flights from Boston to Denver",
            "flights from Denver to Boston",
            "direction",
        ),
        ("Does Anna love Peter?", "Does Peter love Anna?", "order"),
        (
            "Is John an actor?",
            "Did John use to be an actor?",
            "temporal",
        ),
        (
            "What does fare code QX mean?",
            "What does fare code YN mean?",
            "code",
        ),
        (
            "flights to Boston",
            "flights to Boston on monday",
            "condition",
        ),
        (
            "Which papers did he write?",
            "How many papers did he write?",
            "quantity",
        ),
        (
            "How do I enable sync?",
            "How do I disable sync?",
            "opposite",
        ),
    ];
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let loose = SERVE.replace("0.9", "0.1");
        let gateway = Setup::new(driver, upstream.config() + &loose).start();
        ready(&gateway);
        for (at, (first, second, rule)) in pairs.into_iter().enumerate() {
            let reply = ask_in_turn(&gateway, at, 2 * at + 1, first, second);
            assert_eq!(reply.cache(), "miss", "{second}: {reply:?}");
            assert_eq!(
                reply.header("x-ringside-cache-reason"),
                Some(rule),
                "{second}"
            );
            // The response to the refused question is stored too.
            assert_is_stored(&gateway, at, second);
        }
    });
}

/// The response to a refused question is stored under its own words.
fn assert_is_stored(gateway: &Gateway, at: usize, question: &str) {
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": format!("conversation {at}")},
        {"role": "user", "content": question},
    ]});
    assert_eq!(gateway.chat(&body).cache(), "exact");
}

#[test]
fn the_default_operating_point_serves_other_words_for_the_same() {
    let pairs = [
        (
            "What is the capital of France?",
            "What's the capital of France?",
        ),
        (
            "What is the capital of France?",
            "please tell me what is the capital of france",
        ),
        ("How do I reset my password?", "how can i reset my password"),
        ("Does Anna love Peter?", "Is Peter loved by Anna?"),
        ("Why is the sky blue?", "Why is the sky bleu?"),
    ];
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let serve = "[cache.semantic]\nmode = \"serve\"\ndeadline = \"5s\"\n";
        let gateway = Setup::new(driver, upstream.config() + serve).start();
        ready(&gateway);
        for (at, (first, second)) in pairs.into_iter().enumerate() {
            let reply = ask_in_turn(&gateway, at, at + 1, first, second);
            assert_eq!(reply.cache(), "semantic", "{second}: {reply:?}");
            let why = reply.header("x-ringside-cache-reason").unwrap();
            let confidence: f64 = why.split("confidence=").nth(1).unwrap().parse().unwrap();
            assert!(confidence > 0.9, "{second}: {why}");
        }
    });
}

#[test]
fn a_stop_while_the_model_is_being_read_is_clean() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        for round in 0..8 {
            let mut gateway = Setup::new(driver, upstream.config() + SERVE).start();
            std::thread::sleep(Duration::from_millis(round * 15));
            gateway.signal(nix::sys::signal::Signal::SIGTERM);
            let ended = gateway.wait_for_exit();
            assert!(ended.success(), "{ended}");
        }
    });
}
