//! Experiments: requests are split as configured, a subject stays in its arm, arms share cached responses only if
//! configured, a rating counts for the arm of its request, only the sender of a request rates it, and a canary that does
//! worse than the baseline loses its share.

use crate::harness::*;
use serde_json::{Value, json};

const NO_CACHE: &str = "[cache]\nenabled = false\n";
const KEYS: &str = "[[keys]]\nname = \"one\"\nsha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
                    [[keys]]\nname = \"two\"\nsha256 = \"a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3\"\n";

/// A provider that answers with its own name.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |_, stream| write_json(stream, 200, &chat_response(name)))
}

/// Weights of the arms.
struct Weights {
    a: u32,
    b: u32,
}

/// A model `m` at providers a and b, in an experiment with arms of the same names.
fn config(a: &Upstream, b: &Upstream, weights: Weights, more: &str, canary: bool) -> String {
    format!(
        "{}{}{}[models.experiment]\nname = \"e\"\n{more}\narms = [\
         {{ name = \"a\", targets = [\"a\"], weight = {} }}, \
         {{ name = \"b\", targets = [\"b\"], weight = {}, canary = {canary} }}]\n",
        a.provider("a"),
        b.provider("b"),
        model("m", &["a", "b"]),
        weights.a,
        weights.b,
    )
}

