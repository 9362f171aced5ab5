//! What the user wrote: the keys of every section, turned into the model.
//!
//! It must not know how TOML is read (`reader.rs`). The three lists, which refer to each other, are
//! in `lists.rs`.

use crate::config::defaults;
use crate::config::limits;
use crate::config::sections::lists;
use crate::config::sections::prices;
use crate::config::values;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::load::KnownNames;
use crate::config::model::cache::{Cache, Freshness, Semantic, SemanticMode, TenantScope};
use crate::config::model::config::{
    Admin, Config, Drain, Driver, Embedding, Listen, Log, Server, ServerTls,
};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section};
use crate::config::references::{Pem, References};
use crate::config::sections::mirror::Comparable;

/// The whole file. What was wrong is in the report, and then the result means nothing.
pub(crate) fn read(
    mut root: Section<'_>,
    known: &KnownNames<'_>,
    references: &References<'_>,
) -> Config {
    let server = server(root.section("server"), references);
    let admin = admin(root.section("admin"), &server.listen);
    let (providers, names) = lists::providers(&mut root, known, references);
    let comparable = Comparable {
        providers: &providers,
        known,
    };
    let models = lists::models(&mut root, comparable, &names);
    let keys = lists::keys(&mut root, &models, &names, references);
    let prices = prices::prices(&mut root, Some(&names));
    let price_file = prices::price_file(&mut root, references);
    let config = Config {
        server,
        admin,
        providers,
        models: models.into_iter().filter_map(|entry| entry.model).collect(),
        keys,
        prices,
        price_file,
        cache: cache(root.section("cache"), known),
        embedding: embedding(root.section("embedding")),
        log: log(root.section("log")),
    };
    root.finish();
    config
}

fn server(mut section: Section<'_>, references: &References<'_>) -> Server {
    use limits::TIMEOUT;
    let server = Server {
        listen: listen(&mut section),
        cores: section.number("cores", defaults::CORES, &limits::CORES),
        driver: section.choice(
            "driver",
            defaults::DRIVER,
            &[
                ("auto", Driver::Auto),
                ("io_uring", Driver::IoUring),
                ("epoll", Driver::Epoll),
            ],
        ),
        body_bytes_max: section.size("body_max", defaults::BODY_BYTES_MAX, &limits::BODY_BYTES),
        connections_per_core_max: section.number(
            "connections_per_core_max",
            defaults::CONNECTIONS_PER_CORE_MAX,
            &limits::CONNECTIONS_PER_CORE,
        ),
        head_timeout: section.duration("head_timeout", defaults::HEAD_TIMEOUT, &TIMEOUT),
        body_timeout: section.duration("body_timeout", defaults::BODY_TIMEOUT, &TIMEOUT),
        idle_timeout: section.duration("idle_timeout", defaults::IDLE_TIMEOUT, &TIMEOUT),
        write_timeout: section.duration("write_timeout", defaults::WRITE_TIMEOUT, &TIMEOUT),
        drain: drain(section.section("drain")),
        tls: tls(section.section("tls"), references),
    };
    section.finish();
    server
}

/// One address or a list of them, none beside another that takes the same port.
fn listen(section: &mut Section<'_>) -> Vec<Listen> {
    let mut taken: Vec<Listen> = Vec::new();
    let mut convert = |item: &Item<'_>| {
        let address = values::listen(item.text()?)?;
        if taken.iter().any(|other| clash(other, &address)) {
            return Err(Complaint::new(
                "this address is already in the list",
                "remove one of the two, or give them different ports",
            ));
        }
        taken.push(address.clone());
        Ok(address)
    };
    let written = match section.item("listen") {
        None => None,
        Some(item) if item.is_list() => {
            section.list("listen", &limits::LISTEN_ADDRESSES, &mut convert)
        }
        Some(_) => section
            .read("listen", &mut convert)
            .map(|address| vec![address]),
    };
    written.unwrap_or_else(|| vec![Listen::Tcp(defaults::LISTEN)])
}

fn clash(a: &Listen, b: &Listen) -> bool {
    match (a, b) {
        (Listen::Tcp(a), Listen::Tcp(b)) => values::overlap(a, b),
        (a, b) => a == b,
    }
}

