//! The findings as text for a terminal.

use crate::cli::tune::pairs::Judged;
use crate::cli::tune::settings::{Findings, Setting};
use std::fmt::Write;

const HEAD: &str = "\
setting                             hits  wrong  hit rate wrong/hits   95 % bounds of wrong/hits
";

/// The report.
pub(crate) fn report(judged: &Judged, findings: &Findings) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\n", pairs(judged));
    out.push_str(HEAD);
    for (name, settings, chosen) in [
        (
            "wrong_hit_rate_max",
            &findings.verifier,
            findings.recommended,
        ),
        ("cosine alone", &findings.cosine, findings.best_cosine),
    ] {
        for (index, setting) in settings.iter().enumerate() {
            let mark = if chosen == Some(index) { "  <" } else { "" };
            let _ = writeln!(out, "{}{mark}", row(name, setting));
        }
        out.push('\n');
    }
    out.push_str("Bounds: Clopper-Pearson, each end holds with 95 %. Hit rate: hits / pairs.\n\n");
    out.push_str(&advice(findings));
    out
}

/// The pairs in the files, in a sentence or two.
pub(crate) fn pairs(judged: &Judged) -> String {
    let all = judged.candidates.len();
    let same = judged
        .candidates
        .iter()
        .filter(|candidate| candidate.same)
        .count();
    let mut out = format!("{all} pairs: {same} ask the same, {} do not.", all - same);
    if judged.unknown > 0 {
        let _ = write!(
            out,
            " {} without a known label are left out.",
            judged.unknown
        );
    }
    if judged.unfit > 0 {
        let unfit = judged.unfit;
        let _ = write!(
            out,
            " {unfit} have a text that the model cannot read and are left out."
        );
    }
    if !judged.refused.is_empty() {
        let rules = judged.refused.iter();
        let rules: Vec<String> = rules
            .map(|(rule, (same, other))| format!("{rule} {same}/{other}"))
            .collect();
        let _ = write!(
            out,
            "\nRefused by rules whatever the setting (same/different): {}.",
            rules.join(", ")
        );
    }
    out
}

fn row(name: &str, setting: &Setting) -> String {
    let point = setting.point;
    let (low, high) = point.interval();
    format!(
        "{:<32} {:>7} {:>6} {:>9} {:>10}   {} to {}",
        format!("{name} = {}", value(setting)),
        point.hits,
        point.wrong,
        percent(point.hit_rate()),
        percent(point.wrong_rate()),
        percent(low),
        percent(high),
    )
}

/// A setting's value as it is written.
pub(crate) fn value(setting: &Setting) -> String {
    let text = format!("{:.4}", setting.value);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share in per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The lines for the configuration, or why there are none.
pub(crate) fn advice(findings: &Findings) -> String {
    let target = percent(findings.target_rate);
    let compared = match findings
        .best_cosine
        .and_then(|index| findings.cosine.get(index))
    {
        Some(best) => format!(
            "The best plain cosine that keeps it is {}, with {} hits.",
            value(best),
            percent(best.point.hit_rate())
        ),
        None => "No plain cosine keeps it.".to_owned(),
    };
    let chosen = findings
        .recommended
        .and_then(|index| findings.verifier.get(index));
    let Some(chosen) = chosen else {
        let most = findings
            .verifier
            .iter()
            .map(|setting| setting.point.hits)
            .max();
        let strict = findings.verifier.first();
        let best = strict.map_or(1.0, |setting| setting.point.interval().1);
        return format!(
            "No setting is shown to keep wrong/hits at or below {target} by these pairs (the strictest: at most {}).\n\
             That takes at least {} hits with none wrong; these pairs have at most {} hits. Label more pairs that \
             are near each other, or choose a higher rate.\n{compared}\n",
            percent(best),
            findings.hits_needed,
            most.unwrap_or_default(),
        );
    };
    let point = chosen.point;
    format!(
        "Recommended for wrong/hits at or below {target}: {} hits, {} of them wrong, at most {}.\n\n\
         [cache.semantic]\nmode = \"serve\"\nwrong_hit_rate_max = {}\n\n{compared}\n",
        percent(point.hit_rate()),
        percent(point.wrong_rate()),
        percent(point.interval().1),
        value(chosen),
    )
}
