//! Reads one TOML file into validated values, or into a list of everything wrong with it.
//!
//! `sections/` declares the keys, `reader.rs` walks the file, `root.rs` is the result. This folder must not know what
//! any setting does, nor import any other folder.

use crate::config::context::{Context, Seen};
use crate::config::limits;
use crate::config::names::{FileNames, KnownNames};
use crate::config::problem::{Complaint, Problems};
use crate::config::reader::Section;
use crate::config::references::References;
use crate::config::report::Report;
use crate::config::root::Config;
use crate::config::settings::Settings;
use std::io::Read;
use std::path::Path;

/// Reads and validates the file at `path`; secrets come from this process's environment and from
/// files beside `path`.
///
/// # Errors
///
/// Everything found wrong, in the order of the file; an unreadable file is one such problem.
pub(crate) fn load(path: &Path, known: &KnownNames<'_>) -> Result<Config, Problems> {
    let file = path.display().to_string();
    let text = read_text(path).map_err(|complaint| Problems::of_file(&file, complaint))?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    parse(&text, &file, base_dir, known, &|name| {
        std::env::var(name).ok()
    })
}

/// Validates `text`; `name_of_file` stands in the problems, `base_dir` is what relative `file:`
/// references start from, and `env` answers `env:` references.
///
/// # Errors
///
/// Everything found wrong, in the order of the file. Broken TOML syntax hides what comes after it,
/// so then only the syntax errors are reported.
pub(crate) fn parse(
    text: &str,
    name_of_file: &str,
    base_dir: &Path,
    known: &KnownNames<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let report = Report::new(name_of_file, text);
    let root = report.parse();
    if !report.is_empty() {
        return Err(report.into_problems().first_of_each_line());
    }
    let mut root = Section::root(root.get_ref(), &report);
    let names = FileNames::peek(&root);
    let context = Context {
        known,
        references: &References { base_dir, env },
        names: &names,
        seen: &Seen::default(),
        model: 0,
        is_price_file: false,
    };
    check_lists(&root, &names);
    let config = Config::read(&mut root, &context);
    root.finish();
    match config {
        Some(config) if report.is_empty() => Ok(config),
        _ => {
            debug_assert!(
                !report.is_empty(),
                "a value is missing, and no problem says so"
            );
            Err(report.into_problems())
        }
    }
}

/// Reports lists without which no request could be served.
fn check_lists(root: &Section<'_>, names: &FileNames) {
    if root.peek("models").is_none() {
        let message = "no model is configured";
        let remedy = "add a `[[models]]` section with `name` and `targets`";
        root.complain("models", Complaint::new(message, remedy));
    }
    if root.peek("providers").is_none() && !names.has_local_target() {
        let message = "no provider is configured";
        let remedy = "add a `[[providers]]` section with `name` and `base_url`, or a target with \
                      `provider = \"local\"`";
        root.complain("providers", Complaint::new(message, remedy));
    }
}

/// The file's text, or why there is none.
fn read_text(path: &Path) -> Result<String, Complaint> {
    let mut text = String::new();
    let limit = limits::FILE_BYTES_MAX;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_string(&mut text))
        .map_err(|error| {
            Complaint::new(
                format!("cannot be read: {error}"),
                "give the path of a readable UTF-8 TOML file with `--config FILE`; \
                 docs/ringside.example.toml is a start",
            )
        })?;
    if text.len() as u64 > limit {
        return Err(Complaint::new(
            format!("larger than {limit} bytes (limit FILE_BYTES_MAX)"),
            "give the path of Ringside's own configuration file",
        ));
    }
    Ok(text)
}
