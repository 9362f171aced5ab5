//! `ringside tune` as a user runs it: a file of labelled pairs in, a table, a setting and a page out.

use serde_json::json;
use std::fmt::Write;
use std::process::{Command, Output};

fn tune(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringside"))
        .arg("tune")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const THINGS: [&str; 20] = [
    "password", "invoice", "router", "printer", "account", "profile", "calendar", "browser",
    "keyboard", "camera", "phone", "wallet", "mailbox", "licence", "domain", "server", "folder",
    "filter", "ticket", "mirror",
];

/// Pairs that ask the same in other words, and near ones that do not.
fn pairs(count: usize) -> String {
    let same = [
        ("How do I reset the {}?", "How can I reset the {}?"),
        ("Why is the {} slow?", "why's the {} slow"),
        (
            "Where do I find the {}?",
            "please tell me where i find the {}",
        ),
        ("What is a {}?", "What's a {}?"),
        ("How do I clean the {}?", "how should i clean the {}"),
        ("Can I share the {}?", "can i share the {} please"),
        ("How does the {} work?", "how does a {} work"),
        (
            "Should I replace the {}?",
            "Is it better to replace the {}?",
        ),
    ];
    let other = [
        ("How do I lock the {}?", "How do I unlock the {}?"),
        ("How do I add 3 of the {}?", "How do I add 4 of the {}?"),
        ("Is the {} safe?", "Is the {} not safe?"),
        (
            "Can I open the {} before noon?",
            "Can I open the {} after noon?",
        ),
        ("Why is the {} slow?", "Why is the {} loud?"),
        ("How do I reset the {}?", "How do I sell the {}?"),
        ("What is a {}?", "Who made the first {}?"),
    ];
    let mut text = String::new();
    let templates = same
        .iter()
        .map(|one| (one, true))
        .chain(other.iter().map(|one| (one, false)));
    let all: Vec<_> = templates
        .flat_map(|((a, b), same)| {
            THINGS.map(|thing| (a.replace("{}", thing), b.replace("{}", thing), same))
        })
        .collect();
    for (at, (a, b, same)) in all.into_iter().enumerate().take(count) {
        // Every notation that is taken.
        let line = match at % 3 {
            0 => json!({"a": a, "b": b, "same": same}),
            1 => json!({"a": a, "b": b, "same": u8::from(same)}),
            _ => json!({"a": a, "b": b, "label": if same { "right" } else { "wrong" }}),
        };
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn three_hundred_pairs_give_a_setting_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let unknown = json!({"a": "x", "b": "y", "label": "unknown"});
    std::fs::write(path("pairs"), pairs(300)).unwrap();
    std::fs::write(path("log"), format!("{unknown}\n")).unwrap();
    let (pairs, log, html) = (path("pairs"), path("log"), path("page.html"));
    let run = tune(&[
        "--pairs",
        &pairs,
        "--log",
        &log,
        "--html",
        &html,
        "--wrong-hit-rate-max",
        "0.05",
    ]);
    assert!(run.status.success(), "{}", err(&run));
    let text = out(&run);
    assert!(
        text.contains("300 pairs: 160 ask the same, 140 do not."),
        "{text}"
    );
    assert!(text.contains("1 without a known label"), "{text}");
    // Whatever the setting, the traps are refused by their rules.
    for rule in ["number 0/20", "opposite 0/40"] {
        assert!(text.contains(rule), "{rule}: {text}");
    }
    assert!(
        text.contains("Recommended for wrong/hits at or below 5.0 %"),
        "{text}"
    );
    assert!(text.contains("wrong_hit_rate_max = 0.0"), "{text}");
    // Cosine alone takes the traps for hits.
    let loose = text
        .lines()
        .find(|line| line.starts_with("cosine alone = 0.8 "));
    let wrong: u64 = loose
        .unwrap()
        .split_whitespace()
        .nth(5)
        .unwrap()
        .parse()
        .unwrap();
    assert!(wrong >= 60, "{text}");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for needed in [
        "<svg",
        "prefers-color-scheme: dark",
        "@media print",
        "class=\"chosen\"",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    assert!(!page.contains("http"), "it must need nothing else");
}

#[test]
fn with_too_few_pairs_the_number_needed_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pairs");
    std::fs::write(&file, pairs(40)).unwrap();
    let run = tune(&["--pairs", file.to_str().unwrap()]);
    assert!(run.status.success(), "{}", err(&run));
    let text = out(&run);
    assert!(
        text.contains("No setting is shown to keep wrong/hits at or below 1.0 %"),
        "{text}"
    );
    assert!(
        text.contains("at least 299 hits with none wrong; these pairs have at most"),
        "{text}"
    );
    assert!(!text.contains("[cache.semantic]"), "{text}");
}

#[test]
fn wrong_input_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pairs");
    let path = file.to_str().unwrap();
    for (text, says) in [
        (
            "{\"a\": \"x\", \"b\": \"y\", \"same\": true}\n{\"a\": 1}\n",
            "pairs:2: ",
        ),
        ("\n{\"a\": \"x\", \"b\": \"y\"}\n", "pairs:2: no label"),
        (
            "{\"a\": \"x\", \"b\": \"y\", \"same\": 2}\n",
            "pairs:1: no label",
        ),
        ("\n", "no labelled pair"),
    ] {
        std::fs::write(&file, text).unwrap();
        let run = tune(&["--pairs", path]);
        assert_eq!(run.status.code(), Some(1), "{text}");
        assert!(err(&run).contains(says), "{text}: {}", err(&run));
    }
    for (arguments, says) in [
        (vec![], "tune needs --pairs FILE or --log FILE"),
        (
            vec!["--pairs", path, "--wrong-hit-rate-max", "2"],
            "a rate above 0",
        ),
        (vec!["--pairs", path, "--model-dir", "no/such"], "no/such"),
        (vec!["--pairs", "no/such/file"], "no/such/file"),
    ] {
        std::fs::write(&file, pairs(1)).unwrap();
        let run = tune(&arguments);
        assert!(!run.status.success());
        assert!(err(&run).contains(says), "{arguments:?}: {}", err(&run));
    }
}
