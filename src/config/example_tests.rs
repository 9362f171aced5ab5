//! `docs/ringside.example.toml` states the defaults of the code and has every key.

use std::path::Path;

use crate::config::names::KnownNames;
use crate::config::problem::Problems;
use crate::config::root::{Config, documented_keys};
use crate::config::sections::target::TargetLocation;

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
    assert_eq!(stated, default);
}

#[test]
fn local_target_has_the_embedding_model() {
    let config = read_alone(MINIMAL);
    let target = &config.models[1].targets[0];
    assert_eq!(target.location, TargetLocation::Local);
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
    assert_eq!(
        provider.connection.ca_pem.as_deref(),
        Some(certificate.as_bytes())
    );
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

#[test]
fn example_has_every_key() {
    let written: toml::Table = uncommented().parse().unwrap();
    for key in documented_keys(&KNOWN) {
        let (section, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        let is_written = |table: &&toml::Table| match key.kind {
            Some(kind) => table.get("kind").and_then(toml::Value::as_str) == Some(kind),
            None => true,
        };
        let mut tables = tables(&written, section).into_iter().filter(is_written);
        let is_shown = tables.any(|table| table.contains_key(name));
        assert!(
            is_shown,
            "`{}` is not in docs/ringside.example.toml",
            key.path
        );
    }
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
