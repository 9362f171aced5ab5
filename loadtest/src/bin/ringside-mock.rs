//! `ringside-mock`: arguments and start.

use ringside_loadtest::mock::behaviour::{Behaviour, NAMES};
use ringside_loadtest::mock::{Mock, run};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
ringside-mock: an OpenAI-compatible provider that does as it is told

usage: ringside-mock [--listen 127.0.0.1:9100] [--NAME VALUE]… [--fail-rate 0.1] [--api-key KEY] [--cpu N]

Each NAME is a default behaviour; a request can change it by a header `x-mock-NAME: VALUE` or by
`[[mock NAME=VALUE …]]` in its last user message. Answers begin with an id made from that message.
GET /mock/stats tells what was seen.
";

fn main() -> ExitCode {
    let mock = match arguments() {
        Ok(Some(mock)) => mock,
        Ok(None) => {
            println!("{USAGE}\nNAMES: {NAMES}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("ringside-mock: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let started = |address: &str| {
        println!("ringside-mock listening on http://{address}");
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
        listen: ringside::config::model::Listen::Unix("".into()),
        behaviour: Behaviour::default(),
        fail_rate: 0.0,
        api_key: None,
        cpu: None,
    };
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
            "fail-rate" => {
                mock.fail_rate = value
                    .parse()
                    .map_err(|_| format!("--fail-rate {value}: not a number"))?
            }
            "api-key" => mock.api_key = Some(value),
            "cpu" => mock.cpu = Some(value.parse().map_err(wrong)?),
            _ => mock.behaviour.set(&name, &value)?,
        }
    }
    mock.listen = match listen.strip_prefix("unix:") {
        Some(path) => ringside::config::model::Listen::Unix(path.into()),
        None => ringside::config::model::Listen::Tcp(
            listen
                .parse()
                .map_err(|_| format!("--listen {listen}: not ADDRESS:PORT"))?,
        ),
    };
    Ok(Some(mock))
}
