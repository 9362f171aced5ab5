//! Every class of wrong input is reported with its position, its key and a remedy.
//!
//! The cases are in `bad_input_cases.txt`: a title after `---`, the input, and the expected report,
//! each line after `> `. The word in front of the title says where the input stands: `before` a valid file,
//! `after` it, or `alone`.

use std::path::Path;

use crate::config::names::KnownNames;
use crate::config::problem::Problems;
use crate::config::root::Config;

const CASES: &str = include_str!("bad_input_cases.txt");

const VALID: &str = r#"
[[providers]]
name = "openai"
base_url = "https://api.openai.com/v1"
[[models]]
name = "gpt-4o"
targets = [{ provider = "openai" }]
"#;

fn read(text: &str, base_dir: &Path) -> Result<Config, Problems> {
    let known = KnownNames {
        dialects: &["openai", "anthropic"],
        comparable: &["openai"],
        policies: &["priority", "weighted", "least-latency"],
        wrong_hit_rate_least: 0.005,
    };
    crate::config::load::parse(text, "ringside.toml", base_dir, &known, &|name| {
        let value = match name {
            "A" => "hunter2",
            "EMPTY" => "",
            "TWO_LINES" => "hunter2\nhunter3",
            _ => return None,
        };
        Some(value.to_owned())
    })
}

#[test]
fn each_wrong_input_is_explained() {
    let mut cases = 0;
    for case in CASES.split("--- ").filter(|case| !case.is_empty()) {
        let (title, body) = case.split_once('\n').unwrap();
        let (report, input): (Vec<_>, Vec<_>) =
            body.lines().partition(|line| line.starts_with("> "));
        let input: String = input.iter().map(|line| format!("{line}\n")).collect();
        let text = match title.split_once(':').unwrap().0 {
            "before" => format!("{input}{VALID}"),
            "after" => format!("{VALID}{input}"),
            "alone" => input,
            other => panic!("unknown position `{other}`"),
        };
        let problems = read(&text, Path::new("/nonexistent"))
            .unwrap_err()
            .to_string();
        let expected: Vec<_> = report.iter().map(|line| &line[2..]).collect();
        assert_eq!(problems.lines().collect::<Vec<_>>(), expected, "{title}");
        cases += 1;
    }
    assert_eq!(cases, CASES.matches("--- ").count());
}

#[test]
fn no_report_shows_a_secret() {
    let reports = CASES.lines().filter(|line| line.starts_with("> "));
    assert!(reports.clone().count() > 100);
    // Every secret and every misplaced literal among the cases has this word.
    assert_eq!(reports.filter(|line| line.contains("hunter")).count(), 0);
}

#[test]
fn missing_file_is_a_problem() {
    let path = Path::new("/nonexistent/ringside.toml");
    let known = KnownNames {
        dialects: &[],
        comparable: &[],
        policies: &[],
        wrong_hit_rate_least: 0.005,
    };
    let report = crate::config::load::load(path, &known)
        .unwrap_err()
        .to_string();
    let expected = "/nonexistent/ringside.toml: cannot be read: No such file or directory \
                    (os error 2)\n  remedy: give the path of";
    assert!(report.starts_with(expected), "{report}");
}

#[test]
fn port_zero_may_be_used_twice() {
    let text =
        "[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\n[admin]\nlisten = '127.0.0.1:0'\n";
    assert!(read(&format!("{text}{VALID}"), Path::new("")).is_ok());
}

#[test]
fn hash_of_a_secret_is_its_sha256() {
    let text = "[[keys]]\nname = 'k'\nsecret = 'env:A'\n";
    let config = read(&format!("{VALID}{text}"), Path::new("")).unwrap();
    // printf %s hunter2 | sha256sum
    let expected = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    let hash: String = config.keys[0]
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, expected);
}

#[test]
fn files_are_read_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "hunter2\r\n").unwrap();
    let provider = "[[providers]]\nname = 'b'\nbase_url = 'http://b'\napi_keys = ['file:secret']\n";
    let config = read(&format!("{VALID}{provider}"), dir.path()).unwrap();
    assert_eq!(config.providers[1].credentials.api_keys[0].0, "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));

    let tls = "[server.tls]\ncert = 'file:secret'\nkey = 'file:secret'\n";
    let report = read(&format!("{tls}{VALID}"), dir.path())
        .unwrap_err()
        .to_string();
    assert!(
        report.contains("file `secret` holds no certificate in PEM form"),
        "{report}"
    );
    assert!(
        report.contains("file `secret` holds no private key in PEM form"),
        "{report}"
    );
    assert!(!report.contains("hunter2"), "{report}");
}
