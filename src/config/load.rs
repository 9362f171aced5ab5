//! Configuration: one TOML file becomes validated values, or a list of everything wrong with it.
//!
//! `file.rs` and `lists.rs` name the keys, `reader.rs` walks the file, `model.rs` is the result. This
//! folder must not know what any setting does, nor import any other folder.

use crate::config::limits;
use crate::config::sections::file;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use crate::config::model::config::Config;
use crate::config::problem::Problems;

use crate::config::problem::Complaint;
use crate::config::reader::{Report, Section};
use crate::config::references::References;

/// Names that the configuration may use and that other folders define; passed in, so that this
/// folder need not import them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownNames<'a> {
    /// Wire dialects a provider may speak.
    pub dialects: &'a [&'a str],
    /// Those of them whose answers can be compared with others'.
    pub comparable: &'a [&'a str],
    /// Routing policies a model may use.
    pub policies: &'a [&'a str],
    /// Least rate of wrong hits that the semantic cache can be held to.
    pub wrong_hit_rate_least: f64,
}

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
/// so then only the syntax errors are told.
pub(crate) fn parse(
    text: &str,
    name_of_file: &str,
    base_dir: &Path,
    known: &KnownNames<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let report = Report::new(name_of_file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        report.add(at, "", syntax(error.message()));
    }
    if !errors.is_empty() {
        return Err(report.into_problems().first_of_each_line());
    }
    let references = References { base_dir, env };
    let config = file::read(Section::root(root.get_ref(), &report), known, &references);
    let problems = report.into_problems();
    if problems.0.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// The parser's own words, which never quote the file, and what most often causes them.
pub(crate) fn syntax(message: &str) -> Complaint {
    let remedy = if message.starts_with("duplicate key") {
        "keep one of the two; sections that repeat have double brackets, as in `[[providers]]`"
    } else if message.starts_with("string values must be quoted") {
        "write a value after `=`; text, sizes, durations and addresses stand in double quotes, as in \
         `ttl = \"1h\"`"
    } else {
        "correct the TOML syntax at this place; docs/ringside.example.toml shows every key"
    };
    Complaint::new(format!("not valid TOML: {message}"), remedy)
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
