//! Runs the model: a text in, a vector out.
//!
//! It must not know queues, threads, deadlines.

use crate::embedding::card::ModelFiles;
use crate::embedding::embed_result::{EmbedError, Embedded};
use crate::embedding::vector::{DIMENSIONS, TEXT_BYTES_MAX, Vector, WINDOW_TOKENS};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokenizers::Tokenizer;

/// `[CLS]` and `[SEP]`: the tokenizer adds both to every text.
const FRAME_TOKENS: usize = 2;
/// Squared lengths that are accepted: the model's graph ends in a normalisation in f32.
const SQUARED_LENGTHS: RangeInclusive<f32> = 0.999..=1.001;

/// Tokenizer and session. Encoders share the tokenizer; a session is not shared, because running it needs
/// `&mut`.
pub(crate) struct Encoder {
    tokenizer: Arc<ModelTokenizer>,
    session: Session,
}

/// A tokenizer that neither cuts nor pads, and the id of its unknown token.
pub(crate) struct ModelTokenizer {
    tokenizer: Tokenizer,
    unknown: u32,
}

impl ModelTokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// Why it cannot be the tokenizer of this model.
    pub(crate) fn read(json: &[u8]) -> Result<Self, String> {
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|error| format!("tokenizer.json: {error}"))?;
        // The file configures both, at 128 tokens. Here a text is embedded whole or not at all.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| format!("tokenizer.json: {error}"))?;
        let unknown = tokenizer
            .token_to_id("[UNK]")
            .ok_or("tokenizer.json: there is no [UNK], so unknown words could not be detected")?;
        Ok(Self { tokenizer, unknown })
    }

    /// The text's token ids, at most [`WINDOW_TOKENS`].
    fn ids(&self, text: &str, allows_unknown: bool) -> Result<Vec<i64>, EmbedError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(EmbedError::OverWindow {
                tokens: text.len() / 4,
            });
        }
        let encoding = self
            .tokenizer
            .encode_fast(text, true)
            .map_err(|error| EmbedError::Model(error.to_string()))?;
        let ids = encoding.get_ids();
        if ids.len() <= FRAME_TOKENS {
            return Err(EmbedError::Empty);
        }
        if ids.len() > WINDOW_TOKENS {
            return Err(EmbedError::OverWindow { tokens: ids.len() });
        }
        if !allows_unknown && ids.contains(&self.unknown) {
            return Err(EmbedError::UnknownToken);
        }
        Ok(ids.iter().map(|id| i64::from(*id)).collect())
    }
}

impl Encoder {
    /// Builds a session and runs it once, so that the first text does not pay for warming up.
    ///
    /// # Errors
    /// The runtime's error, or that the model's output does not have the shape of the card.
    pub(crate) fn new(
        environment: &Environment,
        files: &ModelFiles,
        tokenizer: Arc<ModelTokenizer>,
    ) -> Result<Self, String> {
        let session =
            session(environment, &files.model).map_err(|error| format!("model.onnx: {error}"))?;
        let mut encoder = Self { tokenizer, session };
        encoder
            .embed("What is the capital of France?", false)
            .map_err(|error| format!("model.onnx: {error}"))?;
        Ok(encoder)
    }

    /// # Errors
    /// The text does not fit the model, or the model failed.
    pub(crate) fn embed(
        &mut self,
        text: &str,
        allows_unknown: bool,
    ) -> Result<Embedded, EmbedError> {
        let ids = self.tokenizer.ids(text, allows_unknown)?;
        let vector = self
            .infer(&ids)
            .map_err(|error| EmbedError::Model(error.to_string()))?;
        let squared_length: f32 = vector.iter().map(|x| x * x).sum();
        // The range contains no NaN.
        if vector.len() != DIMENSIONS || !SQUARED_LENGTHS.contains(&squared_length) {
            return Err(EmbedError::Model(format!(
                "a vector of {} components and squared length {squared_length}",
                vector.len()
            )));
        }
        Ok(Embedded {
            vector,
            tokens: ids.len(),
        })
    }

    fn infer(&mut self, ids: &[i64]) -> ort::Result<Vector> {
        // One text at a time needs no padding and no attention mask, and lets the runtime fuse more of the graph.
        let input = TensorRef::from_array_view(([1, ids.len()], ids))?;
        let outputs = self.session.run(ort::inputs!["input_ids" => input])?;
        let (_, vector) = outputs["embedding"].try_extract_tensor::<f32>()?;
        Ok(Vector::from(vector))
    }
}

/// A session that computes on the calling thread and starts no threads of its own.
fn session(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_parallel_execution(false)?
        // Text lengths differ: the runtime would store one memory plan for each length.
        .with_memory_pattern(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .commit_from_memory(model)
}
