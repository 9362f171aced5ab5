//! Times drawn from a distribution: what the mock waits, what a user of the load generator thinks.

use crate::random::{normal, unit};
use crate::units::{duration, show_duration};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// No draw is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a time is drawn. The same seed and number give the same time.
#[derive(Debug, Clone, PartialEq)]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two times.
    Uniform(Duration, Duration),
    /// Around a median, with a long tail: `sigma` is the deviation of the logarithm.
    Lognormal(Duration, f64),
    /// Memoryless, of this mean.
    Exponential(Duration),
    /// Usually the first; this share of draws takes the second.
    Bimodal(Duration, Duration, f64),
    /// Read from a file, in turn.
    Recorded(String, Arc<[Duration]>),
}

impl Default for Delay {
    fn default() -> Self {
        Self::Fixed(Duration::ZERO)
    }
}

/// How distributions are written, for the help and for messages.
pub const NOTATION: &str = "20ms, uniform:10ms:30ms, lognormal:MEDIAN:SIGMA, exponential:MEAN, bimodal:USUAL:SPIKE:SHARE, recorded:FILE (milliseconds, one a line)";

impl Delay {
    /// Reads a distribution that names no file: for what comes over the network.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time; known: {NOTATION}");
        let (kind, rest) = text.split_once(':').unwrap_or(("fixed", text));
        let parts: Vec<&str> = rest.split(':').collect();
        let time = |at: usize| parts.get(at).and_then(|part| duration(part));
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<f64>().ok());
        let read = match (kind, parts.len()) {
            ("fixed", 1) => time(0).map(Self::Fixed),
            ("uniform", 2) => time(0)
                .zip(time(1))
                .filter(|(from, to)| from <= to)
                .map(|(from, to)| Self::Uniform(from, to)),
            ("lognormal", 2) => time(0)
                .zip(number(1))
                .filter(|(_, sigma)| (0.0..=10.0).contains(sigma))
                .map(|(median, sigma)| Self::Lognormal(median, sigma)),
            ("exponential", 1) => time(0).map(Self::Exponential),
            ("bimodal", 3) => time(0)
                .zip(time(1))
                .zip(number(2))
                .filter(|(_, share)| (0.0..=1.0).contains(share))
                .map(|((usual, spike), share)| Self::Bimodal(usual, spike, share)),
            _ => None,
        };
        read.ok_or_else(wrong)
    }

    /// As [`Delay::parse`], and `recorded:FILE`: for flags and files of the tool's own user.
    ///
    /// # Errors
    /// What was written, or the file, cannot be read.
    pub fn parse_or_load(text: &str) -> Result<Self, String> {
        let Some(file) = text.strip_prefix("recorded:") else {
            return Self::parse(text);
        };
        let lines = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let mut times = Vec::new();
        for (at, line) in lines.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let time = line
                .parse::<f64>()
                .ok()
                .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
            times.push(time.ok_or_else(|| format!("{file}:{}: no milliseconds: {line}", at + 1))?);
        }
        if times.is_empty() {
            return Err(format!("{file}: no times in it"));
        }
        Ok(Self::Recorded(file.to_owned(), times.into()))
    }

    /// True when every draw is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The draw of this number.
    #[must_use]
    pub fn draw(&self, seed: u64, number: u64) -> Duration {
        let scaled = |time: &Duration, by: f64| {
            Duration::try_from_secs_f64(time.as_secs_f64() * by)
                .unwrap_or(LONGEST)
                .min(LONGEST)
        };
        match self {
            Self::Fixed(time) => *time,
            Self::Uniform(from, to) => *from + scaled(&(*to - *from), unit(seed, number)),
            Self::Lognormal(median, sigma) => scaled(median, (sigma * normal(seed, number)).exp()),
            Self::Exponential(mean) => scaled(mean, -(1.0 - unit(seed, number)).ln()),
            Self::Bimodal(usual, spike, share) => {
                if unit(seed, number) < *share {
                    *spike
                } else {
                    *usual
                }
            }
            Self::Recorded(_, times) => usize::try_from(number)
                .ok()
                .and_then(|number| times.get(number % times.len().max(1)))
                .copied()
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |time: &Duration| show_duration(*time);
        match self {
            Self::Fixed(time) => f.write_str(&show(time)),
            Self::Uniform(from, to) => write!(f, "uniform:{}:{}", show(from), show(to)),
            Self::Lognormal(median, sigma) => write!(f, "lognormal:{}:{sigma}", show(median)),
            Self::Exponential(mean) => write!(f, "exponential:{}", show(mean)),
            Self::Bimodal(usual, spike, share) => {
                write!(f, "bimodal:{}:{}:{share}", show(usual), show(spike))
            }
            Self::Recorded(file, _) => write!(f, "recorded:{file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(text: &str, seed: u64) -> Vec<f64> {
        let delay = Delay::parse(text).unwrap();
        assert_eq!(delay.to_string(), text);
        let mut draws: Vec<f64> = (0..20_000)
            .map(|number| delay.draw(seed, number).as_secs_f64() * 1000.0)
            .collect();
        assert_eq!(delay.draw(seed, 5), delay.draw(seed, 5));
        draws.sort_by(f64::total_cmp);
        draws
    }

    #[test]
    fn draws_have_the_shape_asked_for() {
        let lognormal = draws("lognormal:200ms:0.5", 3);
        assert!((lognormal[10_000] - 200.0).abs() < 5.0, "median");
        // The 84th percentile is one sigma above.
        assert!((lognormal[16_827] - 200.0 * 0.5_f64.exp()).abs() < 10.0);
        let bimodal = draws("bimodal:10ms:900ms:0.1", 3);
        let spikes = bimodal.iter().filter(|draw| **draw > 100.0).count();
        assert!((1850..2150).contains(&spikes), "{spikes}");
        let exponential = draws("exponential:50ms", 3);
        let mean = exponential.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 50.0).abs() < 2.0, "{mean}");
        let uniform = draws("uniform:10ms:30ms", 3);
        assert!(uniform[0] >= 10.0 && uniform[19_999] <= 30.0);
        assert_eq!(draws("20ms", 3)[7], 20.0);
        assert_ne!(draws("exponential:50ms", 3), draws("exponential:50ms", 4));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "soon",
            "lognormal:1s",
            "lognormal:1s:-1",
            "bimodal:1s:2s:3",
            "uniform:2s:1s",
            "recorded:/etc/hostname",
        ] {
            assert!(Delay::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn recorded_times_are_replayed_in_turn() {
        let file = std::env::temp_dir().join(format!("delays-{}", std::process::id()));
        std::fs::write(&file, "# ms\n1\n2.5\n\n").unwrap();
        let delay = Delay::parse_or_load(&format!("recorded:{}", file.display())).unwrap();
        std::fs::remove_file(&file).unwrap();
        let micros: Vec<u128> = (0..3).map(|n| delay.draw(9, n).as_micros()).collect();
        assert_eq!(micros, [1000, 2500, 1000]);
        assert!(Delay::parse_or_load("recorded:/no/such").is_err());
    }
}
