//! Several targets measured in turn, round after round, so that what changes on the machine meanwhile
//! meets all of them; the ratios of each round are what is compared.

use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::run::run;
use crate::units::show_duration;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// All rounds of all targets.
pub struct Comparison {
    /// Reports by target, then by round.
    pub rounds: Vec<Vec<Report>>,
    /// What was run.
    pub plan: Arc<Plan>,
}

/// A figure of a report that targets are compared by.
type Figure = (&'static str, fn(&Report) -> Option<f64>);

/// What targets are compared by; `None` where nothing was measured.
const FIGURES: [Figure; 9] = [
    ("answers/s", |report| Some(report.rate())),
    ("latency p50 µs", |report| quantile(report, 0, 0.5)),
    ("latency p90 µs", |report| quantile(report, 0, 0.9)),
    ("latency p99 µs", |report| quantile(report, 0, 0.99)),
    ("first token p50 µs", |report| quantile(report, 1, 0.5)),
    ("first token p99 µs", |report| quantile(report, 1, 0.99)),
    ("gap p99 µs", |report| quantile(report, 2, 0.99)),
    ("tokens per s p50", |report| quantile(report, 5, 0.5)),
    ("gateway overhead p99 µs", |report| {
        quantile(report, 3, 0.99)
    }),
];

fn quantile(report: &Report, histogram: usize, at: f64) -> Option<f64> {
    let (_, histogram) = *report.histograms().get(histogram)?;
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(at) as f64)
}

/// Middle and ends of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// Of `values`; `None` without any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// A figure of all targets.
pub struct Line {
    /// Its name and unit.
    pub name: &'static str,
    /// By target: the figure over the rounds, and the ratio to the first target's in the same round.
    pub targets: Vec<Option<(Spread, Option<Spread>)>>,
}

/// Runs all rounds. The order of targets turns from round to round.
///
/// # Errors
/// A run could not be started.
pub fn compare(plan: &Arc<Plan>, progress: &mut Progress) -> Result<Comparison, String> {
    let count = plan.targets.len();
    let mut rounds: Vec<Vec<Report>> = vec![Vec::new(); count];
    for round in 0..plan.rounds {
        for position in 0..count {
            let target = (position + round) % count;
            if count * plan.rounds > 1 {
                let name = plan.targets.get(target).map_or("", |t| t.name.as_str());
                progress.label(format!("round {} of {}, {name}: ", round + 1, plan.rounds));
            }
            let report = run(plan, target, round, progress)?;
            if let Some(own) = rounds.get_mut(target) {
                own.push(report);
            }
        }
    }
    Ok(Comparison {
        rounds,
        plan: Arc::clone(plan),
    })
}

impl Comparison {
    /// True when there is something to compare: several targets or rounds.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.rounds.len() == 1 && self.plan.rounds == 1
    }

    /// Errors of all kinds, targets and rounds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.rounds.iter().flatten().map(Report::error_count).sum()
    }

    /// By target, all rounds as one.
    #[must_use]
    pub fn merged(&self) -> Vec<Report> {
        let targets = self.rounds.iter();
        targets
            .filter_map(|reports| {
                let mut all = reports.first()?.clone();
                for report in reports.iter().skip(1) {
                    all.merge(report.clone());
                }
                Some(all)
            })
            .collect()
    }

    /// The figures that were measured.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let lines = FIGURES.iter().map(|(name, figure)| {
            let values: Vec<Vec<Option<f64>>> = self
                .rounds
                .iter()
                .map(|reports| reports.iter().map(figure).collect())
                .collect();
            let base = values.first();
            let targets = values.iter().enumerate().map(|(at, own)| {
                let spread = Spread::of(own.iter().copied().flatten().collect())?;
                let ratios = own.iter().zip(base?).filter_map(|(own, base)| {
                    let base = (*base)?;
                    (base > 0.0).then_some((*own)? / base)
                });
                let ratio = if at == 0 {
                    None
                } else {
                    Spread::of(ratios.collect())
                };
                Some((spread, ratio))
            });
            Line {
                name,
                targets: targets.collect(),
            }
        });
        lines
            .filter(|line| line.targets.iter().any(Option::is_some))
            .collect()
    }

    /// For machines: of one run its report alone.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if let (true, Some(report)) = (self.is_one(), self.rounds.first().and_then(|r| r.first())) {
            return report.to_json();
        }
        let spread = |spread: &Spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max });
        let targets: Vec<Value> = self
            .rounds
            .iter()
            .zip(&self.plan.targets)
            .enumerate()
            .map(|(at, (reports, target))| {
                let (mut figures, mut ratios) = (serde_json::Map::new(), serde_json::Map::new());
                for line in self.lines() {
                    if let Some(Some((figure, ratio))) = line.targets.get(at) {
                        figures.insert(line.name.into(), spread(figure));
                        if let Some(ratio) = ratio {
                            ratios.insert(line.name.into(), spread(ratio));
                        }
                    }
                }
                json!({
                    "target": target.name,
                    "url": target.url,
                    "rounds": reports.iter().map(Report::to_json).collect::<Vec<_>>(),
                    "figures": figures,
                    "ratios_to_first": ratios,
                })
            })
            .collect();
        json!({ "rounds": self.plan.rounds, "seed": self.plan.seed, "targets": targets })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (true, Some(report)) = (self.is_one(), self.rounds.first().and_then(|r| r.first())) {
            return report.fmt(f);
        }
        let plan = &self.plan;
        writeln!(
            f,
            "{} rounds of {}, {} connections; median (least-greatest), and × the first target's of the same round",
            plan.rounds,
            show_duration(plan.duration),
            plan.connections
        )?;
        for line in self.lines() {
            writeln!(f, "{}", line.name)?;
            for (target, figures) in plan.targets.iter().zip(&line.targets) {
                let Some((spread, ratio)) = figures else {
                    continue;
                };
                let Spread { median, min, max } = spread;
                write!(f, "  {:24}{median:>10.0} ({min:.0}-{max:.0})", target.name)?;
                if let Some(Spread { median, min, max }) = ratio {
                    write!(f, "  × {median:.2} ({min:.2}-{max:.2})")?;
                }
                writeln!(f)?;
            }
        }
        for report in self.merged() {
            for (title, counts) in [
                ("cache", &report.recording.cache),
                ("errors", &report.recording.errors),
            ] {
                for (kind, count) in counts {
                    writeln!(f, "{}: {title} {kind}: {count}", report.target)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[]), None);
        let of = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(spread(&[3.0, 1.0, 2.0]), of(2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0]), of(2.5, 1.0, 4.0));
    }
}
