//! Classifies questions whose dependence on time is labelled, and prints the share of each kind that is found.
//!
//! Argument: a file of JSON lines with `query`, `dependent` (0 or 1) and `kind` (`temp`, `geo`). The rules were
//! made with the lines of even numbers; the others were held out.

use ringside::cache::freshness::classify::Freshness;
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(serde::Deserialize)]
struct Row {
    query: String,
    dependent: u8,
    kind: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("usage: freshness QUESTIONS.jsonl")?;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("{file}: {error}: labelled questions are not part of this repository")
    })?;
    let rows = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Row>, _>>()?;
    let mut counts: BTreeMap<(&str, &str, u8), BTreeMap<&str, usize>> = BTreeMap::new();
    let began = Instant::now();
    for (at, row) in rows.iter().enumerate() {
        let half = if at % 2 == 0 { "made with" } else { "held out" };
        let class = Freshness::of_question(&row.query).as_str();
        let of_kind = counts.entry((&row.kind, half, row.dependent)).or_default();
        *of_kind.entry(class).or_default() += 1;
    }
    let each_us = began.elapsed().as_secs_f64() * 1e6 / rows.len().max(1) as f64;
    println!("| kind | half | dependent | questions | static | not static | classes |");
    println!("|---|---|---|---|---|---|---|");
    for ((kind, half, dependent), classes) in counts {
        let all: usize = classes.values().sum();
        let fixed = classes.get("static").copied().unwrap_or_default();
        let share = fixed as f64 / all.max(1) as f64;
        println!(
            "| {kind} | {half} | {dependent} | {all} | {:.1} % | {:.1} % | {classes:?} |",
            100.0 * share,
            100.0 * (1.0 - share),
        );
    }
    println!("\n{each_us:.2} µs a question");
    Ok(())
}
