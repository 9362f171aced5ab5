//! The findings as one page without further files: curves, tables, advice.

use crate::cli::tune::pairs::Judged;
use crate::cli::tune::settings::{Findings, Point, Setting};
use crate::cli::tune::table::{advice, pairs, percent, value};
use std::fmt::Write;

/// Size of the plot and the room beside it, in its own units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 44.0;
const EDGE: f64 = 14.0;

/// The page.
pub(crate) fn page(judged: &Judged, findings: &Findings) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Ringside: hits and wrong hits</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <h1>Hits and wrong hits</h1>\n<p class=\"soft\">{}</p>\n",
        include_str!("page.css"),
        escape(&pairs(judged)).replace('\n', "<br>"),
    );
    let _ = writeln!(
        out,
        "<section>\n<h2>Advice</h2>\n<pre>{}</pre>\n</section>",
        escape(&advice(findings))
    );
    let _ = writeln!(
        out,
        "<section>\n<h2>Wrong hits as a share of hits, over the hit rate</h2>\n{}\n\
         <p class=\"soft\">The bands are 95 % bounds on either side (Clopper-Pearson). Cosine: without any rule.</p>\n\
         </section>",
        plot(findings)
    );
    let tables = [
        (
            "wrong_hit_rate_max",
            &findings.verifier,
            findings.recommended,
        ),
        ("cosine alone", &findings.cosine, findings.best_cosine),
    ];
    for (name, settings, chosen) in tables {
        let _ = writeln!(
            out,
            "<section>\n<h2>{name}</h2>\n{}\n</section>",
            table(settings, chosen)
        );
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn table(settings: &[Setting], chosen: Option<usize>) -> String {
    let mut out = String::from(
        "<table>\n<thead><tr><th>setting</th><th>from</th><th>hits</th><th>wrong</th><th>hit rate</th>\
         <th>wrong/hits</th><th>at least</th><th>at most</th></tr></thead>\n<tbody>\n",
    );
    for (index, setting) in settings.iter().enumerate() {
        let class = if chosen == Some(index) {
            " class=\"chosen\""
        } else {
            ""
        };
        let point = setting.point;
        let (low, high) = point.interval();
        let _ = writeln!(
            out,
            "<tr{class}><td>{}</td><td>{:.3}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            value(setting),
            setting.least,
            point.hits,
            point.wrong,
            percent(point.hit_rate()),
            percent(point.wrong_rate()),
            percent(low),
            percent(high),
        );
    }
    out.push_str("</tbody></table>");
    out
}

/// Highest value on the axis of wrong hits: it shows the target, and not values far above it.
fn top(findings: &Findings) -> f64 {
    let points = findings.curves.iter().flatten();
    let worst = points.map(Point::wrong_rate).fold(0.0, f64::max);
    worst
        .min(10.0 * findings.target_rate)
        .max(2.0 * findings.target_rate)
}

fn plot(findings: &Findings) -> String {
    let most = findings.curves.iter().flatten().map(Point::hit_rate);
    let (right, top) = (most.fold(0.05, f64::max), top(findings));
    let x = |rate: f64| LEFT + rate / right * (WIDTH - LEFT - EDGE);
    let y = |rate: f64| HEIGHT - BOTTOM - (rate / top).min(1.0) * (HEIGHT - BOTTOM - EDGE);
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Wrong hits over hit rate, verifier and cosine\">"
    );
    for step in 0..=5 {
        let part = f64::from(step) / 5.0;
        let (across, down) = (x(part * right), y(part * top));
        let (bottom, end) = (HEIGHT - BOTTOM, WIDTH - EDGE);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{down:.1}\" y2=\"{down:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            LEFT - 6.0,
            down + 4.0,
            percent(part * top),
            bottom + 16.0,
            percent(part * right),
        );
    }
    for (curve, name) in findings.curves.iter().zip(["verifier", "cosine"]) {
        out.push_str(&drawn(curve, name, &x, &y));
    }
    let target = y(findings.target_rate);
    let _ = write!(
        out,
        "<line class=\"target\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{target:.1}\" y2=\"{target:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">hits / pairs</text></svg>",
        WIDTH - EDGE,
        WIDTH / 2.0,
        HEIGHT - 6.0,
    );
    out
}

/// A curve with its band and its name at the end.
fn drawn(curve: &[Point], name: &str, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let position = |point: &Point, rate: f64| format!("{:.1},{:.1}", x(point.hit_rate()), y(rate));
    let upper = curve
        .iter()
        .map(|point| position(point, point.interval().1));
    let lower = curve
        .iter()
        .rev()
        .map(|point| position(point, point.interval().0));
    let band: Vec<String> = upper.chain(lower).collect();
    let line: Vec<String> = curve
        .iter()
        .map(|point| position(point, point.wrong_rate()))
        .collect();
    let mut out = format!(
        "<polygon class=\"band {name}\" points=\"{}\"/><polyline class=\"curve {name}\" points=\"{}\"/>",
        band.join(" "),
        line.join(" "),
    );
    if let Some(last) = curve.last() {
        let _ = write!(
            out,
            "<text class=\"{name}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            x(last.hit_rate()),
            y(last.wrong_rate()) - 6.0,
        );
    }
    out
}

/// Text for HTML.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}
