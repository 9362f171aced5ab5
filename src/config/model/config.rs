//! What is true: the validated configuration, with every default filled in and every secret read.
//!
//! It must not know how the file was written; `file.rs` turns what the user wrote into this.

use crate::base::key_priority::KeyPriority;
use crate::config::model::auth::Auth;
use crate::config::model::cache::Cache;
use crate::config::provider_family::Kind;
use crate::config::sections::admission::Admission;
use crate::config::sections::experiment::Experiment;
use crate::config::sections::mirror::Mirror;
use crate::config::sections::prices::{Price, PriceFile};
use crate::config::sections::rules::Rule;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Data-plane listeners, threads and limits.
    pub server: Server,
    /// Address of the admin listener.
    pub admin: Admin,
    /// Upstream providers, in the order of the file.
    pub providers: Vec<Provider>,
    /// Models that applications may ask for, in the order of the file.
    pub models: Vec<Model>,
    /// Virtual keys; empty means that only loopback and Unix-socket peers are served.
    pub keys: Vec<Key>,
    /// Prices that take precedence over the table's.
    pub prices: Vec<Price>,
    /// The price table; `None` = the one that is shipped.
    pub price_file: Option<PriceFile>,
    /// Response cache.
    pub cache: Cache,
    /// Embedding workshop (local model).
    pub embedding: Embedding,
    /// Access log.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Addresses the data plane listens on; at least one.
    pub listen: Vec<Listen>,
    /// Data-plane threads; 0 = chosen from the machine.
    pub cores: usize,
    /// Which I/O driver to use.
    pub driver: Driver,
    /// Largest request body accepted, in bytes (413 beyond).
    pub body_bytes_max: usize,
    /// Open client connections allowed per core (the connection is closed beyond).
    pub connections_per_core_max: usize,
    /// Time allowed for a request head to arrive once its first byte came (408 beyond).
    pub head_timeout: Duration,
    /// Time allowed for a request body to arrive (408 beyond).
    pub body_timeout: Duration,
    /// How long a keep-alive connection may be idle before it is closed.
    pub idle_timeout: Duration,
    /// How long a write to a client may stall before the connection is closed.
    pub write_timeout: Duration,
    /// Graceful stop.
    pub drain: Drain,
    /// Server certificate; `None` = plaintext.
    pub tls: Option<ServerTls>,
}

/// One listen address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// `host:port`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

/// `[server] driver`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the kernel permits it, else epoll.
    Auto,
    /// io_uring or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `[server.drain]`
#[derive(Debug, Clone)]
pub struct Drain {
    /// How long readiness answers 503 before the listeners close.
    pub delay: Duration,
    /// How long busy connections may go on after the listeners closed.
    pub deadline: Duration,
}

/// `[server.tls]`, read: PEM texts.
#[derive(Clone)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub cert_pem: Vec<u8>,
    /// Private key, PEM.
    pub key_pem: Vec<u8>,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address of the admin listener.
    pub listen: SocketAddr,
}

/// `[[providers]]`
#[derive(Debug, Clone)]
pub struct Provider {
    /// Name used in targets, headers and metrics.
    pub name: String,
    /// What the table of compatible providers says of it.
    pub kind: Option<&'static Kind>,
    /// Wire dialect; a name from `crate::providers`' list.
    pub dialect: String,
    /// Base URL, parsed.
    pub base_url: BaseUrl,
    /// Version of the API that paths name; `None` = the dialect's way without one.
    pub api_version: Option<String>,
    /// API keys, rotated.
    pub api_keys: Vec<Secret>,
    /// Credentials of another kind; `None` = the API keys.
    pub auth: Option<Auth>,
    /// PEM bundle of additional trusted roots; `None` = system roots.
    pub ca_pem: Option<Vec<u8>>,
    /// Time allowed to connect.
    pub connect_timeout: Duration,
    /// Time allowed for the TLS handshake.
    pub tls_timeout: Duration,
    /// Time allowed from the request sent to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Time allowed between two reads of an answer.
    pub read_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept per core.
    pub idle_connections_max: usize,
    /// Fields that its dialect has no place for are dropped, not refused.
    pub drops_untranslatable: bool,
    /// It takes requests in Responses as they are; `None` = if it is OpenAI's own API.
    pub responses: Option<bool>,
    /// Region tag.
    pub region: Option<String>,
    /// What it promises about data; keys demand it.
    pub tags: Vec<String>,
    /// Whose prices it charges; `None` = known by its host, or unknown.
    pub price_family: Option<String>,
}

