//! `ringside`: arguments, configuration, start. It only wires.

use ringside::app::{Options, Startup};
use ringside::cli::demo;
use ringside::cli::import::litellm;
use ringside::cli::tune::tune;
use ringside::config::root::Config;
use ringside::config::sections::cache::WRONG_HIT_RATE_MAX;
use ringside::config::sections::embedding::MODEL_DIR;
use ringside::control::reload;
use ringside::gateway::explain::readable;
use ringside::observability::output;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Cached answers of all sizes live long between short-lived buffers: see ADR 016.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
ringside: an LLM gateway that runs beside your service

usage:
  ringside serve [--config FILE] [--demo]   run the sidecar
  ringside check --config FILE              validate a configuration; exit code 2 if it is wrong
  ringside explain --config FILE [--json]   what would happen to the chat request on standard input, and why
  ringside tune (--pairs FILE | --log FILE) [--wrong-hit-rate-max RATE] [--html FILE] [--model-dir DIR]
                                            choose an operating point of the semantic cache
  ringside import litellm FILE              turn LiteLLM's config.yaml into a ringside.toml
  ringside --version | --help

serve reads FILE, or ringside.toml in this folder if it is there. Without either, or with --demo, it
runs a built-in configuration: the provider of OPENAI_API_KEY if that is set, else the bundled mock.
tune reads JSON lines, {\"a\": …, \"b\": …, \"same\": true}, or the log of `cache.semantic.log`; both may be
given, each several times. It needs the embedding model and no configuration.
Signals: TERM stops gracefully, HUP reloads keys, models and providers.
";

/// Exit code of a wrong configuration or command line.
const EXIT_WRONG_INPUT: u8 = 2;

/// How long the end of the process waits until the reason of a failure is written.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

enum Command {
    Serve { config: Option<PathBuf>, demo: bool },
    Check { config: PathBuf },
    Explain { config: PathBuf, json: bool },
    Tune(tune::Options),
    Import { path: PathBuf },
    Print(String),
}

fn main() -> ExitCode {
    let command = match parse_arguments() {
        Ok(command) => command,
        Err(why) => {
            eprintln!("ringside: {why}\n\n{USAGE}");
            return ExitCode::from(EXIT_WRONG_INPUT);
        }
    };
    match command {
        Command::Print(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Command::Check { config } => match reload::load(&config) {
            Ok(loaded) => {
                println!("{}: ok ({})", config.display(), summary(&loaded));
                ExitCode::SUCCESS
            }
            Err(problems) => {
                eprint!("{problems}");
                ExitCode::from(EXIT_WRONG_INPUT)
            }
        },
        Command::Explain { config, json } => explain(&config, json),
        Command::Import { path } => import(&path),
        Command::Serve { config, demo } => serve(config, demo),
        Command::Tune(options) => run(tune::tune(&options).map(|report| print!("{report}"))),
    }
}

/// Reads a chat request from standard input and explains it.
fn explain(config: &Path, json: bool) -> ExitCode {
    let config = match reload::load(config) {
        Ok(config) => config,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::from(EXIT_WRONG_INPUT);
        }
    };
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut input) {
        eprintln!("ringside: standard input: {error}");
        return ExitCode::FAILURE;
    }
    match reload::explain_offline(config, &input) {
        Ok(explanation) if json => println!("{explanation:#}"),
        Ok(explanation) => print!("{}", readable(&explanation)),
        Err(why) => {
            eprintln!("ringside: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The configuration goes to standard output, the settings without an equivalent to standard error.
fn import(path: &Path) -> ExitCode {
    let (dialects, _) = reload::known_names();
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match text.and_then(|text| litellm::import(&text, &dialects)) {
        Ok(imported) => {
            print!("{}", imported.toml);
            for note in imported.notes {
                eprintln!("{note}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("ringside: {}: {why}", path.display());
            ExitCode::from(EXIT_WRONG_INPUT)
        }
    }
}

fn summary(config: &Config) -> String {
    format!(
        "{} providers, {} models, {} keys",
        config.providers.len(),
        config.models.len(),
        config.keys.len()
    )
}

fn serve(path: Option<PathBuf>, wants_demo: bool) -> ExitCode {
    output::report_panics();
    // Before anything slow: a signal while it starts must not end the process without a stop.
    let mut startup = match Startup::begin() {
        Ok(startup) => startup,
        Err(why) => return run(Err(why)),
    };
    let local = PathBuf::from("ringside.toml");
    let path = match (path, wants_demo) {
        (Some(path), _) => Some(path),
        (None, false) if local.exists() => Some(local),
        (None, _) => None,
    };
    let Some(path) = path else {
        // The mock provider of `demo` runs as long as the gateway.
        return run(demo::prepare().and_then(|demo| {
            let config = demo.config.clone();
            startup.serve(Options { config, path: None })
        }));
    };
    let file = path.clone();
    match startup.unless_stopped(move || reload::load(&file)) {
        Err(why) => run(Err(why)),
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(Ok(config))) => run(startup.serve(Options {
            config,
            path: Some(path),
        })),
        Ok(Some(Err(problems))) => {
            eprint!("{problems}");
            ExitCode::from(EXIT_WRONG_INPUT)
        }
    }
}

fn run(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            output::notice(&format!("ringside: {why}"));
            output::flush(LAST_WORDS_WITHIN);
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments() -> Result<Command, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut words = Vec::new();
    let (mut config, mut demo, mut json) = (None, false, false);
    let mut tuning = Tuning::default();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(USAGE.into())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(format!(
                    "ringside {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Short('c') | Long("config") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                config = Some(PathBuf::from(value));
            }
            Long("demo") => demo = true,
            Long("json") => json = true,
            Long(option) if Tuning::OPTIONS.contains(&option) => {
                let option = option.to_owned();
                tuning.read(&option, parser.value().map_err(|error| error.to_string())?)?;
            }
            Value(value) => words.push(value),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    if words.first() != Some(&"tune") && tuning.is_used() {
        return Err(format!(
            "only `tune` takes --{}",
            Tuning::OPTIONS.join(", --")
        ));
    }
    match (words.as_slice(), config) {
        (["serve"], config) => Ok(Command::Serve { config, demo }),
        (["check"], Some(config)) => Ok(Command::Check { config }),
        (["check"], None) => Err("check needs --config FILE".into()),
        (["explain"], Some(config)) => Ok(Command::Explain { config, json }),
        (["explain"], None) => Err("explain needs --config FILE".into()),
        (["tune"], None) => tuning.options(),
        (["tune"], Some(_)) => Err("tune takes no --config".into()),
        (["import", "litellm", file], None) => Ok(Command::Import { path: file.into() }),
        (["import", ..], _) => Err("import needs `litellm FILE`".into()),
        ([], _) => Err("a command is missing".into()),
        ([other], _) => Err(format!("unknown command `{other}`")),
        ([_, more, ..], _) => Err(format!("unexpected argument `{more}`")),
    }
}

/// The options of `ringside tune` that were read so far.
#[derive(Default)]
struct Tuning {
    files: Vec<PathBuf>,
    rate: Option<f64>,
    html: Option<PathBuf>,
    model_dir: Option<PathBuf>,
}

impl Tuning {
    const OPTIONS: [&str; 5] = ["pairs", "log", "wrong-hit-rate-max", "html", "model-dir"];

    fn read(&mut self, option: &str, value: std::ffi::OsString) -> Result<(), String> {
        match option {
            "html" => self.html = Some(value.into()),
            "model-dir" => self.model_dir = Some(value.into()),
            "wrong-hit-rate-max" => {
                let rate = value.to_str().and_then(|text| text.parse().ok());
                let rate = rate.filter(|rate| *rate > 0.0 && *rate <= 0.5);
                let wrong = "--wrong-hit-rate-max is a rate above 0 and up to 0.5, such as 0.01";
                self.rate = Some(rate.ok_or(wrong)?);
            }
            _ => self.files.push(value.into()),
        }
        Ok(())
    }

    fn is_used(&self) -> bool {
        !self.files.is_empty()
            || self.rate.is_some()
            || self.html.is_some()
            || self.model_dir.is_some()
    }

    fn options(self) -> Result<Command, String> {
        if self.files.is_empty() {
            return Err("tune needs --pairs FILE or --log FILE".into());
        }
        let model_dir = self.model_dir.unwrap_or_else(|| MODEL_DIR.into());
        Ok(Command::Tune(tune::Options {
            files: self.files,
            wrong_hit_rate_max: self.rate.unwrap_or(WRONG_HIT_RATE_MAX),
            html: self.html,
            model_dir,
        }))
    }
}
