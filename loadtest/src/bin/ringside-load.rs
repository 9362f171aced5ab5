//! `ringside-load`: arguments, runs, their report.

use ringside_loadtest::load::options::{NAMES, Options, SWITCHES};
use ringside_loadtest::load::progress::Progress;
use ringside_loadtest::load::{compare, scenario};
use ringside_loadtest::units::unknown;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

const USAGE: &str = "\
ringside-load: load for OpenAI-compatible endpoints

usage: ringside-load --url [NAME=]URL --model MODEL [options]
       ringside-load --scenario FILE [options]       flags win over the file

  --url URL             http:// or https://; several are compared, in turn
  --rounds 1            times that each is measured
  --model MODEL         several: each as often  --key KEY | env:NAME    bearer key; several: each as often
  --header 'NAME: VALUE'  further header, repeatable
  --ca FILE             trusted for https       --timeout 60s           longest wait for an answer
  --connections 64      connections             --idle-connections 0    held open beside them
  --workers 1           threads                 --cpu N[,N…]            pin them to these CPUs
  --duration 10s        time measured           --warm-up 1s            before it
  --requests N          at most N requests
  --rate R | A..B | A,B,C   requests per second: fixed, rising evenly, or in steps; latency counts from
                        when each should have been sent. Without it every connection sends as soon as
                        it has its answer, after --think-time (500ms, exponential:1s, lognormal:1s:0.5).
  --stream-share 0      share of streams        --max-tokens N          of every request
  --prompt-bytes 1000   size of made-up prompts; several: each as often
  --prompts FILE        lines, or JSON lines with `query` and perhaps `paraphrases`
  --repeat-share 0      share of repeated prompts
  --paraphrase-share 0  share of prompts asked again in other words
  --zipf S              what is asked again is one of --pool 1000 prompts, the k-th as often as 1/k^S
  --seed N              the same requests again
  --mock 'tokens=100'   directive for ringside-mock, appended to every prompt
  --check               verify the answer ids of ringside-mock, and all JSON
  --json                report as JSON          --html FILE             report as a page
  --quiet               no progress
";

fn main() -> ExitCode {
    let options = match arguments() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("ringside-load: {why}\n(--help tells more)");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("ringside-load: {why}");
            ExitCode::from(2)
        }
    }
}

/// Runs and reports; the number of errors.
fn run(options: Options) -> Result<u64, String> {
    let (json, html) = (options.json, options.html.clone());
    let mut progress = Progress::new(options.quiet);
    let plan = Arc::new(options.finish()?);
    let comparison = compare(&plan, &mut progress)?;
    if let Some(file) = html {
        let page = ringside_loadtest::load::html::page(&comparison);
        std::fs::write(&file, page).map_err(|error| format!("{file}: {error}"))?;
    }
    let mut out = std::io::stdout();
    // Who reads may have gone, as `head` does.
    let _ = if json {
        writeln!(out, "{}", comparison.to_json())
    } else {
        write!(out, "{comparison}")
    };
    Ok(comparison.error_count())
}

fn arguments() -> Result<Option<Options>, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let (mut file, mut flags) = (None, Vec::new());
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Long("help") | Short('h') => return Ok(None),
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        if !NAMES.contains(&name.as_str()) {
            return Err(format!("--{name}: {}", unknown(&name, &NAMES)));
        }
        if SWITCHES.contains(&name.as_str()) {
            flags.push((name, String::new()));
            continue;
        }
        let value = parser.value().map_err(|error| error.to_string())?;
        let value = value.to_string_lossy().into_owned();
        if name == "scenario" {
            file = Some(value);
        } else {
            flags.push((name, value));
        }
    }
    let mut options = Options::default();
    if let Some(file) = file {
        scenario::read(&file, &mut options)?;
    }
    options.begin_overrides();
    for (name, value) in flags {
        let set = options.set(&name, &value);
        set.map_err(|why| format!("--{name}: {why}"))?;
    }
    Ok(Some(options))
}
