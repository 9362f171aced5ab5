//! Freshness: how long a response is stored, and in which tier, by the words of question and response.

use crate::harness::*;
use crate::local_model::ready;
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const SERVE: &str = "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.8\ndeadline = \"5s\"\n";

fn why(reply: &Response) -> (&str, &str) {
    let why = reply.header("x-ringside-cache-reason");
    (reply.cache(), why.unwrap_or("(none)"))
}

#[test]
fn what_changes_with_time_gets_no_semantic_hit() {
    let pairs = [
        (
            "What is the capital of France?",
            "What is the capital city of France?",
            None,
        ),
        (
            "Who is the president of France?",
            "Who is the current president of France?",
            Some("slow"),
        ),
        (
            "What is the weather in Rome?",
            "How is the weather in Rome?",
            Some("live"),
        ),
        ("Where is my order?", "Where's my order?", Some("personal")),
    ];
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config() + SERVE).start();
        ready(&gateway);
        // Something in the scope, so that it is not refused for being empty.
        gateway.chat(&ask("What is a monad?"));
        gateway.wait_for_metric("ringside_cache_vectors", 1.0);
        for (first, second, class) in pairs {
            gateway.chat(&ask(first));
            if class.is_none() {
                gateway.wait_for_metric("ringside_cache_vectors", 2.0);
            }
            let reply = gateway.chat(&ask(second));
            match class {
                None => assert_eq!(reply.cache(), "semantic", "{second}"),
                Some(class) => assert_eq!(why(&reply), ("miss", class), "{second}"),
            }
        }
        // None of those has a vector.
        gateway.wait_for_metric("ringside_cache_vectors", 2.0);
        // The same words: slow and live responses are stored, personal ones are not.
        assert_eq!(gateway.chat(&ask(pairs[1].0)).cache(), "exact");
        assert_eq!(gateway.chat(&ask(pairs[3].0)).cache(), "miss");
        assert!(gateway.metric("ringside_cache_not_stored_total{reason=\"personal\"}") >= 2.0);
    });
}

#[test]
fn a_live_response_is_stored_for_its_own_time_and_no_hit_extends_it() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let answer = match seen.question().as_str() {
                "How many moons has Jupiter?" => "I have no real-time data, but about 95.",
                _ => "Sunny.",
            };
            write_json(stream, 200, &chat_response(answer))
        });
        let classes = "[cache.freshness]\nlive_ttl = \"1s\"\npersonal_ttl = \"1h\"\n";
        let gateway = Setup::new(driver, upstream.config() + classes).start();
        // Live by its question, and by its answer.
        for question in [
            "What is the weather in Rome?",
            "How many moons has Jupiter?",
        ] {
            assert_eq!(gateway.chat(&ask(question)).cache(), "miss");
            let until = std::time::Instant::now() + Duration::from_secs(1);
            let mut hits = 0;
            while gateway.chat(&ask(question)).cache() == "exact" {
                hits += 1;
                let late = std::time::Instant::now() > until + Duration::from_secs(5);
                assert!(!late, "a hit must not extend it");
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(hits > 0, "{question}");
        }
        // A caller may only shorten it.
        let longer = [("x-ringside-cache-ttl", "1h")];
        let question = "What is the weather in Oslo?";
        assert_eq!(
            gateway.post_with(CHAT, &longer, &ask(question)).cache(),
            "miss"
        );
        wait_until("it is forgotten", || {
            let only = [("cache-control", "only-if-cached")];
            let reply = gateway.post_with(CHAT, &only, &ask(question));
            reply.status == 504
        });
        // With the configured time to live a personal response is stored.
        let mine = "What is my balance?";
        assert_eq!(gateway.chat(&ask(mine)).cache(), "miss");
        assert_eq!(gateway.chat(&ask(mine)).cache(), "exact");
    });
}

#[test]
fn classes_can_be_off() {
    let upstream = Upstream::echo();
    let off = "[cache.freshness]\nenabled = false\n";
    let gateway = Setup::new("io_uring", upstream.config() + SERVE + off).start();
    ready(&gateway);
    gateway.chat(&ask("What is the weather in Rome?"));
    gateway.wait_for_metric("ringside_cache_vectors", 1.0);
    let other = gateway.chat(&ask("What's the weather in Rome?"));
    assert_eq!(other.cache(), "semantic", "{other:?}");
}