fn ask_as(gateway: &Gateway, headers: &[(&str, &str)], question: &str) -> Response {
    let reply = gateway.post_with("/v1/chat/completions", headers, &ask(question));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

fn session(gateway: &Gateway, name: &str, question: &str) -> Response {
    ask_as(gateway, &[("x-ringside-session", name)], question)
}

fn arm_metric(gateway: &Gateway, name: &str, arm: &str, more: &str) -> f64 {
    gateway.metric(&format!(
        "{name}{{gen_ai_request_model=\"m\",experiment=\"e\",arm=\"{arm}\"{more}}}"
    ))
}

fn answered(gateway: &Gateway, arm: &str, outcome: &str) -> f64 {
    let more = format!(",outcome=\"{outcome}\"");
    arm_metric(
        gateway,
        "ringside_experiment_arm_requests_total",
        arm,
        &more,
    )
}

#[test]
fn subjects_are_split_by_weight_and_stay_in_their_arm() {
    on_both_drivers(|driver| {
        let (a, b) = (named("a"), named("b"));
        let config = format!(
            "{}{NO_CACHE}",
            config(&a, &b, Weights { a: 70, b: 30 }, "", false)
        );
        let gateway = Setup::new(driver, config).start();
        let mut client = gateway.connect();
        let mut split = [0, 0];
        // The draw depends on names and subjects alone, so these counts are the same in every run.
        for subject in 0..400 {
            let subject = format!("s{subject}");
            let mut ask = || {
                let headers = [("x-ringside-session", subject.as_str())];
                client.post("/v1/chat/completions", &headers, &ask("q"))
            };
            let first = ask();
            let route = format!("arm=e/{}", first.content());
            assert_eq!(first.header("x-ringside-route"), Some(route.as_str()));
            assert_eq!(ask().content(), first.content());
            split[usize::from(first.content() == "b")] += 1;
        }
        // 280 and 120, within four standard deviations.
        assert!(i32::abs_diff(split[0], 280) < 37, "{split:?}");
        // Without a session each request is drawn by itself.
        let before = b.count();
        for _ in 0..200 {
            client.post("/v1/chat/completions", &[], &ask("q"));
        }
        let drawn = b.count() - before;
        assert!(drawn.abs_diff(60) < 26, "{drawn}");
        let all = 2 * split[1] + i32::try_from(drawn).unwrap();
        wait_until("every request is counted", || {
            answered(&gateway, "b", "ok") == f64::from(all)
        });
        assert_eq!(
            arm_metric(&gateway, "ringside_experiment_arm_share", "b", ""),
            0.3
        );
        let line = gateway.wait_for_log(|line| line["event"] == "request");
        assert!(line["arm"].as_str().unwrap().starts_with("e/"), "{line}");
        // A request that names its target takes no part in the experiment.
        let named = ask_as(&gateway, &[("x-ringside-route", "b")], "q");
        assert_eq!(
            (named.content().as_str(), named.header("x-ringside-route")),
            ("b", None)
        );
        assert_eq!(answered(&gateway, "b", "ok"), f64::from(all));
    });
}

/// A session whose arm is `arm`.
fn session_of(gateway: &Gateway, arm: &str) -> String {
    let names = (0..200).map(|at| format!("find{at}"));
    let mut found = names.filter(|name| {
        let reply = session(gateway, name, "which");
        reply.header("x-ringside-route") == Some(&format!("arm=e/{arm}"))
    });
    found.next().expect("a session in this arm")
}

#[test]
fn arms_share_cached_responses_only_if_configured() {
    on_both_drivers(|driver| {
        for (more, of_b) in [("", "b"), ("share_cache = true", "a")] {
            let (a, b) = (named("a"), named("b"));
            let gateway = Setup::new(
                driver,
                config(&a, &b, Weights { a: 50, b: 50 }, more, false),
            )
            .start();
            let (in_a, in_b) = (session_of(&gateway, "a"), session_of(&gateway, "b"));
            assert_eq!(session(&gateway, &in_a, "new").content(), "a");
            assert_eq!(session(&gateway, &in_b, "new").content(), of_b);
            assert_eq!(session(&gateway, &in_a, "new").cache(), "exact");
            let sent = arm_metric(
                &gateway,
                "ringside_experiment_arm_requests_total",
                "a",
                ",outcome=\"cached\"",
            );
            assert!(sent >= 1.0);
        }
    });
}

/// Answers 500 to everything.
fn broken() -> Upstream {
    Upstream::start(|_, stream| write_json(stream, 500, &json!({"error": {"message": "no"}})))
}

#[test]
fn an_arm_that_fails_uses_the_other_targets_only_if_configured_and_their_response_is_not_stored() {
    on_both_drivers(|driver| {
        let (a, b) = (named("a"), broken());
        let gateway =
            Setup::new(driver, config(&a, &b, Weights { a: 50, b: 50 }, "", false)).start();
        let in_b = session_of(&gateway, "b");
        let helped = session(&gateway, &in_b, "new");
        assert_eq!(
            (helped.content().as_str(), helped.header("x-ringside-route")),
            ("a", Some("arm=e/b"))
        );
        assert_eq!(session(&gateway, &in_b, "new").cache(), "miss");
        wait_until("both requests are counted", || {
            answered(&gateway, "b", "failover") >= 2.0
        });

        let config = config(
            &a,
            &b,
            Weights { a: 0, b: 50 },
            "failover = \"none\"",
            false,
        );
        let gateway = Setup::new(driver, config).start();
        let before = a.count();
        let alone = gateway.chat(&ask("q"));
        assert_eq!(alone.status, 500);
        assert_eq!(a.count(), before);
        let reported = Client::connect(&gateway.admin)
            .post("/admin/v1/explain", &[], &ask("q"))
            .json();
        let model = &reported["cores"][0]["models"][0];
        assert_eq!(model["arm"], "e/b");
        assert_eq!(model["candidates"][0]["excluded"], "arm");
    });
}

fn rate(gateway: &Gateway, secret: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str())];
    gateway.post_with("/v1/feedback", &headers, body)
}

