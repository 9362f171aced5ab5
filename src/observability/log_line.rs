//! What a core has to say about a target, beside its access records: one JSON line each.

use crate::base::names::Name;
use crate::observability::access_log::AccessRecord;
use std::time::Duration;

/// A line on its way to the log.
// Nearly all are requests, and a box would be an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub(crate) enum LogLine {
    /// One request.
    Request(AccessRecord),
    /// A target changed.
    Target(TargetNotice),
}

impl LogLine {
    /// One line of JSON without the line end.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        match self {
            Self::Request(record) => record.to_json(),
            Self::Target(notice) => notice.to_json(),
        }
    }
}

/// A change of a target, as one core sees it.
#[derive(Debug, Clone)]
pub(crate) struct TargetNotice {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// `target_phase` or `key_cooldown`.
    pub event: &'static str,
    /// `provider/model`.
    pub target: Name,
    /// The new phase, or why the key was set aside.
    pub what: &'static str,
    /// Which of the provider's keys, from 1, in the order of the file; its value is never told.
    pub key: Option<usize>,
    /// For how long.
    pub lasts: Option<Duration>,
}

impl TargetNotice {
    /// One line of JSON without the line end.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        serde_json::json!({
            "at_ms": millis(self.at),
            "event": self.event,
            "target": self.target.text().to_string(),
            "what": self.what,
            "api_key": self.key,
            "for_ms": self.lasts.map(millis),
        })
        .to_string()
    }
}
