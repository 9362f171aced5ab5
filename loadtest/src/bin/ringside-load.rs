//! `ringside-load`: arguments, a run, its report.

use ringside_loadtest::load::plan::read_prompts;
use ringside_loadtest::load::{Plan, run};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
ringside-load: load for an OpenAI-compatible endpoint

usage: ringside-load --url http://127.0.0.1:8080 --model MODEL [options]

  --key KEY             bearer key              --header 'NAME: VALUE'  further header, repeatable
  --connections 64      connections             --idle-connections 0    held open beside them
  --duration 10s        time measured           --warm-up 1s            before it
  --requests N          at most N requests
  --rate R              requests per second; latency counts from when each should have been sent.
                        Without it every connection sends as soon as it has its answer.
  --stream-share 0      share of streams        --repeat-share 0        share of repeated prompts
  --prompt-bytes 1000   size of made-up prompts --prompts FILE          lines, or JSON lines with `query`
  --mock 'tokens=100'   directive for ringside-mock, appended to every prompt
  --check               verify the answer id of ringside-mock
  --json                report as JSON          --cpu N                 pin to this CPU
";

fn main() -> ExitCode {
    let (plan, json) = match arguments() {
        Ok(Some(both)) => both,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("ringside-load: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(plan) {
        Ok(report) => {
            if json {
                println!("{}", report.to_json());
            } else {
                print!("\n{report}");
            }
            if report.error_count() == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("ringside-load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<(Plan, bool)>, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut plan = default_plan();
    let (mut url, mut json) = (None, false);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("check") => {
                plan.check = true;
                continue;
            }
            Long("json") => {
                json = true;
                continue;
            }
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let value = parser.value().map_err(|error| error.to_string())?;
        let value = value.to_string_lossy().into_owned();
        if name == "url" {
            url = Some(value);
        } else {
            set(&mut plan, &name, &value)?;
        }
    }
    let url = url.ok_or("--url is missing")?;
    let rest = url
        .strip_prefix("http://")
        .ok_or("--url must begin with http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    plan.address = with_port
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| format!("--url {url}: no address"))?;
    plan.authority = authority.to_owned();
    plan.path = if path.is_empty() {
        "/v1".into()
    } else {
        format!("/{}", path.trim_end_matches('/'))
    };
    if plan.model.is_empty() {
        return Err("--model is missing".into());
    }
    Ok(Some((plan, json)))
}

fn default_plan() -> Plan {
    Plan {
        address: ([127, 0, 0, 1], 0).into(),
        authority: String::new(),
        path: String::new(),
        model: String::new(),
        key: None,
        headers: Vec::new(),
        connections: 64,
        duration: Duration::from_secs(10),
        warm_up: Duration::from_secs(1),
        requests: None,
        rate: None,
        stream_share: 0.0,
        repeat_share: 0.0,
        salt: u64::try_from(ringside::runtime::clock::since_epoch().as_nanos()).unwrap_or(0),
        prompt_bytes: 1000,
        prompts: Vec::new(),
        mock: None,
        check: false,
        idle_connections: 0,
    }
}

fn set(plan: &mut Plan, name: &str, value: &str) -> Result<(), String> {
    let wrong = || format!("--{name} {value}: cannot be read");
    let number = || value.parse::<usize>().map_err(|_| wrong());
    let share = || {
        let share = value.parse::<f64>().ok();
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(wrong)
    };
    match name {
        "model" => value.clone_into(&mut plan.model),
        "key" => plan.key = Some(value.to_owned()),
        "header" => {
            let (name, value) = value.split_once(':').ok_or_else(wrong)?;
            plan.headers
                .push((name.trim().to_owned(), value.trim().to_owned()));
        }
        "connections" => plan.connections = number()?,
        "idle-connections" => plan.idle_connections = number()?,
        "duration" => plan.duration = seconds(value).ok_or_else(wrong)?,
        "warm-up" => plan.warm_up = seconds(value).ok_or_else(wrong)?,
        "requests" => {
            plan.requests = Some(value.parse().map_err(|_| wrong())?);
            plan.warm_up = Duration::ZERO;
            plan.duration = Duration::from_secs(3600);
        }
        "rate" => {
            plan.rate = Some(
                value
                    .parse()
                    .ok()
                    .filter(|rate| *rate > 0.0)
                    .ok_or_else(wrong)?,
            )
        }
        "stream-share" => plan.stream_share = share()?,
        "repeat-share" => plan.repeat_share = share()?,
        "prompt-bytes" => plan.prompt_bytes = number()?,
        "prompts" => {
            let text =
                std::fs::read_to_string(value).map_err(|error| format!("{value}: {error}"))?;
            plan.prompts = read_prompts(&text);
        }
        "mock" => plan.mock = Some(value.to_owned()),
        "cpu" => ringside::runtime::core::pin_to_cpu(number()?)
            .map_err(|error| format!("--cpu: {error}"))?,
        _ => return Err(format!("--{name}: unknown")),
    }
    Ok(())
}

fn seconds(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let number: f64 = digits.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}
