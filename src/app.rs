//! Assembles the process and starts its parts, in an order that admits the first request as early as possible. Only
//! `main` and the commands use it.

use crate::admin::{routes, server};
use crate::cache::disk::folder::Folder;
use crate::cache::key::HashSecret;
use crate::cache::persistence::start::start as start_persistence;
use crate::cache::persistence::tiers::CacheTiers;
use crate::cache::semantic::tier::SemanticTier;
use crate::cache::store::Store;
use crate::config::root::Config;
use crate::config::sections::server::Driver;
use crate::control::canary_monitor;
use crate::control::core_message::CoreMessage;
use crate::control::core_thread::{CoreStart, body_memory_limits, connection_limits, run_core};
use crate::control::credentials;
use crate::control::disk_monitor;
use crate::control::dns;
use crate::control::log;
use crate::control::plane::{CoreHandle, Plane};
use crate::control::records::{begin_observations, write_records};
use crate::control::reload::Reload;
use crate::control::reload_on_signal::reload_on;
use crate::control::shared_health;
use crate::control::shutdown::drain;
use crate::control::signals::{Signals, StopKind};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::settings::Settings;
use crate::gateway::core::{RECORDS_MAX, Shared};
use crate::gateway::snapshot::registry::Registry;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::observability::output;
use crate::observability::rateable_requests::RateableRequests;
use crate::runtime::clock;
use crate::runtime::core::{DriverChoice, DriverInUse};
use crate::runtime::mailbox::mailbox;
use crate::server::acceptor::{Acceptor, CoreLoad};
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// Options of `ringside serve`.
pub struct Options {
    /// The validated configuration.
    pub config: Config,
    /// File of the configuration, for reloads; `None` for the built-in one.
    pub path: Option<PathBuf>,
}

/// Data-plane threads on a machine with `cpus` CPUs: half of them, so that the embedding pool
/// and the service beside which Ringside runs have theirs.
fn default_cores(cpus: usize) -> usize {
    (cpus / 2).clamp(1, 16)
}

/// How often access records are written out.
const RECORDS_EVERY: Duration = Duration::from_millis(50);
/// How often expired cache entries are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How long resolving names may delay the start.
const FIRST_RESOLVE_WITHIN: Duration = Duration::from_millis(500);
/// How long fetching tokens may delay the start.
const FIRST_TOKENS_WITHIN: Duration = Duration::from_secs(2);

/// How long the end of the process waits until the log is written.
const LOG_WITHIN: Duration = Duration::from_millis(500);

/// The process before it serves: signals are noticed from here on.
pub struct Startup {
    runtime: tokio::runtime::Runtime,
    signals: Signals,
}

impl Startup {
    /// Installs the handlers of signals. What arrives before [`Startup::serve`] waits for it.
    ///
    /// # Errors
    /// The kernel refuses what the control plane needs.
    pub fn begin() -> Result<Self, String> {
        let failed =
            |error: std::io::Error| format!("the control plane could not be started: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let signals = {
            let _entered = runtime.enter();
            Signals::install().map_err(failed)?
        };
        Ok(Self { runtime, signals })
    }

    /// Does `work`, which may be slow, on a thread of its own; `None` if a signal asks for a stop first.
    ///
    /// # Errors
    /// The thread could not be started, or panicked.
    pub fn unless_stopped<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, String> {
        let (done, result) = tokio::sync::oneshot::channel();
        let begun = std::thread::Builder::new().spawn(move || done.send(work()));
        begun.map_err(|error| format!("no thread could be started: {error}"))?;
        let stop = &mut self.signals.stop;
        self.runtime.block_on(async move {
            tokio::select! {
                result = result => result.map(Some).map_err(|_| "the start panicked".into()),
                _ = stop.next() => Ok(None),
            }
        })
    }

