//! The value of every setting that the user did not write, with its reason.
//!
//! It must not know bounds (`limits.rs`). `docs/ringside.example.toml` states each value here, and
//! `example_tests.rs` fails when the two differ.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::base::key_priority::KeyPriority;
use crate::config::model::cache::{SemanticMode, TenantScope};
use crate::config::model::config::Driver;
use crate::config::sections::experiment::Subject;

/// Loopback: without keys the gateway is open, so nothing else may reach it unasked.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Loopback: the admin side has no credentials of its own.
pub(crate) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// 0 = chosen from the machine.
pub(crate) const CORES: usize = 0;
/// Containers often forbid io_uring, so the gateway finds out by itself.
pub(crate) const DRIVER: Driver = Driver::Auto;
/// 20 MiB: a prompt with a few images in base64.
pub(crate) const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Keeps the file descriptors of one core below usual process limits.
pub(crate) const CONNECTIONS_PER_CORE_MAX: usize = 8192;
/// A head is one or two packets; ten seconds allow for lost ones and end slow-loris clients.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// `BODY_BYTES_MAX` at about 3 Mbit/s.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Above the 60 s of common load balancers, so that they close first and never meet a dead socket.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A client that takes nothing for this long has gone.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a load balancer to ask for readiness and to act on the answer.
pub(crate) const DRAIN_DELAY: Duration = Duration::from_secs(5);
/// Kubernetes' default grace period.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// What most providers and local servers speak.
pub(crate) const DIALECT: &str = "openai";
/// Never silently: what a provider has no place for is refused by name.
pub(crate) const DROPS_UNSUPPORTED_FIELDS: bool = false;
/// By the host: OpenAI's own API answers Responses, few of those like it do.
pub(crate) const RESPONSES: Option<bool> = None;
/// A lost SYN is sent again after 1 s, then after 3 s: one loss is forgiven, not two.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Two round trips and a signature; three seconds cover one lost packet.
pub(crate) const TLS_TIMEOUT: Duration = Duration::from_secs(3);
/// Without streaming the whole answer is generated before its first byte.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(120);
/// A started answer that is silent for a minute has stalled.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Below the keep-alive of common providers and proxies, so that a connection is seldom closed under
/// a request.
pub(crate) const PROVIDER_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Enough for the bursts one core can serve.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 256;

/// The order of the file, which is what a reader of the file expects.
pub(crate) const POLICY: &str = "priority";
/// Equal shares.
pub(crate) const WEIGHT: u32 = 1;
/// All targets alike; 0 stays free for one to be tried before them.
pub(crate) const PRIORITY: u32 = 1;
/// Ten minutes: how long OpenAI's SDKs wait by default.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// A request that all targets failed may have been paid for already: the user turns this on.
pub(crate) const RETRIES: u32 = 0;
/// Holding a stream back delays its first token: the user turns this on.
pub(crate) const FIRST_CHUNK_HOLD: Duration = Duration::ZERO;
/// An answer past its time may be wrong by now: the user turns this on.
pub(crate) const STALE_IF_ERROR: Duration = Duration::ZERO;
/// A second request is paid for: the user turns this on.
pub(crate) const HEDGE_ENABLED: bool = false;
/// The slowest one in twenty: beyond it a second request is mostly answered first.
pub(crate) const HEDGE_QUANTILE: f64 = 0.95;
/// Two tokens more in a hundred.
pub(crate) const HEDGE_EXTRA_TOKENS_SHARE_MAX: f64 = 0.02;
/// As the policy `sticky` has it.
pub(crate) const EXPERIMENT_SUBJECT: Subject = Subject::SessionOrKey;
/// An answer from another arm is better than none.
pub(crate) const EXPERIMENT_FAILS_OVER: bool = true;
/// An arm is compared by answers of its own.
pub(crate) const EXPERIMENT_SHARES_CACHE: bool = false;
/// Equal shares.
pub(crate) const ARM_WEIGHT: u32 = 1;
/// Rolling back is for what is new.
pub(crate) const ARM_CANARY: bool = false;
/// One in a hundred requests.
pub(crate) const MIRROR_SHARE: f64 = 0.01;
/// About a hundred answers of a thousand tokens.
pub(crate) const MIRROR_TOKENS_MAX: u64 = 100_000;
/// A hosted provider takes more than is ever sent to it, and limits by tokens: the user turns this on.
pub(crate) const ADMISSION_ENABLED: bool = false;
/// One keeps measuring.
pub(crate) const CONCURRENCY_MIN: u32 = 1;
/// More than one target of most users will take; what it takes is found below.
pub(crate) const CONCURRENCY_MAX: u32 = 1024;
/// Several times what is under way at most targets; a longer line only turns refusals into late ones.
pub(crate) const ADMISSION_QUEUE_MAX: usize = 256;
/// What a person waits for a first word before asking again.
pub(crate) const ADMISSION_QUEUE_DEADLINE: Duration = Duration::from_secs(10);
/// Keys are alike unless the user says so.
pub(crate) const KEY_PRIORITY: KeyPriority = KeyPriority::Normal;
/// Name of the embedding model in this process, as on Hugging Face.
pub(crate) const LOCAL_MODEL: &str = "all-MiniLM-L6-v2";

