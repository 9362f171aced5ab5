//! Log lines that the cores write, one JSON object each: access records and events of targets.

use crate::base::names::Name;
use crate::observability::access_log::AccessRecord;
use crate::observability::metrics::labels::LabelEnum;
use crate::observability::metrics::targets::CooldownCause;
use crate::routing::health::Phase;
use std::time::Duration;

/// A line that waits for the control plane to write it.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are requests, and a box would be an allocation for each"
)]
#[derive(Debug, Clone)]
pub(crate) enum LogLine {
    Request(AccessRecord),
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

/// An event of a target, as a core sees it.
#[derive(Debug, Clone)]
pub(crate) struct TargetNotice {
    /// Since the Unix epoch.
    pub at: Duration,
    /// `provider/model`.
    pub target: Name,
    pub event: TargetEvent,
}

/// What happened to a target.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TargetEvent {
    /// It came into this phase.
    Phase(Phase),
    /// One of its keys began a cooldown.
    KeyCooldown {
        cause: CooldownCause,
        /// Position of the key in the configuration, from 1; `None` without keys. Its value is never logged.
        key: Option<usize>,
        lasts: Duration,
    },
    /// It has no price.
    PriceUnknown,
}

impl TargetEvent {
    /// Value of the field `event`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Phase(_) => "target_phase",
            Self::KeyCooldown { .. } => "key_cooldown",
            Self::PriceUnknown => "price_unknown",
        }
    }

    /// Value of the field `what`.
    fn what(self) -> &'static str {
        match self {
            Self::Phase(phase) => phase.as_str(),
            Self::KeyCooldown { cause, .. } => cause.as_str(),
            Self::PriceUnknown => "no price; costs are unknown until [[prices]] has one",
        }
    }
}

impl TargetNotice {
    fn to_json(&self) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (key, lasts) = match self.event {
            TargetEvent::KeyCooldown { key, lasts, .. } => (key, Some(lasts)),
            TargetEvent::Phase(_) | TargetEvent::PriceUnknown => (None, None),
        };
        serde_json::json!({
            "at_ms": millis(self.at),
            "event": self.event.as_str(),
            "target": self.target.text().to_string(),
            "what": self.event.what(),
            "api_key": key,
            "for_ms": lasts.map(millis),
        })
        .to_string()
    }
}