fn drain(mut section: Section<'_>) -> Drain {
    let drain = Drain {
        delay: section.duration("delay", defaults::DRAIN_DELAY, &limits::DRAIN_DELAY),
        deadline: section.duration(
            "deadline",
            defaults::DRAIN_DEADLINE,
            &limits::DRAIN_DEADLINE,
        ),
    };
    section.finish();
    drain
}

/// `None` = plaintext; a section without both files is a problem.
fn tls(mut section: Section<'_>, references: &References<'_>) -> Option<ServerTls> {
    if !section.is_present() {
        return None;
    }
    let cert_pem = section.require(
        "cert",
        "add the certificate chain, e.g. `cert = \"file:server.crt\"`",
        |item| references.pem(item.text()?, Pem::Certificate),
    );
    let key_pem = section.require(
        "key",
        "add the private key, e.g. `key = \"file:server.key\"`",
        |item| references.pem(item.text()?, Pem::PrivateKey),
    );
    section.finish();
    Some(ServerTls {
        cert_pem: cert_pem?,
        key_pem: key_pem?,
    })
}

fn admin(mut section: Section<'_>, taken: &[Listen]) -> Admin {
    let written = section.read("listen", |item| values::socket_address(item.text()?));
    let listen = written.unwrap_or(defaults::ADMIN_LISTEN);
    let clashes = |other: &Listen| clash(other, &Listen::Tcp(listen));
    if taken.iter().any(clashes) {
        section.complain("listen", same_as_server(listen));
    }
    section.finish();
    Admin { listen }
}

fn same_as_server(listen: SocketAddr) -> Complaint {
    Complaint::new(
        format!("`{listen}` is also an address of `server.listen`"),
        "set `[admin] listen` to an address with a port of its own",
    )
}

fn cache(mut section: Section<'_>, known: &KnownNames<'_>) -> Cache {
    let cache = Cache {
        enabled: section.flag("enabled", defaults::CACHE_ENABLED),
        ttl: section.duration("ttl", defaults::CACHE_TTL, &limits::CACHE_TTL),
        memory_bytes_max: section.size(
            "memory_max",
            defaults::CACHE_MEMORY_BYTES_MAX,
            &limits::CACHE_MEMORY_BYTES,
        ),
        entry_bytes_max: section.size(
            "entry_max",
            defaults::CACHE_ENTRY_BYTES_MAX,
            &limits::CACHE_ENTRY_BYTES,
        ),
        key_share_max: section
            .read("key_share_max", |item| share(item.fraction()?))
            .unwrap_or(defaults::CACHE_KEY_SHARE_MAX),
        scope: section.choice(
            "scope",
            defaults::CACHE_SCOPE,
            &[("key", TenantScope::Key), ("team", TenantScope::Team)],
        ),
        coalesce: section.flag("coalesce", defaults::CACHE_COALESCE),
        epoch: section.read("epoch", |item| Ok(values::name(item.text()?)?.to_owned())),
        freshness: freshness(section.section("freshness")),
        dir: section.read("dir", |item| {
            path(item, "give the folder, or remove the key")
        }),
        disk_bytes_max: section.size(
            "disk_max",
            defaults::CACHE_DISK_BYTES_MAX,
            &limits::CACHE_PATH_BYTES,
        ),
        semantic: semantic(section.section("semantic"), known),
    };
    if cache.entry_bytes_max > cache.memory_bytes_max {
        let entry = values::show_size(cache.entry_bytes_max);
        let memory = values::show_size(cache.memory_bytes_max);
        section.complain(
            "entry_max",
            Complaint::new(
                format!("one entry may take {entry}, but all together only {memory}"),
                "set `entry_max` no larger than `memory_max`",
            ),
        );
    }
    section.finish();
    cache
}

fn freshness(mut section: Section<'_>) -> Freshness {
    let mut ttl = |key, default| section.duration(key, default, &limits::FRESHNESS_TTL);
    let slow_ttl = ttl("slow_ttl", defaults::SLOW_TTL);
    let live_ttl = ttl("live_ttl", defaults::LIVE_TTL);
    let personal_ttl = ttl("personal_ttl", defaults::PERSONAL_TTL);
    let freshness = Freshness {
        enabled: section.flag("enabled", defaults::FRESHNESS_ENABLED),
        slow_ttl,
        slow_semantic: section.flag("slow_semantic", defaults::SLOW_SEMANTIC),
        live_ttl,
        personal_ttl,
    };
    section.finish();
    freshness
}

