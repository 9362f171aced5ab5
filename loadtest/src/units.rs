//! Durations, shares and names as a person writes them.

use std::time::Duration;

/// A duration such as `250us`, `20ms`, `1.5s`, `2m`, `1h`; a number alone is seconds.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let units = [
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1.0));
    let number: f64 = digits.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// `duration`, written so that [`duration`] reads it back.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".into(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1000) => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

/// A share from 0 to 1.
#[must_use]
pub fn share(text: &str) -> Option<f64> {
    let share = text.trim().parse::<f64>().ok()?;
    (0.0..=1.0).contains(&share).then_some(share)
}

/// False for `false`, `0`, `no` and `off`; anything else, and nothing at all, switches on.
#[must_use]
pub fn switch(text: &str) -> bool {
    !matches!(text, "false" | "0" | "no" | "off")
}

/// The candidate that `wrong` was most likely meant to be.
#[must_use]
pub fn nearest<'c>(wrong: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    candidates
        .into_iter()
        .map(|candidate| {
            let plain = plain(candidate);
            let within = wrong.len() >= 3 && (plain.contains(&wrong) || wrong.contains(&plain));
            let slips = strsim::damerau_levenshtein(&wrong, &plain);
            (if within { slips.min(2) } else { slips }, candidate)
        })
        .filter(|(slips, _)| *slips <= (wrong.chars().count() / 3).max(2))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// What to say of a key that is not known.
#[must_use]
pub fn unknown(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known.iter().copied()) {
        Some(meant) => format!("unknown; did you mean `{meant}`?"),
        None => format!("unknown; known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, micros) in [
            ("10", 10_000_000),
            ("1.5s", 1_500_000),
            ("20ms", 20_000),
            ("7us", 7),
            ("2m", 120_000_000),
        ] {
            let read = duration(text).unwrap();
            assert_eq!(read.as_micros(), micros, "{text}");
            assert_eq!(duration(&show_duration(read)), Some(read));
        }
        for text in ["", "s", "-1s", "1 day", "NaN"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn slips_are_recognised() {
        let known = ["warm_up", "duration", "rate", "repeat_share"];
        assert_eq!(nearest("warmup", known), Some("warm_up"));
        assert_eq!(nearest("duraton", known), Some("duration"));
        assert_eq!(nearest("repeat-share", known), Some("repeat_share"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(share("0.25"), Some(0.25));
        assert_eq!(share("1.25"), None);
    }
}
