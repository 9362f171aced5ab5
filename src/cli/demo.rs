//! `ringside serve` without a configuration: the provider whose key is in the environment, or the
//! bundled mock provider, so that the first request works at once.

use crate::config::listen::Listen;
use crate::config::root::Config;
use crate::control::log;
use crate::control::reload;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The common part of both built-in configurations. Semantic hits are served, so that the tour shows one; by default
/// they are not.
const COMMON: &str = r#"
[cache.semantic]
mode = "serve"
deadline = "100ms"

[[models]]
name = "all-minilm-l6-v2"
targets = [{ provider = "local" }]
"#;

/// Models offered when `OPENAI_API_KEY` is set.
const OPENAI_MODELS: [&str; 6] = [
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1-mini",
    "gpt-4.1",
    "text-embedding-3-small",
    "text-embedding-3-large",
];

/// A built-in configuration, and the mock provider that it needs.
pub struct Demo {
    /// The validated configuration.
    pub config: Config,
    _mock: Option<Mock>,
}

/// Chooses the built-in configuration, starts the mock provider if it needs one, and prints a tour.
///
/// # Errors
/// A sentence a person can act on.
pub fn prepare() -> Result<Demo, String> {
    let has_key = std::env::var("OPENAI_API_KEY").is_ok_and(|key| !key.is_empty());
    let (text, mock) = if has_key {
        eprintln!("ringside: no configuration file; using api.openai.com with OPENAI_API_KEY");
        (openai(), None)
    } else {
        let mock = Mock::start()?;
        eprintln!(
            "ringside: no configuration file and no OPENAI_API_KEY: answers come from the bundled mock provider on {}",
            mock.url
        );
        (mock_configuration(&mock.url), Some(mock))
    };
    let mut config = reload::parse_built_in(&text)?;
    if let Some(dir) = model_dir(&config.embedding.model_dir) {
        config.embedding.model_dir = dir;
    }
    print_tour(&config);
    Ok(Demo {
        config,
        _mock: mock,
    })
}

/// The model's folder in a folder above the executable; `None` when it is in the working directory, or nowhere.
fn model_dir(relative: &Path) -> Option<PathBuf> {
    if relative.exists() {
        return None;
    }
    let executable = std::env::current_exe().ok()?;
    executable
        .ancestors()
        .map(|folder| folder.join(relative))
        .find(|folder| folder.exists())
}

fn openai() -> String {
    let mut text = String::from(
        "[[providers]]\nname = \"openai\"\nbase_url = \"https://api.openai.com/v1\"\napi_keys = [\"env:OPENAI_API_KEY\"]\n",
    );
    for model in OPENAI_MODELS {
        text.push_str(&format!(
            "[[models]]\nname = \"{model}\"\ntargets = [{{ provider = \"openai\" }}]\n"
        ));
    }
    text + COMMON
}

fn mock_configuration(url: &str) -> String {
    format!(
        "[[providers]]\nname = \"mock\"\nbase_url = \"{url}/v1\"\n[[models]]\nname = \"gpt-4o-mini\"\ntargets = [{{ provider = \"mock\" }}]\n{COMMON}"
    )
}

fn print_tour(config: &Config) {
    let Some(Listen::Tcp(address)) = config.server.listen.first() else {
        return;
    };
    let ask = |question: &str| {
        format!(
            "  curl -si http://{address}/v1/chat/completions -d '{{\"model\":\"gpt-4o-mini\",\"messages\":[{{\"role\":\"user\",\"content\":\"{question}\"}}]}}'"
        )
    };
    eprintln!(
        "ringside: ask, then ask again in other words, and see x-ringside-cache:\n{}\n{}",
        ask(QUESTIONS[0]),
        ask(QUESTIONS[1]),
    );
}

/// One question in two forms that the semantic tier treats as the same.
const QUESTIONS: [&str; 2] = [
    "What is the capital of France?",
    "Tell me the capital of France.",
];

/// The mock provider's process; it ends with this one.
struct Mock {
    child: Child,
    url: String,
}

impl Mock {
    fn start() -> Result<Self, String> {
        let program = std::env::current_exe()
            .map(|own| own.with_file_name("ringside-mock"))
            .map_err(|error| error.to_string())?;
        let mut child = Command::new(&program)
            .args(["--listen", "127.0.0.1:0", "--latency-ms", "300"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!(
                    "no configuration file, no OPENAI_API_KEY, and the mock provider {} could not be started ({error}): write a ringside.toml (see docs/ringside.example.toml) or build with `make run`",
                    program.display()
                )
            })?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let url = line
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        if !url.starts_with("http://") {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("the mock provider did not start: {line}"));
        }
        log::event("mock_started", &serde_json::json!({ "url": url }));
        Ok(Self { child, url })
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
