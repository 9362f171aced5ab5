//! A line that tells how a run goes on, for who watches a terminal.

use super::measure::Recording;
use super::run::Run;
use hdrhistogram::Histogram;
use ringside::runtime::clock;
use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks whether the run has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Where progress goes.
pub struct Progress {
    shown: bool,
    label: String,
}

impl Progress {
    /// Shown on a terminal, unless it is to be quiet.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            shown: !quiet && std::io::stderr().is_terminal(),
            label: String::new(),
        }
    }

    /// Says what is measured now.
    pub fn label(&mut self, label: String) {
        self.label = label;
    }

    /// Waits for the end of `run`.
    pub(super) fn watch(&self, run: &Run) {
        let mut next = run.began_at + EVERY;
        let mut before = 0;
        while run.running.load(Ordering::Acquire) > 0 {
            sleep(LOOK);
            if self.shown && clock::now() >= next {
                next += EVERY;
                before = self.line(run, before);
            }
        }
        if self.shown {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }

    fn line(&self, run: &Run, before: u64) -> u64 {
        let (mut answers, mut errors, mut came) = (0, 0, 0);
        let mut latency: Option<Histogram<u64>> = None;
        for part in &run.recordings {
            let part: &Recording = &part.lock();
            answers += part.answers;
            errors += part.error_count();
            came += part.in_window;
            match &mut latency {
                None => latency = Some(part.latency_us.clone()),
                Some(all) => {
                    let _ = all.add(&part.latency_us);
                }
            }
        }
        let at = |quantile| {
            latency
                .as_ref()
                .map_or(0, |all| all.value_at_quantile(quantile))
        };
        let elapsed = clock::now().saturating_duration_since(run.began_at);
        let whole = run.plan.warm_up + run.plan.duration;
        let of = match run.plan.requests {
            Some(most) => format!("{answers} of {most}"),
            None => format!(
                "{:.0} of {:.0} s",
                elapsed.as_secs_f64(),
                whole.as_secs_f64()
            ),
        };
        let phase = if elapsed < run.plan.warm_up {
            "  warm-up"
        } else {
            ""
        };
        eprint!(
            "\r\x1b[K{}{of}{phase}  {} answers/s  {answers} answers  {errors} errors  p50 {} µs  p99 {} µs",
            self.label,
            came - before.min(came),
            at(0.5),
            at(0.99),
        );
        let _ = std::io::stderr().flush();
        came
    }
}
