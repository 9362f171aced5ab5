//! The keys of a `[[models]]` section about slow and failing targets.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{Bounds, MONTH, SECOND, TIMEOUT};
use crate::config::notation::{Fraction, Notation, duration, flag, fraction, number, written};
use crate::config::problem::Complaint;
use crate::config::sections::admission::Admission;
use crate::config::settings::{section, settings};
use crate::config::suggest::suggest;
use std::time::Duration;

settings! {
    /// The keys of `[[models]]` about slow and failing targets.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Failover {
        // How long OpenAI's SDKs wait by default.
        /// from a request's arrival until its response is there or its stream has begun, over all attempts; 504 beyond. `x-ringside-deadline-ms` may tighten it
        pub deadline: Duration = key("deadline", duration(TIMEOUT)).default(Duration::from_secs(600));
        // Off: a request that all targets failed may have been paid for already.
        /// further rounds over the targets after all of them failed, each after a pause; each takes from the retry budget
        pub retries: u32 = key("retries", number(Bounds::new("RETRIES", 0, 10))).default(0);
        // Off: holding a stream back delays its first token.
        /// how long the first bytes of a stream are held (up to 256 KiB), so that a failure within that time is hidden
        pub first_chunk_hold: Duration = key(
            "first_chunk_hold",
            duration(Bounds::new("FIRST_CHUNK_HOLD", Duration::ZERO, SECOND.saturating_mul(30))),
        )
        .default(Duration::ZERO);
        // Off: an expired answer may be wrong by now.
        /// how long after it expired a cached response is served when every target failed; see [cache.md](cache.md#stale-responses-when-every-target-fails)
        pub stale_if_error: Duration = key(
            "stale_if_error",
            duration(Bounds::new("STALE_IF_ERROR", Duration::ZERO, MONTH)),
        )
        .default(Duration::ZERO);
        /// Models that replace this one when a request is refused for its content.
        pub fallback: Fallback = section("fallback");
        /// Second requests for those that are late.
        pub hedge: Hedge = section("hedge");
        /// The limit of in-flight requests.
        pub admission: Admission = section("admission");
    }
}

settings! {
    /// `[models.hedge]`
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Hedge {
        // Off: a second request is paid for.
        /// whether a chat request that is late is sent to a second target too
        pub enabled: bool = key("enabled", flag()).default(false);
        // The slowest one in twenty: beyond it, the second request is mostly answered first.
        /// quantile of the target's latency after which a request is late; three times the median at most
        pub quantile: f64 = key(
            "quantile",
            fraction(Fraction {
                what: "a quantile",
                min: 0.5,
                max: 0.999,
                remedy: "use a value such as 0.95: the slowest one in twenty is late",
            }),
        )
        .default(0.95);
        /// tokens that second requests may cost, as a share of all billed tokens, per core
        pub extra_tokens_share_max: f64 = key(
            "extra_tokens_share_max",
            fraction(Fraction {
                what: "a share",
                min: 0.0,
                max: 0.5,
                remedy: "use a value such as 0.02: two per cent more tokens at most",
            }),
        )
        .default(0.02);
    }
}

settings! {
    /// `[models.fallback]`: names of models.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Fallback {
        /// gets requests that are refused as longer than the context window
        pub context_length: Option<String> = key("context_length", other_model()).optional("–");
        /// gets requests that are refused by the provider's content policy
        pub content_policy: Option<String> = key("content_policy", other_model()).optional("–");
    }
}

/// The name of a model other than the one that is read.
fn other_model() -> Notation<String> {
    written("another model's `name`", |item, context: &Context<'_>| {
        let name = item.text()?;
        if name == context.model().name {
            return Err(Complaint::new(
                format!("`{name}` is this model itself"),
                "name another model, one that takes what this one refuses",
            ));
        }
        let names = || context.names.model_names();
        if names().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        Err(Complaint::new(
            format!("there is no model `{name}`"),
            suggest(name, names),
        ))
    })
}
