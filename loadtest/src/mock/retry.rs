//! The headers by which providers say when to come again.

use crate::units::unknown;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One way to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryStyle {
    /// `retry-after` in whole seconds.
    Seconds,
    /// `retry-after` as an HTTP date.
    Date,
    /// `retry-after-ms`.
    Milliseconds,
    /// `x-ratelimit-reset-requests` and its kin, as in `6m0s`.
    Openai,
    /// `anthropic-ratelimit-requests-reset`, a time of day.
    Anthropic,
    /// `x-ratelimit-reset`, in seconds since the Unix epoch.
    Epoch,
}

const STYLES: [(&str, RetryStyle); 6] = [
    ("seconds", RetryStyle::Seconds),
    ("date", RetryStyle::Date),
    ("ms", RetryStyle::Milliseconds),
    ("openai", RetryStyle::Openai),
    ("anthropic", RetryStyle::Anthropic),
    ("epoch", RetryStyle::Epoch),
];

impl RetryStyle {
    /// Reads `seconds,openai`; `none` is an empty list.
    ///
    /// # Errors
    /// An unknown style.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let known = STYLES.map(|(name, _)| name);
        let names = text.split(',').filter(|name| *name != "none");
        names
            .map(|name| {
                let found = STYLES.iter().find(|(known, _)| *known == name);
                found
                    .map(|(_, style)| *style)
                    .ok_or_else(|| format!("{name}: {}", unknown(name, &known)))
            })
            .collect()
    }

    /// `styles`, written so that [`RetryStyle::parse_list`] reads them back.
    #[must_use]
    pub fn show_list(styles: &[Self]) -> String {
        let names: Vec<&str> = STYLES
            .iter()
            .filter(|(_, style)| styles.contains(style))
            .map(|(name, _)| *name)
            .collect();
        if names.is_empty() {
            "none".into()
        } else {
            names.join(",")
        }
    }

    /// The headers that say "again after `after`", at `now` since the Unix epoch.
    #[must_use]
    pub fn headers(self, after: Duration, now: Duration) -> Vec<(&'static str, String)> {
        let seconds = whole_seconds(after);
        let then = now + after;
        match self {
            Self::Seconds => vec![("retry-after", seconds.to_string())],
            Self::Date => {
                let at = UNIX_EPOCH + Duration::from_secs(whole_seconds(then));
                vec![("retry-after", httpdate::fmt_http_date(at))]
            }
            Self::Milliseconds => vec![("retry-after-ms", after.as_millis().to_string())],
            Self::Openai => vec![
                ("x-ratelimit-limit-requests", "100".into()),
                ("x-ratelimit-remaining-requests", "0".into()),
                ("x-ratelimit-reset-requests", go_duration(after)),
                ("x-ratelimit-reset-tokens", go_duration(after)),
            ],
            Self::Anthropic => vec![
                ("anthropic-ratelimit-requests-remaining", "0".into()),
                ("anthropic-ratelimit-requests-reset", time_of_day(then)),
            ],
            Self::Epoch => vec![("x-ratelimit-reset", whole_seconds(then).to_string())],
        }
    }
}

/// Rounded up, so that who waits that long has waited long enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// As Go writes durations, and so OpenAI: `1m30s`, `2s`, `350ms`.
fn go_duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{}ms", time.as_millis());
    }
    let seconds = whole_seconds(time);
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

/// RFC 3339 from an HTTP date, which has the same fields.
fn time_of_day(since_epoch: Duration) -> String {
    let at: SystemTime = UNIX_EPOCH + Duration::from_secs(whole_seconds(since_epoch));
    let date = httpdate::fmt_http_date(at);
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let fields: Vec<&str> = date.split_whitespace().collect();
    let [_, day, month, year, time, _] = fields[..] else {
        return date;
    };
    let month = months.iter().position(|name| *name == month).unwrap_or(0) + 1;
    format!("{year}-{month:02}-{day}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_says_the_same_moment() {
        let now = Duration::from_secs(1_700_000_000);
        let after = Duration::from_millis(90_500);
        let said = |style: RetryStyle| {
            let headers = style.headers(after, now);
            headers.last().map(|(_, value)| value.clone()).unwrap()
        };
        assert_eq!(said(RetryStyle::Seconds), "91");
        assert_eq!(said(RetryStyle::Date), "Tue, 14 Nov 2023 22:14:51 GMT");
        assert_eq!(said(RetryStyle::Milliseconds), "90500");
        assert_eq!(said(RetryStyle::Openai), "1m31s");
        assert_eq!(said(RetryStyle::Anthropic), "2023-11-14T22:14:51Z");
        assert_eq!(said(RetryStyle::Epoch), "1700000091");
        assert_eq!(go_duration(Duration::from_millis(350)), "350ms");
    }

    #[test]
    fn lists_are_read_and_shown() {
        let read = RetryStyle::parse_list("seconds,ms").unwrap();
        assert_eq!(RetryStyle::show_list(&read), "seconds,ms");
        assert_eq!(RetryStyle::parse_list("none"), Ok(Vec::new()));
        let why = RetryStyle::parse_list("openia").unwrap_err();
        assert!(why.contains("did you mean `openai`"), "{why}");
    }
}
