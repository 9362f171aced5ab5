//! `[cache]`: both tiers of the response cache.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{
    Bounds, FRESHNESS_TTL, GIB, HOUR, KIB, MIB, MONTH, SAMPLE_TOKENS, SECOND,
};
use crate::config::notation::{
    Choices, Fraction, Notation, choice, duration, flag, fraction, name, number, path,
    positive_share, size, written,
};
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use crate::config::settings::{section, settings};
use crate::config::values;
use std::path::PathBuf;
use std::time::Duration;

settings! {
    /// `[cache]`
    #[derive(Debug, Clone, PartialEq)]
    pub struct Cache checked by check_entry_size {
        // On: the exact tier serves only identical requests.
        /// false turns both tiers off
        pub enabled: bool = key("enabled", flag()).default(true);
        // Long enough to help, short enough that no answer of yesterday is served.
        /// time to live of a response; a hit does not extend it
        pub ttl: Duration = key("ttl", duration(Bounds::new("CACHE_TTL", Duration::from_millis(1), MONTH)))
            .default(HOUR);
        // About a hundred thousand responses of 2.5 KiB.
        /// memory of all responses
        pub memory_bytes_max: usize = key(
            "memory_max",
            size(Bounds::new("CACHE_MEMORY_BYTES", 64 * KIB, 1024 * GIB)),
        )
        .default(256 * MIB)
        .restart();
        // Above the longest text answers, below images.
        /// largest response stored, at most `memory_max`
        pub entry_bytes_max: usize = key("entry_max", size(Bounds::new("CACHE_ENTRY_BYTES", KIB, 64 * MIB)))
            .default(256 * KIB);
        // One busy key leaves half of a full cache to the others.
        /// share of `memory_max` that one key (team, by `scope`) keeps when others want room; alone it may fill all
        pub key_share_max: f64 = key(
            "key_share_max",
            positive_share("a share", "use a value such as 0.5; 1 lets one key fill the whole cache"),
        )
        .default(0.5)
        .restart();
        // No key sees an answer of another one, unless the user says so.
        /// who shares responses: each key for itself, or all keys of a team together
        pub scope: TenantScope = key("scope", choice(TenantScope::CHOICES)).default(TenantScope::Key);
        // On: the exact tier would serve the same response to the later request a moment after.
        /// identical requests in flight share one upstream call; see [cache.md](cache.md#coalescing)
        pub coalesce: bool = key("coalesce", flag()).default(true);
        /// part of every scope: another value makes all stored responses unreachable at once
        pub epoch: Option<String> = key("epoch", name()).optional("none");
        /// Times to live by how long an answer stays right.
        pub freshness: Freshness = section("freshness");
        /// responses survive a restart in it; see [cache.md](cache.md#persistence)
        pub dir: Option<PathBuf> = key(
            "dir",
            path("folder, relative to the working directory", "give the folder, or remove the key"),
        )
        .optional("none")
        .restart();
        // Four times the memory: the folder keeps replaced texts for a while. It is divided into eight segments.
        /// space that the folder may take
        pub disk_bytes_max: usize = key("disk_max", size(Bounds::new("CACHE_PATH_BYTES", MIB, 1024 * GIB)))
            .default(GIB)
            .restart();
        /// Semantic tier.
        pub semantic: Semantic = section("semantic");
    }
}

impl Cache {
    /// Whether the semantic tier looks up.
    #[must_use]
    pub fn is_semantic(&self) -> bool {
        self.enabled && self.semantic.mode != SemanticMode::Off
    }
}

settings! {
    /// `[cache.freshness]`; static answers have the cache's time to live.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Freshness {
        // On: an outdated answer to a question about the present is a wrong answer.
        /// false treats every question as static; see [cache.md](cache.md#freshness)
        pub enabled: bool = key("enabled", flag()).default(true);
        // An office or a price seldom changes within an hour.
        /// longest time to live of answers that change in months; zero = not stored
        pub slow_ttl: Duration = key("slow_ttl", duration(FRESHNESS_TTL)).default(HOUR);
        // Off: a similar question may mean another time.
        /// whether those are served to similar questions too
        pub slow_semantic: bool = key("slow_semantic", flag()).default(false);
        // Serves repeats of one click and of a burst of users, not the next look at the weather.
        /// longest time to live of answers that change in minutes; never a semantic hit; zero = not stored
        pub live_ttl: Duration = key("live_ttl", duration(FRESHNESS_TTL)).default(Duration::from_secs(30));
        // Not stored: the next caller behind the same key may be another person.
        /// longest time to live of answers to personal questions and requests to act; never a semantic hit; zero = not stored
        pub personal_ttl: Duration = key("personal_ttl", duration(FRESHNESS_TTL)).default(Duration::ZERO);
    }
}

