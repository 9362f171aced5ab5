//! What flags and scenario files say, made into a plan.

use super::pace::Pace;
use super::plan::Plan;
use super::prompts::{Prompts, read_prompts};
use super::target::Target;
use crate::delay::Delay;
use crate::units::{duration, share, switch, unknown};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names that can be set, by flag and (with `_`) by scenario.
pub const NAMES: [&str; 32] = [
    "url",
    "model",
    "key",
    "header",
    "ca",
    "connections",
    "idle-connections",
    "duration",
    "warm-up",
    "requests",
    "rate",
    "think-time",
    "workers",
    "cpu",
    "timeout",
    "rounds",
    "seed",
    "stream-share",
    "max-tokens",
    "mock",
    "check",
    "prompt-bytes",
    "prompts",
    "repeat-share",
    "paraphrase-share",
    "zipf",
    "pool",
    "scenario",
    "json",
    "html",
    "help",
    "quiet",
];

/// Names that take no value as a flag.
pub const SWITCHES: [&str; 3] = ["check", "json", "quiet"];

/// A target as written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Name, else that of the URL.
    pub name: Option<String>,
    /// URL.
    pub url: String,
    /// Keys of its own.
    pub keys: Vec<String>,
    /// Headers of its own.
    pub headers: Vec<(String, String)>,
}

/// Everything that can be set.
pub struct Options {
    plan: Plan,
    targets: Vec<Written>,
    ca: Option<String>,
    duration: Option<Duration>,
    warm_up: Option<Duration>,
    seed: Option<u64>,
    overrides: bool,
    overridden: BTreeSet<String>,
    /// The report as JSON.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// The report as a page, in this file.
    pub html: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plan: Plan {
                targets: Vec::new(),
                rounds: 1,
                models: Vec::new(),
                keys: Vec::new(),
                headers: Vec::new(),
                connections: 64,
                workers: 1,
                cpus: Vec::new(),
                idle_connections: 0,
                duration: Duration::from_secs(10),
                warm_up: Duration::from_secs(1),
                requests: None,
                pace: None,
                think_time: Delay::default(),
                timeout: Duration::from_secs(60),
                stream_share: 0.0,
                prompts: Prompts::default(),
                max_tokens: None,
                mock: None,
                check: false,
                seed: 0,
            },
            targets: Vec::new(),
            ca: None,
            duration: None,
            warm_up: None,
            seed: None,
            overrides: false,
            overridden: BTreeSet::new(),
            json: false,
            quiet: false,
            html: None,
        }
    }
}

impl Options {
    /// From here on, what is set replaces what was set before, lists too.
    pub fn begin_overrides(&mut self) {
        self.overrides = true;
    }

    /// True for the first value of a list that replaces an earlier one.
    fn replaces(&mut self, name: &str) -> bool {
        self.overrides && self.overridden.insert(name.to_owned())
    }

    /// Adds a target of a scenario.
    pub fn add_target(&mut self, target: Written) {
        self.targets.push(target);
    }

