//! The model's folder: its card (`model.json`), and its files checked against the card.
//!
//! It must not know how a model is run.

use crate::embedding::vector::{DIMENSIONS, WINDOW_TOKENS};
use std::path::Path;

/// The fields of `model.json` that are read here.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Card {
    pub name: String,
    /// How the weights were quantised.
    pub quantisation: String,
    dimensions: usize,
    window_tokens: usize,
    model_sha256: String,
    tokenizer_sha256: String,
    static_sha256: String,
}

/// The files of a model. Their checksums are those of the card.
pub(crate) struct ModelFiles {
    pub card: Card,
    /// `model.onnx`.
    pub model: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `static.bin`.
    pub table: Vec<u8>,
}

impl ModelFiles {
    /// # Errors
    /// What is missing, damaged or made for another program, and the remedy.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("model.json");
        let card: Card = serde_json::from_slice(&read(&path)?)
            .map_err(|error| format!("{} is not a model card: {error}", path.display()))?;
        if (card.dimensions, card.window_tokens) != (DIMENSIONS, WINDOW_TOKENS) {
            return Err(format!(
                "{} describes a model with {} dimensions and a window of {} tokens; this program is \
                 built for {DIMENSIONS} and {WINDOW_TOKENS}",
                path.display(),
                card.dimensions,
                card.window_tokens
            ));
        }
        Ok(Self {
            model: read_checked(&folder.join("model.onnx"), &card.model_sha256)?,
            tokenizer: read_checked(&folder.join("tokenizer.json"), &card.tokenizer_sha256)?,
            table: read_checked(&folder.join("static.bin"), &card.static_sha256)?,
            card,
        })
    }
}

impl Card {
    /// Identity of the vectors that this model makes: a hash of model, weights, tokenizer and quantisation;
    /// never 0.
    #[must_use]
    pub(crate) fn embedder_id(&self) -> u64 {
        let parts = [
            &self.name,
            &self.quantisation,
            &self.model_sha256,
            &self.tokenizer_sha256,
        ];
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        let digest = context.finish();
        let start = digest.as_ref().iter().take(8);
        start.fold(0, |id, byte| id << 8 | u64::from(*byte)).max(1)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        format!(
            "{} cannot be read ({error}); it is part of the repository, and models/build.py rebuilds it",
            path.display()
        )
    })
}

fn read_checked(path: &Path, sha256: &str) -> Result<Vec<u8>, String> {
    let data = read(path)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &data);
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if hex == sha256 {
        return Ok(data);
    }
    Err(format!(
        "{} is damaged: its SHA-256 is {hex}, the model card says {sha256}; restore it from the \
         repository, or rebuild it with models/build.py",
        path.display()
    ))
}
