//! Records and their frames: what a segment holds. Must not know files.
//!
//! A frame is a mark, the length, a keyed checksum and the record. Mark and key are the folder's own, so
//! that no text that a caller had stored can pass for a record, wherever reading begins.

use crate::base::names::Name;
use crate::cache::disk::bytes::{Reader, put_text, put_u64};
use crate::cache::disk::disk_cache::Deletion;
use crate::cache::disk::folder::Secrets;
use crate::cache::entry::{Entry, Key, PendingRemovals, Storing};
use crate::cache::response::cached_response::CachedResponse;
use crate::embedding::codes::{CODE_BYTES, Code};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Begins a segment; the last byte is the version of this format.
pub(crate) const SEGMENT_HEAD: [u8; 8] = *b"RNGSIDE\x01";
/// Mark, length, checksum.
const FRAME_BYTES: usize = 4 + 4 + 8;
/// A stored time this far ahead of the clock is not believed: the clock was wrong then or is now.
const AHEAD_MAX: Duration = Duration::from_secs(60);

const KIND_ENTRY: u8 = 1;
const KIND_DELETION: u8 = 2;

/// A vector and the identity of what made it.
#[derive(Clone, Copy)]
pub struct Embedding {
    /// [`crate::embedding::Workshop::embedder_id`].
    pub embedder: u64,
    /// The vector.
    pub code: Code,
}

/// Appends a frame around what `write` appends.
fn frame(out: &mut Vec<u8>, secrets: &Secrets, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    write(out);
    let (head, record) = out[start..].split_at_mut(FRAME_BYTES);
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&secrets.mark());
    head[4..8].copy_from_slice(&length.to_le_bytes());
    let checksum = secrets.checksum(record);
    head[8..].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends an entry's record. `now` and `wall` are the same moment on both clocks.
pub(crate) fn write_entry(
    out: &mut Vec<u8>,
    secrets: &Secrets,
    entry: &Entry,
    embedding: Option<&Embedding>,
    (now, wall): (Instant, Duration),
) {
    let stored = wall.saturating_sub(entry.age(now));
    frame(out, secrets, |out| {
        out.push(KIND_ENTRY);
        put_u64(out, millis(stored));
        put_u64(out, millis(entry.ttl));
        put_u64(out, millis(entry.kept_for));
        put_text(out, entry.scope_form());
        put_text(out, entry.question().as_bytes());
        put_text(out, entry.model.text().as_bytes());
        out.push(u8::from(entry.key.is_some()));
        let key = entry.key.map(Name::text);
        put_text(out, key.as_deref().unwrap_or_default().as_bytes());
        put_text(out, entry.target.text().as_bytes());
        entry.response.write(out);
        put_u64(out, embedding.map_or(0, |embedding| embedding.embedder));
        if let Some(embedding) = embedding {
            out.extend(embedding.code.to_bytes().map(i8::cast_unsigned));
        }
    });
}

/// Appends a deletion's record.
pub(crate) fn write_deletion(out: &mut Vec<u8>, secrets: &Secrets, deletion: &Deletion) {
    frame(out, secrets, |out| {
        out.push(KIND_DELETION);
        match deletion {
            Deletion::Entry(id) => {
                out.push(0);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Deletion::Answer { scope, content } => {
                out.push(2);
                out.extend_from_slice(&scope.to_le_bytes());
                put_text(out, content.as_bytes());
            }
            Deletion::Matching { model, key } => {
                out.push(1);
                for part in [model, key] {
                    out.push(u8::from(part.is_some()));
                    put_text(out, part.as_deref().unwrap_or_default().as_bytes());
                }
            }
        }
    });
}

/// Part of a segment.
pub(crate) enum Part<'b> {
    /// A whole record.
    Record(&'b [u8]),
    /// Bytes that are no record although records follow or their length is right: something was lost.
    Damage,
}

/// The parts of a segment behind its head, in order. An unfinished frame at the end is no part: it is
/// what a process that was killed leaves.
#[must_use]
pub(crate) fn parts<'b>(mut rest: &'b [u8], secrets: &Secrets) -> Vec<Part<'b>> {
    let mut parts = Vec::new();
    let mark = secrets.mark();
    while !rest.is_empty() {
        if let Some((record, behind)) = whole(rest, secrets) {
            parts.push(Part::Record(record));
            rest = behind;
            continue;
        }
        let later = memchr::memmem::find_iter(rest.get(1..).unwrap_or_default(), &mark)
            .filter_map(|at| rest.get(at + 1..))
            .find(|behind| whole(behind, secrets).is_some());
        match later {
            Some(behind) => {
                parts.push(Part::Damage);
                rest = behind;
            }
            None => {
                parts.extend((!is_unfinished(rest, mark)).then_some(Part::Damage));
                break;
            }
        }
    }
    parts
}

