//! The report as one page that needs nothing else: tables, and plots in the page itself.

use super::compare::{Comparison, Spread};
use super::measure::Slot;
use super::report::{QUANTILES, Report, describe};
use super::svg::{Axis, Curve, areas, escape, lines, number, sample};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Points of a percentile curve for each nine.
const POINTS_PER_NINE: u32 = 50;

/// The page.
#[must_use]
pub fn page(comparison: &Comparison) -> String {
    let merged = comparison.merged();
    let names: Vec<&str> = merged.iter().map(|report| report.target.as_str()).collect();
    let title = format!("Load on {}", names.join(", "));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<h1>{}</h1>\n<p class=\"soft\">{}</p>\n",
        escape(&title),
        include_str!("page.css"),
        escape(&title),
        escape(&describe(&comparison.plan)),
    );
    summary(&mut out, &merged);
    if !comparison.is_one() {
        ratios(&mut out, comparison);
    }
    percentiles(&mut out, &merged);
    latency_over_time(&mut out, &merged);
    rate_over_time(&mut out, &merged, comparison.plan.rounds);
    throughput_against_latency(&mut out, &merged, comparison.plan.rounds);
    cache_over_time(&mut out, &merged);
    times(&mut out, &merged);
    out.push_str("</body>\n</html>\n");
    out
}

fn section(out: &mut String, id: &str, title: &str, inner: &str) {
    let _ = writeln!(
        out,
        "<section id=\"{id}\">\n<h2>{}</h2>\n{inner}\n</section>",
        escape(title)
    );
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    // A column of words is set to the left, one of numbers to the right.
    let is_words = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| cell.starts_with(|first: char| first.is_alphabetic()))
    };
    let class = |column: usize| {
        if is_words(column) {
            " class=\"words\""
        } else {
            ""
        }
    };
    let mut out = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (at, name) in head.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
    out
}

fn ms(us: u64) -> String {
    number(in_ms(us))
}

fn in_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn summary(out: &mut String, merged: &[Report]) {
    let rows: Vec<Vec<String>> = merged
        .iter()
        .map(|report| {
            let at = |quantile| ms(report.recording.latency_us.value_at_quantile(quantile));
            vec![
                report.target.clone(),
                report.url.clone(),
                report.recording.answers.to_string(),
                number(report.rate()),
                at(0.5),
                at(0.99),
                at(1.0),
                report.error_count().to_string(),
            ]
        })
        .collect();
    let head = [
        "target",
        "URL",
        "answers",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "errors",
    ];
    let mut inner = table(&head, &rows);
    for report in merged {
        for (kind, count) in &report.recording.errors {
            let _ = write!(
                inner,
                "\n<p class=\"bad\">{}: {count} × {}</p>",
                escape(&report.target),
                escape(kind)
            );
        }
        if report.recording.reworded > 0 {
            let _ = write!(
                inner,
                "\n<p>{}: {} answers were made for another wording of the prompt.</p>",
                escape(&report.target),
                report.recording.reworded
            );
        }
    }
    section(out, "summary", "Summary", &inner);
}

fn ratios(out: &mut String, comparison: &Comparison) {
    let mut rows = Vec::new();
    for line in comparison.lines() {
        for (target, figures) in comparison.plan.targets.iter().zip(&line.targets) {
            let Some((figure, ratio)) = figures else {
                continue;
            };
            let ends = |spread: &Spread| format!("{} – {}", number(spread.min), number(spread.max));
            rows.push(vec![
                line.name.to_owned(),
                target.name.clone(),
                number(figure.median),
                ends(figure),
                ratio.map_or(String::new(), |ratio| format!("{:.2}", ratio.median)),
                ratio.map_or(String::new(), |ratio| {
                    format!("{:.2} – {:.2}", ratio.min, ratio.max)
                }),
            ]);
        }
    }
    let head = [
        "figure",
        "target",
        "median",
        "least – greatest",
        "ratio to the first",
        "least – greatest",
    ];
    let inner = format!(
        "<p class=\"soft\">{} rounds; targets in turn. A ratio is taken within a round.</p>\n{}",
        comparison.plan.rounds,
        table(&head, &rows)
    );
    section(out, "ratios", "Targets compared", &inner);
}

/// Names with samples of their curves.
fn legend(names: &[(String, usize, bool)], area: bool) -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (name, colour, thin) in names {
        let _ = write!(
            out,
            "<span>{}{}</span>",
            sample(*colour, *thin, area),
            escape(name)
        );
    }
    out.push_str("</p>\n");
    out
}

