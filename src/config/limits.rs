//! Bounds: the smallest and the largest value of a setting, with a name that error messages give.
//!
//! A bound of one key stands in the declaration of that key; here are those that several keys or other folders use.
//! It must not know any key.

use std::time::Duration;

/// Smallest and largest value allowed, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds<T> {
    pub name: &'static str,
    pub min: T,
    pub max: T,
}

impl<T> Bounds<T> {
    /// Bounds that error messages call `name`.
    pub(crate) const fn new(name: &'static str, min: T, max: T) -> Self {
        Self { name, min, max }
    }
}

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
pub(crate) const GIB: usize = 1024 * MIB;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const MONTH: Duration = HOUR.saturating_mul(24 * 30);

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
/// US dollars per million tokens; a thousand times today's dearest.
pub(crate) const PRICE_DOLLARS_MAX: u64 = 1_000_000;
/// Digits of a price behind the point: nano-dollars per million tokens.
pub(crate) const PRICE_DECIMALS: usize = 9;

/// API keys of one provider; each has a cooldown state on each core.
pub(crate) const API_KEYS: Bounds<usize> = Bounds::new("API_KEYS", 0, 64);
/// Targets of one model; each may cost one attempt.
pub(crate) const TARGETS: Bounds<usize> = Bounds::new("TARGETS", 1, 32);
/// Targets that an arm or a rule names.
pub(crate) const ARM_TARGETS: Bounds<usize> = Bounds::new("ARM_TARGETS", 1, 32);
/// Names or conditions in one list. An empty list would allow nothing.
pub(crate) const TAGS: Bounds<usize> = Bounds::new("TAGS", 1, 32);
/// Tokens of a context window or a prompt.
pub(crate) const CONTEXT_TOKENS: Bounds<u64> = Bounds::new("CONTEXT_TOKENS", 1, 1_000_000_000);
/// Every time limit on a socket. Zero would close each connection at once, and a limit above an hour is no limit.
pub(crate) const TIMEOUT: Bounds<Duration> = Bounds::new("TIMEOUT", Duration::from_millis(1), HOUR);
/// In-flight requests of a target; a target with none would serve nobody.
pub(crate) const CONCURRENCY: Bounds<u32> = Bounds::new("CONCURRENCY", 1, 1_000_000);
/// Time to live of a class of answers; zero = not stored.
pub(crate) const FRESHNESS_TTL: Bounds<Duration> =
    Bounds::new("FRESHNESS_TTL", Duration::ZERO, MONTH);
/// Tokens in an hour that comparisons may take; zero = no comparisons.
pub(crate) const SAMPLE_TOKENS: Bounds<u64> = Bounds::new("SAMPLE_TOKENS", 0, 1_000_000_000);