#[test]
fn a_rating_counts_for_its_arm_and_only_the_sender_rates_a_request() {
    on_both_drivers(|driver| {
        let (a, b) = (named("a"), named("b"));
        let config = format!(
            "{}{KEYS}",
            config(&a, &b, Weights { a: 0, b: 50 }, "", false)
        );
        // Two cores: a rating may arrive on another one.
        let gateway = Setup::new(driver, config).server("cores = 2").start();
        let as_one = |id: &str| {
            let headers = [("authorization", "Bearer abc"), ("x-request-id", id)];
            ask_as(&gateway, &headers, "q")
        };
        for id in ["r1", "r2", "r3"] {
            assert_eq!(as_one(id).header("x-request-id"), Some(id));
        }
        // A request of another tenant is refused like an unknown one.
        for (secret, id) in [("123", "r1"), ("abc", "r9")] {
            let refused = rate(&gateway, secret, &json!({"request_id": id, "score": 1}));
            assert_eq!(
                (refused.status, refused.error().0.as_str()),
                (404, "request_not_found")
            );
        }
        let unknown = rate(&gateway, "nobody", &json!({"request_id": "r1", "score": 1}));
        assert_eq!(unknown.status, 401);
        let good = rate(
            &gateway,
            "abc",
            &json!({"request_id": "r1", "thumbs": "up"}),
        );
        assert_eq!(
            (good.status, &good.json()["counted"]),
            (200, &true.into()),
            "{good:?}"
        );
        let again = rate(&gateway, "abc", &json!({"request_id": "r1", "score": -1}));
        assert_eq!(
            (again.status, again.error().0.as_str()),
            (409, "already_rated")
        );
        assert_eq!(
            rate(&gateway, "abc", &json!({"request_id": "r2", "score": -0.5})).status,
            200
        );
        let wrong = rate(&gateway, "abc", &json!({"request_id": "r3", "score": 2}));
        assert_eq!(wrong.status, 400);
        // A request of the other key with the same id is another request.
        let headers = [("authorization", "Bearer 123"), ("x-request-id", "r1")];
        ask_as(&gateway, &headers, "q");
        assert_eq!(
            rate(&gateway, "123", &json!({"request_id": "r1", "score": 0})).status,
            200
        );
        assert_ratings_are_reported(&gateway);
    });
}

/// The ratings 1, -0.5 and 0 of arm b.
fn assert_ratings_are_reported(gateway: &Gateway) {
    for (verdict, count) in [("good", 1.0), ("neutral", 1.0), ("bad", 1.0)] {
        let more = format!(",verdict=\"{verdict}\"");
        let seen = arm_metric(gateway, "ringside_experiment_arm_ratings_total", "b", &more);
        assert_eq!(seen, count, "{verdict}");
    }
    let reported = gateway.admin("GET", "/admin/v1/experiments").json();
    let arm = &reported["experiments"][0]["arms"][1];
    assert_eq!(
        (&arm["arm"], &arm["ratings"]["bad"]),
        (&"b".into(), &1.into())
    );
    assert!(
        (arm["score_mean"].as_f64().unwrap() - 0.5 / 3.0).abs() < 1e-9,
        "{reported}"
    );
    gateway.wait_for_metric("ringside_feedback_window_requests", 4.0);
    gateway.wait_for_metric("ringside_feedback_window_requests_limit", 65_536.0);
}

/// Sends requests of new sessions until the canary has lost its share.
fn send_until_rolled_back(gateway: &Gateway) {
    let mut client = gateway.connect();
    let at = std::cell::Cell::new(0);
    let rolled_back = || arm_metric(gateway, "ringside_experiment_arm_rolled_back", "b", "") == 1.0;
    let client = std::cell::RefCell::new(&mut client);
    wait_until("the canary is rolled back", || {
        for _ in 0..40 {
            at.set(at.get() + 1);
            let session = format!("w{}", at.get());
            let headers = [("x-ringside-session", session.as_str())];
            let reply = client
                .borrow_mut()
                .post("/v1/chat/completions", &headers, &ask("q"));
            assert_eq!(reply.status, 200);
        }
        rolled_back()
    });
}

