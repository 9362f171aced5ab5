//! Running a plan against one target: workers, each a core of its own with its connections.

use super::client::{Connection, Response};
use super::measure::{Recording, as_micros};
use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::turns::{Due, Part, Queue, keep_time};
use parking_lot::Mutex;
use ringside::runtime::clock;
use ringside::runtime::core::{DriverChoice, pin_to_cpu, run as run_core};
use ringside::runtime::mailbox::{Receiver, mailbox};
use ringside::runtime::spawn;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// For the workers to start before the first request is due.
const START: Duration = Duration::from_millis(30);
/// How long what was due but found no connection free may still be sent after the end.
const BACKLOG_MAX: Duration = Duration::from_secs(10);
/// Pause after a connection could not be made, so that a dead target is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What all workers of a run share.
pub(super) struct Run {
    pub plan: Arc<Plan>,
    target: usize,
    salt: u64,
    turn: AtomicU64,
    pub began_at: Instant,
    counts_from: Instant,
    ends_at: Instant,
    pub running: AtomicUsize,
    pub recordings: Vec<Mutex<Recording>>,
}

/// Measures one target of `plan` once.
///
/// # Errors
/// No worker could be started.
pub(super) fn run(
    plan: &Arc<Plan>,
    target: usize,
    round: usize,
    progress: &Progress,
) -> Result<Report, String> {
    let cpu_before = own_cpu();
    let began_at = clock::now() + START;
    let counts_from = began_at + plan.warm_up;
    let stages = plan.pace.as_ref().map_or(0, |pace| pace.stages());
    let shared = Arc::new(Run {
        target,
        salt: plan.salt(target, round),
        turn: AtomicU64::new(0),
        began_at,
        counts_from,
        ends_at: counts_from + plan.duration,
        running: AtomicUsize::new(plan.workers),
        recordings: (0..plan.workers)
            .map(|_| Mutex::new(Recording::new(stages)))
            .collect(),
        plan: Arc::clone(plan),
    });
    let mut workers = Vec::new();
    for worker in 0..plan.workers {
        let shared = Arc::clone(&shared);
        let named = thread::Builder::new().name(format!("load-{worker}"));
        let started = named.spawn(move || {
            let outcome = run_worker(&shared, worker);
            shared.running.fetch_sub(1, Ordering::Release);
            outcome
        });
        workers.push(started.map_err(|error| error.to_string())?);
    }
    progress.watch(&shared);
    for worker in workers {
        let outcome = worker.join().map_err(|_| "a worker panicked")?;
        outcome?;
    }
    let mut recording = Recording::new(stages);
    for part in &shared.recordings {
        recording.merge(part.lock().clone());
    }
    let elapsed = match plan.requests {
        Some(_) => recording.last_at,
        None => plan.duration,
    };
    Ok(Report {
        target: plan
            .targets
            .get(target)
            .map_or_else(String::new, |t| t.name.clone()),
        url: plan
            .targets
            .get(target)
            .map_or_else(String::new, |t| t.url.clone()),
        recording,
        elapsed,
        cpu: own_cpu().saturating_sub(cpu_before),
        plan: Arc::clone(plan),
    })
}

fn run_worker(shared: &Arc<Run>, worker: usize) -> Result<(), String> {
    let plan = &shared.plan;
    if let Some(cpu) = plan.cpus.get(worker % plan.cpus.len().max(1)) {
        pin_to_cpu(*cpu).map_err(|error| format!("cpu {cpu}: {error}"))?;
    }
    let mut inbox = None;
    let mut keeper = None;
    if let Some(pace) = &plan.pace {
        let (sender, receiver) = mailbox();
        let part = Part {
            pace: pace.clone(),
            workers: plan.workers as u64,
            worker: worker as u64,
            began_at: shared.began_at,
            warm_up: plan.warm_up,
            duration: plan.duration,
            requests: plan.requests,
        };
        let named = thread::Builder::new().name(format!("time-{worker}"));
        let started = named.spawn(move || keep_time(&part, &sender));
        keeper = Some(started.map_err(|error| error.to_string())?);
        inbox = Some(receiver);
    }
    let own = Rc::new(Worker {
        shared: Arc::clone(shared),
        number: worker,
        queue: Queue::default(),
        running: Cell::new(share_of(plan.connections, plan.workers, worker)),
    });
    run_core(DriverChoice::Auto, |_| drive(own, inbox)).map_err(|error| error.to_string())?;
    if let Some(keeper) = keeper {
        keeper.join().map_err(|_| "the time keeper panicked")?;
    }
    Ok(())
}

