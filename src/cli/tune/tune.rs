//! `ringside tune`: finds the setting of the semantic cache that keeps a target rate of wrong hits, on labelled pairs.
//!
//! Judges pairs exactly as the gateway does. It must not know requests, stores or the network.

use crate::cli::tune::page;
use crate::cli::tune::pairs;
use crate::cli::tune::settings::Findings;
use crate::cli::tune::table;
use std::path::PathBuf;

/// The options of the command.
pub struct Options {
    /// JSON lines: labelled pairs, or the gateway's observation log.
    pub files: Vec<PathBuf>,
    /// Largest share of hits that may be wrong.
    pub wrong_hit_rate_max: f64,
    /// Where to write the page; `None` = no page.
    pub html: Option<PathBuf>,
    /// Folder of the model.
    pub model_dir: PathBuf,
}

/// Judges the pairs, writes the page if the options name a file, and returns the report for a terminal.
///
/// # Errors
/// What is wrong with a file, or why the model cannot be used, in a sentence.
pub fn tune(options: &Options) -> Result<String, String> {
    let mut read = pairs::Read::default();
    for file in &options.files {
        read.add(file)?;
    }
    if read.pairs.is_empty() {
        return Err(format!(
            "no labelled pair in {}; a line is {{\"a\": \"…\", \"b\": \"…\", \"same\": true}}",
            names(&options.files)
        ));
    }
    let judged = pairs::judge(&read, &options.model_dir)?;
    let findings = Findings::new(&judged, options.wrong_hit_rate_max)?;
    if let Some(path) = &options.html {
        let page = page::page(&judged, &findings);
        std::fs::write(path, page).map_err(|error| pairs::file_error(path, &error))?;
    }
    Ok(table::report(&judged, &findings))
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    names.join(", ")
}
