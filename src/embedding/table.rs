//! The static table: one short vector per word piece, distilled from the model (`models/table.py`).
//!
//! The sum of a text's piece vectors takes microseconds and needs no model: enough to tell that two texts
//! differ, and how similar two single words are. This file also holds the vocabulary and splits words into
//! pieces. It must not know what is compared, or why.

use std::collections::HashMap;

/// Components of a static vector.
pub const STATIC_DIMENSIONS: usize = 128;

/// A static vector, not normalised.
pub type StaticVector = [f32; STATIC_DIMENSIONS];

/// First bytes of the file.
const MAGIC: &[u8] = b"RSST";
const VERSION: u32 = 1;
/// Magic, version, rows, dimensions.
const HEADER_BYTES: usize = 16;
/// The vocabulary's first whole word (BERT, uncased); words are sorted by frequency from there.
const FIRST_WORD: u32 = 1996;
/// Largest id of a special token (`[PAD]`, `[unused…]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`), which no text has.
const SPECIAL_MAX: u32 = 998;
/// Smoothing of the weights (SIF; Arora, Liang, Ma 2017).
const SIF_A: f32 = 1e-3;
/// Share of the most frequent word, by Zipf's law over 30,000 words: 1 / H(30,000).
const TOP_SHARE: f32 = 0.1;
/// Longest word that is split, in bytes; a longer word is unknown (as in BERT's tokenizer).
const WORD_BYTES_MAX: usize = 100;

/// Vocabulary and vectors.
pub struct StaticTable {
    pieces: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    scales: Vec<f32>,
    rows: Vec<i8>,
    rows_log: f32,
}

impl StaticTable {
    /// Reads `static.bin` and the vocabulary of `tokenizer.json`.
    ///
    /// # Errors
    /// Why this program cannot use them.
    pub fn read(table: &[u8], tokenizer: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Tokenizer {
            model: Vocabulary,
        }
        #[derive(serde::Deserialize)]
        struct Vocabulary {
            vocab: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
        }
        let Tokenizer { model } = serde_json::from_slice(tokenizer)
            .map_err(|error| format!("tokenizer.json has no vocabulary: {error}"))?;
        let number = |offset: usize| -> Option<u32> {
            let bytes = table.get(offset..offset + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let count = model.vocab.len();
        let dimensions = u32::try_from(STATIC_DIMENSIONS).ok();
        let sizes = (number(4), number(8).map(|rows| rows as usize), number(12));
        let bytes = HEADER_BYTES + count * 4 + count * STATIC_DIMENSIONS;
        if !table.starts_with(MAGIC)
            || sizes != (Some(VERSION), Some(count), dimensions)
            || table.len() != bytes
        {
            return Err("static.bin is of another version or vocabulary".to_owned());
        }
        let (scales, rows) = table[HEADER_BYTES..].split_at(count * 4);
        let scales = scales
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        Ok(Self {
            pieces: model.vocab,
            scales: scales.collect(),
            rows: rows.iter().map(|byte| byte.cast_signed()).collect(),
            rows_log: rank(u32::try_from(count).unwrap_or(u32::MAX)).ln(),
        })
    }

    /// Appends the pieces of a lower-case word, the longest match first (WordPiece). Returns false and
    /// appends nothing when the vocabulary cannot spell the word.
    pub fn split(&self, word: &str, out: &mut Vec<u32>) -> bool {
        let start = out.len();
        if word.len() > WORD_BYTES_MAX {
            return false;
        }
        if let Some(id) = self.pieces.get(word) {
            out.push(*id);
            return true;
        }
        let mut continued = String::with_capacity(word.len() + 2);
        let mut rest = word;
        while !rest.is_empty() {
            let mut end = rest.len();
            let found = loop {
                let head = rest.get(..end).unwrap_or_default();
                let id = if out.len() == start {
                    self.pieces.get(head)
                } else {
                    continued.clear();
                    continued.push_str("##");
                    continued.push_str(head);
                    self.pieces.get(continued.as_str())
                };
                match (id, head.char_indices().next_back()) {
                    (Some(id), _) => break Some((*id, end)),
                    (None, Some((at, _))) if at > 0 => end = at,
                    _ => break None,
                }
            };
            let Some((id, end)) = found else {
                out.truncate(start);
                return false;
            };
            out.push(id);
            rest = rest.get(end..).unwrap_or_default();
        }
        true
    }

    /// How rare the word with these pieces is: 0 for the most frequent word, 1 for a word that the
    /// vocabulary does not have as one piece.
    #[must_use]
    pub fn rarity(&self, pieces: &[u32]) -> f32 {
        match pieces {
            [id] => (rank(*id).ln() / self.rows_log).min(1.0),
            _ => 1.0,
        }
    }

    /// Adds the vector of a piece to `sum`, weighted by the piece's rarity (SIF).
    pub fn add_weighted(&self, id: u32, sum: &mut StaticVector) {
        if id > SPECIAL_MAX {
            self.add(id, SIF_A / (SIF_A + TOP_SHARE / rank(id)), sum);
        }
    }

    /// The unweighted sum of the pieces' vectors.
    #[must_use]
    pub fn vector(&self, pieces: &[u32]) -> StaticVector {
        let mut sum = [0.0; STATIC_DIMENSIONS];
        for id in pieces {
            self.add(*id, 1.0, &mut sum);
        }
        sum
    }

    fn add(&self, id: u32, weight: f32, sum: &mut StaticVector) {
        let index = id as usize;
        let row = self
            .rows
            .get(index * STATIC_DIMENSIONS..(index + 1) * STATIC_DIMENSIONS);
        debug_assert!(
            row.is_some(),
            "the vocabulary and the table have equal size"
        );
        if let (Some(row), Some(scale)) = (row, self.scales.get(index)) {
            let scale = scale * weight;
            for (component, value) in sum.iter_mut().zip(row) {
                *component += f32::from(*value) * scale;
            }
        }
    }
}

/// Rank by frequency, from 1.
fn rank(id: u32) -> f32 {
    id.saturating_sub(FIRST_WORD - 1).max(1) as f32
}

/// Cosine of two static vectors; 0 when either is a zero vector.
#[must_use]
pub fn static_cosine(a: &StaticVector, b: &StaticVector) -> f32 {
    let (mut dot, mut aa, mut bb) = (0.0f32, 0.0f32, 0.0f32);
    for (x, y) in a.iter().zip(b) {
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    let length = (aa * bb).sqrt();
    if length > 0.0 { dot / length } else { 0.0 }
}
