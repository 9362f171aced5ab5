//! Tokens per second of a target: a moving average over its last answers. Streams are measured from
//! their first token, whole answers from the request on, and the two are never mixed.

use crate::routing::measurements::Series;

/// Share of the newest answer in the average: about the last eight answers count.
const NEWEST_SHARE: f32 = 0.125;

/// Answers of fewer tokens say little about speed.
const TOKENS_MIN: u64 = 8;

/// The rates of one target.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    streams: Option<f32>,
    whole: Option<f32>,
}

impl Rates {
    /// Tokens per second for requests of this kind; `None` until one was measured.
    #[must_use]
    pub(crate) fn tokens_per_s(&self, series: Series) -> Option<f32> {
        match series {
            Series::Whole(_) => self.whole,
            _ => self.streams,
        }
    }

    /// Records an answer of so many tokens in so many microseconds.
    pub(crate) fn record(&mut self, series: Series, tokens: u64, time_us: u64) {
        if tokens < TOKENS_MIN || time_us == 0 {
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let newest = tokens as f32 * 1e6 / time_us as f32;
        let rate = match series {
            Series::Whole(_) => &mut self.whole,
            _ => &mut self.streams,
        };
        *rate = Some(rate.map_or(newest, |old| old + NEWEST_SHARE * (newest - old)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_whole_answers_are_apart_and_old_answers_fade() {
        let mut rates = Rates::default();
        rates.record(Series::FirstToken, 7, 1000);
        assert_eq!(rates.tokens_per_s(Series::FirstToken), None);
        rates.record(Series::FirstToken, 100, 1_000_000);
        assert_eq!(rates.tokens_per_s(Series::FirstToken), Some(100.0));
        assert_eq!(rates.tokens_per_s(Series::Whole(0)), None);
        for _ in 0..40 {
            rates.record(Series::FirstToken, 10, 1_000_000);
        }
        let faded = rates.tokens_per_s(Series::FirstToken).unwrap();
        assert!((10.0..11.0).contains(&faded), "{faded}");
    }
}