settings! {
    /// `[cache.semantic]`
    #[derive(Debug, Clone, PartialEq)]
    pub struct Semantic {
        // Off: a similar question may have another answer.
        /// `observe` = look up and report, serve nothing; from `off` to another mode needs a restart
        pub mode: SemanticMode = key("mode", choice(SemanticMode::CHOICES)).default(SemanticMode::Off);
        // One wrong answer in a hundred cached ones, at most.
        /// largest share of semantic hits that may be wrong; see [cache.md](cache.md)
        pub wrong_hit_rate_max: f64 = key("wrong_hit_rate_max", wrong_hit_rate()).default(WRONG_HIT_RATE_MAX);
        /// smallest cosine similarity served, instead of the learned score; hard rules still refuse
        pub similarity_min: Option<f32> = key("similarity_min", similarity()).optional("none");
        // Several times the duration of one embedding; a miss is cheaper than a longer wait.
        /// for a look-up, embedding included; a miss beyond
        pub deadline: Duration = key(
            "deadline",
            duration(Bounds::new(
                "SEMANTIC_DEADLINE",
                Duration::from_millis(1),
                // Beyond ten seconds it would be slower than the provider.
                SECOND.saturating_mul(10),
            )),
        )
        .default(Duration::from_millis(15));
        // Three hundred comparisons after fifteen thousand hits.
        /// share of hits that are sent upstream too, after the client has its response, to compare both
        pub sample: f64 = key(
            "sample",
            fraction(Fraction {
                what: "a share",
                min: 0.0,
                max: 1.0,
                remedy: "use a value such as 0.02: two in a hundred hits",
            }),
        )
        .default(0.02);
        // About a hundred answers of a thousand tokens.
        /// tokens that these may take in an hour
        pub sample_tokens_max: u64 = key("sample_tokens_max", number(SAMPLE_TOKENS)).default(100_000);
        /// compared pairs of questions, as JSON lines for `ringside tune`; holds questions
        pub log: Option<PathBuf> = key("log", path("path", "give the path of a file, or remove the key"))
            .optional("none");
    }
}

/// Default of `wrong_hit_rate_max`.
pub const WRONG_HIT_RATE_MAX: f64 = 0.01;

/// `[cache] scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantScope {
    /// Each virtual key for itself.
    Key,
    /// All keys of a team together; a key without a team for itself.
    Team,
}

impl TenantScope {
    pub(crate) const CHOICES: Choices<Self> = &[("key", Self::Key), ("team", Self::Team)];
}

/// `[cache.semantic] mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemanticMode {
    /// No look-up, no embedding.
    Off,
    /// Looks up, counts and reports in `x-ringside-cache-reason`, serves nothing.
    Observe,
    /// Serves hits.
    Serve,
}

impl SemanticMode {
    pub(crate) const CHOICES: Choices<Self> = &[
        ("off", Self::Off),
        ("observe", Self::Observe),
        ("serve", Self::Serve),
    ];
}

fn check_entry_size(cache: &mut Cache, section: &Section<'_>, _: &Context<'_>) {
    if cache.entry_bytes_max <= cache.memory_bytes_max {
        return;
    }
    let entry = values::show_size(cache.entry_bytes_max);
    let memory = values::show_size(cache.memory_bytes_max);
    let message = format!("one entry may take {entry}, but all together only {memory}");
    let remedy = "set `entry_max` no larger than `memory_max`";
    section.complain("entry_max", Complaint::new(message, remedy));
}

/// A share of hits, at least the rate that the verifier was measured to keep.
fn wrong_hit_rate() -> Notation<f64> {
    written("", |item, context| {
        let (value, least) = (item.fraction()?, context.known.wrong_hit_rate_least);
        if value >= least && value <= 0.5 {
            return Ok(value);
        }
        Err(Complaint::new(
            format!("`{value}` is not a rate of wrong hits from {least} to 0.5"),
            "use a value such as 0.01: one wrong answer in a hundred cached ones at most; the verifier's \
             calibration cannot vouch for less than the lower bound",
        ))
    })
    .bounded(|known| format!("{} to 0.5", known.wrong_hit_rate_least))
    .shown(f64::to_string)
}

/// A cosine similarity. 0 or less would serve unrelated answers, and none is above 1.
fn similarity() -> Notation<f32> {
    let share = positive_share(
        "a cosine similarity",
        "use a value such as 0.95; a higher one serves fewer and surer answers",
    );
    written("above 0 and up to 1", move |item, context| {
        Ok((share.read)(item, context)? as f32)
    })
}
