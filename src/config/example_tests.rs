//! `docs/ringside.example.toml` says the truth: its defaults are the code's, and no key is missing.

use std::path::Path;

use crate::config::load::KnownNames;
use crate::config::model::config::{Config, TargetLocation};
use crate::config::problem::Problems;

const KNOWN: KnownNames<'static> = KnownNames {
    dialects: &["openai", "azure", "vertex"],
    comparable: &["openai", "azure"],
    policies: &["priority"],
    wrong_hit_rate_least: 0.005,
};

/// What the example states about its first provider and model, and nothing that has a default.
const MINIMAL: &str = r#"
[[providers]]
name = "openai"
base_url = "https://api.openai.com/v1"
api_keys = ["env:OPENAI_API_KEY"]
[[models]]
name = "gpt-4o"
targets = [{ provider = "openai" }]
[[models]]
name = "all-MiniLM-L6-v2"
targets = [{ provider = "local" }]
"#;

fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ringside.example.toml");
    std::fs::read_to_string(path).unwrap()
}

/// The example with every setting in use.
fn uncommented() -> String {
    let mut text = String::new();
    for line in example().lines() {
        let setting = line
            .strip_prefix('#')
            .filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        text.push_str(setting.unwrap_or(line));
        text.push('\n');
    }
    text
}

fn read(text: &str, base_dir: &Path) -> Result<Config, Problems> {
    crate::config::load::parse(text, "ringside.example.toml", base_dir, &KNOWN, &|name| {
        Some(format!("secret-of-{name}"))
    })
}

fn read_alone(text: &str) -> Config {
    read(text, Path::new("")).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn example_states_the_defaults() {
    let stated = read_alone(&example());
    let default = read_alone(MINIMAL);
    assert_eq!(format!("{stated:#?}"), format!("{default:#?}"));
}

#[test]
fn local_target_has_the_embedding_model() {
    let config = read_alone(MINIMAL);
    let target = &config.models[1].targets[0];
    assert_eq!(target.place, TargetLocation::Local);
    assert_eq!(target.model, "all-MiniLM-L6-v2");
}

#[test]
fn example_is_valid_with_every_setting_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\n";
    for (file, text) in [
        ("server.crt", certificate),
        ("server.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("provider-ca.pem", certificate),
        ("prices.toml", "version = '1'\nas_of = 'x'\nsource = 'y'\n"),
        ("eks-pod-identity-token", "token"),
        (
            "service-account.json",
            include_str!("../../tests/fixtures/service-account.json"),
        ),
    ] {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    let config = read(&uncommented(), dir.path()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.server.tls.unwrap().cert_pem, certificate.as_bytes());
    assert_eq!(config.price_file.unwrap().version, "1");
    assert_eq!(config.prices.len(), 2);
    assert_eq!(config.prices[0].tiers[0].rates.output, 15_000_000_000);
    let provider = &config.providers[0];
    assert_eq!(provider.ca_pem.as_deref(), Some(certificate.as_bytes()));
    assert_eq!(provider.region.as_deref(), Some("us"));
    assert_eq!(config.keys.len(), 2);
    assert_eq!(config.keys[0].models, Some(vec!["gpt-4o".to_owned()]));
    assert_eq!(config.keys[0].team.as_deref(), Some("payments"));
}

/// The tables at `path`, of a list all of them: one may show what another leaves out.
fn tables<'t>(root: &'t toml::Table, path: &str) -> Vec<&'t toml::Table> {
    let mut tables = vec![root];
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name = part.split('[').next().unwrap_or_default();
        let children = tables.iter().filter_map(|table| table.get(name));
        tables = children
            .flat_map(|child| match child {
                toml::Value::Array(entries) => entries.iter().collect(),
                single => vec![single],
            })
            .filter_map(toml::Value::as_table)
            .collect();
    }
    tables
}

/// Asks each section for its known keys, by way of the message about an unknown one.
#[test]
fn example_has_every_key() {
    let text = uncommented();
    let mut asked = String::from("zzzz = 1\n");
    for line in text.lines() {
        let inline = line.replace("[{", "[{ zzzz = 1,");
        asked.push_str(&inline.replace("= {", "= { zzzz = 1,"));
        asked.push('\n');
        if line.starts_with('[') {
            asked.push_str("zzzz = 1\n");
        }
    }
    let problems = read(&asked, Path::new("")).unwrap_err();
    let written: toml::Table = text.parse().unwrap();
    let mut sections = 0;
    for problem in &problems.0 {
        let Some((_, keys)) = problem.remedy.split_once("Known keys here: ") else {
            continue;
        };
        sections += 1;
        let section = problem.key.trim_end_matches("zzzz").trim_end_matches('.');
        for key in keys.split(", ") {
            let in_use = tables(&written, section)
                .iter()
                .any(|table| table.contains_key(key));
            assert!(in_use, "`{key}` of `{section}` is not in the example");
        }
    }
    // Root, 9 single sections, 5 providers, 4 with credentials, 3 models with 1 target each, 1 of them with
    // fallbacks, hedges and admission and 1 with an experiment of arms, a mirror and a rule with conditions, 2 keys,
    // 2 prices, 1 of them with a tier.
    assert_eq!(sections, 38);
}

#[test]
fn truncated_and_damaged_files_never_panic() {
    let text = uncommented();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let _ = read(&text[..end], Path::new(""));
    }
    // A damaged byte every few bytes, each kind in turn.
    for (turn, at) in (0..text.len()).step_by(3).enumerate() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = b"\"[]{}=.#\n\0x9,-'"[turn % 15];
        if let Ok(damaged) = String::from_utf8(bytes) {
            let _ = read(&damaged, Path::new("")).map_err(|problems| problems.to_string());
        }
    }
    let deep = ["[", "a=[", "a={b=", "a."].map(|part| part.repeat(20_000));
    for text in deep {
        assert!(read(&text, Path::new("")).is_err());
    }
}
