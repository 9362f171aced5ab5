//! `[embedding]`: the embedding model in this process.

use crate::config::key::key;
use crate::config::limits::Bounds;
use crate::config::notation::{number, path};
use crate::config::settings::settings;
use std::path::PathBuf;

/// Where the repository keeps the model, seen from its root.
pub const MODEL_DIR: &str = "models/all-minilm-l6-v2";

settings! {
    /// `[embedding]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Embedding {
        /// holds `model.onnx`, `tokenizer.json` and `model.json`
        pub model_dir: PathBuf = key(
            "model_dir",
            path(
                "folder, relative to the working directory",
                "give the folder of the model, or remove the key",
            ),
        )
        .default(PathBuf::from(MODEL_DIR))
        .restart();
        // The gateway runs beside a service that needs the other cores.
        /// worker threads, each with its own copy of the model in memory
        pub threads: usize = key("threads", number(Bounds::new("EMBEDDING_THREADS", 1, 64))).default(1).restart();
        // More could not be served within the deadline of a look-up.
        /// jobs that may wait; a miss beyond
        pub queue_max: usize = key("queue_max", number(Bounds::new("EMBEDDING_QUEUE", 1, 65_536)))
            .default(64)
            .restart();
    }
}
