//! The life of one data-plane thread.

use crate::auth::keys::Peer;
use crate::config::sections::server::Server;
use crate::control::core_message::{CoreMessage, TargetTableCopy};
use crate::gateway::core::{Core, Shared};
use crate::gateway::pipeline::Pipeline;
use crate::http::limits::HeadLimits;
use crate::observability::log_line::LogLine;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::metrics::process::RefusedConnection;
use crate::observability::output;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::core::{DriverChoice, DriverInUse, pin_to_cpu, run};
use crate::runtime::heap::on_heap;
use crate::runtime::io::Socket;
use crate::runtime::mailbox::Receiver;
use crate::runtime::spawn;
use crate::runtime::stream::{HandshakeError, Stream};
use crate::runtime::tls::Session;
use crate::runtime::turn::Turn;
use crate::server::acceptor::{Accepted, CoreLoad};
use crate::server::body_memory::BodyMemoryLimits;
use crate::server::connection;
use crate::server::connection_limits::ConnectionLimits;
use crossbeam_queue::ArrayQueue;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a core is started with.
pub(crate) struct CoreStart {
    /// Its number.
    pub index: usize,
    /// CPU to be pinned to.
    pub cpu: Option<usize>,
    /// Drivers permitted.
    pub driver: DriverChoice,
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// Receives messages.
    pub inbox: Receiver<CoreMessage>,
    /// Access records that wait for the control plane.
    pub records: Arc<ArrayQueue<LogLine>>,
    /// Connections of every core.
    pub loads: Arc<[CoreLoad]>,
    /// Limits of connections.
    pub limits: ConnectionLimits,
    /// Limits of the memory for request bodies.
    pub body_memory: BodyMemoryLimits,
    /// Most bytes of whole responses in memory.
    pub response_bytes_max: usize,
}

/// How often old and closed upstream connections are removed from the pool.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Time for a client's TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long connections may take to end after the drain deadline.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The limits of connections, from the configuration.
#[must_use]
pub(crate) fn connection_limits(server: &Server) -> ConnectionLimits {
    ConnectionLimits {
        head: HeadLimits::default(),
        body_bytes_max: server.body_bytes_max,
        head_timeout: server.head_timeout,
        body_timeout: server.body_timeout,
        idle_timeout: server.idle_timeout,
        write_timeout: server.write_timeout,
    }
}

/// The limits of the memory for request bodies. A body of the largest size always fits.
#[must_use]
pub(crate) fn body_memory_limits(server: &Server) -> BodyMemoryLimits {
    BodyMemoryLimits {
        core_bytes_max: server.bodies_per_core_bytes_max.max(server.body_bytes_max),
        key_bytes_max: server.bodies_per_key_bytes_max.max(server.body_bytes_max),
        keyless_bytes_max: server.bodies_keyless_bytes_max.max(server.body_bytes_max),
    }
}

/// Runs a core on the calling thread to its end. `started` gets the driver in use, or why there is none.
pub(crate) fn run_core(
    start: CoreStart,
    started: std::sync::mpsc::Sender<Result<DriverInUse, String>>,
) {
    if let Some(cpu) = start.cpu {
        // A core that cannot be pinned still serves.
        let _ = pin_to_cpu(cpu);
    }
    let driver = start.driver;
    let failed = started.clone();
    let outcome = run(driver, move |in_use| async move {
        let _ = started.send(Ok(in_use));
        drop(started);
        serve_mailbox(start).await;
    });
    if let Err(error) = outcome {
        let _ = failed.send(Err(error.to_string()));
    }
}

async fn serve_mailbox(start: CoreStart) {
    let CoreStart {
        index,
        shared,
        mut inbox,
        records,
        loads,
        limits,
        body_memory,
        response_bytes_max,
        ..
    } = start;
    let core = Rc::new(Core::new(shared, records, body_memory, response_bytes_max));
    let cores = u32::try_from(loads.len()).unwrap_or(u32::MAX);
    core.target_table.borrow_mut().set_cores(cores);
    let serving = Rc::new(Serving {
        pipeline: Pipeline {
            core: Rc::clone(&core),
        },
        index,
        loads,
        limits,
    });
    let sweeper = Rc::clone(&core);
    spawn::spawn(sweep(sweeper), |_| {});
    let mut turn = Turn::default();
    while let Some(message) = inbox.next().await {
        // A flood of new connections must not keep the core from those that are open.
        turn.record(0);
        turn.next().await;
        match message {
            CoreMessage::Connection(accepted) => accept(&serving, accepted),
            CoreMessage::Metrics(reply) => {
                let _ = reply.send(Box::new(numbers(&core)));
            }
            CoreMessage::Arms(reply) => {
                let _ = reply.send(core.metrics.borrow().arms.clone());
            }
            CoreMessage::TargetTable(reply) => {
                let table = Box::new(core.target_table.borrow().clone());
                let now_us = core.now_us();
                let _ = reply.send(TargetTableCopy { table, now_us });
            }
            CoreMessage::Health(reply) => {
                // A core that serves nothing does not read the clock.
                let _ = clock::now();
                let health = core.target_table.borrow().observations(core.now_us());
                let _ = reply.send(health);
            }
            CoreMessage::ResetTargets { slots, done } => {
                let mut target_table = core.target_table.borrow_mut();
                slots.iter().for_each(|slot| target_table.reset(*slot));
                drop(target_table);
                let _ = done.send(());
            }
            CoreMessage::Drain { by, ended } => {
                drain(&core, by).await;
                let _ = ended.send(());
                return;
            }
        }
    }
}