fn by_target(merged: &[Report]) -> String {
    if merged.len() < 2 {
        return String::new();
    }
    let names = merged.iter().enumerate();
    let names: Vec<_> = names
        .map(|(at, report)| (report.target.clone(), at, false))
        .collect();
    legend(&names, false)
}

/// Least and greatest y of some curves.
fn bounds(curves: &[Curve]) -> (f64, f64) {
    let values = curves.iter().flat_map(|curve| &curve.points);
    values.fold((f64::MAX, 0.0), |(min, max), (_, y)| {
        (min.min(*y), max.max(*y))
    })
}

fn percentiles(out: &mut String, merged: &[Report]) {
    let most = merged
        .iter()
        .map(|report| report.recording.latency_us.len())
        .max();
    // As many nines as the number of answers bears.
    let nines = (most.unwrap_or(1).max(10) as f64)
        .log10()
        .floor()
        .clamp(1.0, 6.0);
    let names = [
        "0 %",
        "90 %",
        "99 %",
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
    ];
    let ticks = (0_u32..)
        .map(f64::from)
        .zip(names.iter().map(|name| (*name).to_owned()));
    let ticks: Vec<(f64, String)> = ticks.take_while(|(at, _)| *at <= nines).collect();
    let curves: Vec<Curve> = merged
        .iter()
        .enumerate()
        .map(|(colour, report)| {
            let steps = (0_u32..).map(|step| f64::from(step) / f64::from(POINTS_PER_NINE));
            let steps = steps.take_while(|at| *at <= nines);
            let points = steps.map(|at| {
                let quantile = 1.0 - 10_f64.powf(-at);
                (
                    at,
                    in_ms(report.recording.latency_us.value_at_quantile(quantile)),
                )
            });
            Curve {
                colour,
                thin: false,
                marked: false,
                points: points.collect(),
            }
        })
        .collect();
    let (min, max) = bounds(&curves);
    let plot = lines(
        "Latency by percentile",
        &Axis::marked("percentile", ticks),
        &Axis::log("latency, ms", min, max),
        &curves,
    );
    section(
        out,
        "percentiles",
        "Latency by percentile",
        &(by_target(merged) + &plot),
    );
}

/// Middles of slots in seconds, and the slots, up to the end of the measurement.
fn slots(report: &Report) -> impl Iterator<Item = (f64, &Slot)> {
    let width = report.recording.series.width.as_secs_f64();
    let end = match report.plan.requests {
        Some(_) => f64::INFINITY,
        None => report.plan.duration.as_secs_f64(),
    };
    let numbered = (0_u32..).map(f64::from).zip(&report.recording.series.slots);
    let timed = numbered.map(move |(at, slot)| ((at + 0.5) * width, slot));
    timed.take_while(move |(at, _)| *at < end)
}

fn time_axis(merged: &[Report]) -> Axis {
    let ends = merged.iter().filter_map(|report| slots(report).last());
    Axis::linear("seconds", ends.map(|(at, _)| at).fold(0.0, f64::max))
}

fn latency_over_time(out: &mut String, merged: &[Report]) {
    let mut curves = Vec::new();
    let mut names = Vec::new();
    for (colour, report) in merged.iter().enumerate() {
        for (label, quantile, thin) in [("p99", 0.99, false), ("p50", 0.5, true)] {
            let measured = slots(report).filter(|(_, slot)| !slot.latency_us.is_empty());
            let points =
                measured.map(|(at, slot)| (at, in_ms(slot.latency_us.value_at_quantile(quantile))));
            curves.push(Curve {
                colour,
                thin,
                marked: false,
                points: points.collect(),
            });
            let name = if merged.len() > 1 {
                format!("{} {label}", report.target)
            } else {
                label.to_owned()
            };
            names.push((name, colour, thin));
        }
    }
    let (min, max) = bounds(&curves);
    let plot = lines(
        "Latency over time",
        &time_axis(merged),
        &Axis::log("latency, ms", min, max),
        &curves,
    );
    let inner = format!(
        "<p class=\"soft\">By when each request was to be sent.</p>\n{}{plot}",
        legend(&names, false)
    );
    section(out, "latency-over-time", "Latency over time", &inner);
}

fn rate_over_time(out: &mut String, merged: &[Report], rounds: usize) {
    let curves: Vec<Curve> = merged
        .iter()
        .enumerate()
        .map(|(colour, report)| {
            let width = report.recording.series.width.as_secs_f64() * rounds.max(1) as f64;
            let points = slots(report).map(|(at, slot)| (at, slot.answers as f64 / width));
            let mut points: Vec<(f64, f64)> = points.collect();
            // The last slot is cut short where a count ended the run.
            if points.len() > 2 && report.plan.requests.is_some() {
                points.pop();
            }
            Curve {
                colour,
                thin: false,
                marked: false,
                points,
            }
        })
        .collect();
    let plot = lines(
        "Answers per second over time",
        &time_axis(merged),
        &Axis::linear("answers/s", bounds(&curves).1),
        &curves,
    );
    let inner = by_target(merged) + &plot;
    section(
        out,
        "rate-over-time",
        "Answers per second over time",
        &inner,
    );
}