fn assert_rollback_is_reported(gateway: &Gateway) {
    let reported = gateway.wait_for_event("canary_rolled_back");
    assert_eq!(
        (&reported["model"], &reported["arm"], &reported["reason"]),
        (&"m".into(), &"b".into(), &"errors".into())
    );
    assert_eq!(reported["baseline"]["bad"], 0, "{reported}");
    assert_eq!(
        reported["canary"]["bad"], reported["canary"]["all"],
        "{reported}"
    );
    assert_eq!(
        arm_metric(gateway, "ringside_experiment_arm_share", "b", ""),
        0.0
    );
    let reported = gateway.admin("GET", "/admin/v1/experiments").json();
    let arm = &reported["experiments"][0]["arms"][1];
    assert_eq!(
        (&arm["share"], &arm["rolled_back"]["reason"]),
        (&0.0.into(), &"errors".into())
    );
}

#[test]
fn a_canary_that_does_worse_loses_its_share_until_it_is_reset() {
    on_both_drivers(|driver| {
        let (a, b) = (named("a"), broken());
        let config = format!(
            "{}{NO_CACHE}",
            config(&a, &b, Weights { a: 50, b: 50 }, "", true)
        );
        let setup = Setup::new(driver, config);
        let text = setup.text();
        let gateway = setup.start();
        send_until_rolled_back(&gateway);
        assert_rollback_is_reported(&gateway);
        let before = b.count();
        for at in 0..50 {
            let reply = session(&gateway, &format!("after{at}"), "q");
            assert_eq!(reply.header("x-ringside-route"), Some("arm=e/a"));
        }
        assert_eq!(b.count(), before);
        // After a reload that does not change the experiment the canary is still rolled back.
        gateway.rewrite_config(&format!("{text}[log]\nrequests = true\n"));
        gateway.signal(nix::sys::signal::Signal::SIGHUP);
        gateway.wait_for_metric("ringside_config_loads_total", 2.0);
        assert_eq!(
            arm_metric(&gateway, "ringside_experiment_arm_rolled_back", "b", ""),
            1.0
        );
        // After a reset requests are drawn for the canary again; the circuit of its target may still be open.
        assert_eq!(
            gateway
                .admin("POST", "/admin/v1/experiments/reset?model=x")
                .status,
            404
        );
        let reset = gateway
            .admin("POST", "/admin/v1/experiments/reset?model=m")
            .json();
        assert_eq!(reset["restored"], 1);
        assert_eq!(
            arm_metric(&gateway, "ringside_experiment_arm_share", "b", ""),
            0.5
        );
        let before = answered(&gateway, "b", "failover");
        send_until_rolled_back(&gateway);
        assert!(answered(&gateway, "b", "failover") > before);
        // With other weights it is another experiment.
        gateway.rewrite_config(&text.replacen("weight = 50", "weight = 60", 1));
        gateway.signal(nix::sys::signal::Signal::SIGHUP);
        gateway.wait_for_metric("ringside_config_loads_total", 3.0);
        // The results of the experiment before do not count, however often the monitor looks.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        assert_eq!(
            arm_metric(&gateway, "ringside_experiment_arm_rolled_back", "b", ""),
            0.0
        );
    });
}

#[test]
fn a_canary_that_does_as_well_keeps_its_share() {
    on_both_drivers(|driver| {
        let (a, b) = (named("a"), named("b"));
        let config = format!(
            "{}{NO_CACHE}",
            config(&a, &b, Weights { a: 50, b: 50 }, "", true)
        );
        let gateway = Setup::new(driver, config).start();
        let mut client = gateway.connect();
        let ends = std::time::Instant::now() + std::time::Duration::from_millis(2500);
        while std::time::Instant::now() < ends {
            client.post("/v1/chat/completions", &[], &ask("q"));
        }
        assert!(answered(&gateway, "b", "ok") > 20.0);
        assert_eq!(
            arm_metric(&gateway, "ringside_experiment_arm_rolled_back", "b", ""),
            0.0
        );
    });
}
