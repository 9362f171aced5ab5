//! The named bounds of every setting; a value outside is a configuration error that gives the name.
//!
//! It must not know defaults (`defaults.rs`) nor how settings are spelled (`file.rs`, `lists.rs`).

use std::time::Duration;

/// Smallest and largest value allowed, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds<T> {
    /// Name of the constant, as error messages give it.
    pub name: &'static str,
    /// Smallest value allowed.
    pub min: T,
    /// Largest value allowed.
    pub max: T,
}

const fn bounds<T: Copy>(name: &'static str, min: T, max: T) -> Bounds<T> {
    Bounds { name, min, max }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Largest configuration file, in bytes; protects against `--config /dev/zero`.
pub(crate) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest file read through a `file:` reference, in bytes; a full system trust bundle is 250 KiB.
pub(crate) const REFERENCE_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest provider, model, key, team or region name, in bytes; each becomes a metric label.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Longest secret, in bytes; it must fit a request head together with everything else.
pub(crate) const SECRET_BYTES_MAX: usize = 4096;
/// Longest path of a Unix socket, in bytes: `sun_path` less its final zero, unix(7).
pub(crate) const UNIX_PATH_BYTES_MAX: usize = 107;
/// Longest host name, in bytes: RFC 1035 section 2.3.4, in its textual form.
pub(crate) const HOST_BYTES_MAX: usize = 253;
/// Longest base URL, in bytes; its path is repeated in each request line.
pub(crate) const BASE_URL_BYTES_MAX: usize = 2048;

/// Addresses of the data plane; each has its own acceptor thread.
pub(crate) const LISTEN_ADDRESSES: Bounds<usize> = bounds("LISTEN_ADDRESSES", 1, 16);
/// Providers; each has its own connection pool on each core.
pub(crate) const PROVIDERS: Bounds<usize> = bounds("PROVIDERS", 0, 256);
/// API keys of one provider.
pub(crate) const API_KEYS: Bounds<usize> = bounds("API_KEYS", 0, 64);
/// Models.
pub(crate) const MODELS: Bounds<usize> = bounds("MODELS", 1, 1024);
/// Targets of one model; each may cost one attempt.
pub(crate) const TARGETS: Bounds<usize> = bounds("TARGETS", 1, 32);
/// Virtual keys; each is a scope of the cache and a metric label.
pub(crate) const KEYS: Bounds<usize> = bounds("KEYS", 0, 10_000);
/// Regions or tags in one list. None would be a list that says nothing.
pub(crate) const TAGS: Bounds<usize> = bounds("TAGS", 1, 32);
/// Tokens of a context window.
pub(crate) const CONTEXT_TOKENS: Bounds<u64> = bounds("CONTEXT_TOKENS", 1, 1_000_000_000);
/// Models listed for one virtual key. None would be a key that may do nothing.
pub(crate) const KEY_MODELS: Bounds<usize> = bounds("KEY_MODELS", 1, 1024);
/// Providers listed for one virtual key.
pub(crate) const KEY_PROVIDERS: Bounds<usize> = bounds("KEY_PROVIDERS", 0, 256);

/// Entries of `[[prices]]`, here and in a price file.
pub(crate) const PRICES: Bounds<usize> = bounds("PRICES", 0, 10_000);
/// Prices by size of one model.
pub(crate) const PRICE_TIERS: Bounds<usize> = bounds("PRICE_TIERS", 1, 8);
/// Prompt tokens from which other prices hold.
pub(crate) const PRICE_TIER_TOKENS: Bounds<u64> = bounds("PRICE_TIER_TOKENS", 1, 1_000_000_000);
/// US dollars per million tokens; a thousand times today's dearest.
pub(crate) const PRICE_DOLLARS_MAX: u64 = 1_000_000;
/// Digits of a price behind the point: nano-dollars per million tokens.
pub(crate) const PRICE_DECIMALS: usize = 9;

/// Data-plane threads; 0 = chosen from the machine.
pub(crate) const CORES: Bounds<usize> = bounds("CORES", 0, 1024);
/// Request body, in bytes; the body is held in memory as a whole.
pub(crate) const BODY_BYTES: Bounds<usize> = bounds("BODY_BYTES", KIB, GIB);
/// Open client connections of one core.
pub(crate) const CONNECTIONS_PER_CORE: Bounds<usize> = bounds("CONNECTIONS_PER_CORE", 1, 1_000_000);
/// Every time limit on a socket. Zero would close each connection at once, and a limit above an
/// hour is no limit.
pub(crate) const TIMEOUT: Bounds<Duration> = bounds("TIMEOUT", Duration::from_millis(1), HOUR);
/// `[server.drain] delay`; zero closes the listeners at once.
pub(crate) const DRAIN_DELAY: Bounds<Duration> =
    bounds("DRAIN_DELAY", Duration::ZERO, MINUTE.saturating_mul(10));
/// `[server.drain] deadline`; zero cuts busy connections at once.
pub(crate) const DRAIN_DEADLINE: Bounds<Duration> = bounds("DRAIN_DEADLINE", Duration::ZERO, HOUR);

/// Unused connections to one provider kept by one core; 0 = none is reused.
pub(crate) const IDLE_CONNECTIONS: Bounds<usize> = bounds("IDLE_CONNECTIONS", 0, 65_536);
/// Relative share of a target.
pub(crate) const WEIGHT: Bounds<u32> = bounds("WEIGHT", 1, 1_000_000);
/// Priority of a target.
pub(crate) const PRIORITY: Bounds<u32> = bounds("PRIORITY", 0, 1000);

/// Rules of one model.
pub(crate) const RULES: Bounds<usize> = bounds("RULES", 1, 32);
/// Arms of one experiment; each has metrics of its own.
pub(crate) const ARMS: Bounds<usize> = bounds("ARMS", 2, 8);
/// Names of targets of one arm.
pub(crate) const ARM_TARGETS: Bounds<usize> = bounds("ARM_TARGETS", 1, 32);
/// Relative share of an arm; 0 takes nobody.
pub(crate) const ARM_WEIGHT: Bounds<u32> = bounds("ARM_WEIGHT", 0, 1_000_000);

/// Times that targets which all failed are asked again.
pub(crate) const RETRIES: Bounds<u32> = bounds("RETRIES", 0, 10);
/// How long a stream's first bytes are held; longer would be no stream.
pub(crate) const FIRST_CHUNK_HOLD: Bounds<Duration> = bounds(
    "FIRST_CHUNK_HOLD",
    Duration::ZERO,
    SECOND.saturating_mul(30),
);
/// Requests under way at a target; none would be a target that serves nobody.
pub(crate) const CONCURRENCY: Bounds<u32> = bounds("CONCURRENCY", 1, 1_000_000);
/// Requests that may wait for a place at a target, per core and model.
pub(crate) const ADMISSION_QUEUE: Bounds<usize> = bounds("ADMISSION_QUEUE", 0, 65_536);
/// How long past its time an answer is served when all else is down; the longest is 30 days.
pub(crate) const STALE_IF_ERROR: Bounds<Duration> = bounds(
    "STALE_IF_ERROR",
    Duration::ZERO,
    HOUR.saturating_mul(24 * 30),
);

/// Time to live of a cached answer; the longest is 30 days.
pub(crate) const CACHE_TTL: Bounds<Duration> = bounds(
    "CACHE_TTL",
    Duration::from_millis(1),
    HOUR.saturating_mul(24 * 30),
);
/// Time to live of a class of answers; zero = not stored.
pub(crate) const FRESHNESS_TTL: Bounds<Duration> = bounds(
    "FRESHNESS_TTL",
    Duration::ZERO,
    HOUR.saturating_mul(24 * 30),
);
/// Bytes of all cached answers.
pub(crate) const CACHE_MEMORY_BYTES: Bounds<usize> =
    bounds("CACHE_MEMORY_BYTES", 64 * KIB, 1024 * GIB);
/// Bytes of one cached answer.
pub(crate) const CACHE_ENTRY_BYTES: Bounds<usize> = bounds("CACHE_ENTRY_BYTES", KIB, 64 * MIB);
/// Bytes of the cache's folder; it is divided into eight segments.
pub(crate) const CACHE_PATH_BYTES: Bounds<usize> = bounds("CACHE_PATH_BYTES", MIB, 1024 * GIB);
/// Time for one semantic look-up; beyond ten seconds it would be slower than the provider.
pub(crate) const SEMANTIC_DEADLINE: Bounds<Duration> = bounds(
    "SEMANTIC_DEADLINE",
    Duration::from_millis(1),
    SECOND.saturating_mul(10),
);
/// Tokens in an hour that samples may take; zero = no samples.
pub(crate) const SAMPLE_TOKENS: Bounds<u64> = bounds("SAMPLE_TOKENS", 0, 1_000_000_000);
/// Threads of the embedding workshop; each has its own copy of the model in memory.
pub(crate) const EMBEDDING_THREADS: Bounds<usize> = bounds("EMBEDDING_THREADS", 1, 64);
/// Embedding jobs that may wait; a longer queue only turns misses into late misses.
pub(crate) const EMBEDDING_QUEUE: Bounds<usize> = bounds("EMBEDDING_QUEUE", 1, 65_536);