/// The exact tier serves only identical requests, so it is on.
pub(crate) const CACHE_ENABLED: bool = true;
/// Long enough to help, short enough that an answer of yesterday is never served.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(3600);
/// 256 MiB: about a hundred thousand answers of 2.5 KiB.
pub(crate) const CACHE_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// 256 KiB: above the longest text answers, below images.
pub(crate) const CACHE_ENTRY_BYTES_MAX: usize = 256 * 1024;
/// One busy key leaves half of a full cache to the others.
pub(crate) const CACHE_KEY_SHARE_MAX: f64 = 0.5;
/// Four times the memory: texts are stored once more for each time they were replaced.
pub(crate) const CACHE_DISK_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// No key ever sees what another asked, unless the user says so.
pub(crate) const CACHE_SCOPE: TenantScope = TenantScope::Key;
/// The answer would be served to the later request from the exact tier a moment after.
pub(crate) const CACHE_COALESCE: bool = true;
/// Old news is a wrong answer.
pub(crate) const FRESHNESS_ENABLED: bool = true;
/// An office or a price seldom changes within an hour.
pub(crate) const SLOW_TTL: Duration = Duration::from_secs(3600);
/// Other words for "who is" may mean another time: word for word the asker knows what was asked.
pub(crate) const SLOW_SEMANTIC: bool = false;
/// Repeats of one click and of a burst of users are answered, the next look at the weather is not.
pub(crate) const LIVE_TTL: Duration = Duration::from_secs(30);
/// The next asker behind the same key may be another person.
pub(crate) const PERSONAL_TTL: Duration = Duration::ZERO;
/// A similar question may have another answer: the user turns this on.
pub(crate) const SEMANTIC_MODE: SemanticMode = SemanticMode::Off;
/// One wrong answer in a hundred cached ones, at most.
pub(crate) const WRONG_HIT_RATE_MAX: f64 = 0.01;
/// Several times what one embedding takes; a miss is cheaper than a longer wait.
pub(crate) const SEMANTIC_DEADLINE: Duration = Duration::from_millis(15);

/// Two in a hundred hits: three hundred labels after fifteen thousand hits.
pub(crate) const SAMPLE: f64 = 0.02;
/// About a hundred answers of a thousand tokens.
pub(crate) const SAMPLE_TOKENS_MAX: u64 = 100_000;

/// Where the repository keeps the model, seen from its root.
pub const MODEL_DIR: &str = "models/all-minilm-l6-v2";
/// The gateway runs beside a service that needs the other cores.
pub(crate) const EMBEDDING_THREADS: usize = 1;
/// More could not be served within the deadline anyway.
pub(crate) const EMBEDDING_QUEUE_MAX: usize = 64;

/// One line per request is what one looks for first.
pub(crate) const LOG_REQUESTS: bool = true;

/// Service name of Bedrock's runtime in AWS signatures.
pub(crate) const AWS_SERVICE: &str = "bedrock";
/// Scope of Vertex AI (cloud.google.com, "OAuth 2.0 Scopes for Google APIs").
pub(crate) const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Microsoft's public cloud.
pub(crate) const ENTRA_AUTHORITY: &str = "https://login.microsoftonline.com";
/// Scope of Azure OpenAI (learn.microsoft.com, "How to configure Azure OpenAI with Microsoft Entra ID").
pub(crate) const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