fn throughput_against_latency(out: &mut String, merged: &[Report], rounds: usize) {
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    for (colour, report) in merged.iter().enumerate() {
        let stages = report.stages(rounds);
        if stages.is_empty() {
            return;
        }
        for stage in &stages {
            rows.push(vec![
                report.target.clone(),
                number(stage.offered),
                number(stage.achieved),
                ms(stage.p50_us),
                ms(stage.p99_us),
                stage.errors.to_string(),
            ]);
        }
        let points = stages
            .iter()
            .map(|stage| (stage.achieved, in_ms(stage.p99_us)));
        curves.push(Curve {
            colour,
            thin: false,
            marked: true,
            points: points.collect(),
        });
    }
    let (min, max) = bounds(&curves);
    let fastest = curves.iter().flat_map(|curve| &curve.points);
    let fastest = fastest.map(|(x, _)| *x).fold(0.0, f64::max);
    let plot = lines(
        "Throughput against p99",
        &Axis::linear("answers/s", fastest),
        &Axis::log("p99, ms", min, max),
        &curves,
    );
    let head = [
        "target",
        "offered/s",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "errors",
    ];
    let inner = by_target(merged) + &plot + "\n" + &table(&head, &rows);
    section(out, "throughput", "Throughput against p99", &inner);
}

fn cache_over_time(out: &mut String, merged: &[Report]) {
    let mut inner = String::new();
    for report in merged {
        let seen: BTreeSet<&str> = report.recording.cache.keys().map(String::as_str).collect();
        if seen.is_empty() {
            continue;
        }
        // Hits at the bottom, in the same colours whatever was seen.
        let mut kinds = vec!["exact", "semantic", "miss", "bypass"];
        kinds.extend(
            seen.iter()
                .filter(|kind| !kinds.contains(*kind))
                .collect::<Vec<_>>(),
        );
        let points: Vec<(f64, Vec<f64>)> = slots(report)
            .filter(|(_, slot)| slot.answers > 0)
            .map(|(at, slot)| {
                let share = |kind: &&str| {
                    let count = slot.cache.get(*kind).copied().unwrap_or(0);
                    100.0 * count as f64 / slot.answers as f64
                };
                (at, kinds.iter().map(share).collect())
            })
            .collect();
        let names: Vec<(String, usize, bool)> = kinds
            .iter()
            .enumerate()
            .filter(|(_, kind)| seen.contains(**kind))
            .map(|(at, kind)| {
                let count = report.recording.cache.get(*kind).copied().unwrap_or(0);
                (format!("{kind}: {count}"), at, false)
            })
            .collect();
        let percent = (0..=4).map(|at| (f64::from(at) * 25.0, format!("{} %", at * 25)));
        let plot = areas(
            "Cache outcome over time",
            &time_axis(std::slice::from_ref(report)),
            &Axis::marked("share of answers", percent.collect()),
            kinds.len(),
            &points,
        );
        let _ = write!(
            inner,
            "<h3>{}</h3>\n{}{plot}\n",
            escape(&report.target),
            legend(&names, true)
        );
    }
    if inner.is_empty() {
        inner.push_str("<p class=\"soft\">No answer told a cache outcome.</p>");
    }
    section(out, "cache", "Cache outcome over time", &inner);
}

fn times(out: &mut String, merged: &[Report]) {
    let mut rows = Vec::new();
    for report in merged {
        for (name, histogram) in report.histograms() {
            if histogram.is_empty() {
                continue;
            }
            let is_time = name != "tokens per s";
            let mut row = vec![report.target.clone(), name.to_owned()];
            row.push(if is_time { "ms" } else { "1/s" }.to_owned());
            row.extend(QUANTILES.iter().map(|(_, at)| {
                let value = histogram.value_at_quantile(*at);
                if is_time {
                    ms(value)
                } else {
                    value.to_string()
                }
            }));
            rows.push(row);
        }
    }
    let mut head = vec!["target", "what", "unit"];
    head.extend(QUANTILES.iter().map(|(label, _)| *label));
    let inner = format!(
        "{}\n<p class=\"soft\">Times count from when a request was to be sent. The send delay is the load generator's own: where it is near the latency, the load generator was the limit.</p>",
        table(&head, &rows)
    );
    section(out, "times", "All times", &inner);
}
