//! `ringside import`: its output equals the golden files in `tests/import` and is a valid configuration.

use ringside::cli::import::litellm::import;
use std::path::Path;
use std::process::{Command, Output};

const YAML: &str = include_str!("import/litellm.yaml");

fn ringside(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringside"));
    let variables = [
        "AZURE_EU_KEY",
        "OPENAI_API_KEY",
        "GROQ_API_KEY",
        "ANTHROPIC_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "GEMINI_API_KEY",
        "LITELLM_MASTER_KEY",
    ];
    command.envs(variables.map(|name| (name, "a-secret")));
    command.args(arguments).output().unwrap()
}

fn notes(dialects: &[&str]) -> String {
    let imported = import(YAML, dialects).unwrap();
    imported
        .notes
        .iter()
        .map(|note| format!("{note}\n"))
        .collect()
}

#[test]
fn with_openai_alone_the_import_equals_the_golden_files() {
    let imported = import(YAML, &["openai"]).unwrap();
    assert_eq!(imported.toml, include_str!("import/litellm.toml"));
    assert_eq!(notes(&["openai"]), include_str!("import/litellm.notes"));
}

#[test]
fn with_every_further_dialect_fewer_models_are_left_out() {
    let left_out = |dialects: &[&str]| notes(dialects).matches("is not supported yet").count();
    assert_eq!(left_out(&["openai"]), 2);
    assert_eq!(left_out(&["openai", "anthropic"]), 1);
    assert_eq!(left_out(&["openai", "anthropic", "bedrock"]), 0);
    assert_eq!(left_out(&["openai", "anthropic", "bedrock", "gemini"]), 0);
    let toml = import(YAML, &["openai", "anthropic", "bedrock"])
        .unwrap()
        .toml;
    let bedrock = "name = \"bedrock\"\ndialect = \"bedrock\"\nbase_url = \"https://bedrock-runtime.eu-central-1.amazonaws.com\"\nauth = { kind = \"aws\", region = \"eu-central-1\", access_key_id = \"env:AWS_ACCESS_KEY_ID\", secret_access_key = \"env:AWS_SECRET_ACCESS_KEY\" }\nunsupported_fields = \"drop\"\n";
    assert!(toml.contains(bedrock), "{toml}");
    let toml = import(YAML, &["openai", "azure"]).unwrap().toml;
    let azure = "name = \"azure\"\nkind = \"azure\"\nbase_url = \"https://example-eu.openai.azure.com\"\napi_version = \"2024-10-21\"\napi_keys = [\"env:AZURE_EU_KEY\"]\n";
    assert!(toml.contains(azure), "{toml}");
}

#[test]
fn models_of_google_get_googles_dialects() {
    let yaml = "model_list:\n\
        - {model_name: a, litellm_params: {model: gemini/gemini-2.5-flash}}\n\
        - {model_name: b, litellm_params: {model: vertex_ai/gemini-2.5-pro, vertex_project: p-1, vertex_location: global, vertex_credentials: account.json}}\n\
        - {model_name: c, litellm_params: {model: vertex_ai/claude-sonnet-4@2025, vertex_project: p-1, vertex_credentials: os.environ/ACCOUNT}}\n\
        - {model_name: d, litellm_params: {model: vertex_ai/gemini-2.5-pro}}\n";
    let imported = import(yaml, &["openai", "gemini", "vertex", "vertex-anthropic"]).unwrap();
    for expected in [
        "dialect = \"gemini\"\nbase_url = \"https://generativelanguage.googleapis.com/v1beta\"\napi_keys = [\"env:GEMINI_API_KEY\"]\n",
        "dialect = \"vertex\"\nbase_url = \"https://aiplatform.googleapis.com/v1/projects/p-1/locations/global\"\nauth = { kind = \"google\", service_account = \"file:account.json\" }\n",
        "dialect = \"vertex-anthropic\"\nbase_url = \"https://us-central1-aiplatform.googleapis.com/v1/projects/p-1/locations/us-central1\"\nauth = { kind = \"google\", service_account = \"env:ACCOUNT\" }\n",
    ] {
        assert!(imported.toml.contains(expected), "{}", imported.toml);
    }
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("`vertex_project` is missing"),
        "{notes:?}"
    );
}

#[test]
fn no_secret_is_in_the_configuration_or_the_notes() {
    let imported = import(YAML, &["openai"]).unwrap();
    assert!(YAML.contains("hunter"));
    assert!(!imported.toml.contains("hunter"));
    assert!(!notes(&["openai"]).contains("hunter"));
}

#[test]
fn the_imported_configuration_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/litellm.yaml");
    let imported = ringside(&["import", "litellm", yaml.to_str().unwrap()]);
    assert!(imported.status.success());
    let reported = String::from_utf8(imported.stderr).unwrap();
    assert!(
        reported.contains("line 53: model_list[10]: left out: there is no provider `acme`"),
        "{reported}"
    );
    let path = folder.path().join("ringside.toml");
    std::fs::write(&path, imported.stdout).unwrap();
    let checked = ringside(&["check", "--config", path.to_str().unwrap()]);
    let reported = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{reported}");
}

#[test]
fn a_file_that_is_not_yaml_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, "model_list:\n  - [\n").unwrap();
    let imported = ringside(&["import", "litellm", path.to_str().unwrap()]);
    assert_eq!(imported.status.code(), Some(2));
    assert!(imported.stdout.is_empty());
    assert!(
        String::from_utf8(imported.stderr)
            .unwrap()
            .contains("line 3")
    );
    assert_eq!(ringside(&["import", "other", "x"]).status.code(), Some(2));
}
