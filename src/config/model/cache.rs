//! The cache's part of the configuration model.
//!
//! It must not know how the file was written.

use std::path::PathBuf;
use std::time::Duration;

/// `[cache]`
#[derive(Debug, Clone)]
pub struct Cache {
    /// False turns both tiers off.
    pub enabled: bool,
    /// Absolute time to live of an entry, never extended by a hit.
    pub ttl: Duration,
    /// Bytes all entries may take.
    pub memory_bytes_max: usize,
    /// Largest answer stored, in bytes.
    pub entry_bytes_max: usize,
    /// Share of the memory that one principal (key, or team by `scope`) keeps when others want room.
    pub key_share_max: f64,
    /// Who shares entries.
    pub scope: TenantScope,
    /// Identical requests in flight share one upstream call.
    pub coalesce: bool,
    /// Part of every scope: another value makes all entries unreachable at once.
    pub epoch: Option<String>,
    /// Times to live by how long an answer lasts.
    pub freshness: Freshness,
    /// Folder in which entries survive a restart; `None` = in memory only.
    pub dir: Option<PathBuf>,
    /// Bytes that the folder may take.
    pub disk_bytes_max: usize,
    /// Semantic tier.
    pub semantic: Semantic,
}

/// `[cache.freshness]`; static answers have the cache's time to live.
#[derive(Debug, Clone)]
pub struct Freshness {
    /// False treats every question as static.
    pub enabled: bool,
    /// Longest time to live of answers that change in months.
    pub slow_ttl: Duration,
    /// Whether those are served by meaning too.
    pub slow_semantic: bool,
    /// Longest time to live of answers that change in minutes; zero = not stored.
    pub live_ttl: Duration,
    /// Longest time to live of answers to personal questions and to requests to act; zero = not stored.
    pub personal_ttl: Duration,
}

/// `[cache] scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantScope {
    /// Each virtual key for itself (default).
    Key,
    /// All keys of a team together; a key without a team for itself.
    Team,
}

/// `[cache.semantic]`
#[derive(Debug, Clone)]
pub struct Semantic {
    /// Whether the tier looks up and serves.
    pub mode: SemanticMode,
    /// Most hits that may be wrong, as a share of all hits, by the upper bound of the estimate.
    pub wrong_hit_rate_max: f64,
    /// Smallest cosine similarity served, instead of the learned score; hard rules still refuse.
    pub similarity_min: Option<f32>,
    /// Time allowed for a look-up, embedding included; a miss beyond.
    pub deadline: Duration,
    /// Share of hits that are asked upstream too, to compare the answers.
    pub sample: f64,
    /// Tokens that those may take in an hour.
    pub sample_tokens_max: u64,
    /// Where compared pairs of questions are logged; `None` = not.
    pub log: Option<PathBuf>,
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