    /// Runs the gateway until a signal stops it.
    ///
    /// # Errors
    /// Says why it cannot run and what to do.
    pub fn serve(self, options: Options) -> Result<(), String> {
        raise_open_files_limit();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || control_thread(self, options))
            .map_err(|error| format!("the control thread could not be started: {error}"))?;
        let outcome = thread
            .join()
            .unwrap_or_else(|_| Err("the control thread ended by a panic".into()));
        output::flush(LOG_WITHIN);
        outcome
    }
}

/// What is made before the control plane runs. It reads files, and may be slow.
struct Prepared {
    shared: Arc<Shared>,
    reload: Reload,
    acceptors: Vec<Acceptor>,
    admin_listener: std::net::TcpListener,
}

fn prepare(options: Options) -> Result<Prepared, String> {
    let Options { config, path } = options;
    let acceptors: Vec<Acceptor> = config
        .server
        .listen
        .iter()
        .map(Acceptor::bind)
        .collect::<Result<_, _>>()?;
    let admin_listener = std::net::TcpListener::bind(config.admin.listen).map_err(|error| {
        format!(
            "cannot listen on {} for the admin API: {error}; set another address in admin.listen",
            config.admin.listen
        )
    })?;
    let mut registry = Registry::default();
    let snapshot = Snapshot::new(config, &mut registry)?;
    Ok(Prepared {
        shared: share(snapshot)?,
        reload: Reload::new(path, registry),
        acceptors,
        admin_listener,
    })
}

/// Raises the soft limit of open files to the hard one: the usual soft limit of 1,024 is less than the
/// connections a core may have. Where that is refused, the limit stays as it is.
fn raise_open_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn share(snapshot: Snapshot) -> Result<Arc<Shared>, String> {
    crate::cache::freshness::classify::prepare();
    let config = &snapshot.config;
    let folder = match config.cache.dir.as_ref().filter(|_| config.cache.enabled) {
        Some(path) => Some(Folder::open(path)?),
        None => None,
    };
    let store = Arc::new(Store::new(
        config.cache.memory_bytes_max as u64,
        config.cache.key_share_max,
    ));
    let pending_removals = Arc::default();
    let is_semantic = config.cache.is_semantic();
    let embedding_pool = config.uses_embedding().then(|| {
        EmbeddingPool::start(Settings {
            model_dir: config.embedding.model_dir.clone(),
            threads: config.embedding.threads,
            queue_max: config.embedding.queue_max,
            runtime_library: None,
        })
    });
    let semantic = embedding_pool
        .clone()
        .filter(|_| is_semantic)
        .map(|embedding_pool| {
            Arc::new(SemanticTier::new(
                embedding_pool,
                Arc::clone(&store),
                Arc::clone(&pending_removals),
            ))
        });
    let secret = match folder {
        None => HashSecret::draw()?,
        Some(folder) => {
            let tiers = CacheTiers {
                store: Arc::clone(&store),
                semantic: semantic.clone(),
                pending_removals: Arc::clone(&pending_removals),
            };
            let bytes_max = config.cache.disk_bytes_max as u64;
            start_persistence(folder, bytes_max, tiers)?
                .secret()
                .clone()
        }
    };
    Ok(Arc::new(Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        store,
        shared_calls: Arc::default(),
        semantic,
        embedding_pool,
        pending_removals,
        secret,
        shared_health: Arc::default(),
        ratings: RateableRequests::default(),
        started_at: clock::since_epoch().as_secs(),
    }))
}

fn control_thread(startup: Startup, options: Options) -> Result<(), String> {
    let Startup {
        runtime,
        mut signals,
    } = startup;
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, async move {
        let prepared = tokio::select! {
            prepared = tokio::task::spawn_blocking(move || prepare(options)) => prepared,
            _ = signals.stop.next() => return Ok(None),
        };
        let prepared = prepared.map_err(|error| format!("the start failed: {error}"))??;
        let embedding_pool = prepared.shared.embedding_pool.clone();
        run_prepared(prepared, signals)
            .await
            .map(|()| embedding_pool)
    });
    // A look-up, or a file system, that hangs holds its thread; nobody waits for it.
    drop(local);
    runtime.shutdown_background();
    if let Some(embedding_pool) = outcome? {
        embedding_pool.close();
    }
    Ok(())
}

