//! Running a plan on one core.

use super::client::{Answer, Connection};
use super::plan::Plan;
use super::report::Report;
use ringside::runtime::core::{DriverChoice, run as run_core};
use ringside::runtime::{clock, spawn};
use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// State shared by the connections.
struct Run {
    plan: Plan,
    report: RefCell<Report>,
    turn: Cell<u64>,
    began_at: Instant,
    counts_from: Instant,
    ends_at: Instant,
    running: Cell<usize>,
}

/// Runs `plan` and reports.
///
/// # Errors
/// No driver could be started.
pub fn run(plan: Plan) -> Result<Report, String> {
    let outcome = Rc::new(Cell::new(None));
    let result = Rc::clone(&outcome);
    run_core(DriverChoice::Auto, move |_| async move {
        result.set(Some(drive(plan).await));
    })
    .map_err(|error| error.to_string())?;
    let report = outcome.take().ok_or("the run ended early")?;
    Ok(report)
}

async fn drive(plan: Plan) -> Report {
    let cpu_before = own_cpu();
    let began_at = clock::now();
    let counts_from = began_at + plan.warm_up;
    let run = Rc::new(Run {
        report: RefCell::default(),
        turn: Cell::new(0),
        began_at,
        counts_from,
        ends_at: counts_from + plan.duration,
        running: Cell::new(plan.connections),
        plan,
    });
    for _ in 0..run.plan.connections {
        let (mine, on_panic) = (Rc::clone(&run), Rc::clone(&run));
        let task = async move {
            one_connection(&mine).await;
            mine.running.set(mine.running.get() - 1);
        };
        spawn::spawn(task, move |message| {
            on_panic.note_error(&format!("panic: {message}"));
            on_panic.running.set(on_panic.running.get() - 1);
        });
    }
    hold_idle(&run);
    let shows_progress = std::io::stderr().is_terminal();
    let mut next_line = clock::now() + Duration::from_secs(1);
    while run.running.get() > 0 {
        clock::sleep_until(clock::now() + Duration::from_millis(20)).await;
        if shows_progress && clock::now() >= next_line {
            next_line += Duration::from_secs(1);
            run.show_progress();
        }
    }
    let mut report = run.report.take();
    report.elapsed = clock::now()
        .min(run.ends_at)
        .saturating_duration_since(run.counts_from);
    report.cpu = own_cpu().saturating_sub(cpu_before);
    report
}

/// Opens the connections that are only held; they are held until the run ends.
fn hold_idle(run: &Rc<Run>) {
    for _ in 0..run.plan.idle_connections {
        let mine = Rc::clone(run);
        let task = async move {
            let mut connection = Connection::new(&mine.plan);
            if let Err(kind) = connection.open().await {
                mine.note_error(&kind);
            }
            clock::sleep_until(mine.ends_at).await;
        };
        spawn::spawn(task, |_| {});
    }
}

async fn one_connection(run: &Run) {
    let mut connection = Connection::new(&run.plan);
    while let Some((turn, intended_at)) = run.next_turn() {
        if intended_at > clock::now() {
            clock::sleep_until(intended_at).await;
        }
        let made = run.plan.request(turn);
        // A closed loop sends when it can; a fixed rate counts from when it should have.
        let from = if run.plan.rate.is_some() {
            intended_at
        } else {
            clock::now()
        };
        let outcome = connection.call(made).await;
        if from < run.counts_from {
            continue;
        }
        match outcome {
            Ok(answer) => run.note(&answer, from),
            Err(kind) => run.note_error(&kind),
        }
    }
}

impl Run {
    /// The next request and when it is to be sent; `None` when the run is over.
    #[allow(clippy::cast_precision_loss)]
    fn next_turn(&self) -> Option<(u64, Instant)> {
        let turn = self.turn.get();
        if self.plan.requests.is_some_and(|most| turn >= most) {
            return None;
        }
        let intended_at = match self.plan.rate {
            None => clock::now(),
            Some(rate) => self.began_at + Duration::from_secs_f64(turn as f64 / rate),
        };
        if intended_at >= self.ends_at {
            return None;
        }
        self.turn.set(turn + 1);
        Some((turn, intended_at))
    }

    fn note(&self, answer: &Answer, from: Instant) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut report = self.report.borrow_mut();
        report.answers += 1;
        report.events += answer.events;
        report
            .latency_us
            .saturating_record(micros(clock::now().saturating_duration_since(from)));
        if let Some(first) = answer.first_event_at {
            report
                .first_token_us
                .saturating_record(micros(first.saturating_duration_since(from)));
        }
        for gap in &answer.gaps {
            report.gap_us.saturating_record(micros(*gap));
        }
        if let Some(overhead) = answer.overhead_us {
            report.overhead_us.saturating_record(overhead);
        }
        if let Some(cache) = &answer.cache {
            *report.cache.entry(cache.clone()).or_default() += 1;
        }
    }

    fn note_error(&self, kind: &str) {
        *self
            .report
            .borrow_mut()
            .errors
            .entry(kind.to_owned())
            .or_default() += 1;
    }

    fn show_progress(&self) {
        let report = self.report.borrow();
        eprint!(
            "\r{:>6.1} s  {:>9} answers  {:>6} errors  p50 {:>7} µs  p99 {:>7} µs ",
            clock::now()
                .saturating_duration_since(self.began_at)
                .as_secs_f64(),
            report.answers,
            report.error_count(),
            report.latency_us.value_at_quantile(0.5),
            report.latency_us.value_at_quantile(0.99),
        );
        let _ = std::io::stderr().flush();
    }
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
