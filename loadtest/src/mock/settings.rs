//! What the mock is told as a whole: the behaviour of every request, and what depends on time, on
//! how many came before, or on whose key they bear.

use super::behaviour::{self, Behaviour};
use crate::units::{duration, share, show_duration};
use std::collections::BTreeMap;
use std::time::Duration;

/// The names that can be set beside those of [`behaviour::NAMES`].
pub const NAMES: &str = "fail-rate=SHARE or FROM..TO/TIME, fail-as='NAME=VALUE …', quota=N/TIME|none (each key), key-quota=KEY:N/TIME, slow-start=EXTRA/TIME, crowd=REQUESTS/POWER, stall=AT/LENGTH[/EVERY]";

/// A share that moves from one value to another, then stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// At the beginning.
    pub from: f64,
    /// In the end.
    pub to: f64,
    /// How long it takes.
    pub over: Duration,
}

impl Ramp {
    /// The share when `passed` has passed.
    #[must_use]
    pub fn at(&self, elapsed: Duration) -> f64 {
        if elapsed >= self.over {
            return self.to;
        }
        let done = elapsed.as_secs_f64() / self.over.as_secs_f64();
        self.from + (self.to - self.from) * done
    }
}

/// So many requests in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests of a window.
    pub requests: u64,
    /// Length of a window; the first begins with the first request.
    pub window: Duration,
}

/// A pause like one of a garbage collector: what arrives in it waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// When it begins, counted from the last change of settings.
    pub at: Duration,
    /// How long it is.
    pub length: Duration,
    /// When it comes again; `None` = never.
    pub every: Option<Duration>,
}

impl Stall {
    /// What is left of the pause when `passed` has passed.
    #[must_use]
    pub fn left(&self, elapsed: Duration) -> Duration {
        let Some(mut into) = elapsed.checked_sub(self.at) else {
            return Duration::ZERO;
        };
        if let Some(every) = self.every {
            let nanos = into.as_nanos() % every.as_nanos().max(1);
            into = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        self.length.saturating_sub(into)
    }
}

/// Slower with more requests in flight than it has room for: at a power of 1 it gives as many answers in a
/// second as before, above that fewer, as a server that runs out of memory does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    /// Requests in flight that do not slow each other.
    pub requests: u32,
    /// Power of the number of times that more are in flight.
    pub power: f64,
}

impl Crowd {
    /// How many times as long a request takes that finds so many in flight, itself included.
    #[must_use]
    pub fn slower(&self, in_flight: u32) -> f64 {
        (f64::from(in_flight) / f64::from(self.requests))
            .max(1.0)
            .powf(self.power)
    }
}

/// Everything that can be set, and changed at run time.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How requests are answered.
    pub behaviour: Behaviour,
    /// Share of requests that fail, spread evenly.
    pub fail_rate: Ramp,
    /// How those differ.
    pub fail_as: Vec<(String, String)>,
    /// Requests of a key without its own quota.
    pub quota: Option<Quota>,
    /// Requests of single keys.
    pub key_quotas: BTreeMap<String, Quota>,
    /// Latency added at first, falling to nothing over a time.
    pub slow_start: Option<(Duration, Duration)>,
    /// A pause.
    pub stall: Option<Stall>,
    /// How it slows with what is in flight.
    pub crowd: Option<Crowd>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::default(),
            fail_rate: Ramp {
                from: 0.0,
                to: 0.0,
                over: Duration::ZERO,
            },
            fail_as: vec![("status".into(), "500".into())],
            quota: None,
            key_quotas: BTreeMap::new(),
            slow_start: None,
            stall: None,
            crowd: None,
        }
    }
}

impl Settings {
    /// Sets one name. `own`: it was written by the tool's own user, and may name files.
    ///
    /// # Errors
    /// The name or the value is unknown.
    pub fn set(&mut self, name: &str, value: &str, own: bool) -> Result<(), String> {
        let wrong = || format!("{name}={value}: cannot be read; known: {NAMES}");
        match (name, value) {
            ("fail-rate", _) => self.fail_rate = ramp(value).ok_or_else(wrong)?,
            ("fail-as", _) => self.fail_as = directives(value)?,
            ("quota", "none") => self.quota = None,
            ("quota", _) => self.quota = Some(quota(value).ok_or_else(wrong)?),
            ("key-quota", _) => {
                let (key, text) = value.rsplit_once(':').ok_or_else(wrong)?;
                let quota = quota(text).ok_or_else(wrong)?;
                self.key_quotas.insert(key.to_owned(), quota);
            }
            ("slow-start", "none") => self.slow_start = None,
            ("slow-start", _) => {
                let (extra, over) = value.split_once('/').ok_or_else(wrong)?;
                let both = duration(extra).zip(duration(over));
                self.slow_start = Some(both.ok_or_else(wrong)?);
            }
            ("stall", "none") => self.stall = None,
            ("stall", _) => self.stall = Some(stall(value).ok_or_else(wrong)?),
            ("crowd", "none") => self.crowd = None,
            ("crowd", _) => self.crowd = Some(crowd(value).ok_or_else(wrong)?),
            _ if own => self.behaviour.set_own(name, value)?,
            _ => self.behaviour.set(name, value)?,
        }
        Ok(())
    }

