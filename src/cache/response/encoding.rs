//! The stored form of an answer as bytes, and back. Must not know where the bytes are kept.

use crate::cache::disk::bytes::{Reader, put_text, put_u32, put_u64};
use crate::cache::response::cached_response::CachedResponse;
use crate::protocols::usage::Usage;

/// Stands for no offset.
const NONE: u32 = u32::MAX;

impl CachedResponse {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_text(out, self.texts.as_bytes());
        put_u32(out, self.id_end);
        put_u32(out, self.model_end);
        put_u32(out, self.fingerprint_end.unwrap_or(NONE));
        put_u64(out, self.created);
        out.push(u8::from(self.usage.is_some()));
        let usage = self.usage.unwrap_or_default();
        put_u64(out, usage.prompt);
        put_u64(out, usage.completion);
        put_u64(out, usage.cached);
        put_u64(out, usage.cache_write);
        put_u64(out, usage.reasoning);
    }

    /// Reads what [`Answer::write`] wrote; `None` of anything else.
    #[must_use]
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let texts = reader.string()?;
        let (id_end, model_end) = (reader.u32()?, reader.u32()?);
        let fingerprint_end = Some(reader.u32()?).filter(|end| *end != NONE);
        let created = reader.u64()?;
        let has_usage = reader.u8()? == 1;
        let usage = Usage {
            prompt: reader.u64()?,
            completion: reader.u64()?,
            cached: reader.u64()?,
            cache_write: reader.u64()?,
            reasoning: reader.u64()?,
        };
        let last = fingerprint_end.unwrap_or(model_end);
        let in_order = id_end <= model_end && model_end <= last;
        let on_borders = [id_end, model_end, last]
            .iter()
            .all(|end| texts.is_char_boundary(*end as usize));
        (in_order && on_borders).then_some(Self {
            texts,
            id_end,
            model_end,
            fingerprint_end,
            created,
            usage: has_usage.then_some(usage),
        })
    }
}

/// Where the text ends now. Answers are far below 4 GiB; a longer one would lose its content.
pub(crate) fn offset(texts: &str) -> u32 {
    u32::try_from(texts.len()).unwrap_or(u32::MAX)
}
