//! Who is let through to a target that is as busy as it may be: `[models.admission]`, and the priorities of
//! `[[keys]]`. It must not know the rest of those sections (`lists.rs`).

use crate::base::key_priority::KeyPriority;
use crate::config::defaults;
use crate::config::limits;
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use std::time::Duration;

/// `[models.admission]`
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// False sends every request on at once.
    pub enabled: bool,
    /// Fewest requests under way that the limit of a target falls to, over all cores.
    pub concurrency_min: u32,
    /// Most requests under way at a target, over all cores.
    pub concurrency_max: u32,
    /// Requests that may wait for a place, per core; 0 = none waits.
    pub queue_max: usize,
    /// How long each may wait.
    pub queue_deadline: Duration,
}

/// Names of priorities.
pub(crate) const KEY_PRIORITIES: [(&str, KeyPriority); KeyPriority::COUNT] = [
    ("low", KeyPriority::Low),
    ("normal", KeyPriority::Normal),
    ("high", KeyPriority::High),
];

/// The section of one model.
pub(crate) fn read(mut section: Section<'_>) -> Admission {
    let bounds = &limits::CONCURRENCY;
    let admission = Admission {
        enabled: section.flag("enabled", defaults::ADMISSION_ENABLED),
        concurrency_min: section.number("concurrency_min", defaults::CONCURRENCY_MIN, bounds),
        concurrency_max: section.number("concurrency_max", defaults::CONCURRENCY_MAX, bounds),
        queue_max: section.number(
            "queue_max",
            defaults::ADMISSION_QUEUE_MAX,
            &limits::ADMISSION_QUEUE,
        ),
        queue_deadline: section.duration(
            "queue_deadline",
            defaults::ADMISSION_QUEUE_DEADLINE,
            &limits::TIMEOUT,
        ),
    };
    let (min, max) = (admission.concurrency_min, admission.concurrency_max);
    if min > max {
        let what = format!("`{min}` is more than `concurrency_max`, which is {max}");
        let remedy = "lower it, or raise `concurrency_max`; with both the same the limit is fixed";
        section.complain("concurrency_min", Complaint::new(what, remedy));
    }
    section.finish();
    admission
}
