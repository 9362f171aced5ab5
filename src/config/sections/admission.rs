//! `[models.admission]`: the limit of in-flight requests at a target.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{Bounds, CONCURRENCY, TIMEOUT};
use crate::config::notation::{duration, flag, number};
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use crate::config::settings::settings;
use std::time::Duration;

settings! {
    /// `[models.admission]`
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Admission checked by check_order {
        // Off: a hosted provider limits tokens, and takes more requests than are ever sent to it.
        /// whether targets have a limit of in-flight requests; see [routing.md](routing.md#concurrency-limits)
        pub enabled: bool = key("enabled", flag()).default(false);
        // One request keeps measuring.
        /// smallest value that the limit of a target falls to, over all cores; at most `concurrency_max`
        pub concurrency_min: u32 = key("concurrency_min", number(CONCURRENCY)).default(1);
        // More than one target of most users takes; the limiter finds the real value below.
        /// most in-flight requests at a target, over all cores; equal to `concurrency_min` = a fixed limit
        pub concurrency_max: u32 = key("concurrency_max", number(CONCURRENCY)).default(1024);
        // Several times the in-flight requests at most targets; a longer queue only turns refusals into late ones.
        /// requests of the model that may wait for a permit, per core; 0 = none waits
        pub queue_max: usize = key("queue_max", number(Bounds::new("ADMISSION_QUEUE", 0, 65_536))).default(256);
        // How long a person waits for a first word before they try again.
        /// how long each may wait, within its own deadline; 503 `overloaded` beyond
        pub queue_deadline: Duration = key("queue_deadline", duration(TIMEOUT)).default(Duration::from_secs(10));
    }
}

fn check_order(admission: &mut Admission, section: &Section<'_>, _: &Context<'_>) {
    let (min, max) = (admission.concurrency_min, admission.concurrency_max);
    if min > max {
        let message = format!("`{min}` is more than `concurrency_max`, which is {max}");
        let remedy = "lower it, or raise `concurrency_max`; with both the same the limit is fixed";
        section.complain("concurrency_min", Complaint::new(message, remedy));
    }
}