async fn run_prepared(prepared: Prepared, mut signals: Signals) -> Result<(), String> {
    let Prepared {
        shared,
        reload,
        acceptors,
        admin_listener,
    } = prepared;
    let mut schedule = credentials::Schedule::default();
    let first_look_ups = async {
        let hosts = reload.hosts();
        if !hosts.is_empty() {
            let _ = tokio::time::timeout(FIRST_RESOLVE_WITHIN, dns::resolve(&hosts)).await;
        }
        let first = schedule.run(reload.credentials());
        let _ = tokio::time::timeout(FIRST_TOKENS_WITHIN, first).await;
    };
    tokio::select! {
        () = first_look_ups => {}
        _ = signals.stop.next() => return Ok(()),
    }
    let addresses: Vec<String> = acceptors
        .iter()
        .map(|acceptor| acceptor.address.clone())
        .collect();
    let (cores, loads) = start_cores(&shared)?;
    let acceptors = start_acceptors(acceptors, &cores, &loads, &shared)?;
    let plane = Arc::new(Plane {
        shared,
        cores,
        acceptors,
        addresses,
        reload: parking_lot::Mutex::new(reload),
        draining: false.into(),
        observations_turn: Arc::default(),
    });
    run_plane(plane, admin_listener, signals, schedule).await
}

fn start_cores(shared: &Arc<Shared>) -> Result<(Vec<CoreHandle>, Arc<[CoreLoad]>), String> {
    let snapshot = shared.snapshot.load();
    let server = &snapshot.config.server;
    let cpus = allowed_cpus();
    let wanted = match server.cores {
        0 => default_cores(cpus.len()),
        cores => cores,
    };
    let driver = match server.driver {
        Driver::Auto => DriverChoice::Auto,
        Driver::IoUring => DriverChoice::RingOnly,
        Driver::Epoll => DriverChoice::Epoll,
    };
    let loads: Arc<[CoreLoad]> = (0..wanted).map(|_| CoreLoad::default()).collect();
    let mut cores = Vec::with_capacity(wanted);
    for index in 0..wanted {
        let (mailbox, inbox) = mailbox();
        let records = Arc::new(ArrayQueue::new(RECORDS_MAX));
        let start = CoreStart {
            index,
            // More cores than CPUs: leave the placing to the kernel.
            cpu: cpus.get(index).copied().filter(|_| wanted <= cpus.len()),
            driver,
            shared: Arc::clone(shared),
            inbox,
            records: Arc::clone(&records),
            loads: Arc::clone(&loads),
            limits: connection_limits(server),
            body_memory: body_memory_limits(server),
            response_bytes_max: server.responses_per_core_bytes_max,
        };
        let (started, outcome) = mpsc::channel();
        std::thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(move || run_core(start, started))
            .map_err(|error| format!("a core thread could not be started: {error}"))?;
        let in_use: DriverInUse = outcome
            .recv()
            .map_err(|_| "a core thread ended while starting".to_owned())??;
        cores.push(CoreHandle {
            mailbox,
            records,
            driver: in_use.as_str(),
        });
    }
    Ok((cores, loads))
}

fn start_acceptors(
    acceptors: Vec<Acceptor>,
    cores: &[CoreHandle],
    loads: &Arc<[CoreLoad]>,
    shared: &Shared,
) -> Result<Vec<crate::server::acceptor::AcceptorHandle>, String> {
    let snapshot = shared.snapshot.load();
    let per_core = snapshot.config.server.connections_per_core_max;
    let per_core = u32::try_from(per_core).unwrap_or(u32::MAX);
    acceptors
        .into_iter()
        .map(|acceptor| {
            let mailboxes: Vec<_> = cores.iter().map(|core| core.mailbox.clone()).collect();
            acceptor
                .start(Arc::clone(loads), per_core, move |core, accepted| {
                    let message = CoreMessage::Connection(accepted);
                    mailboxes
                        .get(core)
                        .is_some_and(|mailbox| mailbox.send(message))
                })
                .map_err(|error| format!("an acceptor thread could not be started: {error}"))
        })
        .collect()
}

