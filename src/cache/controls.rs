//! Request headers that control caching. A caller can only be stricter than the configuration.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::headers;
use std::time::Duration;

/// The cache controls of one request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Controls {
    /// Do not serve from the cache (`no-cache`, `no-store`).
    pub no_lookup: bool,
    /// Do not store the response (`no-store`).
    pub no_store: bool,
    /// Serve from the cache or not at all (`only-if-cached`).
    pub only_if_cached: bool,
    /// Shorter time to live for the stored response.
    pub ttl: Option<Duration>,
    /// Similarity that a semantic hit needs, when it is higher than the configured one.
    pub similarity_min: Option<f32>,
}

/// Reads `cache-control`, `x-ringside-cache-ttl` and `x-ringside-similarity-min`.
///
/// # Errors
/// 400 naming the header.
pub(crate) fn read_controls(
    cache_control: Option<&str>,
    ttl: Option<&str>,
    similarity_min: Option<&str>,
) -> Result<Controls, GatewayError> {
    let mut controls = Controls::default();
    for directive in cache_control.into_iter().flat_map(|value| value.split(',')) {
        match directive.trim().to_ascii_lowercase().as_str() {
            "no-cache" => controls.no_lookup = true,
            "no-store" => {
                controls.no_lookup = true;
                controls.no_store = true;
            }
            "only-if-cached" => controls.only_if_cached = true,
            _ => {}
        }
    }
    if let Some(text) = ttl {
        let ttl = seconds(text).ok_or_else(|| {
            GatewayError::new(
                ErrorCode::InvalidHeader,
                format!(
                    "`{}` must be a duration such as 30s, 5m, 1h, or whole seconds",
                    headers::CACHE_TTL
                ),
            )
        })?;
        controls.ttl = Some(ttl);
    }
    if let Some(text) = similarity_min {
        let value = text.trim().parse::<f32>().ok();
        let value = value
            .filter(|value| (0.0..=1.0).contains(value))
            .ok_or_else(|| {
                GatewayError::new(
                    ErrorCode::InvalidHeader,
                    format!("`{}` must be a number from 0 to 1", headers::SIMILARITY_MIN),
                )
            })?;
        controls.similarity_min = Some(value);
    }
    Ok(controls)
}

/// Reads `x-ringside-coalesce`: false for `off`, which requests an upstream call of its own.
///
/// # Errors
/// 400 naming the header.
pub(crate) fn read_coalesce(value: Option<&str>) -> Result<bool, GatewayError> {
    match value
        .map(|text| text.trim().to_ascii_lowercase())
        .as_deref()
    {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err(GatewayError::new(
            ErrorCode::InvalidHeader,
            format!("`{}` must be `on` or `off`", headers::COALESCE),
        )),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_directives_are_read() {
        let read = |value| read_controls(Some(value), None, None).unwrap();
        assert!(read("max-age=0, No-Cache").no_lookup);
        assert!(!read("no-cache").no_store);
        assert!(read("no-store").no_store && read("no-store").no_lookup);
        assert!(read("only-if-cached").only_if_cached);
        assert_eq!(read("max-age=3"), Controls::default());
    }

    #[test]
    fn coalescing_can_be_switched_off() {
        assert_eq!(read_coalesce(Some(" OFF")).ok(), Some(false));
        assert_eq!(read_coalesce(None).ok(), Some(true));
        assert_eq!(read_coalesce(Some("on")).ok(), Some(true));
        assert_eq!(read_coalesce(Some("no")).unwrap_err().status, 400);
    }

    #[test]
    fn invalid_ttl_and_similarity_are_rejected() {
        let controls = read_controls(None, Some("5m"), Some("0.97")).unwrap();
        assert_eq!(controls.ttl, Some(Duration::from_secs(300)));
        assert_eq!(controls.similarity_min, Some(0.97));
        for (ttl, similarity) in [
            (Some("soon"), None),
            (Some("-1"), None),
            (None, Some("1.5")),
            (None, Some("NaN")),
        ] {
            assert_eq!(
                read_controls(None, ttl, similarity).unwrap_err().status,
                400
            );
        }
    }
}
