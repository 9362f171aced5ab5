//! `ringside-mock`: arguments and start.

use ringside::runtime::tls::server_settings;
use ringside_loadtest::delay::NOTATION;
use ringside_loadtest::mock::script::Script;
use ringside_loadtest::mock::settings::{Settings, all_names};
use ringside_loadtest::mock::{Mock, run};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
ringside-mock: an OpenAI-compatible provider that does as it is told

usage: ringside-mock [--listen 127.0.0.1:9100] [--NAME VALUE]… [--script FILE] [--seed 1] [--api-key KEY]…
                     [--tls-cert FILE --tls-key FILE] [--cpu N]

Each NAME is a default; a request can change what concerns itself by a header `x-mock-NAME: VALUE` or
by `[[mock NAME=VALUE …]]` in its last user message. A script changes it over time. At run time:
POST /mock/behaviour {\"NAME\": VALUE, …}, GET to see it, DELETE to go back to the start.
Answers begin with an id made from the last user message. GET /mock/stats tells what was seen.
The same seed gives the n-th request the same times.
";

fn main() -> ExitCode {
    let mock = match arguments() {
        Ok(Some(mock)) => mock,
        Ok(None) => {
            println!("{USAGE}\nNAMES: {}\nTIMES: {NOTATION}", all_names());
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("ringside-mock: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let scheme = if mock.tls.is_some() { "https" } else { "http" };
    let started = |address: &str| {
        println!("ringside-mock listening on {scheme}://{address}");
        let _ = std::io::stdout().flush();
    };
    match run(mock, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringside-mock: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Mock>, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut listen = "127.0.0.1:9100".to_owned();
    let mut mock = Mock {
        listen: ringside::config::listen::Listen::Unix("".into()),
        settings: Settings::default(),
        script: Script::default(),
        seed: 1,
        api_keys: Vec::new(),
        tls: None,
        cpu: None,
    };
    let (mut cert, mut key) = (None, None);
    // Flags win over the script's start, wherever they stand.
    let (mut script, mut names) = (None, Vec::new());
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Long("help") | Short('h') => return Ok(None),
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let value = parser.value().map_err(|error| error.to_string())?;
        let value = value.to_string_lossy().into_owned();
        let wrong = |_| format!("--{name} {value}: not a number");
        match name.as_str() {
            "listen" => listen = value,
            "script" => script = Some(value),
            "seed" => mock.seed = value.parse().map_err(wrong)?,
            "tls-cert" => cert = Some(read_file(&value)?),
            "tls-key" => key = Some(read_file(&value)?),
            "api-key" => mock.api_keys.push(value),
            "cpu" => mock.cpu = Some(value.parse().map_err(wrong)?),
            _ => names.push((name, value)),
        }
    }
    if let Some(file) = script {
        mock.script = Script::read(&file, &mut mock.settings)?;
    }
    mock.tls = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(server_settings(&cert, &key)?),
        _ => return Err("--tls-cert and --tls-key go together".into()),
    };
    for (name, value) in names {
        mock.settings.set(&name, &value, true)?;
    }
    mock.listen = match listen.strip_prefix("unix:") {
        Some(path) => ringside::config::listen::Listen::Unix(path.into()),
        None => ringside::config::listen::Listen::Tcp(
            listen
                .parse()
                .map_err(|_| format!("--listen {listen}: not ADDRESS:PORT"))?,
        ),
    };
    Ok(Some(mock))
}

fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}"))
}
