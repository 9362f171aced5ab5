//! Prints what the rules find: `ringside-tidy RULE|all|edges|rules [ROOT]`. Ends with 1 when there is anything.

use ringside_tidy::{RULES, Repository, Rule, check, rule, rules};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("rules", String::as_str);
    let root = arguments.get(1).map_or(".", String::as_str);
    let chosen: Vec<&Rule> = match name {
        "rules" => {
            for rule in &RULES {
                println!("{:18} {}", rule.name, rule.meaning);
            }
            println!("{:18} every rule, with a count of each", "all");
            println!("{:18} every use inside of a cycle of files", "edges");
            return ExitCode::SUCCESS;
        }
        "all" => RULES.iter().collect(),
        "edges" => Vec::new(),
        name => match rule(name) {
            Some(rule) => vec![rule],
            None => {
                eprintln!("there is no rule {name}; `ringside-tidy rules` lists them");
                return ExitCode::from(2);
            }
        },
    };
    let repository = match Repository::read(Path::new(root)) {
        Ok(repository) => repository,
        Err(error) => {
            eprintln!("{root} cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    let mut count = 0;
    if name == "edges" {
        let lines = rules::edges_in_cycles(&repository);
        count = lines.len();
        lines.iter().for_each(|line| println!("{line}"));
    }
    let mut totals = Vec::new();
    for rule in chosen {
        let findings = check(rule, &repository);
        findings.iter().for_each(|finding| println!("{finding}"));
        count += findings.len();
        totals.push(format!("{:18} {}", rule.name, findings.len()));
    }
    if totals.len() > 1 {
        println!();
        totals.iter().for_each(|total| println!("{total}"));
    }
    ExitCode::from(u8::from(count > 0))
}