/// Scheme, authority and path prefix of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// True for `https`.
    pub tls: bool,
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path prefix without a trailing slash, e.g. `/v1`; may be empty.
    pub path: String,
    /// Value of the `Host` header.
    pub authority: String,
}

/// A secret value, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls(…)")
    }
}

/// `[[models]]`
#[derive(Debug, Clone)]
pub struct Model {
    /// What applications ask for.
    pub name: String,
    /// Routing policy; a name from `crate::routing`'s list.
    pub policy: String,
    /// Targets in the order of the file; at least one.
    pub targets: Vec<Target>,
    /// What is done about slow and failing targets.
    pub failover: Failover,
    /// Arms that share its requests.
    pub experiment: Option<Experiment>,
    /// Another target that a share of its requests is sent to as well.
    pub mirror: Option<Mirror>,
    /// Which requests go where.
    pub rules: Vec<Rule>,
}

/// The keys of `[[models]]` about slow and failing targets.
#[derive(Debug, Clone)]
pub struct Failover {
    /// Time from a request's arrival until its answer is there or its stream has begun.
    pub deadline: Duration,
    /// Times that targets which all failed are asked again, after a pause.
    pub retries: u32,
    /// How long the first bytes of a stream are held, so that a failure can be hidden; zero = not.
    pub first_chunk_hold: Duration,
    /// How long past its time a cached answer is served when every target failed; zero = not.
    pub stale_if_error: Duration,
    /// Models to ask instead when a request is refused for its content.
    pub fallback: Fallback,
    /// Second requests for those that are late.
    pub hedge: Hedge,
    /// What is done when targets are as busy as they may be.
    pub admission: Admission,
}

/// `[models.hedge]`
#[derive(Debug, Clone, Copy)]
pub struct Hedge {
    /// False sends each request to one target at a time.
    pub enabled: bool,
    /// Quantile of a target's latency after which a request is late.
    pub quantile: f64,
    /// Tokens that second requests may cost, as a share of those bought.
    pub extra_tokens_share_max: f64,
}

/// `[models.fallback]`: names of models.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// When the request is longer than the context window.
    pub context_length: Option<String>,
    /// When the provider's content policy forbids it.
    pub content_policy: Option<String>,
}

/// One entry of `targets`.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the target is served.
    pub place: TargetLocation,
    /// Model name sent upstream.
    pub model: String,
    /// Relative share (used by weighted policies), 1 by default.
    pub weight: u32,
    /// Lower is tried first; 1 by default.
    pub priority: u32,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a target can do; `None` = not said, so allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Abilities {
    /// Tokens of prompt and answer together.
    pub context: Option<u64>,
    /// It takes tools.
    pub tools: Option<bool>,
    /// It takes images.
    pub vision: Option<bool>,
    /// It answers by a JSON schema.
    pub schema: Option<bool>,
    /// It streams.
    pub streaming: Option<bool>,
}

/// Where a target is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetLocation {
    /// By the provider with this index in `Config::providers`.
    Provider(usize),
    /// By the embedding model in this process (`provider = "local"`).
    Local,
}

impl Config {
    /// `provider/model` of a target, as in headers and metrics.
    #[must_use]
    pub fn label_of(&self, target: &Target) -> String {
        let provider = match target.place {
            TargetLocation::Local => "local",
            TargetLocation::Provider(at) => {
                self.providers.get(at).map_or("", |one| one.name.as_str())
            }
        };
        format!("{provider}/{}", target.model)
    }
}

/// `[[keys]]`
#[derive(Debug, Clone)]
pub struct Key {
    /// Name used in logs and metrics; unique.
    pub name: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// Team, a tag in logs; `None` when absent.
    pub team: Option<String>,
    /// Names of models this key may use; `None` = all.
    pub models: Option<Vec<String>>,
    /// Regions its requests may go to; empty = all.
    pub regions: Vec<String>,
    /// Tags that a provider of its requests must have.
    pub tags: Vec<String>,
    /// Whose requests go first when targets are as busy as they may be.
    pub priority: KeyPriority,
    /// Providers all of whose API it may reach; empty = none.
    pub providers: Vec<String>,
}

/// `[embedding]`
#[derive(Debug, Clone)]
pub struct Embedding {
    /// Folder with `model.onnx`, `tokenizer.json` and `model.json`.
    pub model_dir: PathBuf,
    /// Worker threads, each with its own session.
    pub threads: usize,
    /// Jobs that may wait.
    pub queue_max: usize,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// Whether one JSON line per request is written to standard output.
    pub requests: bool,
}