    /// What is set, as JSON.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let show_quota =
            |quota: &Quota| format!("{}/{}", quota.requests, show_duration(quota.window));
        let mut json = serde_json::Map::new();
        for (name, value) in self.behaviour.describe() {
            json.insert(name.into(), value.into());
        }
        let Ramp { from, to, over } = self.fail_rate;
        let ramp = if over.is_zero() {
            to.to_string()
        } else {
            format!("{from}..{to}/{}", show_duration(over))
        };
        let fail_as: Vec<String> = self
            .fail_as
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let keys: BTreeMap<&str, String> = self
            .key_quotas
            .iter()
            .map(|(key, quota)| (key.as_str(), show_quota(quota)))
            .collect();
        let none = || "none".to_owned();
        let slow = self.slow_start.map_or_else(none, |(extra, over)| {
            format!("{}/{}", show_duration(extra), show_duration(over))
        });
        let stall = self.stall.map_or_else(none, |stall| {
            let every = stall
                .every
                .map_or(String::new(), |every| format!("/{}", show_duration(every)));
            let (at, length) = (show_duration(stall.at), show_duration(stall.length));
            format!("{at}/{length}{every}")
        });
        let quota = self.quota.as_ref().map_or_else(none, show_quota);
        json.insert("fail-rate".into(), ramp.into());
        json.insert("fail-as".into(), fail_as.join(" ").into());
        json.insert("quota".into(), quota.into());
        json.insert("key-quotas".into(), serde_json::json!(keys));
        json.insert("slow-start".into(), slow.into());
        json.insert("stall".into(), stall.into());
        let crowd = self
            .crowd
            .map_or_else(none, |crowd| format!("{}/{}", crowd.requests, crowd.power));
        json.insert("crowd".into(), crowd.into());
        json.into()
    }
}

fn ramp(text: &str) -> Option<Ramp> {
    let Some((shares, over)) = text.split_once('/') else {
        let to = share(text)?;
        return Some(Ramp {
            from: to,
            to,
            over: Duration::ZERO,
        });
    };
    let (from, to) = shares.split_once("..")?;
    Some(Ramp {
        from: share(from)?,
        to: share(to)?,
        over: duration(over)?,
    })
}

fn quota(text: &str) -> Option<Quota> {
    let (requests, window) = text.split_once('/')?;
    Some(Quota {
        requests: requests.parse().ok()?,
        window: duration(window).filter(|window| !window.is_zero())?,
    })
}

fn stall(text: &str) -> Option<Stall> {
    let parts: Vec<Duration> = text.split('/').map(duration).collect::<Option<_>>()?;
    let (at, length, every) = match parts[..] {
        [at, length] => (at, length, None),
        [at, length, every] if !every.is_zero() => (at, length, Some(every)),
        _ => return None,
    };
    Some(Stall { at, length, every })
}

fn crowd(text: &str) -> Option<Crowd> {
    let (requests, power) = text.split_once('/')?;
    Some(Crowd {
        requests: requests.parse().ok().filter(|requests| *requests > 0)?,
        power: power
            .parse()
            .ok()
            .filter(|power| (0.0..=8.0).contains(power))?,
    })
}

/// `NAME=VALUE …`, each of which a [`Behaviour`] takes.
fn directives(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut probe = Behaviour::default();
    let words = text.split_whitespace();
    words
        .map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            probe.set(name, value)?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Everything that can be set, for the help.
#[must_use]
pub fn all_names() -> String {
    format!("{}, {NAMES}", behaviour::NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn ramps_rise_and_stay() {
        let ramp = ramp("0..0.5/10s").unwrap();
        assert_eq!(ramp.at(ms(0)), 0.0);
        assert_eq!(ramp.at(ms(5000)), 0.25);
        assert_eq!(ramp.at(ms(60_000)), 0.5);
        assert_eq!(super::ramp("0.1").unwrap().at(ms(0)), 0.1);
        assert_eq!(super::ramp("1.1"), None);
    }

    #[test]
    fn stalls_hold_what_arrives_in_them() {
        let once = stall("2s/500ms").unwrap();
        assert_eq!(once.left(ms(1999)), ms(0));
        assert_eq!(once.left(ms(2100)), ms(400));
        assert_eq!(once.left(ms(2500)), ms(0));
        let again = stall("2s/500ms/1s").unwrap();
        assert_eq!(again.left(ms(4200)), ms(300));
        assert_eq!(stall("2s"), None);
    }

    #[test]
    fn names_are_read_and_described() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("fail-rate", "0..0.5/10s"),
            ("fail-as", "status=429 retry-after=2"),
            ("quota", "100/60s"),
            ("key-quota", "sk:a:2/1s"),
            ("slow-start", "2s/10s"),
            ("stall", "1s/500ms"),
            ("crowd", "8/1.5"),
            ("latency", "20ms"),
        ] {
            settings.set(name, value, false).unwrap();
        }
        assert_eq!(settings.key_quotas["sk:a"].requests, 2);
        let json = settings.describe();
        assert_eq!(json["fail-rate"], "0..0.5/10s");
        assert_eq!(json["fail-as"], "status=429 retry-after=2");
        assert_eq!(json["key-quotas"]["sk:a"], "2/1s");
        assert_eq!(json["latency"], "20ms");
        assert_eq!(json["crowd"], "8/1.5");
        assert_eq!(crowd("8/2").unwrap().slower(8), 1.0);
        assert_eq!(crowd("8/2").unwrap().slower(16), 4.0);
        assert_eq!(crowd("0/2"), None);
        assert!(settings.set("fail-as", "nope=1", true).is_err());
        assert!(settings.set("quota", "many", true).is_err());
    }
}
