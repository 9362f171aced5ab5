//! Reasons and removal: every response names the reason of its cache result, a wrong answer is removed with its aliases
//! and leaves a mark, and another epoch makes all entries unreachable.

use crate::harness::*;
use crate::local_model::ready;
use nix::sys::signal::Signal;
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

fn why(reply: &Response) -> (&str, &str) {
    let why = reply.header("x-ringside-cache-reason");
    (reply.cache(), why.unwrap_or("(none)"))
}

#[test]
fn every_answer_says_why() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let call = |control: &str| {
            let headers = [("cache-control", control)];
            gateway.post_with(CHAT, &headers, &ask("q"))
        };
        let only = call("only-if-cached");
        assert_eq!((only.status, why(&only)), (504, ("miss", "new-request")));
        assert_eq!(why(&call("no-store")), ("bypass", "no-store"));
        assert_eq!(why(&call("no-cache")), ("bypass", "no-cache"));
        assert_eq!(why(&call("max-age=1")), ("exact", "same request"));
        assert_eq!(why(&gateway.chat(&ask("r"))), ("miss", "new-request"));
        let streamed = gateway.chat(&ask_stream("s"));
        assert_eq!(why(&streamed), ("miss", "new-request"));
        let unknown = gateway.chat(&with(ask("q"), "model", "unknown".into()));
        assert_eq!(
            (unknown.status, why(&unknown)),
            (404, ("bypass", "not-reached"))
        );
        let config = upstream.config() + "[cache]\nenabled = false\n";
        let off = Setup::new(driver, config).start();
        assert_eq!(why(&off.chat(&ask("q"))), ("bypass", "cache-off"));
    });
}

/// Always responds the same.
fn stubborn(content: &'static str) -> Upstream {
    Upstream::start(move |_, stream| write_json(stream, 200, &chat_response(content)))
}

fn mark_wrong(gateway: &Gateway, id: &str) -> Response {
    gateway.admin("POST", &format!("/admin/v1/cache/entries/{id}/wrong"))
}

fn entry(reply: &Response) -> String {
    reply.header("x-ringside-cache-entry").unwrap().to_owned()
}

#[test]
fn a_wrong_answer_goes_with_its_aliases() {
    on_both_drivers(|driver| {
        let upstream = stubborn("Lyon");
        let config = upstream.config() + &model("n", &["up"]);
        let gateway = Setup::new(driver, config).start();
        let elsewhere = with(ask("one"), "model", "n".into());
        for body in [ask("one"), ask("two"), elsewhere.clone()] {
            assert_eq!(gateway.chat(&body).cache(), "miss");
        }
        let id = entry(&gateway.chat(&ask("one")));
        let reported = mark_wrong(&gateway, &id).json();
        assert_eq!(
            reported,
            json!({"removed": 2, "tightened": false, "reason": "semantic-off"})
        );
        assert_eq!(gateway.chat(&ask("two")).cache(), "miss");
        // The entry of another scope stays.
        assert_eq!(gateway.chat(&elsewhere).cache(), "exact");
        assert_eq!(mark_wrong(&gateway, &id).status, 404);
        assert_eq!(mark_wrong(&gateway, "nonsense").status, 400);
        assert_eq!(
            gateway
                .admin("GET", &format!("/admin/v1/cache/entries/{id}/wrong"))
                .status,
            405
        );
    });
}

#[test]
fn near_a_wrong_answer_a_semantic_hit_needs_a_higher_score() {
    const ASKED: &str = "Why is the sky blue?";
    const FAR: &str = "Why is our sky blue?";
    const NEAR: &str = "why's the sky blue";
    let pairs = [FAR, NEAR];
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let serve = "[cache.semantic]\nmode = \"serve\"\ndeadline = \"5s\"\n";
        let gateway = Setup::new(driver, upstream.config() + serve).start();
        ready(&gateway);
        let store = || {
            assert_eq!(gateway.chat(&ask(ASKED)).cache(), "miss");
            gateway.wait_for_metric("ringside_cache_vectors", 1.0);
        };
        let again = |question: &str| {
            let headers = [("cache-control", "only-if-cached")];
            gateway.post_with(CHAT, &headers, &ask(question))
        };
        store();
        for question in pairs {
            assert_eq!(again(question).cache(), "semantic", "{question}");
        }
        // After one mark only the surest hit is served.
        let reported = mark_wrong(&gateway, &entry(&again(NEAR))).json();
        assert_eq!(reported["removed"], 1);
        assert_eq!(reported["tightened"], true);
        gateway.wait_for_metric("ringside_cache_vectors", 0.0);
        gateway.wait_for_metric("ringside_cache_wrong_answers", 1.0);
        store();
        assert_eq!(why(&again(FAR)), ("miss", "marked-wrong"));
        assert_eq!(again(NEAR).cache(), "semantic");
        // After two marks no semantic hit is served.
        mark_wrong(&gateway, &entry(&again(NEAR)));
        gateway.wait_for_metric("ringside_cache_vectors", 0.0);
        // The embedding pool sets the mark before it adds the vector of the next entry.
        store();
        assert_eq!(why(&again(NEAR)), ("miss", "marked-wrong"));
        assert_eq!(again(ASKED).cache(), "exact");
        // Other questions are not affected, and deleting everything removes the marks.
        let other = "How do I reset my password?";
        gateway.chat(&ask(other));
        gateway.wait_for_metric("ringside_cache_vectors", 2.0);
        assert_eq!(again("how can i reset my password").cache(), "semantic");
        gateway.admin("DELETE", "/admin/v1/cache");
        gateway.wait_for_metric("ringside_cache_wrong_answers", 0.0);
        gateway.wait_for_metric("ringside_cache_vectors", 0.0);
        store();
        assert_eq!(again(FAR).cache(), "semantic");
    });
}

#[test]
fn entries_of_one_key_can_be_deleted() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    let mut keys = String::new();
    for name in ["a", "b"] {
        std::fs::write(folder.path().join(name), format!("secret-{name}")).unwrap();
        keys += &format!("[[keys]]\nname = \"{name}\"\nsecret = \"file:{name}\"\n");
    }
    let gateway = Setup::new("io_uring", upstream.config() + &keys).start_in(folder);
    let call = |key: &str| {
        let bearer = format!("Bearer secret-{key}");
        let headers = [("authorization", bearer.as_str())];
        gateway.post_with(CHAT, &headers, &ask("q"))
    };
    for key in ["a", "b"] {
        assert_eq!(call(key).cache(), "miss");
    }
    assert_eq!(
        gateway.admin("DELETE", "/admin/v1/cache?key=a").json()["removed"],
        1
    );
    assert_eq!((call("a").cache(), call("b").cache()), ("miss", "exact"));
}

#[test]
fn another_epoch_makes_all_entries_unreachable() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        assert_eq!(gateway.chat(&ask("q")).cache(), "miss");
        assert_eq!(gateway.chat(&ask("q")).cache(), "exact");
        for (generation, epoch, cache) in [(2, "two", "miss"), (3, "three", "miss")] {
            let section = format!("[cache]\nepoch = \"{epoch}\"\n");
            gateway.rewrite_config(&Setup::new(driver, upstream.config() + &section).text());
            gateway.signal(Signal::SIGHUP);
            wait_until("the new configuration", || {
                gateway.info()["config"]["generation"] == generation
            });
            assert_eq!(gateway.chat(&ask("q")).cache(), cache);
            assert_eq!(gateway.chat(&ask("q")).cache(), "exact");
        }
    });
}
