//! The real mock and the real load generator, over loopback.

mod harness;
mod mock;

use crate::harness::{Mock, file, load, report};
use serde_json::Value;

#[test]
fn every_request_is_counted_and_checked() {
    let mock = Mock::start(&[]);
    let url = mock.url();
    let flags = [
        "--requests",
        "500",
        "--connections",
        "8",
        "--workers",
        "2",
        "--check",
        "--stream-share",
        "0.2",
    ];
    let json = report(&url, &flags);
    assert_eq!(json["answers"], 500);
    assert_eq!(json["errors"], serde_json::json!({}));
    // 100 streams: the role, seven words, the finish and `[DONE]`.
    assert_eq!(json["events"], 100 * 10);
    assert_eq!(mock.stats()["requests"], 500);
    let latency = &json["latency_us"];
    assert!(
        latency["p50"].as_u64() > Some(0) && latency["max"].as_u64() >= latency["p99"].as_u64()
    );
}

#[test]
fn what_is_wrong_with_answers_is_an_error_of_its_kind() {
    let mock = Mock::start(&[]);
    let url = mock.url();
    for (mock_flag, stream, kind) in [
        ("wrong-answer", "0", "wrong answer"),
        ("wrong-answer", "1", "wrong answer"),
        ("body=malformed", "0", "not JSON"),
        ("body=malformed", "1", "event is not JSON"),
        ("error-event", "1", "error event"),
        ("truncate", "1", "stream without [DONE]"),
        ("no-done", "1", "stream without [DONE]"),
        ("hangup=mid", "0", "truncated"),
        ("hangup=3", "1", "truncated"),
        ("hangup=before", "0", "closed before the answer"),
        ("status=529", "0", "status 529"),
        ("hang", "0", "timeout"),
    ] {
        let flags = [
            "--requests",
            "4",
            "--connections",
            "2",
            "--check",
            "--timeout",
            "0.2",
            "--mock",
            mock_flag,
            "--stream-share",
            stream,
        ];
        let json = report(&url, &flags);
        assert_eq!(json["answers"], 0, "{mock_flag}");
        assert_eq!(
            json["errors"],
            serde_json::json!({ kind: 4 }),
            "{mock_flag}"
        );
    }
    let broken = report(&url, &["--requests", "2", "--mock", "framing=broken"]);
    let kinds: Vec<&String> = broken["errors"].as_object().unwrap().keys().collect();
    assert!(
        kinds.len() == 1 && kinds[0].starts_with("framing"),
        "{kinds:?}"
    );
    let output = load(&[
        "--url",
        &url,
        "--model",
        "m",
        "--requests",
        "1",
        "--mock",
        "status=500",
    ]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_stall_shows_in_an_open_loop_and_every_request_due_in_it() {
    let mock = Mock::start(&[]);
    let url = mock.url();
    // From half a second on, the mock stands still for 400 ms, once.
    assert_eq!(mock.change(r#"{"stall":"0.5s/400ms"}"#).0, 200);
    let flags = [
        "--rate",
        "400",
        "--duration",
        "2s",
        "--warm-up",
        "0s",
        "--connections",
        "4",
        "--check",
    ];
    let json = report(&url, &flags);
    assert_eq!(json["answers"], 800);
    // A fifth of all requests was due in the stall and waited 200 ms on average; with two answers
    // a connection late at most, a closed loop's view would be of eight requests, or one in a hundred.
    let at = |quantile: &str| json["latency_us"][quantile].as_u64().unwrap();
    assert!(at("p99") > 300_000, "{}", json["latency_us"]);
    assert!(
        (350_000..900_000).contains(&at("max")),
        "{}",
        json["latency_us"]
    );
    assert!(at("p90") > 100_000, "{}", json["latency_us"]);
    assert!(at("p50") < 100_000, "{}", json["latency_us"]);
    // Over time it is where it was, and as long.
    let slots = json["over_time"].as_array().unwrap();
    let slowest = slots
        .iter()
        .max_by_key(|slot| slot["p99_us"].as_u64())
        .unwrap();
    assert!(slowest["p99_us"].as_u64() > Some(300_000), "{slowest}");
    assert!(
        (0.3..0.8).contains(&slowest["at_s"].as_f64().unwrap()),
        "{slowest}"
    );
}

#[test]
fn rates_in_steps_are_kept_and_reported() {
    let mock = Mock::start(&[]);
    let flags = [
        "--rate",
        "100,400",
        "--duration",
        "1s",
        "--warm-up",
        "0.2s",
        "--workers",
        "2",
        "--connections",
        "8",
    ];
    let json = report(&mock.url(), &flags);
    assert_eq!(json["answers"], 250);
    let offered: Vec<f64> = json["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["offered_per_s"].as_f64().unwrap())
        .collect();
    assert_eq!(offered, [100.0, 400.0]);
    assert_eq!(mock.stats()["requests"], 270);
}

#[test]
fn a_scenario_is_followed_and_its_mistakes_are_named() {
    let mock = Mock::start(&["--api-key", "secret", "--api-key", "other"]);
    let prompts = file(
        "prompts.jsonl",
        "{\"query\":\"one\"}\n{\"query\":\"two\"}\n",
    );
    let text = format!(
        "[[targets]]\nurl = \"{}\"\nkeys = [\"secret\", \"other\"]\n[load]\nconnections = 2\nrequests = 20\n[requests]\nmodel = \"m\"\ncheck = true\nheaders = {{ x-mock-tokens = 3 }}\n[prompts]\nfile = \"{}\"\n",
        mock.url(),
        prompts.file_name().unwrap().to_str().unwrap(),
    );
    let good = file("good.toml", &text);
    let good = good.to_str().unwrap();
    let output = load(&["--scenario", good, "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["answers"], &json["errors"]),
        (&20.into(), &serde_json::json!({}))
    );
    // A flag wins.
    let output = load(&[
        "--scenario",
        good,
        "--json",
        "--requests",
        "7",
        "--key",
        "wrong",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["errors"], serde_json::json!({ "status 401": 7 }));

    let bad = file("bad.toml", &text.replace("connections", "conections"));
    let output = load(&["--scenario", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(
        why.contains("load.conections: unknown; did you mean `connections`?"),
        "{why}"
    );
    let why = String::from_utf8(load(&["--durration", "1s"]).stderr).unwrap();
    assert!(why.contains("did you mean `duration`"), "{why}");
}

#[test]
fn the_examples_can_be_run() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/example-script.toml");
    let mock = Mock::start(&["--script", script, "--latency", "1ms"]);
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/example-scenario.toml");
    let (a, b) = (format!("a={}", mock.url()), format!("b={}", mock.url()));
    let output = load(&[
        "--scenario",
        scenario,
        "--url",
        &a,
        "--url",
        &b,
        "--rounds",
        "1",
        "--duration",
        "0.5s",
        "--warm-up",
        "0s",
        "--paraphrase-share",
        "0.1",
    ]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(
        out.contains("latency p99 µs") && out.contains("  × "),
        "{out}"
    );
}

#[test]
fn load_goes_over_tls_to_who_can_be_trusted() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = file("cert.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let mock = Mock::start(&["--tls-cert", cert, "--tls-key", key]);
    let url = format!("https://{}", mock.address);
    let flags = [
        "--requests",
        "20",
        "--connections",
        "2",
        "--check",
        "--stream-share",
        "0.5",
    ];
    let json = report(&url, &[&flags[..], &["--ca", cert]].concat());
    assert_eq!(json["answers"], 20);
    let json = report(&url, &["--requests", "1", "--connections", "1"]);
    let errors = json["errors"].as_object().unwrap();
    let error = errors.keys().next().unwrap();
    assert!(error.starts_with("connect: unknown issuer"), "{error}");
}

/// Every tag that is opened is closed, in order.
fn assert_balanced(page: &str) {
    let mut open = Vec::new();
    let page = page.replace("<!doctype html>", "");
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name.to_owned()));
        } else if !tag.ends_with('/') && name != "meta" {
            open.push(name.to_owned());
        }
    }
    assert_eq!(open, [] as [String; 0]);
}

#[test]
fn targets_are_compared_and_the_page_stands_alone() {
    let (fast, slow) = (Mock::start(&[]), Mock::start(&["--latency", "20ms"]));
    let page = file("page.html", "");
    let json = load(&[
        "--url",
        &format!("fast={}", fast.url()),
        "--url",
        &format!("slow<b>={}", slow.url()),
        "--model",
        "m",
        "--rate",
        "100..200",
        "--duration",
        "0.5s",
        "--warm-up",
        "0s",
        "--rounds",
        "2",
        "--json",
        "--html",
        page.to_str().unwrap(),
    ]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["targets"][0]["rounds"].as_array().unwrap().len(), 2);
    let ratio = &json["targets"][1]["ratios_to_first"]["latency p50 µs"];
    assert!(ratio["min"].as_f64() > Some(2.0), "{ratio}");
    assert!(ratio["min"].as_f64() <= ratio["median"].as_f64());

    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for id in [
        "summary",
        "ratios",
        "percentiles",
        "latency-over-time",
        "rate-over-time",
        "throughput",
        "cache",
        "times",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    assert_eq!(page.matches("class=\"plot\"").count(), 4);
    for part in [
        "src=", "href=", "@import", "url(", "<script", "<link", "slow<b>", "NaN", "inf",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert_balanced(&page);
}