    /// Sets one name.
    ///
    /// # Errors
    /// What is wrong with the name or the value; the caller says where it stood.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("`{value}` cannot be read");
        let number = || value.parse::<usize>().map_err(|_| wrong());
        let least_one = || number().and_then(|n| if n > 0 { Ok(n) } else { Err(wrong()) });
        let time = || duration(value).ok_or_else(wrong);
        let part = || share(value).ok_or_else(wrong);
        let replaces = matches!(name, "url" | "model" | "key" | "header") && self.replaces(name);
        let plan = &mut self.plan;
        match name {
            "url" => self.set_url(value, replaces),
            "model" => put(&mut plan.models, value.to_owned(), replaces),
            "key" => {
                let key = secret(value)?;
                put(&mut plan.keys, key.clone(), replaces);
                if self.overrides {
                    self.targets
                        .iter_mut()
                        .for_each(|target| target.keys.clear());
                }
            }
            "header" => put(
                &mut plan.headers,
                header(value).ok_or_else(wrong)?,
                replaces,
            ),
            "ca" => self.ca = Some(value.to_owned()),
            "connections" => plan.connections = least_one()?,
            "idle-connections" => plan.idle_connections = number()?,
            "duration" => self.duration = Some(time()?),
            "warm-up" => self.warm_up = Some(time()?),
            "requests" => plan.requests = Some(value.parse().map_err(|_| wrong())?),
            "rate" => plan.pace = Some(Pace::parse(value).ok_or_else(wrong)?),
            "think-time" => plan.think_time = Delay::parse_or_load(value)?,
            "workers" => plan.workers = least_one()?,
            "cpu" => {
                let cpus = value.split(',').map(str::parse);
                plan.cpus = cpus.collect::<Result<_, _>>().map_err(|_| wrong())?;
            }
            "timeout" => plan.timeout = time()?,
            "rounds" => plan.rounds = least_one()?,
            "seed" => self.seed = Some(value.parse().map_err(|_| wrong())?),
            "stream-share" => plan.stream_share = part()?,
            "max-tokens" => plan.max_tokens = Some(value.parse().map_err(|_| wrong())?),
            "mock" => plan.mock = Some(value.to_owned()),
            "check" => plan.check = switch(value),
            "prompt-bytes" | "prompts" | "repeat-share" | "paraphrase-share" | "zipf" | "pool" => {
                return set_prompts(&mut plan.prompts, name, value);
            }
            "json" => self.json = switch(value),
            "quiet" => self.quiet = switch(value),
            "html" => self.html = Some(value.to_owned()),
            _ => return Err(unknown(name, &NAMES)),
        }
        Ok(())
    }

    /// `URL` or `NAME=URL`.
    fn set_url(&mut self, value: &str, replaces: bool) {
        let named = value
            .split_once('=')
            .filter(|(name, _)| !name.contains(['/', ':']));
        let (name, url) = match named {
            Some((name, url)) => (Some(name.to_owned()), url),
            None => (None, value),
        };
        let target = Written {
            name,
            url: url.to_owned(),
            ..Written::default()
        };
        put(&mut self.targets, target, replaces);
    }

    /// The plan.
    ///
    /// # Errors
    /// Something is missing or does not fit together.
    pub fn finish(self) -> Result<Plan, String> {
        let mut plan = self.plan;
        if self.targets.is_empty() {
            return Err("--url is missing".into());
        }
        if plan.models.is_empty() {
            return Err("--model is missing".into());
        }
        for written in self.targets {
            let mut target =
                Target::new(written.name.as_deref(), &written.url, self.ca.as_deref())?;
            target.keys = written.keys;
            target.headers = written.headers;
            while plan.targets.iter().any(|other| other.name == target.name) {
                target.name.push('\'');
            }
            plan.targets.push(target);
        }
        let counted = plan.requests.is_some();
        let (length, before) = if counted { (3600, 0) } else { (10, 1) };
        plan.duration = self.duration.unwrap_or(Duration::from_secs(length));
        plan.warm_up = self.warm_up.unwrap_or(Duration::from_secs(before));
        if plan.duration.is_zero() {
            return Err("the duration is zero".into());
        }
        let ramps = plan.pace.as_ref().is_some_and(|pace| pace.stages() > 0);
        if ramps && self.duration.is_none() && counted {
            return Err("a rate that changes needs a duration".into());
        }
        if plan.pace.is_some() && !plan.think_time.is_zero() {
            return Err("think-time is for a closed loop: it does not go with rate".into());
        }
        if plan.requests == Some(0) {
            return Err("requests is zero".into());
        }
        plan.workers = plan.workers.min(plan.connections);
        plan.prompts.lag = (plan.connections as u64).saturating_mul(2);
        plan.prompts.prepare()?;
        let now = ringside::runtime::clock::since_epoch().as_nanos();
        let drawn = u64::try_from(now).unwrap_or(0);
        plan.seed = self.seed.unwrap_or(drawn);
        Ok(plan)
    }
}

