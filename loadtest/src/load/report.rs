//! What was measured, as a table or as JSON.

use super::measure::Recording;
use super::plan::Plan;
use crate::units::show_duration;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A target, measured.
#[derive(Clone)]
pub struct Report {
    /// Name of the target.
    pub target: String,
    /// URL of the target.
    pub url: String,
    /// Counts and times.
    pub recording: Recording,
    /// Time measured.
    pub elapsed: Duration,
    /// CPU time of this process over the whole run.
    pub cpu: Duration,
    /// What was run.
    pub plan: Arc<Plan>,
}

/// Quantiles that are told.
pub const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// A part of a ramp, summed up.
pub struct StageLine {
    /// Requests per second that were to be sent.
    pub offered: f64,
    /// Answers per second that came.
    pub achieved: f64,
    /// Latency, microseconds.
    pub p50_us: u64,
    /// Latency, microseconds.
    pub p99_us: u64,
    /// Errors.
    pub errors: u64,
}

impl Report {
    /// Good answers per second of the time measured.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.recording.in_window as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.recording.error_count()
    }

    /// Adds another round of the same target.
    pub fn merge(&mut self, other: Self) {
        self.recording.merge(other.recording);
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
    }

    /// Names and histograms; all but the last are in microseconds.
    #[must_use]
    pub fn histograms(&self) -> [(&'static str, &Histogram<u64>); 6] {
        let recording = &self.recording;
        [
            ("latency", &recording.latency_us),
            ("first token", &recording.first_token_us),
            ("gap between tokens", &recording.gap_us),
            ("gateway overhead", &recording.overhead_us),
            ("send delay", &recording.send_delay_us),
            ("tokens per s", &recording.tokens_per_s),
        ]
    }

    /// The parts of a ramp; `rounds` were merged into this report.
    #[must_use]
    pub fn stages(&self, rounds: usize) -> Vec<StageLine> {
        let Some(pace) = &self.plan.pace else {
            return Vec::new();
        };
        let stages = &self.recording.stages;
        let each = self.plan.duration.as_secs_f64() / stages.len().max(1) as f64;
        let each = each * rounds.max(1) as f64;
        let numbered = stages.iter().enumerate();
        numbered
            .map(|(at, stage)| StageLine {
                offered: pace.offered(at),
                achieved: stage.completed as f64 / each,
                p50_us: stage.latency_us.value_at_quantile(0.5),
                p99_us: stage.latency_us.value_at_quantile(0.99),
                errors: stage.errors,
            })
            .collect()
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let recording = &self.recording;
        let mut json = json!({
            "target": self.target,
            "url": self.url,
            "seed": self.plan.seed,
            "answers": recording.answers,
            "answers_per_s": self.rate(),
            "events": recording.events,
            "errors": recording.errors,
            "cache": recording.cache,
            "answers_to_another_wording": recording.reworded,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "own_cpu_s": self.cpu.as_secs_f64(),
            "offered": self.plan.pace.as_ref().map(|pace| pace.show()),
        });
        for (name, histogram) in self.histograms() {
            let quantiles: serde_json::Map<_, _> = QUANTILES
                .iter()
                .map(|(label, at)| ((*label).to_owned(), histogram.value_at_quantile(*at).into()))
                .collect();
            let unit = if name == "tokens per s" { "" } else { "_us" };
            json[format!("{}{unit}", name.replace(' ', "_"))] = quantiles.into();
        }
        let series = &recording.series;
        let slots = series.slots.iter().enumerate();
        json["over_time"] = slots
            .map(|(at, slot)| {
                json!({
                    "at_s": series.width.as_secs_f64() * at as f64,
                    "answers": slot.answers,
                    "errors": slot.errors,
                    "p50_us": slot.latency_us.value_at_quantile(0.5),
                    "p99_us": slot.latency_us.value_at_quantile(0.99),
                    "cache": slot.cache,
                })
            })
            .collect();
        json["stages"] = self
            .stages(1)
            .iter()
            .map(|stage| {
                json!({
                    "offered_per_s": stage.offered,
                    "answers_per_s": stage.achieved,
                    "p50_us": stage.p50_us,
                    "p99_us": stage.p99_us,
                    "errors": stage.errors,
                })
            })
            .collect();
        json
    }
}

/// What was run, in one line.
#[must_use]
pub fn describe(plan: &Plan) -> String {
    let pace = match &plan.pace {
        Some(pace) => format!("open loop at {}/s", pace.show()),
        None => "closed loop".into(),
    };
    let length = match plan.requests {
        Some(most) => format!("{most} requests"),
        None => show_duration(plan.duration),
    };
    format!(
        "{pace}, {} connections, {length} after {} of warm-up, {} % streams, seed {}",
        plan.connections,
        show_duration(plan.warm_up),
        plan.stream_share * 100.0,
        plan.seed
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = &self.recording;
        writeln!(
            f,
            "{}: {} answers in {:.2} s = {:.0}/s, {} events, {} errors, own CPU {:.2} s",
            self.target,
            recording.answers,
            self.elapsed.as_secs_f64(),
            self.rate(),
            recording.events,
            self.error_count(),
            self.cpu.as_secs_f64(),
        )?;
        write!(f, "{:20}", "microseconds")?;
        for (label, _) in QUANTILES {
            write!(f, "{label:>10}")?;
        }
        writeln!(f)?;
        for (name, histogram) in self.histograms() {
            if histogram.is_empty() {
                continue;
            }
            write!(f, "{name:20}")?;
            for (_, at) in QUANTILES {
                write!(f, "{:>10}", histogram.value_at_quantile(at))?;
            }
            writeln!(f)?;
        }
        for (title, counts) in [("cache", &recording.cache), ("errors", &recording.errors)] {
            for (kind, count) in counts {
                writeln!(f, "{title} {kind}: {count}")?;
            }
        }
        if recording.reworded > 0 {
            writeln!(f, "answers to another wording: {}", recording.reworded)?;
        }
        let stages = self.stages(1);
        if !stages.is_empty() {
            writeln!(
                f,
                "{:>12}{:>12}{:>10}{:>10}{:>8}",
                "offered/s", "answers/s", "p50 µs", "p99 µs", "errors"
            )?;
        }
        for stage in stages {
            writeln!(
                f,
                "{:>12.0}{:>12.0}{:>10}{:>10}{:>8}",
                stage.offered, stage.achieved, stage.p50_us, stage.p99_us, stage.errors
            )?;
        }
        Ok(())
    }
}