/// The record of the frame at the start, and what is behind it.
fn whole<'b>(bytes: &'b [u8], secrets: &Secrets) -> Option<(&'b [u8], &'b [u8])> {
    let mut reader = Reader(bytes);
    if reader.bytes(4)? != secrets.mark() {
        return None;
    }
    let (length, checksum) = (reader.u32()? as usize, reader.u64()?);
    let record = reader.bytes(length)?;
    (secrets.checksum(record) == checksum).then_some((record, reader.0))
}

fn is_unfinished(bytes: &[u8], expected: [u8; 4]) -> bool {
    let mut reader = Reader(bytes);
    let (Some(mark), Some(length)) = (reader.bytes(4), reader.u32()) else {
        return expected.starts_with(bytes.get(..4).unwrap_or(bytes));
    };
    mark == expected && reader.0.len() < length as usize + 8
}

/// What a record says.
pub(crate) enum Record {
    /// An answer was stored.
    Entry(Box<Stored>),
    /// Answers were deleted.
    Deletion(Deletion),
}

/// A stored answer, not yet an entry.
pub(crate) struct Stored {
    key: Key,
    stored: Duration,
    ttl: Duration,
    kept_for: Duration,
    model: String,
    owner: Option<String>,
    target: String,
    response: CachedResponse,
    /// Its vector, if it had one.
    pub embedding: Option<Embedding>,
}

/// Reads a record; `None` of one that this version does not write.
#[must_use]
pub(crate) fn read(record: &[u8], secrets: &Secrets) -> Option<Record> {
    let mut reader = Reader(record);
    match reader.u8()? {
        KIND_ENTRY => read_entry(&mut reader, secrets).map(|one| Record::Entry(Box::new(one))),
        KIND_DELETION => read_deletion(&mut reader).map(Record::Deletion),
        _ => None,
    }
}

fn read_entry(reader: &mut Reader<'_>, secrets: &Secrets) -> Option<Stored> {
    let stored = Duration::from_millis(reader.u64()?);
    let ttl = Duration::from_millis(reader.u64()?);
    let kept_for = Duration::from_millis(reader.u64()?);
    let scope_form = reader.text()?.to_vec();
    let key = Key::of_form(&secrets.keys, &scope_form, &reader.string()?);
    let model = reader.string()?;
    let has_owner = reader.u8()? == 1;
    let owner = Some(reader.string()?).filter(|_| has_owner);
    let target = reader.string()?;
    let response = CachedResponse::read(reader)?;
    let embedding = match reader.u64()? {
        0 => None,
        embedder => {
            let bytes: &[u8; CODE_BYTES] = reader.bytes(CODE_BYTES)?.try_into().ok()?;
            let code = Code::from_bytes(&bytes.map(u8::cast_signed));
            Some(Embedding { embedder, code })
        }
    };
    reader.0.is_empty().then_some(Stored {
        key,
        stored,
        ttl,
        kept_for,
        model,
        owner,
        target,
        response,
        embedding,
    })
}

fn read_deletion(reader: &mut Reader<'_>) -> Option<Deletion> {
    match reader.u8()? {
        0 => return reader.u128().map(Deletion::Entry),
        1 => {}
        _ => {
            return Some(Deletion::Answer {
                scope: reader.u128()?,
                content: reader.string()?.into(),
            });
        }
    }
    let mut part = || {
        let is_some = reader.u8()? == 1;
        Some(Some(reader.string()?).filter(|_| is_some))
    };
    Some(Deletion::Matching {
        model: part()?,
        key: part()?,
    })
}

impl Stored {
    /// The entry's id.
    #[must_use]
    pub(crate) fn id(&self) -> u128 {
        self.key.exact
    }

    /// The entry, unless it is no longer kept or its time cannot be right.
    #[must_use]
    pub(crate) fn into_entry(
        self,
        (now, wall): (Instant, Duration),
        indexed: bool,
        pending_removals: &Arc<PendingRemovals>,
    ) -> Option<Entry> {
        let age = wall.saturating_sub(self.stored);
        if age >= self.ttl.saturating_add(self.kept_for) || self.stored > wall + AHEAD_MAX {
            return None;
        }
        let storing = Storing {
            response: self.response,
            model: Name::new(&self.model),
            key: self.owner.as_deref().map(Name::new),
            target: Name::new(&self.target),
            at: now.checked_sub(age)?,
            ttl: self.ttl,
            kept_for: self.kept_for,
            indexed,
        };
        Some(Entry::new(self.key, storing, Arc::clone(pending_removals)))
    }
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