/// What part of `whole` falls to one of `workers`.
fn share_of(whole: usize, workers: usize, worker: usize) -> usize {
    whole / workers + usize::from(worker < whole % workers)
}

/// One worker's part of a run.
struct Worker {
    shared: Arc<Run>,
    number: usize,
    queue: Queue,
    running: Cell<usize>,
}

async fn drive(worker: Rc<Worker>, inbox: Option<Receiver<Due>>) {
    let shared = Arc::clone(&worker.shared);
    let idle = share_of(
        shared.plan.idle_connections,
        shared.plan.workers,
        worker.number,
    );
    for _ in 0..idle {
        let mine = Rc::clone(&worker);
        spawn::spawn(async move { mine.hold_idle().await }, |_| {});
    }
    let is_open = inbox.is_some();
    if let Some(inbox) = inbox {
        let mine = Rc::clone(&worker);
        spawn::spawn(async move { mine.queue.fill(inbox).await }, |_| {});
    } else {
        clock::sleep_until(shared.began_at).await;
    }
    for _ in 0..worker.running.get() {
        let (mine, on_panic) = (Rc::clone(&worker), Rc::clone(&worker));
        let task = async move {
            if is_open {
                mine.send_when_due().await;
            } else {
                mine.send_at_once().await;
            }
            mine.running.set(mine.running.get() - 1);
        };
        spawn::spawn(task, move |message| {
            on_panic.note_error(&format!("panic: {message}"), clock::now());
            on_panic.running.set(on_panic.running.get() - 1);
        });
    }
    while worker.running.get() > 0 {
        clock::sleep_until(clock::now() + Duration::from_millis(10)).await;
        if clock::now() > shared.ends_at + BACKLOG_MAX {
            for (_, at) in worker.queue.abandon() {
                worker.note_error("not sent: no connection was free", at);
            }
        }
    }
}

