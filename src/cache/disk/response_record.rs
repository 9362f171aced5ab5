//! A cached response as bytes of a record. It must not know the rest of the record.

use crate::cache::disk::bytes::{Reader, put_text, put_u32, put_u64};
use crate::cache::response::cached_response::CachedResponse;
use crate::protocols::usage::Usage;

/// Written instead of an offset that the response does not have.
const NO_OFFSET: u32 = u32::MAX;

pub(crate) fn write_response(response: &CachedResponse, out: &mut Vec<u8>) {
    put_text(out, response.texts.as_bytes());
    put_u32(out, response.id_end);
    put_u32(out, response.model_end);
    put_u32(out, response.fingerprint_end.unwrap_or(NO_OFFSET));
    put_u64(out, response.created);
    out.push(u8::from(response.usage.is_some()));
    let usage = response.usage.unwrap_or_default();
    put_u64(out, usage.prompt);
    put_u64(out, usage.completion);
    put_u64(out, usage.cached);
    put_u64(out, usage.cache_write);
    put_u64(out, usage.reasoning.unwrap_or(0));
}

/// Reads what [`write_response`] wrote; `None` for other bytes.
#[must_use]
pub(crate) fn read_response(reader: &mut Reader<'_>) -> Option<CachedResponse> {
    let texts = reader.string()?;
    let (id_end, model_end) = (reader.u32()?, reader.u32()?);
    let fingerprint_end = Some(reader.u32()?).filter(|end| *end != NO_OFFSET);
    let created = reader.u64()?;
    let has_usage = reader.u8()? == 1;
    let usage = Usage {
        prompt: reader.u64()?,
        completion: reader.u64()?,
        cached: reader.u64()?,
        cache_write: reader.u64()?,
        reasoning: Some(reader.u64()?),
    };
    let last = fingerprint_end.unwrap_or(model_end);
    let is_ordered = id_end <= model_end && model_end <= last;
    let is_utf8 = [id_end, model_end, last]
        .iter()
        .all(|end| texts.is_char_boundary(*end as usize));
    (is_ordered && is_utf8).then_some(CachedResponse {
        texts,
        id_end,
        model_end,
        fingerprint_end,
        created,
        usage: has_usage.then_some(usage),
    })
}
