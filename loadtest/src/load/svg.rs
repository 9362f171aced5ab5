//! Plots as inline SVG. Colours come from the page's style, so that they fit light, dark and paper;
//! curves differ in dashes too, for who prints in grey.

use std::fmt::Write;

/// Size of a plot, in its own units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
/// Room for the numbers beside it.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;
/// Curves that can be told apart.
pub const COLOURS: usize = 6;

/// One axis.
pub struct Axis {
    min: f64,
    max: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
    label: String,
}

impl Axis {
    /// From nothing to `max`.
    #[must_use]
    pub fn linear(label: &str, max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let rough = max / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .iter()
            .map(|times| times * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let marks = (0..=10).map(|at| f64::from(at) * step);
        let ticks = marks.take_while(|tick| *tick <= max * 1.001);
        Self {
            min: 0.0,
            max: max * 1.02,
            log: false,
            ticks: ticks.map(|tick| (tick, number(tick))).collect(),
            label: label.to_owned(),
        }
    }

    /// From `min` to `max`, each decade as wide as the others.
    #[must_use]
    pub fn log(label: &str, min: f64, max: f64) -> Self {
        let min = if min > 0.0 { min } else { 0.001 };
        let max = (max * 1.1).max(min * 4.0);
        let min = min * 0.9;
        let wide = max / min > 3000.0;
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(min.log10().floor());
        while decade <= max {
            for times in [1.0, 2.0, 5.0] {
                let tick = decade * times;
                if (min..=max).contains(&tick) && (times == 1.0 || !wide) {
                    ticks.push((tick, number(tick)));
                }
            }
            decade *= 10.0;
        }
        Self {
            min,
            max,
            log: true,
            ticks,
            label: label.to_owned(),
        }
    }

    /// With marks of one's own, between their first and their last.
    #[must_use]
    pub fn marked(label: &str, ticks: Vec<(f64, String)>) -> Self {
        Self {
            min: ticks.first().map_or(0.0, |(at, _)| *at),
            max: ticks.last().map_or(1.0, |(at, _)| *at),
            log: false,
            ticks,
            label: label.to_owned(),
        }
    }

    /// Where a value is, from 0 to 1.
    fn position(&self, value: f64) -> f64 {
        let value = value.clamp(self.min, self.max);
        let position = if self.log {
            (value.ln() - self.min.ln()) / (self.max.ln() - self.min.ln())
        } else {
            (value - self.min) / (self.max - self.min)
        };
        if position.is_finite() { position } else { 0.0 }
    }
}

/// A line of a plot.
pub struct Curve {
    /// Which colour and dashes.
    pub colour: usize,
    /// Drawn thin: the lesser of a pair.
    pub thin: bool,
    /// Its points are marked.
    pub marked: bool,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[must_use]
pub fn lines(title: &str, x: &Axis, y: &Axis, curves: &[Curve]) -> String {
    let mut out = begin(title, x, y);
    for curve in curves {
        let class = format!("c{}", curve.colour % COLOURS);
        let thin = if curve.thin { " thin" } else { "" };
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", across(x, *at), down(y, *value)))
            .collect();
        let _ = write!(
            out,
            "<polyline class=\"line {class}{thin}\" points=\"{}\"/>",
            points.join(" ")
        );
        if curve.marked {
            for (at, value) in &curve.points {
                let _ = write!(
                    out,
                    "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {}, {}: {}</title></circle>",
                    across(x, *at),
                    down(y, *value),
                    escape(&x.label),
                    number(*at),
                    escape(&y.label),
                    number(*value)
                );
            }
        }
    }
    out.push_str("</svg>");
    out
}

/// Areas on top of each other: at each x, the values of all layers.
#[must_use]
pub fn areas(title: &str, x: &Axis, y: &Axis, layers: usize, points: &[(f64, Vec<f64>)]) -> String {
    let mut out = begin(title, x, y);
    let upto = |values: &[f64], layers: usize| values.iter().take(layers).sum::<f64>();
    for layer in 0..layers {
        let upper = points
            .iter()
            .map(|(at, values)| (*at, upto(values, layer + 1)));
        let lower = points
            .iter()
            .rev()
            .map(|(at, values)| (*at, upto(values, layer)));
        let outline: Vec<String> = upper
            .chain(lower)
            .map(|(at, value)| format!("{:.1},{:.1}", across(x, at), down(y, value)))
            .collect();
        let _ = write!(
            out,
            "<polygon class=\"area c{}\" points=\"{}\"/>",
            layer % COLOURS,
            outline.join(" ")
        );
    }
    out.push_str("</svg>");
    out
}

/// A sample of a curve, for a legend.
#[must_use]
pub fn sample(colour: usize, thin: bool, area: bool) -> String {
    let class = format!("c{}", colour % COLOURS);
    let thin = if thin { " thin" } else { "" };
    let shape = if area {
        format!("<rect class=\"area {class}\" x=\"1\" y=\"1\" width=\"26\" height=\"8\"/>")
    } else {
        format!("<polyline class=\"line {class}{thin}\" points=\"0,5 28,5\"/>")
    };
    format!("<svg class=\"sample\" viewBox=\"0 0 28 10\" aria-hidden=\"true\">{shape}</svg>")
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + x.position(value) * (WIDTH - LEFT - RIGHT)
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.position(value) * (HEIGHT - TOP - BOTTOM)
}

fn begin(title: &str, x: &Axis, y: &Axis) -> String {
    let mut out = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    let bottom = HEIGHT - BOTTOM;
    for (at, text) in &y.ticks {
        let position = down(y, *at);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{position:.1}\" y2=\"{position:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 7.0,
            position + 4.0,
            escape(text)
        );
    }
    for (at, text) in &x.ticks {
        let position = across(x, *at);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{position:.1}\" x2=\"{position:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text class=\"tick\" x=\"{position:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            escape(text)
        );
    }
    let middle = TOP + (bottom - TOP) / 2.0;
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/><text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"label\" transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        WIDTH - RIGHT,
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escape(&x.label),
        escape(&y.label)
    );
    out
}

/// A number with as many digits as it needs.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Text for HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let ticks = |axis: &Axis| -> Vec<String> {
            axis.ticks.iter().map(|(_, text)| text.clone()).collect()
        };
        assert_eq!(ticks(&Axis::linear("x", 9.3)), ["0", "2", "4", "6", "8"]);
        assert_eq!(
            ticks(&Axis::log("y", 0.5, 20.0)),
            ["0.5", "1", "2", "5", "10", "20"]
        );
        let log = Axis::log("y", 1.0, 100.0);
        assert!((0.0..0.05).contains(&log.position(1.0)));
        assert!((log.position(10.0) - 0.5).abs() < 0.02);
        assert_eq!(Axis::linear("x", 0.0).position(f64::NAN), 0.0);
    }

    #[test]
    fn text_is_escaped() {
        let axis = Axis::linear("<x> & \"y\"", 1.0);
        let curve = Curve {
            colour: 9,
            thin: false,
            marked: true,
            points: vec![(0.0, 0.0), (1.0, 1.0)],
        };
        let plot = lines("<b>", &axis, &axis, &[curve]);
        assert!(!plot.contains("<b>") && !plot.contains("<x>"));
        assert_eq!(plot.matches("<circle").count(), 2);
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(0.25), "0.25");
    }
}
