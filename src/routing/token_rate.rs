//! Tokens per second of a target: a moving average over its last responses. Streams are measured from their first token,
//! buffered responses from the request, and the two are never mixed.

use crate::routing::measurements::Series;

/// Share of the newest response in the average: about the last eight responses count.
const NEWEST_SHARE: f32 = 0.125;

/// A response with fewer tokens is not measured: its time is mostly the time to its first token.
const TOKENS_MIN: u64 = 8;

/// Rates of one target, in tokens per second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    streams: Option<f32>,
    buffered: Option<f32>,
}

impl Rates {
    /// Tokens per second for requests of this kind; `None` until a response was measured.
    #[must_use]
    pub(crate) fn tokens_per_s(&self, series: Series) -> Option<f32> {
        match series {
            Series::Whole(_) => self.buffered,
            _ => self.streams,
        }
    }

    /// Records a response of `tokens` tokens that took `time_us`.
    pub(crate) fn record(&mut self, series: Series, tokens: u64, time_us: u64) {
        if tokens < TOKENS_MIN || time_us == 0 {
            return;
        }
        let newest = tokens as f32 * 1e6 / time_us as f32;
        let rate = match series {
            Series::Whole(_) => &mut self.buffered,
            _ => &mut self.streams,
        };
        *rate = Some(rate.map_or(newest, |old| old + NEWEST_SHARE * (newest - old)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_buffered_responses_are_not_mixed_and_old_responses_fade() {
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