impl Worker {
    fn connection(&self) -> Option<Connection<'_>> {
        let plan = &self.shared.plan;
        let target = plan.targets.get(self.shared.target)?;
        Some(Connection::new(target, plan.timeout, plan.check))
    }

    /// A connection that is only held, until the run ends.
    async fn hold_idle(&self) {
        let Some(mut connection) = self.connection() else {
            return;
        };
        if let Err(kind) = connection.open().await {
            self.note_error(&format!("idle {kind}"), clock::now());
        }
        clock::sleep_until(self.shared.ends_at).await;
    }

    async fn send_when_due(&self) {
        let Some(mut connection) = self.connection() else {
            return;
        };
        while let Some((turn, due_at)) = self.queue.next().await {
            self.send(&mut connection, turn, due_at).await;
        }
    }

    async fn send_at_once(&self) {
        let Some(mut connection) = self.connection() else {
            return;
        };
        let plan = &self.shared.plan;
        loop {
            let now = clock::now();
            let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
            if now >= self.shared.ends_at || plan.requests.is_some_and(|most| turn >= most) {
                return;
            }
            self.send(&mut connection, turn, now).await;
            let pause = plan.think_time.draw(plan.seed, turn);
            if !pause.is_zero() {
                clock::sleep_until(clock::now() + pause).await;
            }
        }
    }

    /// Sends one request, whose latency counts from `from`.
    async fn send(&self, connection: &mut Connection<'_>, turn: u64, from: Instant) {
        let shared = &self.shared;
        let Some(target) = shared.plan.targets.get(shared.target) else {
            return;
        };
        let made = shared.plan.request(target, shared.salt, turn);
        match connection.call(made).await {
            Ok(answer) => self.note(&answer, from),
            Err(kind) => {
                self.note_error(&kind, from);
                if kind.starts_with("connect") {
                    clock::sleep_until(clock::now() + CONNECT_PAUSE).await;
                }
            }
        }
    }

    fn recording(&self) -> Option<parking_lot::MutexGuard<'_, Recording>> {
        Some(self.shared.recordings.get(self.number)?.lock())
    }

    /// The part of a ramp that a moment belongs to.
    fn stage(&self, at: Instant, stages: usize) -> Option<usize> {
        let elapsed = at.checked_duration_since(self.shared.counts_from)?;
        let length = self.shared.plan.duration.as_nanos().max(1);
        let stage = usize::try_from(elapsed.as_nanos() * stages as u128 / length).ok()?;
        (stage < stages).then_some(stage)
    }

    fn note(&self, answer: &Response, from: Instant) {
        let now = clock::now();
        let shared = &self.shared;
        let Some(mut recording) = self.recording() else {
            return;
        };
        let recording = &mut *recording;
        let stages = recording.stages.len();
        if let Some(done) = now.checked_duration_since(shared.counts_from) {
            // Also what was sent in the warm-up: throughput is what comes in a time.
            if now < shared.ends_at || shared.plan.requests.is_some() {
                recording.in_window += 1;
            }
            let slot = recording.series.slot(done);
            slot.answers += 1;
            if let Some(cache) = &answer.cache {
                *slot.cache.entry(cache.clone()).or_default() += 1;
            }
            if let Some(stage) = self.stage(now, stages) {
                recording.stages[stage].completed += 1;
            }
        }
        let Some(began) = from.checked_duration_since(shared.counts_from) else {
            return;
        };
        let since = |at: Instant| as_micros(at.saturating_duration_since(from));
        let latency = since(now);
        recording.answers += 1;
        recording.last_at = recording.last_at.max(began + (now - from));
        recording.events += answer.events;
        recording.reworded += u64::from(answer.reworded);
        recording.latency_us.saturating_record(latency);
        recording.series.slot(began).time(latency);
        if let Some(stage) = self.stage(from, stages) {
            recording.stages[stage]
                .latency_us
                .saturating_record(latency);
        }
        if let Some(sent) = answer.sent_at {
            recording.send_delay_us.saturating_record(since(sent));
        }
        if let Some(first) = answer.first_token_at {
            recording.first_token_us.saturating_record(since(first));
        }
        for gap in &answer.gaps {
            recording.gap_us.saturating_record(as_micros(*gap));
        }
        if let Some(pace) = tokens_per_second(&answer.gaps) {
            recording.tokens_per_s.saturating_record(pace);
        }
        if let Some(overhead) = answer.overhead_us {
            recording.overhead_us.saturating_record(overhead);
        }
        if let Some(cache) = &answer.cache {
            *recording.cache.entry(cache.clone()).or_default() += 1;
        }
    }

    fn note_error(&self, kind: &str, from: Instant) {
        let now = clock::now();
        let Some(mut recording) = self.recording() else {
            return;
        };
        let recording = &mut *recording;
        let Some(began) = from.checked_duration_since(self.shared.counts_from) else {
            return;
        };
        *recording.errors.entry(kind.to_owned()).or_default() += 1;
        let took = now.saturating_duration_since(from);
        recording.last_at = recording.last_at.max(began + took);
        recording.series.slot(began + took).errors += 1;
        if let Some(stage) = self.stage(from, recording.stages.len()) {
            recording.stages[stage].errors += 1;
        }
    }
}

/// Tokens per second from the first to the last; `None` when they came together, within a millisecond.
fn tokens_per_second(gaps: &[Duration]) -> Option<u64> {
    let seconds = gaps.iter().sum::<Duration>().as_secs_f64();
    (seconds >= 0.001).then(|| (gaps.len() as f64 / seconds).round().max(1.0) as u64)
}

/// CPU time of this process, in clock ticks of 10 ms (`USER_HZ` is 100 on Linux).
fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out() {
        let shares: Vec<usize> = (0..3).map(|worker| share_of(8, 3, worker)).collect();
        assert_eq!(shares, [3, 3, 2]);
        assert_eq!(
            tokens_per_second(&[Duration::from_millis(100); 5]),
            Some(10)
        );
        assert_eq!(tokens_per_second(&[]), None);
        assert_eq!(tokens_per_second(&[Duration::from_micros(9); 5]), None);
    }
}
