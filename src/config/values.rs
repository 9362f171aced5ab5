//! How sizes, durations, amounts and names are written.
//!
//! It must not know which key a value belongs to, nor its bounds.

use crate::config::limits;
use crate::config::problem::Complaint;
use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes, from e.g. `20MiB`.
pub(crate) fn size(text: &str) -> Result<u64, Complaint> {
    scaled(text, &SIZE_UNITS).ok_or_else(|| {
        Complaint::new(
            format!("`{text}` is not a size"),
            "write a whole number and B, KiB, MiB or GiB without a space, e.g. \"20MiB\"",
        )
    })
}

/// A duration, from e.g. `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, Complaint> {
    scaled(text, &DURATION_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Complaint::new(
                format!("`{text}` is not a duration"),
                "write a whole number and ms, s, m or h without a space, e.g. \"250ms\" or \"5m\"",
            )
        })
}

/// The number in front, times its unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// US dollars in nano-dollars, from a plain decimal number.
pub(crate) fn nanodollars(digits: &str) -> Option<u64> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let whole = whole.strip_prefix('+').unwrap_or(whole);
    if !is_plain(whole) || !is_plain(decimals) || decimals.len() > limits::PRICE_DECIMALS {
        return None;
    }
    let dollars: u64 = whole.parse().ok()?;
    let nano: u64 = format!("{decimals:0<width$}", width = limits::PRICE_DECIMALS)
        .parse()
        .ok()?;
    (dollars < limits::PRICE_DOLLARS_MAX).then(|| dollars * 1_000_000_000 + nano)
}

/// Bytes in the largest unit that divides them.
pub(crate) fn show_size(bytes: usize) -> String {
    show(bytes as u64, &SIZE_UNITS)
}

/// A duration in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &DURATION_UNITS)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .map_or_else(
            || format!("{value}{}", units.last().map_or("", |(unit, _)| unit)),
            |(unit, factor)| format!("{}{unit}", value / factor),
        )
}

/// A name that can stand in headers, metrics, logs and JSON without quoting.
pub(crate) fn name(text: &str) -> Result<&str, Complaint> {
    let longest = limits::NAME_BYTES_MAX;
    if text.is_empty() || text.len() > longest {
        return Err(Complaint::new(
            format!("a name has 1 to {longest} bytes (limit NAME_BYTES_MAX)"),
            "choose a shorter name that is not empty",
        ));
    }
    // A comma separates the names in `x-ringside-models`.
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ',');
    match text.chars().find(|c| !plain(*c)) {
        None => Ok(text),
        Some(c) => Err(Complaint::new(
            format!("{c:?} cannot stand in a name: names go into headers and metrics"),
            "use letters, digits and `-`, `_`, `.`, `:`, `/`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_and_shown() {
        for text in ["0B", "1B", "512KiB", "20MiB", "1GiB"] {
            assert_eq!(show_size(size(text).unwrap() as usize), text);
        }
        for text in ["0ms", "250ms", "1s", "5m", "1h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        assert_eq!(show_size(1536), "1536B");
        assert_eq!(duration("60s").unwrap(), duration("1m").unwrap());
    }

    #[test]
    fn sizes_and_durations_of_other_notations_are_refused() {
        for text in [
            "",
            "20",
            "MiB",
            "20 MiB",
            "20MB",
            "-1KiB",
            "1.5GiB",
            "99999999999GiB",
            "1é",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "1d",
            "-1s",
            "1.5h",
            "1m30s",
            "9999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
