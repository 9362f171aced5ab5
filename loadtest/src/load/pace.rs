//! When requests are to be sent, in an open loop.

use std::time::Duration;

/// Parts into which a ramp is divided in reports.
const RAMP_PARTS: usize = 10;

/// Requests per second over the time measured. Before it, in the warm-up, the first rate holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Always the same.
    Fixed(f64),
    /// Rising or falling evenly.
    Ramp(f64, f64),
    /// Each for an equal time.
    Steps(Vec<f64>),
}

impl Pace {
    /// Reads `500`, `100..2000` or `100,200,400`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rate = |text: &str| {
            let rate = text.trim().parse::<f64>().ok()?;
            (rate > 0.0 && rate <= 1e7).then_some(rate)
        };
        if let Some((from, to)) = text.split_once("..") {
            return Some(Self::Ramp(rate(from)?, rate(to)?));
        }
        let rates: Vec<f64> = text.split(',').map(rate).collect::<Option<_>>()?;
        match rates[..] {
            [rate] => Some(Self::Fixed(rate)),
            _ => Some(Self::Steps(rates)),
        }
    }

    /// As written.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Self::Fixed(rate) => rate.to_string(),
            Self::Ramp(from, to) => format!("{from}..{to}"),
            Self::Steps(rates) => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                rates.join(",")
            }
        }
    }

    /// When request number `turn` is to be sent, from the beginning of the warm-up.
    #[must_use]
    pub fn sent_at(&self, turn: u64, warm_up: Duration, duration: Duration) -> Duration {
        let (warm, length) = (warm_up.as_secs_f64(), duration.as_secs_f64());
        let first = self.rate_of(0);
        let turn = turn as f64;
        let into = turn - first * warm;
        let seconds = if into < 0.0 {
            turn / first
        } else {
            warm + self.time_of(into, length)
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Seconds of measurement until `requests` are sent.
    fn time_of(&self, requests: f64, length: f64) -> f64 {
        match self {
            Self::Fixed(rate) => requests / rate,
            Self::Ramp(from, to) => {
                // requests = from·t + slope·t²/2
                let slope = (to - from) / length.max(1e-9);
                let root = (from * from + 2.0 * slope * requests).max(0.0).sqrt();
                if slope.abs() < 1e-9 {
                    requests / from
                } else if slope < 0.0 && from * from + 2.0 * slope * requests <= 0.0 {
                    // The falling ramp never gets there.
                    length + 1.0
                } else {
                    (root - from) / slope
                }
            }
            Self::Steps(rates) => {
                let each = length / rates.len().max(1) as f64;
                let (mut left, mut elapsed) = (requests, 0.0);
                for rate in rates {
                    if left < rate * each {
                        return elapsed + left / rate;
                    }
                    left -= rate * each;
                    elapsed += each;
                }
                elapsed + 1e-3
            }
        }
    }

    /// Parts of the time measured that are reported apart; 0 for a fixed rate.
    #[must_use]
    pub fn stages(&self) -> usize {
        match self {
            Self::Fixed(_) => 0,
            Self::Ramp(..) => RAMP_PARTS,
            Self::Steps(rates) => rates.len(),
        }
    }

    /// Mean rate of a stage; of a fixed rate, that.
    #[must_use]
    pub fn offered(&self, stage: usize) -> f64 {
        match self {
            Self::Fixed(rate) => *rate,
            Self::Ramp(from, to) => {
                let middle = (stage as f64 + 0.5) / RAMP_PARTS as f64;
                from + (to - from) * middle
            }
            Self::Steps(_) => self.rate_of(stage),
        }
    }

    fn rate_of(&self, stage: usize) -> f64 {
        match self {
            Self::Fixed(rate) | Self::Ramp(rate, _) => *rate,
            Self::Steps(rates) => rates.get(stage).copied().unwrap_or(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sent(text: &str, seconds: u64) -> Vec<Duration> {
        let pace = Pace::parse(text).unwrap();
        assert_eq!(pace.show(), text);
        let length = SECOND * u32::try_from(seconds).unwrap();
        (0..)
            .map(|turn| pace.sent_at(turn, SECOND, length))
            .take_while(|at| *at < SECOND + length)
            .collect()
    }

    #[test]
    fn rates_give_their_number_of_requests() {
        let count = |sent: &[Duration], from: u64, to: u64| {
            let within = |at: &&Duration| **at >= SECOND * from as u32 && **at < SECOND * to as u32;
            sent.iter().filter(within).count()
        };
        let fixed = sent("100", 4);
        assert_eq!(count(&fixed, 1, 5), 400);
        let steps = sent("100,300", 4);
        assert_eq!(
            [
                count(&steps, 0, 1),
                count(&steps, 1, 3),
                count(&steps, 3, 5)
            ],
            [100, 200, 600]
        );
        let ramp = sent("100..300", 4);
        assert_eq!(count(&ramp, 0, 1), 100);
        assert!((798..=802).contains(&count(&ramp, 1, 5)));
        let falling = sent("300..100", 4);
        assert!((798..=802).contains(&count(&falling, 1, 5)));
        assert!(falling.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn stages_have_their_rates() {
        let ramp = Pace::parse("100..1100").unwrap();
        assert_eq!((ramp.stages(), ramp.offered(0)), (10, 150.0));
        let steps = Pace::parse("5,10").unwrap();
        assert_eq!((steps.stages(), steps.offered(1)), (2, 10.0));
        for text in ["0", "-1", "a", "1..", "1,,2", "inf"] {
            assert_eq!(Pace::parse(text), None, "{text}");
        }
    }
}