struct Serving {
    pipeline: Pipeline,
    index: usize,
    loads: Arc<[CoreLoad]>,
    limits: ConnectionLimits,
}

/// Reduces the core's load when the connection ends, also by a panic.
struct OpenConnection(Rc<Serving>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(load) = self.0.loads.get(self.0.index) {
            load.closed();
        }
    }
}

fn accept(serving: &Rc<Serving>, accepted: Accepted) {
    let open = OpenConnection(Rc::clone(serving));
    let core = &serving.pipeline.core;
    let peer = match &accepted {
        Accepted::Tcp(_, peer) if !peer.ip().to_canonical().is_loopback() => Peer::Remote,
        Accepted::Tcp(..) => Peer::Local,
        Accepted::Unix(_) => Peer::UnixSocket,
    };
    {
        let mut metrics = core.metrics.borrow_mut();
        metrics.process.connections_accepted.increment();
        let open = core.connections() as u64 + 1;
        metrics.process.connections_open_high_water.raise_to(open);
    }
    let on_panic = Rc::clone(core);
    let serve = async move {
        let serving = &open.0;
        let socket = match accepted {
            Accepted::Tcp(stream, _) => Socket::from_tcp(stream),
            Accepted::Unix(stream) => Socket::from_unix(stream),
        };
        let Ok(socket) = socket else {
            return refuse(serving, RefusedConnection::Socket);
        };
        let connection = serving.pipeline.core.drain.enter();
        // Read for each connection: a reload may have brought another certificate.
        let tls = serving.pipeline.core.snapshot().server_tls.clone();
        let stream = match &tls {
            None => Stream::plain(socket),
            Some(settings) => {
                let by = clock::now() + HANDSHAKE_WITHIN;
                let handshake = match Session::server(settings) {
                    // On the heap: its state is larger than that of the connection it begins.
                    Ok(session) => on_heap(|| Stream::handshake(socket, session, by)).await,
                    Err(error) => Err(HandshakeError::Socket(error)),
                };
                let Ok(stream) = handshake else {
                    return refuse(serving, RefusedConnection::TlsHandshake);
                };
                stream
            }
        };
        connection::run(stream, connection, peer, &serving.limits, &serving.pipeline).await;
    };
    spawn::spawn(serve, move |message| {
        on_panic.metrics.borrow_mut().process.panics.increment();
        output::notice(&format!(
            "ringside: a connection ended by a panic: {message}"
        ));
    });
}

fn refuse(serving: &Serving, reason: RefusedConnection) {
    let mut metrics = serving.pipeline.core.metrics.borrow_mut();
    metrics.process.connections_refused.increment(reason);
}

/// Closes idle upstream connections that are too old or closed by the peer, and frees unused buffers.
async fn sweep(core: Rc<Core>) {
    loop {
        clock::sleep_until(clock::now() + SWEEP_EVERY).await;
        core.pool.borrow_mut().sweep(clock::now());
        buffer::trim();
    }
}

fn numbers(core: &Core) -> CoreMetrics {
    let mut metrics = core.metrics.borrow().clone();
    let process = &mut metrics.process;
    process.connections_open.set(core.connections() as u64);
    process
        .request_body_bytes
        .set(core.body_memory.held_bytes() as u64);
    process
        .response_body_bytes
        .set(core.response_memory.held_bytes() as u64);
    for (limit, count) in core.body_memory.refused() {
        process.request_bodies_refused.add(limit, count);
    }
    let (pooled, high_water) = buffer::pooled_bytes();
    process.buffer_pool_bytes.set(pooled as u64);
    process.buffer_pool_bytes_high_water.set(high_water as u64);
    let idle = core.pool.borrow().len() as u64;
    metrics.upstream.idle_connections.set(idle);
    core.record_targets(&mut metrics);
    metrics
}

/// Lets connections finish until `by`, then ends those that remain.
async fn drain(core: &Core, by: Instant) {
    core.drain.begin();
    core.pool.borrow_mut().clear();
    wait_for_none(core, by).await;
    if core.drain.connections() > 0 {
        core.drain.expire();
        wait_for_none(core, clock::now() + LAST_WORDS).await;
    }
}

async fn wait_for_none(core: &Core, by: Instant) {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    while core.drain.connections() > 0 && clock::now() < by {
        clock::sleep_until((clock::now() + LOOK_EVERY).min(by)).await;
    }
}