fn semantic(mut section: Section<'_>, known: &KnownNames<'_>) -> Semantic {
    let semantic = Semantic {
        mode: section.choice(
            "mode",
            defaults::SEMANTIC_MODE,
            &[
                ("off", SemanticMode::Off),
                ("observe", SemanticMode::Observe),
                ("serve", SemanticMode::Serve),
            ],
        ),
        wrong_hit_rate_max: section
            .read("wrong_hit_rate_max", |item| {
                rate(item.fraction()?, known.wrong_hit_rate_least)
            })
            .unwrap_or(defaults::WRONG_HIT_RATE_MAX),
        similarity_min: section.read("similarity_min", |item| similarity(item.fraction()?)),
        deadline: section.duration(
            "deadline",
            defaults::SEMANTIC_DEADLINE,
            &limits::SEMANTIC_DEADLINE,
        ),
        sample: section
            .read("sample", |item| sample(item.fraction()?))
            .unwrap_or(defaults::SAMPLE),
        sample_tokens_max: section.number(
            "sample_tokens_max",
            defaults::SAMPLE_TOKENS_MAX,
            &limits::SAMPLE_TOKENS,
        ),
        log: section.read("log", |item| {
            path(item, "give the path of a file, or remove the key")
        }),
    };
    section.finish();
    semantic
}

/// A share of the memory; 1 is no cap.
fn share(value: f64) -> Result<f64, Complaint> {
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err(Complaint::new(
        format!("`{value}` is not a share above 0 and up to 1"),
        "use a value such as 0.5; 1 lets one key fill the whole cache",
    ))
}

/// A share of hits, not below what the verifier was shown to keep.
fn rate(value: f64, least: f64) -> Result<f64, Complaint> {
    if value >= least && value <= 0.5 {
        return Ok(value);
    }
    Err(Complaint::new(
        format!("`{value}` is not a rate of wrong hits from {least} to 0.5"),
        "use a value such as 0.01: one wrong answer in a hundred cached ones at most; the verifier's \
         calibration cannot vouch for less than the lower bound",
    ))
}

/// A share of hits.
fn sample(value: f64) -> Result<f64, Complaint> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Complaint::new(
        format!("`{value}` is not a share from 0 to 1"),
        "use a value such as 0.02: two in a hundred hits",
    ))
}

/// A path that is not empty.
fn path(item: &Item<'_>, remedy: &str) -> Result<PathBuf, Complaint> {
    match item.text()? {
        "" => Err(Complaint::new("an empty path", remedy)),
        path => Ok(PathBuf::from(path)),
    }
}

/// A cosine similarity; 0 or less would serve unrelated answers, above 1 there is none.
fn similarity(value: f64) -> Result<f32, Complaint> {
    let narrow = value as f32;
    if narrow > 0.0 && value <= 1.0 {
        return Ok(narrow);
    }
    Err(Complaint::new(
        format!("`{value}` is not a cosine similarity above 0 and up to 1"),
        "use a value such as 0.95; a higher one serves fewer and surer answers",
    ))
}

fn embedding(mut section: Section<'_>) -> Embedding {
    let model_dir = section.read("model_dir", |item| {
        path(item, "give the folder of the model, or remove the key")
    });
    let embedding = Embedding {
        model_dir: model_dir.unwrap_or_else(|| PathBuf::from(defaults::MODEL_DIR)),
        threads: section.number(
            "threads",
            defaults::EMBEDDING_THREADS,
            &limits::EMBEDDING_THREADS,
        ),
        queue_max: section.number(
            "queue_max",
            defaults::EMBEDDING_QUEUE_MAX,
            &limits::EMBEDDING_QUEUE,
        ),
    };
    section.finish();
    embedding
}

fn log(mut section: Section<'_>) -> Log {
    let requests = section.flag("requests", defaults::LOG_REQUESTS);
    section.finish();
    Log { requests }
}