/// CPUs this process may run on; from `/proc`, in ascending order.
fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    if cpus.is_empty() {
        cpus.push(0);
    }
    cpus
}

async fn run_plane(
    plane: Arc<Plane>,
    admin_listener: std::net::TcpListener,
    signals: Signals,
    schedule: credentials::Schedule,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the control plane could not be started: {error}");
    admin_listener.set_nonblocking(true).map_err(failed)?;
    let admin_address = admin_listener.local_addr().map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(admin_listener).map_err(failed)?;
    let Signals { mut stop, hang_up } = signals;
    tokio::task::spawn_local(server::serve(Arc::clone(&plane), routes::ROUTES, listener));
    tokio::task::spawn_local(dns::keep_resolving(Arc::clone(&plane)));
    tokio::task::spawn_local(credentials::keep_renewing(Arc::clone(&plane), schedule));
    tokio::task::spawn_local(disk_monitor::watch(Arc::clone(&plane)));
    tokio::task::spawn_local(reload_on(hang_up, Arc::clone(&plane)));
    tokio::task::spawn_local(do_what_is_due(Arc::clone(&plane)));
    announce(&plane, admin_address);
    let kind = stop.next().await;
    let limits = plane.shared.snapshot.load().config.server.drain.clone();
    let announce_for = match kind {
        StopKind::Announced => limits.delay,
        StopKind::Unannounced => Duration::ZERO,
    };
    tokio::select! {
        () = drain(&plane, announce_for, limits.deadline) => {}
        // A second signal stops at once.
        _ = stop.next() => {}
    }
    Ok(())
}

/// Does what is due at regular intervals, for ever.
async fn do_what_is_due(plane: Arc<Plane>) {
    let mut records = tokio::time::interval(RECORDS_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut share = tokio::time::interval(shared_health::EVERY);
    let mut canaries = tokio::time::interval(canary_monitor::EVERY);
    let monitor = canary_monitor::CanaryMonitor::default();
    loop {
        tokio::select! {
            _ = records.tick() => {
                write_records(&plane);
                begin_observations(&plane);
            }
            _ = sweep.tick() => sweep_cache(&plane),
            _ = share.tick() => {
                tokio::task::spawn_local(shared_health::share(Arc::clone(&plane)));
            }
            _ = canaries.tick() => {
                let judging = canary_monitor::judge_all(Arc::clone(&plane), monitor.clone());
                tokio::task::spawn_local(judging);
            }
        }
    }
}

fn sweep_cache(plane: &Plane) {
    let now = clock::now();
    match &plane.shared.semantic {
        Some(semantic) => semantic.sweep(now),
        None => plane.shared.store.sweep(now),
    }
}

fn announce(plane: &Plane, admin: std::net::SocketAddr) {
    let snapshot = plane.shared.snapshot.load();
    let driver = plane.cores.first().map_or("", |core| core.driver);
    let config = &snapshot.config;
    log::event(
        "started",
        &serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "listen": plane.addresses,
            "admin": admin.to_string(),
            "driver": driver,
            "cores": plane.cores.len(),
            "models": snapshot.model_names,
            "keys": config.keys.len(),
            "semantic_cache": format!("{:?}", config.cache.semantic.mode).to_lowercase(),
        }),
    );
    output::notice(&format!(
        "ringside {} on {} (admin http://{admin}), driver {driver}, {} core(s)",
        env!("CARGO_PKG_VERSION"),
        plane.addresses.join(", "),
        plane.cores.len(),
    ));
    if config.keys.is_empty() {
        output::notice("ringside: no keys configured: only callers on this machine are served");
    }
}
