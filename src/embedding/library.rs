//! Finds the ONNX Runtime library and opens it, once per process.
//!
//! It must not know models, or what the library computes.

use ort::environment::Environment;
use parking_lot::Mutex;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

const NAME: &str = "libonnxruntime.so";
const REMEDY: &str = "get it with models/fetch-runtime, or name one in ORT_DYLIB_PATH";

/// The library in use. ONNX Runtime allows one environment per process, and it is never closed:
/// sessions may outlive every embedding pool.
static OPEN: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Opens the library at `configured`, or else the first that is found. A second call returns the same
/// environment.
///
/// # Errors
/// The paths that were searched, or what is wrong with the library, and the remedy.
pub(crate) fn open(configured: Option<&Path>, model_dir: &Path) -> Result<Environment, String> {
    let candidates = match configured {
        Some(path) => vec![path.to_owned()],
        None => search_paths(model_dir),
    };
    // Absolute, because `ort` resolves a relative path from the executable's folder first.
    let found = candidates
        .iter()
        .filter(|path| path.is_file())
        .find_map(|path| path.canonicalize().ok());
    let Some(path) = found else {
        let list: Vec<_> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(format!(
            "ONNX Runtime ({NAME}) is missing: not at {}; {REMEDY}",
            list.join(", nor at ")
        ));
    };
    let mut open = OPEN.lock();
    if let Some((in_use, environment)) = &*open {
        if *in_use == path {
            return Ok(environment.clone());
        }
        return Err(format!(
            "{} cannot be used: this process already uses {}; restart it to change",
            path.display(),
            in_use.display()
        ));
    }
    let environment = load(&path)?;
    *open = Some((path, environment.clone()));
    Ok(environment)
}

fn load(path: &Path) -> Result<Environment, String> {
    // `ort` panics when a library does not behave as expected: a wrong file must not end the process.
    let loaded = catch_unwind(|| {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let builder = builder.with_name("ringside").with_telemetry(false);
        builder.build().map_err(|error| error.to_string())
    });
    loaded
        .unwrap_or_else(|_| Err("it is not an ONNX Runtime that this program supports".to_owned()))
        .map_err(|reason| format!("{} cannot be used: {reason}; {REMEDY}", path.display()))
}

fn search_paths(model_dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        paths.push(PathBuf::from(path));
    }
    if let Some(folder) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        paths.push(folder.join(NAME));
    }
    let in_runtime = Path::new("runtime").join(NAME);
    paths.push(Path::new("models").join(&in_runtime));
    if let Some(folder) = model_dir.parent() {
        paths.push(folder.join(&in_runtime));
    }
    paths.dedup();
    paths
}
