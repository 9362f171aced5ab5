//! Reads how long a 429 response says to wait, in all forms that providers use.
//!
//! `retry-after-ms`, `retry-after` in seconds or as an HTTP date (RFC 9110 section 10.2.3, in the three
//! forms of section 5.6.7), and `x-ratelimit-reset…` as seconds, as a duration like `6m0s`, as seconds
//! since the epoch, or as a date.

use crate::http::head::Headers;
use std::time::Duration;

/// Values above this are points in time and not waits: this one is in 2001.
const EPOCH_FROM_S: f64 = 1e9;

/// The limits that a 429 can name: the headers with the remaining amount and with the time of the reset.
const RESETS: [(&str, &str); 6] = [
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
];

/// How long to wait; `None` if no header has a usable value. `now` is the time since the Unix epoch, for dates.
#[must_use]
pub(crate) fn retry_after(headers: &Headers<'_>, now: Duration) -> Option<Duration> {
    let text = |name: &str| headers.get_str(name).map(str::trim);
    let seconds = |wait: f64| {
        let is_wait = wait > 0.0;
        is_wait.then(|| Duration::try_from_secs_f64(wait).ok())?
    };
    if let Some(wait) = text("retry-after-ms").and_then(|value| value.parse::<f64>().ok()) {
        return seconds(wait / 1000.0);
    }
    if let Some(value) = text("retry-after") {
        return wait(value, now);
    }
    // The reset of an exhausted limit decides. If no limit is reported as exhausted, the longest wait is the safe
    // one.
    let resets = |used_up: bool| {
        let exhausted = RESETS.iter().filter(move |(left, _)| {
            !used_up || text(left).and_then(|left| left.parse::<f64>().ok()) == Some(0.0)
        });
        exhausted
            .filter_map(|(_, reset)| wait(text(reset)?, now))
            .max()
    };
    resets(true).or_else(|| resets(false))
}

/// The value of a `retry-after` header that is at least `wait`.
#[must_use]
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Reads a wait in any form.
fn wait(value: &str, now: Duration) -> Option<Duration> {
    let now_s = now.as_secs_f64();
    let wait_s = match value.parse::<f64>() {
        Ok(seconds) if seconds >= EPOCH_FROM_S => seconds - now_s,
        Ok(seconds) => seconds,
        Err(_) => duration(value).or_else(|| Some(date(value)? - now_s))?,
    };
    (wait_s > 0.0)
        .then(|| Duration::try_from_secs_f64(wait_s).ok())
        .flatten()
}

/// Reads `1d2h3m4.5s` or `120ms`, in seconds.
fn duration(value: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = value;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_ends = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_ends);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = next;
    }
    Some(total)
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// Reads a date as seconds since the epoch: the three forms of HTTP, or RFC 3339 in UTC.
#[must_use]
pub(crate) fn date(value: &str) -> Option<f64> {
    let (mut day, mut month, mut year, mut clock) = (None, None, None, None);
    if let Some((date, time)) = value
        .split_once(['T', 't'])
        .filter(|_| value.ends_with(['Z', 'z']))
    {
        let mut parts = date.split('-').map(str::parse::<i64>);
        year = parts.next()?.ok();
        month = parts.next()?.ok();
        day = parts.next()?.ok();
        clock = time_of_day(time.get(..time.len() - 1)?);
    } else {
        for word in value.split([' ', ',', '-']).filter(|word| !word.is_empty()) {
            let name = word.get(..3).unwrap_or_default().to_ascii_lowercase();
            if word.contains(':') {
                clock = time_of_day(word);
            } else if let Ok(number) = word.parse::<i64>() {
                if day.is_none() {
                    day = Some(number);
                } else {
                    // Two digits: by RFC 9110, a year far in the future means the past century.
                    year = Some(match number {
                        0..=69 if word.len() == 2 => 2000 + number,
                        70..=99 if word.len() == 2 => 1900 + number,
                        _ => number,
                    });
                }
            } else if let Some(at) = MONTHS.iter().position(|month| *month == name) {
                month = Some(at as i64 + 1);
            }
        }
    }
    let is_date =
        (1..=12).contains(&month?) && (1..=31).contains(&day?) && (1970..=9999).contains(&year?);
    is_date.then_some(days_since_epoch(year?, month?, day?) as f64 * 86_400.0 + clock?)
}

/// Reads `08:49:37.5`, in seconds.
fn time_of_day(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let is_time = (0.0..24.0).contains(&hours) && (0.0..60.0).contains(&minutes);
    // 60 is a leap second.
    (is_time && (0.0..61.0).contains(&seconds)).then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Days from 1970-01-01 in the Gregorian calendar (Hinnant, `days_from_civil`).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Parsed, parse_response_head};
    use crate::http::limits::HeadLimits;

    fn wait_s(lines: &str, now_s: u64) -> Option<f64> {
        let head = format!("HTTP/1.1 429 X\r\n{lines}\r\n");
        let parsed = parse_response_head(head.as_bytes(), &HeadLimits::default()).unwrap();
        let Parsed::Complete { value, .. } = parsed else {
            panic!("{lines}");
        };
        retry_after(&value.headers, Duration::from_secs(now_s)).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn every_form_is_read() {
        // `date -u -d '1994-11-06 08:49:37' +%s` prints 784111777.
        let now = 784_111_770;
        for (lines, wait) in [
            ("retry-after: 7\r\n", 7.0),
            ("retry-after: 1.5\r\n", 1.5),
            ("retry-after-ms: 250\r\nretry-after: 1\r\n", 0.25),
            ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 7.0),
            ("retry-after: Sunday, 06-Nov-94 08:49:37 GMT\r\n", 7.0),
            ("retry-after: Sun Nov  6 08:49:37 1994\r\n", 7.0),
            ("x-ratelimit-reset-requests: 6m0s\r\n", 360.0),
            ("x-ratelimit-reset-tokens: 120ms\r\n", 0.12),
            ("x-ratelimit-reset-tokens: 1h2m3.5s\r\n", 3723.5),
            ("x-ratelimit-reset-requests: 10\r\n", 10.0),
            (
                "x-ratelimit-reset: 1700000000\r\n",
                1_700_000_000.0 - now as f64,
            ),
            (
                "anthropic-ratelimit-requests-reset: 1994-11-06T08:49:37Z\r\n",
                7.0,
            ),
        ] {
            let found = wait_s(lines, now).unwrap_or(-1.0);
            assert!((found - wait).abs() < 1e-6, "{lines}: {found}");
        }
    }

    #[test]
    fn the_exhausted_limit_decides() {
        let lines = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 2s\r\n\
                     x-ratelimit-remaining-tokens: 900\r\nx-ratelimit-reset-tokens: 60s\r\n";
        assert_eq!(wait_s(lines, 0), Some(2.0));
        let lines = lines.replace("requests: 0", "requests: 1");
        assert_eq!(wait_s(&lines, 0), Some(60.0));
    }

    #[test]
    fn malformed_values_are_ignored() {
        for value in [
            "0",
            "-3",
            "soon",
            "NaN",
            "inf",
            "",
            "1e400",
            "5 parsecs",
            "7q",
            "Sun, 99 Foo 1994",
            "Mon, 06 Nov 1970 08:49:37 GMT",
        ] {
            assert_eq!(
                wait_s(&format!("retry-after: {value}\r\n"), 784_111_770),
                None,
                "{value}"
            );
        }
        assert_eq!(wait_s("", 0), None);
    }
}
