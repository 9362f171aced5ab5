//! The settings that the embedding pool is started with. It must not know the configuration.

use std::path::PathBuf;

/// Model, threads and queue of the embedding pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder with `model.json`, `model.onnx`, `tokenizer.json` and `static.bin`.
    pub model_dir: PathBuf,
    /// Worker threads, each with its own copy of the weights; 0 counts as 1.
    pub threads: usize,
    /// Most jobs that wait; 0 counts as 1.
    pub queue_max: usize,
    /// The ONNX Runtime library. `None` searches `$ORT_DYLIB_PATH`, the executable's folder, and
    /// `models/runtime/` under the working folder and beside `model_dir`.
    pub runtime_library: Option<PathBuf>,
}