fn put<T>(list: &mut Vec<T>, value: T, replaces: bool) {
    if replaces {
        list.clear();
    }
    list.push(value);
}

/// `NAME: VALUE`, neither of which may end a line.
#[must_use]
pub fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let both = (name.trim().to_owned(), value.trim().to_owned());
    let is_plain = !text.contains(['\r', '\n', '\0']) && !both.0.is_empty();
    is_plain.then_some(both)
}

/// A key, or with `env:NAME` what that environment variable holds.
///
/// # Errors
/// The variable is not set.
pub fn secret(text: &str) -> Result<String, String> {
    let key = match text.strip_prefix("env:") {
        Some(name) => std::env::var(name).map_err(|_| format!("{text}: not set"))?,
        None => text.to_owned(),
    };
    if key.contains(['\r', '\n', '\0']) {
        return Err("a key cannot hold a line end".into());
    }
    Ok(key)
}

/// Sets one name that says what is asked.
fn set_prompts(prompts: &mut Prompts, name: &str, value: &str) -> Result<(), String> {
    let wrong = || format!("`{value}` cannot be read");
    match name {
        "prompt-bytes" => {
            let sizes = value.split(',').map(|size| size.trim().parse());
            prompts.bytes = sizes.collect::<Result<_, _>>().map_err(|_| wrong())?;
        }
        "prompts" => {
            let text = std::fs::read_to_string(value);
            let text = text.map_err(|error| format!("{value}: {error}"))?;
            prompts.file = read_prompts(&text).map_err(|why| format!("{value}: {why}"))?;
        }
        "repeat-share" => prompts.repeat_share = share(value).ok_or_else(wrong)?,
        "paraphrase-share" => prompts.paraphrase_share = share(value).ok_or_else(wrong)?,
        "zipf" => {
            let exponent = value.parse::<f64>().ok();
            let exponent = exponent.filter(|zipf| (0.0..=10.0).contains(zipf));
            prompts.zipf = Some(exponent.ok_or_else(wrong)?);
        }
        "pool" => {
            let pool = value.parse().ok();
            let pool = pool.filter(|pool| (1..=10_000_000).contains(pool));
            prompts.pool = pool.ok_or_else(wrong)?;
        }
        _ => return Err(unknown(name, &NAMES)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(options: &[(&str, &str)]) -> Result<Plan, String> {
        let mut read = Options::default();
        for (name, value) in options {
            read.set(name, value)
                .map_err(|why| format!("{name}: {why}"))?;
        }
        read.finish()
    }

    #[test]
    fn mistakes_are_named() {
        let url = ("url", "http://127.0.0.1:1");
        let model = ("model", "m");
        for (options, part) in [
            (&[model][..], "--url is missing"),
            (&[url], "--model is missing"),
            (&[("duratoin", "1s")], "did you mean `duration`"),
            (&[("rate", "fast")], "rate: `fast` cannot be read"),
            (&[("connections", "0")], "cannot be read"),
            (&[("header", "a: b\r\nc: d")], "cannot be read"),
            (&[("key", "env:NO_SUCH_VARIABLE")], "not set"),
            (
                &[url, model, ("rate", "5"), ("think-time", "1s")],
                "does not go with rate",
            ),
            (
                &[
                    url,
                    model,
                    ("repeat-share", "0.7"),
                    ("paraphrase-share", "0.7"),
                ],
                "more than 1",
            ),
            (&[("think-time", "sometimes")], "is no time"),
        ] {
            let why = finish(options).err().unwrap_or_default();
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn several_urls_are_several_targets() {
        let options = [
            ("url", "a=http://127.0.0.1:1"),
            ("url", "http://127.0.0.1:2/x?a=b"),
            ("url", "http://127.0.0.1:2"),
            ("model", "m"),
            ("requests", "5"),
        ];
        let plan = finish(&options).unwrap();
        let names: Vec<&str> = plan
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect();
        assert_eq!(names, ["a", "127.0.0.1:2", "127.0.0.1:2'"]);
        assert_eq!(plan.warm_up, Duration::ZERO);
    }
}
