//! What the mock promises: the same times for the same seed, behaviours that change, and failures that say when to return.

use crate::harness::{Mock, file, report};
use std::time::{Duration, Instant};

#[test]
fn a_seed_repeats_requests_and_the_times_of_the_mock() {
    let bodies = |seed: &str| {
        let mock = Mock::start(&[]);
        let flags = [
            "--requests",
            "5",
            "--connections",
            "1",
            "--seed",
            seed,
            "--zipf",
            "1",
            "--repeat-share",
            "0.5",
        ];
        report(&mock.url(), &flags);
        mock.stats()["last_body"].as_str().unwrap().to_owned()
    };
    assert_eq!(bodies("1"), bodies("1"));
    assert_ne!(bodies("1"), bodies("2"));

    let slow = |seed: &str| -> Vec<bool> {
        let mock = Mock::start(&["--seed", seed, "--latency", "bimodal:0s:150ms:0.5"]);
        (0..12)
            .map(|_| {
                let began = Instant::now();
                mock.ask("same", "");
                began.elapsed() > Duration::from_millis(90)
            })
            .collect()
    };
    assert_eq!(slow("3"), slow("3"));
    assert_ne!(slow("3"), slow("4"));
}

#[test]
fn behaviour_changes_at_run_time_and_by_script() {
    let script = "[start]\nstatus = 503\n[[steps]]\nat = \"300ms\"\nstatus = 200\ntokens = 2\n";
    let script = file("script.toml", script);
    let mock = Mock::start(&["--script", script.to_str().unwrap()]);
    assert_eq!(mock.ask("a", "").0, 503);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(mock.ask("a", "").0, 200);

    let (status, reported) = mock.change(r#"{"latency":"100ms","tokens":3}"#);
    assert_eq!((status, &reported["latency"]), (200, &"100ms".into()));
    let began = Instant::now();
    assert_eq!(mock.ask("a", "").0, 200);
    assert!(began.elapsed() >= Duration::from_millis(95));
    let (status, reported) = mock.change(r#"{"latancy":"1s"}"#);
    assert_eq!(status, 400);
    assert!(
        reported["error"]["message"]
            .as_str()
            .unwrap()
            .contains("did you mean `latency`")
    );
    assert_eq!(
        mock.change(r#"{"latency":"recorded:/etc/hostname"}"#).0,
        400
    );
    let (status, _, body) = mock.send("DELETE", "/mock/behaviour", "", "");
    assert_eq!(status, 200);
    assert!(
        body.contains("\"status\":\"503\""),
        "back to the start: {body}"
    );
}

#[test]
fn quotas_and_failures_tell_when_to_come_again() {
    let mock = Mock::start(&["--quota", "2/60s", "--retry-style", "seconds,ms,openai"]);
    let key = "authorization: Bearer a\r\n";
    assert_eq!([mock.ask("q", key).0, mock.ask("q", key).0], [200, 200]);
    let (status, head, body) = mock.ask("q", key);
    assert_eq!(status, 429);
    for part in [
        "\nretry-after: ",
        "\nretry-after-ms: ",
        "\nx-ratelimit-reset-requests: ",
    ] {
        assert!(head.contains(part), "{head}");
    }
    assert!(body.contains("rate_limit_exceeded"));
    assert_eq!(mock.ask("q", "authorization: Bearer b\r\n").0, 200);
    assert_eq!(mock.stats()["limited"], 1);

    mock.change(r#"{"quota":"none","fail-rate":0.25,"fail-as":"status=429 retry-after=7 retry-style=date"}"#);
    let answers: Vec<_> = (0..8).map(|_| mock.ask("q", key)).collect();
    let failed: Vec<_> = answers
        .iter()
        .filter(|(status, ..)| *status == 429)
        .collect();
    assert_eq!(failed.len(), 2);
    assert!(
        failed
            .iter()
            .all(|(_, head, _)| head.contains("retry-after: ") && head.contains(" gmt"))
    );
    // One request can ask for its own.
    assert_eq!(mock.ask("q [[mock status=418]]", "").0, 418);
}
